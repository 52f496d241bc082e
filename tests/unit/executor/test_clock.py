"""Clocks: the system's and the one turned by hand."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from executor.clock import ManualClock, SystemClock
from solver.domain.errors import InvalidInputError
from tests.builders import NOW


def test_a_manual_clock_moves_only_when_told_to() -> None:
    """It stands, advances, and sleeping is the same as advancing."""
    clock = ManualClock(NOW)
    assert clock.now() == clock.now() == NOW
    clock.advance(1.5)
    clock.sleep_until(NOW + timedelta(seconds=10))
    assert clock.now() == NOW + timedelta(seconds=10)
    clock.sleep_until(NOW)
    assert clock.now() == NOW + timedelta(seconds=10)


def test_a_manual_clock_never_goes_back() -> None:
    """Going back is an error and changes nothing."""
    clock = ManualClock(NOW)
    with pytest.raises(InvalidInputError, match="at or after"):
        clock.advance(-1)
    assert clock.now() == NOW


def test_instants_are_aware_utc() -> None:
    """A bare instant is refused."""
    with pytest.raises(InvalidInputError, match="aware UTC"):
        ManualClock(datetime(2026, 1, 1))


def test_the_system_clock_is_aware_and_never_goes_back() -> None:
    """Its answers are UTC and in order; a past instant is not waited for."""
    clock = SystemClock()
    first = clock.now()
    clock.sleep_until(first - timedelta(hours=1))
    assert first.utcoffset() == timedelta(0)
    assert clock.now() >= first
