"""One host: what it carries and will carry, its VMs, maintenance, and why it is hot or stays so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update

from service.api.services import Services
from service.inventory.effective import Inventory, look_up
from service.inventory.maintenance import set_maintenance
from service.inventory.policies import Maintenance
from service.store.base import KeptPlan
from service.store.errors import NotFoundError
from service.web.charts import course_figure, listen_to_chart, source_of
from service.web.door import may, require
from service.web.errors import notice, sentence
from service.web.host_rows import amount_rows, guest_rows, latest_made, vms_on, why_hot
from service.web.migrations import Migration, begun_plans, migration_rows, migrations
from service.web.outlook_parts import (
    course_chart,
    fared,
    migrations_part,
    rules_table,
    span_select,
)
from service.web.parts import figure, heading, small_table, subheading
from service.web.readings import (
    Outlook,
    contention_of,
    hours_of,
    look_at_host,
    quality_of,
    reading_mark,
)
from service.web.rule_lines import rule_lines
from service.web.site import Component, Page, Visit
from service.web.tables import NUMBER, export_button, link, listen_to_export, place, table
from solver.domain.cluster import VM, Host, HostState
from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId

_CLUSTER: Final = "host-cluster"
_HOST: Final = "host-id"
_FACTS: Final = "host-facts"
_CHART: Final = "host-course"
_SPAN: Final = "host-span"
_SEEN: Final = "host-seen"
_FARED: Final = "host-fared"
_REASON: Final = "host-reason"
_DRAIN: Final = "host-drain"
_RETURN: Final = "host-return"
_VMS: Final = "host-vms"
_MOVES: Final = "host-migrations"
_LIVE: Final = "live"

_TOGETHER: Final = "its VMs together, without hours in which one came or went,"

_STATES: Final = {
    HostState.UP: "up",
    HostState.MAINTENANCE: "maintenance",
    HostState.UNREACHABLE: "out of reach",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of a host."""

    inventory: Inventory
    host: Host
    vms: tuple[VM, ...]
    contention: Mapping[str, Any] | None
    quality: Mapping[str, Any]
    latest: KeptPlan | None
    moves: tuple[Migration, ...]

    @property
    def maintenance(self) -> Maintenance | None:
        """What is wanted of it; ``None`` if it may hold VMs."""
        return self.inventory.maintenance.get(self.host.id)


