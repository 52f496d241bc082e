"""Work for worker processes that answers, fails, dies, waits or grows as a test wants it to."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import dataclass
from typing import Any

from service.errors import UnavailableError
from service.solving.work import Progress, Told
from solver.domain.errors import ForeswapError, InvalidInputError

WAIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """Answers with a number and the worker's process number, after telling progress."""

    number: int = 0
    limit_s: float = 1.0

    def run(self, told: Told, cancel: threading.Event) -> bytes:
        """Answer at once."""
        told(Progress(best=self.number, bound=0, engine="echo"))
        return json.dumps({"number": self.number, "pid": os.getpid()}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class UntilCancelled:
    """Waits for its cancelling, and says whether it came."""

    limit_s: float = 1.0

    def run(self, told: Told, cancel: threading.Event) -> bytes:
        """Tell that it began, then wait."""
        told(Progress(best=1, bound=0, engine="waiting"))
        return json.dumps({"cancelled": cancel.wait(WAIT_S)}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dies:
    """Ends its process as the kernel does when memory runs out."""

    limit_s: float = 1.0

    def run(self, told: Told, cancel: threading.Event) -> bytes:
        """Kill the process."""
        os.kill(os.getpid(), signal.SIGKILL)
        return b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuses:
    """Finds its input wrong."""

    limit_s: float = 1.0

    def run(self, told: Told, cancel: threading.Event) -> bytes:
        """Raise what a wrong document raises."""
        raise InvalidInputError("expected a better one", path="history.demand")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stumbles:
    """Meets a fault that nobody foresaw."""

    limit_s: float = 1.0

    def run(self, told: Told, cancel: threading.Event) -> bytes:
        """Divide by zero."""
        return str(1 // 0).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class ComesTooSoon:
    """Cannot be done now, and says when to come again."""

    limit_s: float = 1.0

    def run(self, told: Told, cancel: threading.Event) -> bytes:
        """Raise what a full queue raises."""
        raise UnavailableError("come again", retry_after_s=7)


class GarbledError(ForeswapError):
    """Whoever receives it cannot read it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbles:
    """Answers with what nobody can read."""

    limit_s: float = 1.0

    def run(self, told: Told, cancel: threading.Event) -> bytes:
        """Raise it."""
        raise GarbledError
