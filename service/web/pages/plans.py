"""The plans of a cluster, the newest first, what came of them, and having one made now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update

from service.api.services import Services
from service.plans.wishes import request_plan
from service.runtime.observing import scorecard
from service.store.base import PlanHead
from service.web.door import may, require
from service.web.errors import notice
from service.web.parts import heading, instant, small_table
from service.web.plan_rows import SPANS, history_row, host_s
from service.web.site import Component, Page, Visit
from service.web.tables import place

_CLUSTER: Final = "plans-cluster"
_LIST: Final = "plans-list"
_MAKE: Final = "plans-make"
_MORE: Final = "plans-more"
_SCORES: Final = "plans-scores"
_OFTEN: Final = "plans-often"
_LIVE: Final = "live"

_PAGE: Final = 50
"""Plans that are shown more of at a time."""
_SCORED: Final = 200
"""Latest plans that the scorecard of the page is of; the API's is of more."""
_SCORE_EVERY_MS: Final = 60_000


def show(services: Services, visit: Visit) -> Component:
    """Return the list."""
    makes = may(visit.principal, "plans.make", visit.cluster_id)
    shown = {} if makes else {"display": "none"}
    found, more = _list(services, visit.cluster_id, _PAGE)
    return [
        html.Div(visit.cluster_id, id=_CLUSTER, hidden=True),
        dcc.Interval(id=_OFTEN, interval=_SCORE_EVERY_MS),
        heading("Plans", dmc.Button("Make a plan now", id=_MAKE, style=shown)),
        html.Div(found, id=_LIST),
        dmc.Button("Show older plans", id=_MORE, variant="default", mt="sm", style=more),
        html.Div(_scores(services, visit.cluster_id), id=_SCORES),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""

    @app.callback(
        Output(_LIST, "children"),
        Output(_MORE, "style"),
        Input(_LIVE, "data"),
        Input(_MORE, "n_clicks"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def refresh(_live: str, more: int | None, cluster_id: str) -> Any:
        """Show what has changed meanwhile, and as many as were asked for."""
        require(services, "plans.list", cluster_id)
        return _list(services, cluster_id, _PAGE * (1 + (more or 0)))

    @app.callback(
        Output(_SCORES, "children"),
        Input(_OFTEN, "n_intervals"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def score(_times: int | None, cluster_id: str) -> Any:
        """Show what was looked back on meanwhile."""
        require(services, "plans.scorecard", cluster_id)
        return _scores(services, cluster_id)

    @app.callback(
        Output(_LIST, "children", allow_duplicate=True),
        Input(_MAKE, "n_clicks"),
        State(_MORE, "n_clicks"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def make(clicks: int | None, more: int | None, cluster_id: str) -> Any:
        """Ask for a plan."""
        if not clicks:
            return no_update
        principal = require(services, "plans.make", cluster_id)
        with services.store.begin() as tx:
            request_plan(tx, principal, cluster_id, now=services.now())
        notice("Asked for", "The plan appears here as soon as it is made.")
        return _list(services, cluster_id, _PAGE * (1 + (more or 0)))[0]


def _list(services: Services, cluster_id: str, most: int) -> tuple[Component, dict[str, str]]:
    """Return the plans, and the style of the button for more of them."""
    with services.store.begin(read_only=True) as tx:
        kept = tx.plans.heads(cluster_id, limit=most + 1)
    if not kept:
        return dmc.Text("No plan was made yet."), {"display": "none"}
    names = ("Made at", "For", "Stage", "What it is worth", "Moves")
    saved = tuple(f"Saved in {words}" for words in SPANS.values())
    found = small_table("Plans", (*names, *saved), [_row(plan) for plan in kept[:most]])
    return found, {} if len(kept) > most else {"display": "none"}


def _row(kept: PlanHead) -> tuple[Component, ...]:
    row = history_row(kept)
    link = dmc.Anchor(
        instant(kept.made_at),
        href=place(kept.cluster_id, "plans", kept.id),
        underline="always",
        size="sm",
        style={"whiteSpace": "nowrap"},
    )
    told = (row[name] for name in ("trigger", "stage", "worth", "moves", *SPANS))
    return (link, *told)


def _scores(services: Services, cluster_id: str) -> Component:
    with services.store.begin(read_only=True) as tx:
        kept = tx.plans.heads(cluster_id, limit=_SCORED)
    body = [
        _scored(words, label, card)
        for span, words in SPANS.items()
        for label, card in _cards(scorecard(kept, span=span))
    ]
    title = dmc.Title("Scorecard", order=2, size="h5", mt="lg", mb="xs")
    if not body:
        return [title, dmc.Text(_NOTHING_YET, size="sm")]
    names = ("After", "Plans", "How many", "Moves", "Predicted to save", "Saved", "Without", "With")
    told = dmc.Text(_WHAT_IT_IS, size="sm", c="dimmed", mb="xs")
    return [title, told, small_table("Scorecard", names, body)]


_WHAT_IT_IS: Final = (
    f"What the latest {_SCORED} plans saved by the demand that was then observed, in host-seconds "
    "of shortfall; those nobody ran, as if they had been run. Spans of plans overlap. Predicted is "
    "the hour after each plan."
)
_NOTHING_YET: Final = (
    "No plan could be looked back on yet. Each is, 5 minutes, 1 hour and 24 hours after it was "
    "made, whether it was run or not."
)


def _cards(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    cards = (("run", found["run"]), ("never run", found["not_run"]))
    return [(label, card) for label, card in cards if card["num_plans"]]


def _scored(words: str, label: str, card: Mapping[str, Any]) -> tuple[str, ...]:
    predicted = card["expected_saved_host_s"] if words == SPANS["1h"] else None
    return (
        words,
        label,
        f"{card['num_plans']:,}",
        f"{card['num_moves']:,}",
        host_s(predicted),
        host_s(card["saved_host_s"]),
        host_s(card["without_host_s"]),
        host_s(card["with_host_s"]),
    )


PAGE: Final = Page(
    path="/clusters/<cluster_id>/plans",
    title="Plans",
    operation="plans.list",
    label="Plans",
    show=show,
    listen=listen,
)
