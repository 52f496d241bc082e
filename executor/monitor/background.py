"""One errand at a time beside the loop, so that what hangs never holds up the samples."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Errand(Generic[Answer]):
    """Runs a call in a thread of its own and keeps its answer until it is asked for.

    The thread ends with the process: an errand that hangs does not keep it alive.

    Parameters
    ----------
    name
        Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._answer: Answer | None = None
        self._error: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether a call was begun whose answer was not taken yet."""
        return self._thread is not None

    def begin(self, call: Callable[[], Answer]) -> None:
        """Begin a call; there must be none whose answer was not taken."""
        assert self._thread is None
        self._thread = threading.Thread(
            target=self._run, args=(call,), name=self._name, daemon=True
        )
        self._thread.start()

    def take(self, *, wait_s: float = 0.0) -> Answer | None:
        """Return the answer, or ``None`` if the call has not ended within ``wait_s``.

        Whatever the call raised is raised here.
        """
        if self._thread is None:
            return None
        self._thread.join(wait_s)
        if self._thread.is_alive():
            return None
        self._thread = None
        answer, error = self._answer, self._error
        self._answer = self._error = None
        if error is not None:
            raise error
        return answer

    def _run(self, call: Callable[[], Answer]) -> None:
        try:
            self._answer = call()
        except BaseException as error:  # noqa: BLE001  (raised again by whoever takes the answer)
            self._error = error
