"""The schedule of a cluster: when and how far it is balanced by itself, and what holds it back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update

from service.api.services import Services
from service.plans.schedule import schedule_from_document
from service.plans.wishes import put_schedule
from service.security.principal import Principal
from service.store.base import Item, Kind, Transaction
from service.web.door import may, require
from service.web.errors import notice
from service.web.fields import every_field, placed, typed
from service.web.pages.schedule_fields import FORM, blackout_fields, fields
from service.web.pages.schedule_status import scores, status
from service.web.parts import heading, in_the_way
from service.web.schedule_form import NEW_BLACKOUT, blackouts_of, document_of
from service.web.site import Component, Page, Visit
from solver.domain.errors import ForeswapError

_CLUSTER: Final = "schedule-cluster"
_REVISION: Final = "schedule-revision"
_NOW: Final = "schedule-now"
_SCORES: Final = "schedule-scores"
_BLACKOUTS: Final = "schedule-blackouts"
_ADD: Final = "schedule-add-blackout"
_DROP: Final = "schedule-drop-blackout"
_SAVE: Final = "schedule-save"
_PAUSE: Final = "schedule-pause"
_WRONG: Final = "schedule-wrong"
_LIVE: Final = "live"


def show(services: Services, visit: Visit) -> Component:
    """Return how the schedule stands, and the form to change it."""
    with services.store.begin(read_only=True) as tx:
        item = _kept(tx, visit.cluster_id)
        now = status(tx, visit.cluster_id, item, services.now())
        scored = scores(tx, visit.cluster_id)
    edits = may(visit.principal, "schedule.put", visit.cluster_id)
    shown = {} if edits else {"display": "none"}
    paused = _is_paused(item)
    pause = dmc.Button(_pausing(paused), id=_PAUSE, variant="default", style=shown)
    document = {} if item is None else item.document
    return [
        html.Div(visit.cluster_id, id=_CLUSTER, hidden=True),
        dcc.Store(id=_REVISION, data=_revision(item)),
        heading("Schedule", pause),
        html.Div(now, id=_NOW),
        dmc.Title("What is wanted", order=2, size="h4", mt="lg", mb="sm"),
        *fields(document, edits),
        dmc.Title("Blackouts: no move is begun", order=3, size="h5", mt="md", mb="xs"),
        html.Div(blackout_fields(document.get("blackouts", []), edits), id=_BLACKOUTS),
        dmc.Group(
            [
                dmc.Button("Add a blackout", id=_ADD, variant="default", style=shown),
                dmc.Button("Save", id=_SAVE, style=shown),
            ],
            mt="md",
        ),
        html.Div(id=_WRONG, role="alert"),
        html.Div(scored, id=_SCORES),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""
    _listen_to_blackouts(app)
    _listen_to_wishes(app, services)

    @app.callback(
        Output(_NOW, "children"),
        Output(_SCORES, "children"),
        Output(_PAUSE, "children"),
        Input(_LIVE, "data"),
        State(_REVISION, "data"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def refresh(_live: str, revision: int, cluster_id: str) -> Any:
        """Show how it stands by now."""
        require(services, "schedule.show", cluster_id)
        with services.store.begin(read_only=True) as tx:
            item = _kept(tx, cluster_id)
            now = status(tx, cluster_id, item, services.now())
            scored = scores(tx, cluster_id)
        behind = [] if revision == _revision(item) else [_changed_by(item)]
        return [*behind, *now], scored, _pausing(_is_paused(item))


def _listen_to_blackouts(app: Dash) -> None:
    @app.callback(
        Output(_BLACKOUTS, "children"),
        Input(_ADD, "n_clicks"),
        Input({"type": _DROP, "row": ALL}, "n_clicks"),
        State(every_field(FORM), "id"),
        State(every_field(FORM), "value"),
        prevent_initial_call=True,
    )
    def change(
        _add: int | None, _drop: Sequence[int | None], ids: list[Any], values: list[Any]
    ) -> Any:
        """Show one blackout more or less; the others stay as they were typed."""
        if not any(event["value"] for event in ctx.triggered):
            return no_update
        rows = blackouts_of(typed(ids, values))
        if ctx.triggered_id == _ADD:
            rows.append(dict(NEW_BLACKOUT))
        else:
            del rows[ctx.triggered_id["row"]]
        return blackout_fields(rows, edits=True)


def _listen_to_wishes(app: Dash, services: Services) -> None:
    @app.callback(
        Output(every_field(FORM), "error"),
        Output(_WRONG, "children"),
        Output(_REVISION, "data"),
        Output(_NOW, "children", allow_duplicate=True),
        Input(_SAVE, "n_clicks"),
        State(every_field(FORM), "id"),
        State(every_field(FORM), "value"),
        State(_REVISION, "data"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def save(
        clicks: int | None, ids: list[Any], values: list[Any], revision: int, cluster_id: str
    ) -> Any:
        """Set the schedule as it was typed."""
        if not clicks:
            return [no_update] * len(ids), no_update, no_update, no_update
        principal = require(services, "schedule.put", cluster_id)
        try:
            item = _saved(services, principal, cluster_id, typed(ids, values), revision)
        except ForeswapError as error:
            beside, apart = placed(error, [each["path"] for each in ids])
            return beside, in_the_way(apart), no_update, no_update
        notice("Saved", "The schedule is in force.")
        with services.store.begin(read_only=True) as tx:
            now = status(tx, cluster_id, item, services.now())
        return [""] * len(ids), None, item.revision, now

    @app.callback(
        Output(_PAUSE, "children", allow_duplicate=True),
        Output(_REVISION, "data", allow_duplicate=True),
        Output(_NOW, "children", allow_duplicate=True),
        Input(_PAUSE, "n_clicks"),
        State(_PAUSE, "children"),
        State(_REVISION, "data"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def pause(clicks: int | None, label: str, revision: int, cluster_id: str) -> Any:
        """Let nothing go on by itself, or let it again; what was typed is left alone."""
        if not clicks:
            return (no_update,) * 3
        principal = require(services, "schedule.put", cluster_id)
        before, item = _paused(services, principal, cluster_id, label == _pausing(False))
        with services.store.begin(read_only=True) as tx:
            now = status(tx, cluster_id, item, services.now())
        # A form that was behind stays behind, so that saving it is refused.
        known = item.revision if revision == before else revision
        return _pausing(_is_paused(item)), known, now


def _saved(
    services: Services,
    principal: Principal,
    cluster_id: str,
    by_path: dict[str, Any],
    revision: int,
) -> Item:
    with services.store.begin() as tx:
        paused = _is_paused(_kept(tx, cluster_id))
        return put_schedule(
            tx,
            principal,
            cluster_id,
            document_of(by_path, paused=paused),
            expected_revision=revision,
            now=services.now(),
        )


def _paused(
    services: Services, principal: Principal, cluster_id: str, paused: bool
) -> tuple[int, Item]:
    """Write that it is paused or not; return the revision before, and what stands now."""
    with services.store.begin() as tx:
        item = _kept(tx, cluster_id)
        document = {**({} if item is None else item.document), "paused": paused}
        kept = put_schedule(
            tx,
            principal,
            cluster_id,
            document,
            expected_revision=_revision(item),
            now=services.now(),
        )
    return _revision(item), kept


def _kept(tx: Transaction, cluster_id: str) -> Item | None:
    tx.items.get(Kind.CLUSTER, "", cluster_id)
    return tx.items.find(Kind.SCHEDULE, cluster_id, [cluster_id]).get(cluster_id)


def _revision(item: Item | None) -> int:
    return 0 if item is None else item.revision


def _is_paused(item: Item | None) -> bool:
    return schedule_from_document(None if item is None else item.document).paused


def _pausing(paused: bool) -> str:
    return "Resume" if paused else "Pause"


def _changed_by(item: Item | None) -> Component:
    who = "Somebody" if item is None else item.changed_by
    return dmc.Alert(
        "Load the page again to see it in the form; until then what you typed stands there, and "
        "cannot be saved.",
        title=f"{who} has changed the schedule meanwhile",
        color="yellow",
        variant="default",
        mb="md",
    )


PAGE: Final = Page(
    path="/clusters/<cluster_id>/schedule",
    title="Schedule",
    operation="schedule.show",
    label="Schedule",
    show=show,
    listen=listen,
)
