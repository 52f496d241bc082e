"""The schedule of a cluster as fields of a form, and the runs that it leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from service.errors import InvalidRequestError
from service.plans.schedule import (
    DEFAULT_INTERVAL_MINUTES,
    Schedule,
    ScheduleModel,
    blackout_ends_at,
    in_blackout,
    next_due,
)
from service.web.fields import flat, nested, validated, without_empty
from solver.schema import show

NUM_UPCOMING: Final = 5
"""Runs ahead that are shown."""
_MOST_SKIPPED: Final = 10_000
"""Runs in one blackout that are passed over; one of eight days, a run every minute."""

NEW_BLACKOUT: Final = {
    "days": ["mon", "tue", "wed", "thu", "fri"],
    "start": "08:00",
    "end": "18:00",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upcoming:
    """A run ahead.

    Parameters
    ----------
    note
        What is particular about it; empty for nothing.
    """

    at: datetime
    note: str = ""


def fields_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands in each field of the form, blackouts apart."""
    told = ScheduleModel.model_validate(dict(document)).model_dump(exclude={"blackouts", "paused"})
    if told["cron"] is None and told["interval_minutes"] is None:
        told["interval_minutes"] = DEFAULT_INTERVAL_MINUTES
    return flat(told)


def blackouts_of(by_path: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the blackouts of what was typed."""
    typed = {path: value for path, value in by_path.items() if path.startswith("blackouts[")}
    found: list[dict[str, Any]] = nested(typed).get("blackouts", [])
    return found


def document_of(by_path: Mapping[str, Any], *, paused: bool) -> dict[str, Any]:
    """Return the document that was typed.

    Raises
    ------
    InvalidRequestError
        With everything that is wrong in single fields.
    """
    document = nested({**without_empty(by_path), "paused": paused})
    try:
        validated(ScheduleModel, document)
    except InvalidRequestError as error:
        raise InvalidRequestError([_in_words(*each, by_path) for each in error.errors]) from error
    return document


def _in_words(path: str, message: str, by_path: Mapping[str, Any]) -> tuple[str, str]:
    """Return an error, of a time of day without the pattern that it does not match."""
    if path.endswith((".start", ".end")):
        return path, f"expected a time such as 22:00, got {show(by_path.get(path) or '')}"
    return path, message


def upcoming(schedule: Schedule, now: datetime, number: int = NUM_UPCOMING) -> list[Upcoming]:
    """Return the next runs; those that fall into a blackout are made up for once at its end."""
    found: list[Upcoming] = []
    after = now
    while not schedule.paused and len(found) < number:
        at = next_due(schedule, after)
        if at is None:
            break
        ends_at = blackout_ends_at(schedule, at)
        if ends_at is None:
            found.append(Upcoming(at=at, note=_never_ends(schedule, at)))
            if found[-1].note:
                break
        else:
            found.append(Upcoming(at=ends_at, note="held back until the blackout is over"))
        after = at if ends_at is None else _last_within(schedule, at, ends_at)
    return found


def _never_ends(schedule: Schedule, at: datetime) -> str:
    return "never: blackouts leave no time at all" if in_blackout(schedule, at) else ""


def _last_within(schedule: Schedule, at: datetime, ends_at: datetime) -> datetime:
    """Return the last instant of the schedule up to the end of a blackout."""
    for _ in range(_MOST_SKIPPED):
        following = next_due(schedule, at)
        if following is None or following > ends_at:
            break
        at = following
    return at
