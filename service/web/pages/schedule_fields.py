"""The fields of a schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from zoneinfo import available_timezones

import dash_mantine_components as dmc
from dash import html

from service.plans.schedule import DAYS
from service.web.fields import field_id
from service.web.schedule_form import fields_of
from service.web.site import Component

FORM: Final = "schedule"

_AUTOMATION: Final = {
    "recommend": "Recommend, run none",
    "approve": "Run what is approved",
    "automatic": "Run at once",
}

_NUMBERS: Final[Mapping[str, Sequence[tuple[str, str, str]]]] = {
    "How much may be moved": (
        ("limits.moves_per_window", "Most moves in a window", "empty for no limit"),
        ("limits.window_minutes", "Window, minutes", "1440 is a day"),
        ("limits.moves_per_host", "Most moves of one host in a plan", "empty for no limit"),
        (
            "limits.min_benefit_host_s",
            "Least benefit, host-seconds",
            "less is not proposed",
        ),
    ),
    "From what telemetry on nothing is done": (
        ("quality.stale_after_minutes", "Stale after, minutes", "age of the newest reading"),
        (
            "quality.silent_hosts_percent",
            "Hosts silent, %",
            "most out of reach",
        ),
        (
            "quality.vms_without_data_percent",
            "VMs without data, %",
            "most without a reading",
        ),
        (
            "quality.implausible_percent",
            "VMs implausible, %",
            "most with impossible readings",
        ),
    ),
    "After a plan that did not do all": (
        ("retries", "Tries more", "0 for none"),
        ("retry_minutes", "Minutes until then", "since the plan ended"),
    ),
}
"""Group → path, label and description of each number."""

_DROP: Final = "schedule-drop-blackout"


def fields(document: Mapping[str, Any], edits: bool) -> list[Component]:
    """Return the fields, blackouts apart."""
    known = fields_of(document)
    groups = [
        _group(legend, [_number(known, edits, *each) for each in numbers])
        for legend, numbers in _NUMBERS.items()
    ]
    return [_group("How far it goes, and when", _when(known, edits)), *groups]


def blackout_fields(rows: Sequence[Mapping[str, Any]], edits: bool) -> Component:
    """Return the fields of each blackout."""
    if not rows:
        return dmc.Text("None: moves may begin at any time.", c="dimmed")
    return dmc.Stack([_blackout(i, row, edits) for i, row in enumerate(rows)], gap="xs")


def _when(known: Mapping[str, Any], edits: bool) -> list[Component]:
    zones = sorted({*available_timezones(), str(known["time_zone"])})
    return [
        dmc.Select(
            id=field_id(FORM, "automation"),
            label="Automation",
            description="what becomes of plans",
            data=[{"value": value, "label": label} for value, label in _AUTOMATION.items()],
            value=known["automation"],
            allowDeselect=False,
            readOnly=not edits,
        ),
        _number(
            known, edits, "interval_minutes", "Every so many minutes", "empty where cron says when"
        ),
        dmc.TextInput(
            id=field_id(FORM, "cron"),
            label="Or by cron",
            description="minute hour day month weekday",
            placeholder="0 2 * * mon-fri",
            value=known["cron"] or "",
            readOnly=not edits,
        ),
        dmc.Select(
            id=field_id(FORM, "time_zone"),
            label="Time zone",
            description="of cron and blackouts",
            data=zones,
            value=known["time_zone"],
            searchable=True,
            limit=50,
            allowDeselect=False,
            nothingFoundMessage="No such time zone",
            readOnly=not edits,
        ),
    ]


def _number(
    known: Mapping[str, Any], edits: bool, path: str, label: str, description: str
) -> Component:
    value = known[path]
    return dmc.NumberInput(
        id=field_id(FORM, path),
        label=label,
        description=description or None,
        value="" if value is None else value,
        readOnly=not edits,
    )


def _group(legend: str, parts: Sequence[Component]) -> Component:
    return dmc.Fieldset(
        dmc.SimpleGrid(list(parts), cols={"base": 1, "sm": 2, "lg": 4}),
        legend=legend,
        mb="md",
    )


def _blackout(i: int, row: Mapping[str, Any], edits: bool) -> Component:
    days = dmc.MultiSelect(
        id=field_id(FORM, f"blackouts[{i}].days"),
        label="Begins on",
        data=[{"value": day, "label": day.capitalize()} for day in DAYS],
        value=list(row.get("days", DAYS)),
        readOnly=not edits,
        w=470,
        maw="100%",
    )
    drop = dmc.Button(
        "Remove",
        id={"type": _DROP, "row": i},
        variant="default",
        mt=25,
        style={} if edits else {"display": "none"},
        **{"aria-label": f"Remove blackout {i + 1}"},
    )
    times = [_time(i, name, label, row, edits) for name, label in _TIMES.items()]
    return html.Div(dmc.Group([days, *times, drop], align="flex-start"))


_TIMES: Final = {"start": "From", "end": "Until"}


def _time(i: int, name: str, label: str, row: Mapping[str, Any], edits: bool) -> Component:
    return dmc.TextInput(
        id=field_id(FORM, f"blackouts[{i}].{name}"),
        label=label,
        placeholder="HH:MM",
        value=row.get(name) or "",
        readOnly=not edits,
        w=120,
    )
