"""Who owns time: the system's clock, or a clock that a test or a replay turns by hand.

Nothing in the executor asks the operating system for the time or sleeps but through here, so that
a day of a simulated cluster passes in seconds and every run can be repeated exactly. Only the
monitor, which has no plan to carry out, lives by ``monitor.timekeeper``.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from solver.domain.cluster import require_utc
from solver.domain.errors import InvalidInputError


class Clock(Protocol):
    """A source of instants."""

    def now(self) -> datetime:
        """Return the present instant, aware UTC; never earlier than an answer before."""

    def sleep_until(self, instant: datetime) -> None:
        """Return once ``now()`` is at or after ``instant``; at once when it already is."""


class SystemClock:
    """The operating system's clock.

    Steps backwards (a corrected clock) are hidden: ``now`` stands still until they are made up.
    """

    def __init__(self) -> None:
        self._latest_at = datetime.now(UTC)

    def now(self) -> datetime:
        """Return the present instant, aware UTC."""
        self._latest_at = max(self._latest_at, datetime.now(UTC))
        return self._latest_at

    def sleep_until(self, instant: datetime) -> None:
        """Sleep until ``instant``."""
        while (remaining_s := (instant - self.now()).total_seconds()) > 0:
            time.sleep(remaining_s)


class ManualClock:
    """A clock that moves only when told to.

    Parameters
    ----------
    start_at
        First instant, aware UTC.

    Raises
    ------
    InvalidInputError
        If an instant is not aware UTC, or the clock is told to go back.
    """

    def __init__(self, start_at: datetime) -> None:
        require_utc(start_at, "clock", "start_at")
        self._now = start_at

    def now(self) -> datetime:
        """Return the instant the clock was last set to."""
        return self._now

    def advance_to(self, instant: datetime) -> None:
        """Set the clock forward to ``instant``."""
        require_utc(instant, "clock", "instant")
        if instant < self._now:
            raise InvalidInputError(
                f"expected an instant at or after {self._now.isoformat()}, "
                f"got {instant.isoformat()}",
                path="instant",
            )
        self._now = instant

    def advance(self, seconds: float) -> None:
        """Set the clock forward by ``seconds``, 0 or more."""
        self.advance_to(self._now + timedelta(seconds=seconds))

    def sleep_until(self, instant: datetime) -> None:
        """Set the clock to ``instant`` unless it is already there or later."""
        self.advance_to(max(instant, self._now))
