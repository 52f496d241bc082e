"""How the schedule of a cluster stands: what was done last, what is next, what holds it back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import dash_mantine_components as dmc
from dash import html

from service.plans.schedule import Schedule, schedule_from_document
from service.present import present
from service.runtime.kept import RUNTIME
from service.runtime.observing import SPANS, scorecard
from service.store.base import Item, Transaction
from service.web.parts import figure, instant, small_table
from service.web.schedule_form import upcoming
from service.web.site import Component

SCORED_PLANS: Final = 1_000
"""Latest plans that the scorecard is of."""

_AUTOMATION: Final = {
    "recommend": "recommends",
    "approve": "waits for approval",
    "automatic": "automatic",
}


def status(tx: Transaction, cluster_id: str, item: Item | None, now: datetime) -> list[Component]:
    """Return how it stands."""
    kept = tx.blobs.get(cluster_id, RUNTIME)
    told: Mapping[str, Any] = {} if kept is None else json.loads(kept[1])
    schedule = schedule_from_document(None if item is None else item.document)
    runs = _runs(schedule, present(tx, cluster_id, now))
    return [*_held_back(schedule, told), _figures(schedule, item, told), runs]


def scores(tx: Transaction, cluster_id: str) -> list[Component]:
    """Return what plans were worth by the demand that was then observed."""
    plans = tx.plans.heads(cluster_id, limit=SCORED_PLANS)
    title = dmc.Title("What plans were worth", order=2, size="h4", mt="xl", mb="xs")
    rows = [
        [f"{who}, within {span}", *_worth(score)]
        for span in SPANS
        for who, score in _by_who(scorecard(plans, span=span)).items()
        if score["num_plans"]
    ]
    if not rows:
        hint = "No plan is old enough to be looked back on. The first is, 5 minutes after it."
        return [title, dmc.Text(hint, c="dimmed")]
    hint = "By the demand that was observed afterwards, in host-seconds of weighted shortfall."
    head = ("Plans", "Number", "Moves", "Without", "With", "Saved", "Had been expected")
    table = small_table("What plans were worth", head, rows)
    return [title, dmc.Text(hint, size="sm", c="dimmed"), table]


def _by_who(card: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {"Nobody ran": card["not_run"], "Run": card["run"]}


def _worth(score: Mapping[str, Any]) -> list[str]:
    host_s = ("without_host_s", "with_host_s", "saved_host_s", "expected_saved_host_s")
    return [
        f"{score['num_plans']:,}",
        f"{score['num_moves']:,}",
        *[f"{score[name]:,.1f}" for name in host_s],
    ]


def _held_back(schedule: Schedule, told: Mapping[str, Any]) -> list[Component]:
    alerts = []
    if schedule.paused:
        alerts.append(("Paused", "Nothing is planned by itself, and nothing is begun."))
    if told.get("error"):
        alerts.append(("The cluster cannot be seen", str(told["error"])))
    if told.get("objections"):
        sentences = dmc.List([dmc.ListItem(each) for each in told["objections"]], size="sm")
        alerts.append(("Nothing is done on the present telemetry", sentences))
    return [_alert(title, text) for title, text in alerts]


def _alert(title: str, text: Component) -> Component:
    return dmc.Alert(text, title=title, color="yellow", variant="default", mb="sm")


def _figures(schedule: Schedule, item: Item | None, told: Mapping[str, Any]) -> Component:
    figures = [figure("By itself", _AUTOMATION[schedule.automation.value])]
    figures += [
        figure(label, instant(at))
        for name, label in _INSTANTS.items()
        if (at := _instant(told.get(name))) is not None
    ]
    if told.get("forecaster"):
        figures.append(figure("Forecast by", told["forecaster"]))
    if told.get("emptying"):
        figures.append(figure("Being emptied", ", ".join(told["emptying"])))
    if item is not None and item.changed_at is not None:
        figures.append(figure(f"Set by {item.changed_by}", instant(item.changed_at)))
    outcome = f"Last outcome: {told['last_outcome']}" if told.get("last_outcome") else ""
    if not told:
        outcome = "Nobody has looked at this cluster yet: no process leads it."
    return html.Div(
        [
            dmc.Group(figures, gap="xl", mb="xs"),
            dmc.Text(outcome, size="sm", c="dimmed", mb="sm") if outcome else None,
        ]
    )


_INSTANTS: Final = {
    "last_run_at": "Planned last",
    "forecast_at": "Forecast made",
    "blackout_until": "Blackout until",
    "retry_at": "Tried again",
}


def _runs(schedule: Schedule, now: datetime) -> Component:
    found = upcoming(schedule, now)
    title = dmc.Title("Next runs", order=2, size="h4", mb="xs")
    if not found:
        return html.Div([title, dmc.Text("None is ahead.", c="dimmed")])
    rows = [
        [f"{run.at.astimezone(schedule.zone):%a %Y-%m-%d %H:%M}", instant(run.at), run.note]
        for run in found
    ]
    head = (f"In {schedule.zone.key}", "By your clock", "")
    return html.Div([title, small_table("Next runs", head, rows)])


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
