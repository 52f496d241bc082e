"""When a cluster is balanced by itself, and how far that goes: plain data and pure functions.

What was missed while nothing ran is made up for once, not once for every time missed: only the
first instant since the last run is asked for.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import Field

from solver.domain.errors import InvalidInputError
from solver.domain.zones import time_zone
from solver.schema import Name, Strict, checked

DEFAULT_INTERVAL_MINUTES: Final = 15
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""In the order of ``datetime.weekday``."""

_EPOCH: Final = datetime(2000, 1, 3, tzinfo=UTC)
"""A Monday: from here on intervals are counted, so that a restart does not shift them."""

_LONGEST_BLACKOUT: Final = timedelta(days=8)
"""Minutes of a week, and some: a blackout that has not ended by then does not end."""


class Automation(enum.StrEnum):
    """How far balancing goes by itself."""

    RECOMMEND = "recommend"
    """Plans are made, shown and scored, and none is ever carried out."""
    APPROVE = "approve"
    """Plans wait for an operator."""
    AUTOMATIC = "automatic"
    """Plans are begun at once."""


class BlackoutModel(Strict):
    """A part of a day in which no move is begun."""

    days: Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], Field()] = (
        Field(default=list(DAYS), description="Days on which it begins.")
    )
    start: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = Field(
        description="Wall-clock time at which it begins, as HH:MM."
    )
    end: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = Field(
        description="Wall-clock time at which it ends; on the next day if not after the start."
    )


class PlanLimitsModel(Strict):
    """How much may be moved."""

    moves_per_window: Annotated[int, Field(ge=0, le=100_000)] | None = Field(
        default=None, description="Most moves within the window; none for no limit."
    )
    window_minutes: Annotated[int, Field(ge=5, le=10_080)] = 1_440
    moves_per_host: Annotated[int, Field(ge=0, le=10_000)] | None = Field(
        default=None, description="Most moves to and from one host in one plan."
    )
    min_benefit_host_s: Annotated[float, Field(ge=0, le=1e9)] = Field(
        default=0.0, description="A plan that saves less is not proposed; repairs are exempt."
    )


class QualityModel(Strict):
    """From what telemetry on nothing is done."""

    stale_after_minutes: Annotated[int, Field(ge=5, le=1_440)] = Field(
        default=20, description="Age of the newest reading above which telemetry is stale."
    )
    silent_hosts_percent: Annotated[float, Field(ge=0, le=100)] = Field(
        default=20.0,
        description="Share of hosts out of reach or silent above which nothing is done.",
    )
    vms_without_data_percent: Annotated[float, Field(ge=0, le=100)] = Field(
        default=20.0,
        description="Share of VMs without a recent reading above which nothing is done.",
    )
    implausible_percent: Annotated[float, Field(ge=0, le=100)] = Field(
        default=10.0,
        description="Share of VMs with impossible readings above which nothing is done.",
    )


