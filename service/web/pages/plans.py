"""The plans of a cluster, the newest first, and having one made now."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html, no_update

from service.api.services import Services
from service.plans.wishes import request_plan
from service.store.base import KeptPlan
from service.web.door import may, require
from service.web.errors import notice
from service.web.parts import heading, instant
from service.web.plan_rows import stage_of, summary
from service.web.site import Component, Page, Visit

_CLUSTER: Final = "plans-cluster"
_LIST: Final = "plans-list"
_MAKE: Final = "plans-make"
_LIVE: Final = "live"
_MOST: Final = 50


def show(services: Services, visit: Visit) -> Component:
    """Return the list."""
    makes = may(visit.principal, "plans.make", visit.cluster_id)
    shown = {} if makes else {"display": "none"}
    return [
        html.Div(visit.cluster_id, id=_CLUSTER, hidden=True),
        heading("Plans", dmc.Button("Make a plan now", id=_MAKE, style=shown)),
        html.Div(_list(services, visit.cluster_id), id=_LIST),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""

    @app.callback(
        Output(_LIST, "children"),
        Input(_LIVE, "data"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def refresh(_live: str, cluster_id: str) -> Any:
        """Show what has changed meanwhile."""
        require(services, "plans.list", cluster_id)
        return _list(services, cluster_id)

    @app.callback(
        Output(_LIST, "children", allow_duplicate=True),
        Input(_MAKE, "n_clicks"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def make(clicks: int | None, cluster_id: str) -> Any:
        """Ask for a plan."""
        if not clicks:
            return no_update
        principal = require(services, "plans.make", cluster_id)
        with services.store.begin() as tx:
            request_plan(tx, principal, cluster_id, now=services.now())
        notice("Asked for", "The plan appears here as soon as it is made.")
        return _list(services, cluster_id)


def address(cluster_id: str, plan_id: str) -> str:
    """Return where a plan is shown."""
    return f"/clusters/{quote(cluster_id, safe='')}/plans/{quote(plan_id, safe='')}"


def _list(services: Services, cluster_id: str) -> Component:
    with services.store.begin(read_only=True) as tx:
        kept = tx.plans.page(cluster_id, limit=_MOST)
    if not kept:
        return dmc.Text("No plan was made yet.")
    head = dmc.TableThead(
        dmc.TableTr([dmc.TableTh(name) for name in ("Made at", "For", "Stage", "What it is worth")])
    )
    body = dmc.TableTbody([_row(plan) for plan in kept])
    return dmc.Table([head, body], striped=True)


def _row(kept: KeptPlan) -> Component:
    link = dmc.Anchor(
        instant(kept.made_at), href=address(kept.cluster_id, kept.id), underline="always"
    )
    cells = (link, kept.trigger, stage_of(kept), summary(kept))
    return dmc.TableTr([dmc.TableTd(cell) for cell in cells])


PAGE: Final = Page(
    path="/clusters/<cluster_id>/plans",
    title="Plans",
    operation="plans.list",
    label="Plans",
    show=show,
    listen=listen,
)
