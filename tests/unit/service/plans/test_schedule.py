"""When a cluster is balanced by itself: intervals, crons, clocks that are changed, blackouts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.plans.schedule import (
    Automation,
    blackout_ends_at,
    in_blackout,
    is_due,
    next_due,
    schedule_from_document,
)
from solver.domain.errors import InvalidInputError

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")
INSTANTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31)).map(
    lambda at: at.replace(tzinfo=UTC, microsecond=0)
)


def at(text: str) -> datetime:
    """Return an instant of UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_default_recommends_every_quarter_of_an_hour() -> None:
    """Without a document nothing is done by itself but recommending."""
    schedule = schedule_from_document(None)
    assert schedule.automation is Automation.RECOMMEND
    assert next_due(schedule, at("2026-03-02T12:01")) == at("2026-03-02T12:15")


def test_never_ran_is_due_at_once() -> None:
    """A new cluster need not wait for the clock."""
    assert is_due(schedule_from_document({}), at("2026-03-02T12:01"), since=None)


def test_missed_runs_count_once() -> None:
    """After a night without a leader one plan is made, not thirty-two."""
    schedule = schedule_from_document({"interval_minutes": 15})
    now = at("2026-03-02T08:07")
    assert is_due(schedule, now, since=at("2026-03-01T23:45"))
    assert not is_due(schedule, now, since=now)


def test_cron_is_not_asked_about_the_time_before_it_was_set() -> None:
    """Setting "every day at six" at seven does not plan at once."""
    schedule = schedule_from_document({"cron": "0 6 * * *"})
    assert not is_due(schedule, at("2026-03-02T07:01"), since=at("2026-03-02T07:00"))
    assert is_due(schedule, at("2026-03-03T06:00"), since=at("2026-03-02T07:00"))


def test_paused_is_never_due() -> None:
    """The pause switch holds whatever was missed."""
    schedule = schedule_from_document({"paused": True})
    assert not is_due(schedule, at("2026-03-02T07:01"), since=None)


def test_hour_left_out_comes_right_after_the_gap() -> None:
    """02:30 does not exist on the last Sunday of March in Berlin; the run is not lost."""
    schedule = schedule_from_document({"cron": "30 2 * * *", "time_zone": "Europe/Berlin"})
    found = next_due(schedule, at("2026-03-28T12:00"))
    assert found is not None
    assert at("2026-03-29T01:00") <= found <= at("2026-03-29T01:30")


def test_hour_that_comes_twice_counts_once() -> None:
    """02:30 comes twice on the last Sunday of October in Berlin; one plan is made."""
    schedule = schedule_from_document({"cron": "30 2 * * *", "time_zone": "Europe/Berlin"})
    first = next_due(schedule, at("2026-10-24T12:00"))
    assert first is not None
    second = next_due(schedule, first + timedelta(seconds=5))
    assert second == at("2026-10-26T01:30")
    # A plan made by hand between the two does not bring the first back.
    later = next_due(schedule, at("2026-10-25T01:10"))
    assert later is not None
    assert later > at("2026-10-25T01:10")


@given(
    after=INSTANTS, zone=st.sampled_from(ZONES), minute=st.integers(0, 59), hour=st.integers(0, 23)
)
def test_daily_cron_comes_once_a_day(after: datetime, zone: str, minute: int, hour: int) -> None:
    """Whatever clocks do, each local day has exactly one instant."""
    schedule = schedule_from_document({"cron": f"{minute} {hour} * * *", "time_zone": zone})
    days: list[date] = []
    for _ in range(5):
        found = next_due(schedule, after)
        assert found is not None
        assert found > after
        days.append(found.astimezone(ZoneInfo(zone)).date())
        after = found
    assert all(b - a == timedelta(days=1) for a, b in pairwise(days))


@given(after=INSTANTS, zone=st.sampled_from(ZONES), step=st.sampled_from([5, 15, 20, 30]))
def test_cron_by_minutes_is_strictly_later_and_never_far(
    after: datetime, zone: str, step: int
) -> None:
    """A cron by minutes goes on through changes of the clock."""
    schedule = schedule_from_document({"cron": f"*/{step} * * * *", "time_zone": zone})
    found = next_due(schedule, after)
    assert found is not None
    assert after < found <= after + timedelta(minutes=step)