def show(services: Services, visit: Visit) -> Component:
    """Return the page."""
    cluster_id = visit.cluster_id
    known = _look_up(services, cluster_id, visit.item_id)
    outlook = _outlook(services, known, 24)
    acts = may(visit.principal, "maintenance.set", cluster_id)
    host_id = known.host.id
    return [
        html.Div(cluster_id, id=_CLUSTER, hidden=True),
        html.Div(host_id, id=_HOST, hidden=True),
        dcc.Store(id=_SEEN, data=reading_mark(services, known.inventory)),
        heading(f"Host {host_id}", span_select(_SPAN)),
        html.Div(_facts(known), id=_FACTS),
        _maintenance(known, acts),
        course_chart(_CHART, outlook, f"host {host_id}"),
        subheading("How its forecasts fared"),
        html.Div(fared(outlook.fared, known.quality, _TOGETHER), id=_FARED),
        *_vms_part(known),
        subheading("Rules that name it"),
        rules_table(cluster_id, rule_lines(known.inventory, host_id=host_id), "host"),
        *migrations_part(_MOVES, cluster_id, known.moves, with_vm=True),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""
    listen_to_chart(app, _CHART)
    listen_to_export(app, _MOVES)
    listen_to_export(app, _VMS)
    _listen_to_maintenance(app, services)

    @app.callback(
        Output(source_of(_CHART), "data"),
        Output(_FACTS, "children"),
        Output(_FARED, "children"),
        Output(_VMS, "rowData"),
        Output(_MOVES, "rowData"),
        Output(_SEEN, "data"),
        Input(_LIVE, "data"),
        Input(_SPAN, "value"),
        State(_SEEN, "data"),
        State(_CLUSTER, "children"),
        State(_HOST, "children"),
        prevent_initial_call=True,
    )
    def follow(_live: str, span: str | None, seen: str, cluster_id: str, host_id: str) -> Any:
        """Show what has changed meanwhile, as far back as is wanted."""
        require(services, "history.host", cluster_id)
        known = _look_up(services, cluster_id, host_id)
        rows = guest_rows(known.inventory, known.vms), migration_rows(known.moves)
        mark = reading_mark(services, known.inventory)
        if ctx.triggered_id != _SPAN and mark == seen:
            return no_update, _facts(known), no_update, *rows, no_update
        outlook = _outlook(services, known, hours_of(span))
        told = fared(outlook.fared, known.quality, _TOGETHER)
        return course_figure(outlook.courses), _facts(known), told, *rows, mark


def _listen_to_maintenance(app: Dash, services: Services) -> None:
    @app.callback(
        Output(_REASON, "error"),
        Output(_REASON, "value"),
        Output(_DRAIN, "style"),
        Output(_RETURN, "style"),
        Output(_FACTS, "children", allow_duplicate=True),
        Input(_DRAIN, "n_clicks"),
        Input(_RETURN, "n_clicks"),
        State(_REASON, "value"),
        State(_CLUSTER, "children"),
        State(_HOST, "children"),
        prevent_initial_call=True,
    )
    def switch(
        drain: int | None, back: int | None, reason: str | None, cluster_id: str, host_id: str
    ) -> Any:
        """Put the host into maintenance, or take it out."""
        if not (drain or back):
            return (no_update,) * 5
        try:
            wanted = Maintenance(reason=reason or "") if ctx.triggered_id == _DRAIN else None
            _set(services, cluster_id, HostId(host_id), wanted)
        except InvalidInputError as error:
            return sentence(error).removeprefix("reason: "), *(no_update,) * 4
        notice(host_id, "is to be emptied and to stay empty" if wanted else "may hold VMs again")
        known = _look_up(services, cluster_id, host_id)
        kept = known.maintenance
        return "", "" if kept is None else kept.reason, *_styles(kept), _facts(known)


def _set(services: Services, cluster_id: str, host_id: HostId, wanted: Maintenance | None) -> None:
    principal = require(services, "maintenance.set", cluster_id)
    now = services.now()
    with services.store.begin() as tx:
        set_maintenance(tx, principal, cluster_id, host_id, wanted, expected_revision=None, now=now)


def _look_up(services: Services, cluster_id: str, host_id: str) -> _Known:
    with services.store.begin(read_only=True) as tx:
        inventory = look_up(tx, cluster_id)
        host = inventory.hosts.get(HostId(host_id))
        if host is None:
            raise NotFoundError(f"there is no host {host_id!r} in cluster {cluster_id!r}")
        return _Known(
            inventory=inventory,
            host=host,
            vms=tuple(vms_on(inventory, host)),
            contention=contention_of(tx, cluster_id).get(host_id),
            quality=quality_of(tx, cluster_id),
            latest=latest_made(tx, cluster_id),
            moves=tuple(migrations(begun_plans(tx, cluster_id), host_id=host_id)),
        )


def _outlook(services: Services, known: _Known, hours: int) -> Outlook:
    return look_at_host(services, known.inventory, known.host, known.moves, hours)


def _facts(known: _Known) -> Component:
    host, wanted = known.host, known.maintenance
    state = _STATES.get(host.state, host.state.value)
    if wanted is not None and wanted.reason:
        state = f"{state}: {wanted.reason}"
    figures = [
        figure("State", state),
        figure("VMs", f"{len(known.vms):,}" + (f" of {host.max_vms:,}" if host.max_vms else "")),
        figure("Zone", host.zone or "none"),
        figure("Rack", host.rack or "none"),
        figure("Processor", host.cpu_model or "not known"),
        *_contention_figures(known.contention),
    ]
    head = ("Resource", "Usable", "Promised to VMs", "Reserved for them", "Used now")
    return [
        dmc.Group(figures, gap="xl", mb="xs"),
        small_table("Amounts", head, amount_rows(host, known.vms, known.contention)),
        *_why_hot(known),
    ]


def _contention_figures(contention: Mapping[str, Any] | None) -> list[Component]:
    if contention is None:
        return [figure("Contention", "no forecast yet")]
    overload = 100 * contention["overload_probability"]
    return [
        figure("Contention", f"{contention['score_host_s']:,.3g} host-s"),
        figure("Overload in the next hour", f"{overload:.0f} %"),
    ]


def _why_hot(known: _Known) -> list[Component]:
    told = why_hot(known.latest, known.host.id)
    if known.latest is None or not told:
        return []
    address = place(known.inventory.cluster_id, "plans", known.latest.id)
    return [
        subheading(
            "What the last plan says of it",
            dmc.Anchor("The plan", href=address, underline="always", size="sm"),
        ),
        dmc.List([dmc.ListItem(line) for line in told], size="sm"),
    ]


def _maintenance(known: _Known, acts: bool) -> Component:
    """Return what drains the host and lets it return; hidden from those who may not."""
    kept = known.maintenance
    drain, back = _styles(kept)
    reason = dmc.TextInput(
        id=_REASON,
        label="Reason for maintenance",
        value="" if kept is None else kept.reason,
        w=320,
    )
    buttons = dmc.Group(
        [
            dmc.Button("Drain", id=_DRAIN, style=drain),
            dmc.Button("Return to service", id=_RETURN, style=back),
        ],
        mt=24,
    )
    shown = {} if acts else {"display": "none"}
    return dmc.Group([reason, buttons], align="flex-start", gap="xs", my="sm", style=shown)


def _styles(kept: Maintenance | None) -> tuple[dict[str, str], dict[str, str]]:
    hidden = {"display": "none"}
    return ({}, hidden) if kept is None else (hidden, {})


def _vms_part(known: _Known) -> list[Component]:
    columns = [
        {
            "field": "id",
            "headerName": "VM",
            "flex": 14,
            "minWidth": 110,
            **link(place(known.inventory.cluster_id, "vms")),
        },
        {"field": "group", "headerName": "Application", "minWidth": 110},
        {"field": "app_type", "headerName": "Type", "minWidth": 90},
        {"field": "owner", "headerName": "Owner", "minWidth": 90},
        {"field": "priority", "headerName": "Priority", "minWidth": 80, **NUMBER},
        {"field": "cores", "headerName": "Cores", "flex": 7, **NUMBER},
        {"field": "memory_gib", "headerName": "GiB", "flex": 7, **NUMBER},
        {
            "field": "stays",
            "headerName": "Cannot be moved",
            "minWidth": 130,
            "tooltipField": "stays",
        },
    ]
    rows = guest_rows(known.inventory, known.vms)
    return [
        subheading("VMs on it", export_button(_VMS)),
        table(_VMS, columns, rows, nothing="No VM is on it"),
    ]


PAGE: Final = Page(
    path="/clusters/<cluster_id>/hosts/<path:item_id>",
    title="Host",
    operation="hosts.show",
    label="",
    show=show,
    listen=listen,
    has_grid=True,
)
