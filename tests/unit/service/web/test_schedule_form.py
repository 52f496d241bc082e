"""Schedules as forms, and the runs they lead to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.errors import InvalidRequestError
from service.plans.schedule import schedule_from_document
from service.web.schedule_form import blackouts_of, document_of, fields_of, upcoming

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def runs(document: dict[str, Any], now: datetime = NOON) -> list[tuple[str, str]]:
    """Return the next runs of a schedule, by the clock of UTC."""
    found = upcoming(schedule_from_document(document), now)
    return [(f"{run.at:%a %H:%M}", run.note) for run in found]


def test_a_document_survives_the_form() -> None:
    """What stands is shown and saved as it was, fields left empty stay unset."""
    document: dict[str, Any] = {
        "automation": "approve",
        "cron": "0 2 * * *",
        "time_zone": "Europe/Berlin",
        "blackouts": [{"days": ["mon"], "start": "22:00", "end": "06:00"}],
        "limits": {"moves_per_window": 10},
    }
    shown = fields_of(document) | {
        f"blackouts[0].{name}": value for name, value in document["blackouts"][0].items()
    }
    saved = document_of(shown, paused=True)
    assert schedule_from_document(saved) == schedule_from_document(document | {"paused": True})
    assert blackouts_of(shown) == document["blackouts"]


def test_the_default_interval_is_shown() -> None:
    """A cluster without a schedule is balanced every quarter of an hour: the form says so."""
    assert fields_of({})["interval_minutes"] == 15
    assert fields_of({"cron": "0 2 * * *"})["interval_minutes"] is None


def test_slips_name_their_fields() -> None:
    """A blackout without an end and a number out of bounds are told together."""
    with pytest.raises(InvalidRequestError) as caught:
        document_of({"blackouts[0].start": "25:00", "retries": -1}, paused=False)
    found = {path for path, _ in caught.value.errors}
    assert found == {"blackouts[0].start", "blackouts[0].end", "retries"}
    assert ("blackouts[0].start", 'expected a time such as 22:00, got "25:00"') in (
        caught.value.errors
    )


def test_runs_follow_one_another() -> None:
    """An interval leads to one run after the other."""
    assert [at for at, _ in runs({"interval_minutes": 60})][:2] == ["Mon 13:00", "Mon 14:00"]


def test_runs_in_a_blackout_are_made_up_for_once() -> None:
    """However many fall into it, one comes at its end; the next follow the schedule again."""
    blackout = {"start": "13:30", "end": "18:10"}
    found = runs({"interval_minutes": 60, "blackouts": [blackout]})
    assert found[:3] == [
        ("Mon 13:00", ""),
        ("Mon 18:10", "held back until the blackout is over"),
        ("Mon 19:00", ""),
    ]


def test_a_paused_cluster_has_no_runs() -> None:
    """Nothing is planned by itself."""
    assert runs({"paused": True}) == []


def test_blackouts_without_end_leave_no_run() -> None:
    """It is said rather than searched for ever."""
    found = runs({"blackouts": [{"start": "00:00", "end": "00:00"}]})
    assert [note for _, note in found] == ["never: blackouts leave no time at all"]


def test_runs_by_cron_keep_to_its_zone() -> None:
    """Two in the morning in Berlin is one by UTC in winter."""
    found = upcoming(
        schedule_from_document({"cron": "0 2 * * *", "time_zone": "Europe/Berlin"}), NOON
    )
    assert found[0].at - NOON == timedelta(hours=13)
