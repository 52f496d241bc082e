"""A cluster at a glance: its hosts by zone, now and in the next hour, and what to do about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update

from service.api.services import Services
from service.inventory.effective import look_up
from service.inventory.maintenance import set_maintenance
from service.inventory.policies import Maintenance
from service.plans.wishes import ACTIVE
from service.runtime.kept import RUNTIME
from service.security.principal import Principal
from service.store.base import PlanStage, Transaction
from service.web import markup
from service.web.door import may, require
from service.web.errors import notice
from service.web.host_cells import SWITCH, legend, zones
from service.web.host_loads import (
    NAMES,
    ClusterLoad,
    cluster_load,
    promised_percent,
    survival_told,
)
from service.web.parts import clock, figure, heading, instant
from service.web.recommendation import Recommendation, doubts, recommend
from service.web.site import Component, Page, Visit
from service.web.tables import place
from solver.domain.cluster import HostState
from solver.domain.units import FIELDS, HostId, Resource

_CLUSTER: Final = "overview-cluster"
_TOP: Final = "overview-top"
_HOSTS: Final = "overview-hosts"
_DRAWN: Final = "overview-drawn"
_LIVE: Final = "live"
_UNDECIDED: Final = (*ACTIVE, PlanStage.PROPOSED, PlanStage.WANTED)

ON_PAGE: Final = Maintenance(reason="set on the overview")


def show(services: Services, visit: Visit) -> Component:
    """Return the cluster."""
    top, hosts, drawn = _shown(services, visit.principal, visit.cluster_id)
    return [
        html.Div(visit.cluster_id, id=_CLUSTER, hidden=True),
        dcc.Store(id=SWITCH),
        dcc.Store(id=_DRAWN, data=drawn),
        heading("Overview"),
        html.Div(top, id=_TOP),
        *markup.drawn(_HOSTS, hosts),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""
    markup.listen_to(app, _HOSTS)

    @app.callback(
        Output(_TOP, "children"),
        Output(_HOSTS, "data"),
        Output(_DRAWN, "data"),
        Input(_LIVE, "data"),
        State(_CLUSTER, "children"),
        State(_DRAWN, "data"),
        prevent_initial_call=True,
    )
    def refresh(_live: str, cluster_id: str, before: str) -> Any:
        """Show what has changed meanwhile; hosts are drawn anew only if anything of them did."""
        principal = require(services, "hosts.list", cluster_id)
        top, hosts, drawn = _shown(services, principal, cluster_id)
        return top, no_update if drawn == before else markup.written(hosts), drawn

    @app.callback(
        Output(_TOP, "children", allow_duplicate=True),
        Output(_HOSTS, "data", allow_duplicate=True),
        Output(_DRAWN, "data", allow_duplicate=True),
        Input(SWITCH, "data"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def switch(pressed: Mapping[str, str] | None, cluster_id: str) -> Any:
        """Put a host into maintenance, or take it out."""
        if not pressed:
            return (no_update,) * 3
        host_id = pressed["value"]
        principal = require(services, "maintenance.set", cluster_id)
        emptied = _switch(services, principal, cluster_id, HostId(host_id))
        notice(host_id, "is to be emptied and to stay empty" if emptied else "may hold VMs again")
        top, hosts, drawn = _shown(services, principal, cluster_id)
        return top, markup.written(hosts), drawn


def _switch(services: Services, principal: Principal, cluster_id: str, host_id: HostId) -> bool:
    """Turn a host's maintenance on or off; return whether it is on."""
    with services.store.begin() as tx:
        wanted = None if host_id in look_up(tx, cluster_id).maintenance else ON_PAGE
        set_maintenance(
            tx,
            principal,
            cluster_id,
            host_id,
            wanted,
            expected_revision=None,
            now=services.now(),
        )
    return wanted is not None


def _shown(
    services: Services, principal: Principal, cluster_id: str
) -> tuple[Component, Component, str]:
    """Return what stands above the hosts, the hosts, and a word that changes when they do."""
    with services.store.begin(read_only=True) as tx:
        load = cluster_load(tx, cluster_id)
        status = _status(tx, cluster_id)
        plans = tx.plans.page(cluster_id, stages=_UNDECIDED, limit=10)
    acts = may(principal, "maintenance.set", cluster_id)
    top = [
        _recommended(cluster_id, recommend(plans, status), doubts(status)),
        _figures(load),
        legend(load),
    ]
    drawn = hashlib.sha256(repr((load.zones, acts)).encode()).hexdigest()
    return top, zones(load, acts=acts), drawn


def _status(tx: Transaction, cluster_id: str) -> Mapping[str, Any] | None:
    kept = tx.blobs.get(cluster_id, RUNTIME)
    return None if kept is None else dict(json.loads(kept[1]))


def _recommended(cluster_id: str, found: Recommendation, doubtful: Sequence[str]) -> Component:
    words: list[Component] = [
        clock(word) if isinstance(word, datetime) else word for word in found.words
    ]
    if found.plan_id:
        plan = place(cluster_id, "plans", found.plan_id)
        words += [" ", dmc.Anchor("See the plan", href=plan, underline="always")]
    parts = [dmc.Text(words, size="lg")]
    if doubtful:
        parts.append(dmc.Text(f"In doubt: {'; '.join(doubtful)}.", c="var(--mantine-color-error)"))
    label: dict[str, Any] = {"aria-label": "Recommendation"}
    return html.Section(parts, className="recommended", **label)


def _figures(load: ClusterLoad) -> Component:
    cluster = load.inventory.cluster
    num_aside = sum(host.state is not HostState.UP for host in cluster.hosts)
    aside = f" ({num_aside} not serving)" if num_aside else ""
    forecast = "none yet" if load.forecast_at is None else instant(load.forecast_at)
    survives, bad = survival_told(load.survival)
    return dmc.Group(
        [
            figure("Hosts", f"{len(cluster.hosts):,}{aside}"),
            figure("VMs", f"{len(cluster.vms):,}"),
            *(_room(load, resource) for resource in Resource if _limited(load, resource)),
            figure("N+1", html.Span(survives, className="over" if bad else "")),
            figure("Contention, next hour", _host_s(load.total_host_s)),
            figure("Rules in force", f"{len(cluster.rules):,}"),
            figure("Seen at", instant(cluster.observed_at)),
            figure("Forecast at", forecast),
        ],
        gap="xl",
        style={"rowGap": 4},
        mb="xs",
    )


def _limited(load: ClusterLoad, resource: Resource) -> bool:
    if resource in (Resource.CPU, Resource.MEMORY):
        return True
    return bool((load.headroom or {}).get(FIELDS[resource], {}).get("capacity"))


def _room(load: ClusterLoad, resource: Resource) -> Component:
    """Return what is left in the worst moment of the hour; without a forecast, what is promised."""
    name, of = NAMES[resource], (load.headroom or {}).get(FIELDS[resource], {})
    if not of.get("capacity"):
        percent = promised_percent(load, resource)
        return figure(f"{name} promised", "no limit" if percent is None else f"{percent} %")
    left = round(100 * (of["capacity"] - of["peak"]) / of["capacity"])
    return figure(f"{name} headroom", html.Span(f"{left} %", className="over" if left < 0 else ""))


def _host_s(amount: float | None) -> str:
    return "not known yet" if amount is None else f"{amount:,.1f} host-s"


PAGE: Final = Page(
    path="/clusters/<cluster_id>",
    title="Overview",
    operation="hosts.list",
    label="Overview",
    show=show,
    listen=listen,
)
