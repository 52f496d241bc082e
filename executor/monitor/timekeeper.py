"""The monitor's time: a wall clock that may be put right, and a steady one to measure by.

``executor.clock`` hides a wall clock that steps back by standing still, as a plan needs it. A
monitor must go on sampling whatever happens to the wall clock, and divides by elapsed time, so it
asks for both. Nothing in this room sleeps or asks the system for the time but through here.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Timekeeper(Protocol):
    """A wall clock and a steady clock."""

    def now(self) -> datetime:
        """Return the wall clock's instant, aware UTC; may step either way when it is put right."""

    def elapsed_s(self) -> float:
        """Return seconds on a clock that never steps; only differences mean something."""

    def wait(self, seconds: float) -> None:
        """Return once so many seconds have elapsed."""


class SystemTimekeeper:
    """The operating system's clocks."""

    def now(self) -> datetime:
        """Return the wall clock's instant."""
        return datetime.now(UTC)

    def elapsed_s(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Sleep; a signal handler that raises ends it."""
        time.sleep(max(0.0, seconds))
