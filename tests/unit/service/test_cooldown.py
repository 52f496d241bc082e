"""Cool-downs double, decay and end at a day."""

from datetime import UTC, datetime, timedelta

import pytest

from service.cooldown import LONGEST, CooldownParams, Cooldowns
from solver.domain.errors import InvalidInputError
from solver.domain.units import VmId

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
V1 = VmId("v1")


def test_a_vm_never_moved_has_no_cooldown() -> None:
    """Absence of a record is absence of a limit."""
    assert Cooldowns().not_before(V1) is None


def test_the_pause_doubles_with_every_repeat() -> None:
    """Moves in quick succession wait 30, 60, 120 minutes."""
    cooldowns = Cooldowns()
    at = START
    pauses = []
    for _ in range(3):
        cooldowns.record(V1, at)
        until = cooldowns.not_before(V1)
        assert until is not None
        pauses.append(until - at)
        at = until
    assert pauses == [timedelta(minutes=m) for m in (30, 60, 120)]


def test_the_pause_ends_at_a_day_however_often_a_vm_moves() -> None:
    """A hundred moves in a row neither overflow nor exceed 24 hours."""
    cooldowns = Cooldowns()
    for i in range(100):
        cooldowns.record(V1, START + timedelta(minutes=i))
    until = cooldowns.not_before(V1)
    assert until == START + timedelta(minutes=99) + LONGEST


def test_quiet_takes_doublings_back() -> None:
    """Six hours without a move forget one repeat."""
    cooldowns = Cooldowns()
    cooldowns.record(V1, START)
    cooldowns.record(V1, START + timedelta(hours=1))
    later = START + timedelta(hours=14)
    cooldowns.record(V1, later)
    until = cooldowns.not_before(V1)
    assert until == later + timedelta(minutes=30)


def test_zero_turns_cooldowns_off() -> None:
    """An operator may do without."""
    cooldowns = Cooldowns(CooldownParams(first=timedelta(0)))
    cooldowns.record(V1, START)
    assert cooldowns.not_before(V1) is None


def test_a_pause_longer_than_a_day_is_refused() -> None:
    """The settings name the value seen and the range expected."""
    with pytest.raises(InvalidInputError, match=r"cooldown\.first: expected 0\.\.24 h"):
        CooldownParams(first=timedelta(hours=25))