class ScheduleModel(Strict):
    """When a cluster is balanced by itself, and how far that goes."""

    automation: Literal["recommend", "approve", "automatic"] = "recommend"
    interval_minutes: Annotated[int, Field(ge=5, le=10_080)] | None = Field(
        default=None, description="Minutes between plans; 15 where no cron is given either."
    )
    cron: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="Instead of an interval: five fields, in the time zone."
    )
    time_zone: Name = Field(default="UTC", description="Of cron and blackouts, as in tz database.")
    blackouts: Annotated[list[BlackoutModel], Field(max_length=50)] = Field(default=[])
    limits: PlanLimitsModel = PlanLimitsModel()
    quality: QualityModel = QualityModel()
    paused: bool = Field(default=False, description="Nothing is planned by itself, nothing begun.")
    retries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=1, description="How often it is planned anew after a plan that did not do all."
    )
    retry_minutes: Annotated[int, Field(ge=1, le=1_440)] = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Blackout:
    """A part of a day in which no move is begun.

    Parameters
    ----------
    days
        On which it begins, Monday being 0.
    start, end
        Wall-clock times; a blackout that ends no later than it starts ends on the next day.
    """

    days: frozenset[int]
    start: time
    end: time

    def covers(self, local: datetime) -> bool:
        """Tell whether a wall-clock time lies within it."""
        today = local.weekday() in self.days
        if self.start < self.end:
            return today and self.start <= local.time() < self.end
        yesterday = (local.weekday() - 1) % 7 in self.days
        return (today and local.time() >= self.start) or (yesterday and local.time() < self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may be moved; ``None`` for no limit."""

    moves_per_window: int | None = None
    window: timedelta = timedelta(days=1)
    moves_per_host: int | None = None
    min_benefit_host_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """From what telemetry on nothing is done; shares are fractions."""

    stale_after: timedelta = timedelta(minutes=20)
    silent_hosts_fraction: float = 0.2
    vms_without_data_fraction: float = 0.2
    implausible_fraction: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a cluster is balanced by itself, and how far that goes.

    Parameters
    ----------
    interval
        Between plans; ``None`` where ``cron`` says when.
    zone
        Of cron and blackouts.
    paused
        Nothing is planned by itself, and nothing is begun.
    retries, retry_after
        How often, and how long after, it is planned anew when a plan has not done all it was to do.
    """

    automation: Automation = Automation.RECOMMEND
    interval: timedelta | None = timedelta(minutes=DEFAULT_INTERVAL_MINUTES)
    cron: str | None = None
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    blackouts: tuple[Blackout, ...] = ()
    limits: Limits = Limits()
    quality: Quality = Quality()
    paused: bool = False
    retries: int = 1
    retry_after: timedelta = timedelta(minutes=10)


def schedule_from_document(document: Mapping[str, Any] | None) -> Schedule:
    """Return the schedule of a document; the default one without.

    Raises
    ------
    InvalidInputError
        If anything in it is wrong, naming the field.
    """
    model = checked(ScheduleModel, {} if document is None else dict(document))
    if model.cron is not None and model.interval_minutes is not None:
        raise InvalidInputError("expected an interval or a cron, got both", path="cron")
    zone = time_zone(model.time_zone)
    if model.cron is not None:
        _require_cron(model.cron)
    minutes = model.interval_minutes or DEFAULT_INTERVAL_MINUTES
    return Schedule(
        automation=Automation(model.automation),
        interval=None if model.cron is not None else timedelta(minutes=minutes),
        cron=model.cron,
        zone=zone,
        blackouts=tuple(_blackout(i, item) for i, item in enumerate(model.blackouts)),
        limits=Limits(
            moves_per_window=model.limits.moves_per_window,
            window=timedelta(minutes=model.limits.window_minutes),
            moves_per_host=model.limits.moves_per_host,
            min_benefit_host_s=model.limits.min_benefit_host_s,
        ),
        quality=Quality(
            stale_after=timedelta(minutes=model.quality.stale_after_minutes),
            silent_hosts_fraction=model.quality.silent_hosts_percent / 100,
            vms_without_data_fraction=model.quality.vms_without_data_percent / 100,
            implausible_fraction=model.quality.implausible_percent / 100,
        ),
        paused=model.paused,
        retries=model.retries,
        retry_after=timedelta(minutes=model.retry_minutes),
    )


def next_due(schedule: Schedule, after: datetime) -> datetime | None:
    """Return the first instant of the schedule after another; ``None`` if there is none.

    Where clocks are set back, a cron's hour that comes twice counts once; where they are set
    forward, an instant that is left out comes right after the gap.
    """
    if schedule.interval is not None:
        return _EPOCH + ((after - _EPOCH) // schedule.interval + 1) * schedule.interval
    assert schedule.cron is not None
    for local in CronSim(schedule.cron, after.astimezone(schedule.zone)):
        at = local.astimezone(UTC)
        # Within the hour that comes twice the walk begins in the first of the two.
        if at > after:
            return at
    return None


def is_due(schedule: Schedule, now: datetime, *, since: datetime | None) -> bool:
    """Tell whether it is time to plan.

    What was missed meanwhile counts once.

    Parameters
    ----------
    since
        When it was planned last, or, if that is later, when a cron was set: it is not asked about
        the time before. ``None`` for never: an interval is then due at once.
    """
    if schedule.paused or in_blackout(schedule, now):
        return False
    if since is None:
        return True
    due_at = next_due(schedule, since)
    return due_at is not None and due_at <= now


def in_blackout(schedule: Schedule, now: datetime) -> bool:
    """Tell whether no move may be begun at an instant."""
    local = now.astimezone(schedule.zone)
    return any(blackout.covers(local) for blackout in schedule.blackouts)


def blackout_ends_at(schedule: Schedule, now: datetime) -> datetime | None:
    """Return when the blackout in force ends; ``None`` if there is none, or no end."""
    if not in_blackout(schedule, now):
        return None
    at = now.replace(second=0, microsecond=0)
    while at - now < _LONGEST_BLACKOUT:
        at += timedelta(minutes=1)
        if not in_blackout(schedule, at):
            return at
    return None


def _require_cron(expression: str) -> None:
    if len(expression.split()) != 5:
        raise InvalidInputError(
            f"expected five fields (minute hour day month weekday), got {expression!r}", path="cron"
        )
    try:
        CronSim(expression, _EPOCH)
    except CronSimError as error:
        raise InvalidInputError(f"expected a cron, got {expression!r}: {error}", path="cron") from (
            error
        )


def _blackout(position: int, model: BlackoutModel) -> Blackout:
    if not model.days:
        raise InvalidInputError(
            "expected at least one day, got none", path=f"blackouts[{position}].days"
        )
    return Blackout(
        days=frozenset(DAYS.index(day) for day in model.days),
        start=time.fromisoformat(model.start),
        end=time.fromisoformat(model.end),
    )