@given(after=INSTANTS, minutes=st.integers(5, 10_080))
def test_interval_is_strictly_later_and_on_its_grid(after: datetime, minutes: int) -> None:
    """The next instant is at most an interval away, and the one after it an interval later."""
    schedule = schedule_from_document({"interval_minutes": minutes})
    found = next_due(schedule, after)
    assert found is not None
    assert after < found <= after + timedelta(minutes=minutes)
    assert next_due(schedule, found) == found + timedelta(minutes=minutes)


@given(now=INSTANTS, since=INSTANTS, interval=st.integers(5, 600))
def test_running_when_due_ends_it(now: datetime, since: datetime, interval: int) -> None:
    """Whoever has just planned is not due, so that nothing runs twice."""
    schedule = schedule_from_document({"interval_minutes": interval})
    if is_due(schedule, now, since=since):
        assert not is_due(schedule, now, since=now)


def test_blackout_over_midnight() -> None:
    """A blackout that ends before it starts ends on the next day."""
    schedule = schedule_from_document(
        {
            "time_zone": "Europe/Berlin",
            "blackouts": [{"days": ["fri"], "start": "22:00", "end": "06:00"}],
        }
    )
    friday_night, saturday = at("2026-03-06T21:30"), at("2026-03-07T04:59")
    assert in_blackout(schedule, friday_night)
    assert in_blackout(schedule, saturday)
    assert not in_blackout(schedule, at("2026-03-07T05:00"))
    assert not in_blackout(schedule, at("2026-03-06T20:59"))
    assert not in_blackout(schedule, at("2026-03-06T04:00"))
    assert blackout_ends_at(schedule, friday_night) == at("2026-03-07T05:00")


def test_nothing_is_due_in_a_blackout_and_it_is_made_up_for_after() -> None:
    """What falls into a blackout is planned once when it ends."""
    schedule = schedule_from_document(
        {"interval_minutes": 15, "blackouts": [{"start": "08:00", "end": "09:00"}]}
    )
    since = at("2026-03-02T07:45")
    assert not is_due(schedule, at("2026-03-02T08:30"), since=since)
    assert is_due(schedule, at("2026-03-02T09:00"), since=since)


@given(
    now=INSTANTS, zone=st.sampled_from(ZONES), start=st.integers(0, 23), hours=st.integers(1, 23)
)
def test_blackout_ends_where_it_says(now: datetime, zone: str, start: int, hours: int) -> None:
    """The end told is the first minute at which moves may begin again."""
    schedule = schedule_from_document(
        {
            "time_zone": zone,
            "blackouts": [{"start": f"{start:02d}:00", "end": f"{(start + hours) % 24:02d}:00"}],
        }
    )
    end_at = blackout_ends_at(schedule, now)
    if not in_blackout(schedule, now):
        assert end_at is None
        return
    assert end_at is not None
    assert now < end_at
    assert not in_blackout(schedule, end_at)
    assert in_blackout(schedule, end_at - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": "* * * * * *"}, "cron"),
        ({"cron": "0 6 * * *", "interval_minutes": 15}, "cron"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
        ({"interval_minutes": 0}, "interval_minutes"),
        ({"automation": "full"}, "automation"),
        ({"blackouts": [{"start": "24:00", "end": "06:00"}]}, "blackouts[0].start"),
        ({"blackouts": [{"days": [], "start": "22:00", "end": "06:00"}]}, "blackouts[0].days"),
        ({"limits": {"moves_per_window": -1}}, "limits.moves_per_window"),
        ({"speed": 9}, "speed"),
    ],
)
def test_wrong_schedule_is_refused_by_field(document: dict[str, Any], path: str) -> None:
    """A wrong document names the field."""
    with pytest.raises(InvalidInputError) as caught:
        schedule_from_document(document)
    assert caught.value.path == path
