"""Ctrl-C that is never lost: noted as well as raised."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def noted_interrupts() -> Iterator[Callable[[], None]]:
    """Yield a function that raises ``KeyboardInterrupt`` if there was one.

    An interrupt that arrives while a library calls back into Python (a destructor, a C callback) is
    raised there and thrown away. A loop that asks now and then ends all the same.
    """
    seen = False

    def note(signal_number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen = True
        raise KeyboardInterrupt

    def ask() -> None:
        if seen:
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    # Where interrupts are ignored, as in a background job, they stay so.
    usable = threading.current_thread() is threading.main_thread() and callable(before)
    if usable:
        signal.signal(signal.SIGINT, note)
    try:
        yield ask
    finally:
        if usable:
            signal.signal(signal.SIGINT, before)
