"""The VMs of a cluster: found, grouped, and given priorities, one by one or many at once.

What the grid shows is changed before the service is asked. So every answer, and every refusal, puts
back what the service holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import (
    ClientsideFunction,
    Dash,
    Input,
    Output,
    State,
    ctx,
    dcc,
    html,
    no_update,
    set_props,
)

from service.api.services import Services
from service.inventory.effective import look_at_snapshot
from service.inventory.priorities import Wanted, set_priorities
from service.security.principal import Principal
from service.web.door import may, require
from service.web.errors import notice, sentence
from service.web.parts import heading, whole
from service.web.rows import GROUPINGS, first_rows, grouped, rows_of, set_priorities_of, vm_rows
from service.web.site import Component, Page, Visit
from service.web.tables import link, place
from solver.domain.cluster import MAX_PRIORITY, MIN_PRIORITY
from solver.domain.errors import ForeswapError
from solver.domain.units import VmId

GRID: Final = "vms-grid"
_CLUSTER: Final = "vms-cluster"
_COUNT: Final = "vms-count"
_PRIORITY: Final = "vms-priority"
_SET: Final = "vms-set"
_UNDO: Final = "vms-undo"
_UNDONE: Final = "vms-done-so-far"
_VERSION: Final = "vms-version"
_EXPORT: Final = "vms-export"
_GROUPING: Final = "vms-grouping"
_GROUPS: Final = "vms-groups"
_GROUPS_AT: Final = "vms-groups-at"
_LIVE: Final = "live"

_FIRST: Final = 40
"""Rows that come with the page, and fill it until all of them are there."""
MOST_UNDONE: Final = 20
"""Changes that can be undone one after the other."""

_TIME: Final = "params.value ? d3.timeFormat('%Y-%m-%d %H:%M')(d3.isoParse(params.value)) : ''"
_TEXT: Final = {"filter": "agTextColumnFilter", "filterParams": {"debounceMs": 0}}
_NUMBER: Final = {
    "filter": "agNumberColumnFilter",
    "filterParams": {"debounceMs": 0},
    "type": "rightAligned",
}

Change = dict[str, int | None]
"""VM → the priority that a policy gave it, or none."""


def show(services: Services, visit: Visit) -> Component:
    """Return the table with what can be done on it."""
    with services.store.begin(read_only=True) as tx:
        look_at_snapshot(tx, visit.cluster_id)
        rows = first_rows(tx, visit.principal, visit.cluster_id, _FIRST)
    edits = may(visit.principal, "priorities.set", visit.cluster_id)
    sees_hosts = may(visit.principal, "hosts.show", visit.cluster_id)
    columns = _columns(visit.cluster_id, edits=edits, sees_hosts=sees_hosts)
    return [
        html.Div(visit.cluster_id, id=_CLUSTER, hidden=True),
        dcc.Store(id=_UNDONE),
        dcc.Store(id=_VERSION),
        heading("VMs", _tools(edits)),
        html.Div(id=_GROUPS_AT, hidden=True),
        _grid(columns, rows, edits=edits),
        html.Div("Loading …", id=_COUNT, role="status"),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""
    _listen_to_edits(app, services)
    _listen_to_groups(app, services)
    _listen_in_browser(app)

    @app.callback(
        Output(GRID, "exportDataAsCsv"), Input(_EXPORT, "n_clicks"), prevent_initial_call=True
    )
    def export(clicks: int | None) -> Any:
        """Give what the table shows as a file."""
        return True if clicks else no_update


def _listen_in_browser(app: Dash) -> None:
    """Fetch rows and count them without a word of Dash's: ten thousand are a lot for it."""
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("rows", "fetchRows"),
        Output(GRID, "rowData"),
        Output(GRID, "rowTransaction", allow_duplicate=True),
        Output(_VERSION, "data"),
        Input(_LIVE, "data"),
        Input(_CLUSTER, "children"),
        State(_VERSION, "data"),
        prevent_initial_call="initial_duplicate",
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("rows", "count"),
        Output(_COUNT, "children"),
        Input(GRID, "selectedRows"),
        Input(_VERSION, "data"),
        prevent_initial_call=True,
    )


def _listen_to_edits(app: Dash, services: Services) -> None:
    @app.callback(
        Output(GRID, "rowTransaction"),
        Output(_UNDONE, "data"),
        Output(_UNDO, "disabled"),
        Input(GRID, "cellValueChanged"),
        Input(_SET, "n_clicks"),
        Input(_UNDO, "n_clicks"),
        State(GRID, "selectedRows"),
        State(_PRIORITY, "value"),
        State(_UNDONE, "data"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def edit(
        cells: list[Mapping[str, Any]] | None,
        _set: int | None,
        _undo: int | None,
        selected: list[Mapping[str, Any]] | None,
        priority: Any,
        done: list[Change] | None,
        cluster_id: str,
    ) -> Any:
        """Set priorities, or set them back."""
        before = list(done or ())
        if ctx.triggered_id == _UNDO:
            if not before:
                return (no_update,) * 3
            wanted = before.pop()
        elif ctx.triggered_id == _SET:
            wanted = {row["id"]: priority for row in selected or ()}
        else:
            wanted = {cell["rowId"]: cell["value"] for cell in cells or ()}
        if not wanted:
            return (no_update,) * 3
        principal = require(services, "priorities.set_many", cluster_id)
        changed, rows = _apply(services, principal, cluster_id, wanted)
        if changed is None:
            before = list(done or ())
        elif changed and ctx.triggered_id != _UNDO:
            before = [*before, changed][-MOST_UNDONE:]
        return {"update": rows, "async": False}, before, not before


def _listen_to_groups(app: Dash, services: Services) -> None:
    @app.callback(
        Output(_GROUPS_AT, "children"),
        Output(_GROUPS_AT, "hidden"),
        Input(_GROUPING, "value"),
        Input(_LIVE, "data"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def group(field: str, _live: str, cluster_id: str) -> Any:
        """Show the groups of VMs."""
        is_chosen = ctx.triggered_id == _GROUPING
        if is_chosen:
            set_props(GRID, {"filterModel": {}})
        if field not in GROUPINGS:
            return (None, True) if is_chosen else (no_update, no_update)
        principal = require(services, "vms.list", cluster_id)
        with services.store.begin(read_only=True) as tx:
            rows = grouped(vm_rows(tx, principal, cluster_id), field)
        if is_chosen:
            return _group_grid(rows), False
        set_props(_GROUPS, {"rowData": rows})
        return no_update, no_update

    @app.callback(
        Output(GRID, "filterModel"),
        Input(_GROUPS, "selectedRows"),
        State(_GROUPING, "value"),
        prevent_initial_call=True,
    )
    def narrow(selected: list[Mapping[str, Any]] | None, field: str) -> Any:
        """Show the VMs of the group that was chosen, or all of them again."""
        if not selected or field not in GROUPINGS:
            return {}
        name = selected[0]["name"]
        kind = {"type": "equals", "filter": name} if name else {"type": "blank"}
        return {field: {"filterType": "text", **kind}}


def _apply(
    services: Services, principal: Principal, cluster_id: str, wanted: Mapping[str, Any]
) -> tuple[Change | None, list[dict[str, Any]]]:
    """Set priorities; return what stood before, ``None`` if they were refused, and the rows now."""
    changed: Change | None
    try:
        changed = _set(services, principal, cluster_id, wanted)
        notice("Changed", f"{_counted_vms(len(changed))} given a priority.")
    except ForeswapError as error:
        notice("Not changed", sentence(error), color="red")
        changed = None
    with services.store.begin(read_only=True) as tx:
        return changed, rows_of(tx, principal, cluster_id, wanted)


def _set(
    services: Services, principal: Principal, cluster_id: str, wanted: Mapping[str, Any]
) -> Change:
    asked = [Wanted(vm_id=VmId(vm_id), priority=whole(value)) for vm_id, value in wanted.items()]
    with services.store.begin() as tx:
        before = set_priorities_of(tx, cluster_id, wanted)
        set_priorities(tx, principal, cluster_id, asked, now=services.now())
    after = {each.vm_id: each.priority for each in asked}
    return {vm_id: was for vm_id, was in before.items() if was != after[VmId(vm_id)]}


def _tools(edits: bool) -> Component:
    grouping = dmc.Select(
        id=_GROUPING,
        data=[{"value": "", "label": "No groups"}]
        + [{"value": field, "label": f"By {name.lower()}"} for field, name in GROUPINGS.items()],
        value="",
        allowDeselect=False,
        w=150,
        **{"aria-label": "Group VMs"},
    )
    export = dmc.Button("Export CSV", id=_EXPORT, variant="default")
    return dmc.Group([grouping, export, *_editing(edits)], gap="xs")


def _editing(edits: bool) -> Sequence[Component]:
    """Return what changes priorities; hidden from those who may not."""
    shown = {} if edits else {"display": "none"}
    priority = dmc.NumberInput(
        id=_PRIORITY,
        value=5,
        min=MIN_PRIORITY,
        max=MAX_PRIORITY,
        allowDecimal=False,
        w=80,
        style=shown,
        **{"aria-label": "Priority for the selected VMs"},
    )
    return (
        priority,
        dmc.Button("Set priority of selected", id=_SET, style=shown),
        dmc.Button("Undo", id=_UNDO, variant="default", disabled=True, style=shown),
    )


def _grid(
    columns: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], *, edits: bool
) -> Component:
    return dag.AgGrid(
        id=GRID,
        rowData=rows,
        columnDefs=columns,
        defaultColDef={
            "flex": 10,
            "minWidth": 60,
            "wrapHeaderText": True,
            "floatingFilter": True,
            "suppressFloatingFilterButton": True,
            "suppressHeaderMenuButton": True,
            "suppressHeaderFilterButton": True,
        },
        getRowId="params.data.id",
        csvExportParams={"fileName": "vms.csv"},
        dashGridOptions={
            **({"rowSelection": {"mode": "multiRow", "selectAll": "filtered"}} if edits else {}),
            "animateRows": False,
            "rowHeight": 34,
            "rowBuffer": 2,
            "headerHeight": 44,
            "stopEditingWhenCellsLoseFocus": True,
            "localeText": {"noRowsToShow": "No VM fits", "noMatchingRows": "No VM fits"},
        },
        style={"height": "calc(100vh - 170px)", "minHeight": 300},
    )


def _columns(cluster_id: str, *, edits: bool, sees_hosts: bool) -> list[dict[str, Any]]:
    hosts = link(place(cluster_id, "hosts")) if sees_hosts else {}
    editor = {
        "editable": edits,
        "cellEditor": "agNumberCellEditor",
        "cellEditorParams": {"min": MIN_PRIORITY, "max": MAX_PRIORITY, "precision": 0},
    }
    cores = {"function": "d3.format(',')(params.value)"}
    return [
        {"field": "id", "headerName": "VM", "flex": 14, **_TEXT, **link(place(cluster_id, "vms"))},
        {"field": "host", "headerName": "Host", **_TEXT, **hosts},
        {"field": "group", "headerName": "Application", "flex": 11, **_TEXT},
        {"field": "app_type", "headerName": "Type", **_TEXT},
        {"field": "owner", "headerName": "Owner", **_TEXT},
        {"field": "priority", "headerName": "Priority", "flex": 8, **_NUMBER, **editor},
        {"field": "bounds", "headerName": "Bounds", "flex": 9, "sortable": False},
        {"field": "cores", "headerName": "Cores", "flex": 7, "valueFormatter": cores, **_NUMBER},
        {"field": "memory_gib", "headerName": "GiB", "flex": 7, "valueFormatter": cores, **_NUMBER},
        {"field": "changed_by", "headerName": "Changed by", **_TEXT},
        {
            "field": "changed_at",
            "headerName": "Changed at",
            "flex": 17,
            "minWidth": 150,
            "valueFormatter": {"function": _TIME},
        },
    ]


def _group_grid(rows: Sequence[Mapping[str, Any]]) -> Component:
    named = {"num_vms": "VMs", "num_hosts": "Hosts", "cores": "Cores", "memory_gib": "GiB"}
    named |= {"lowest": "Lowest priority", "highest": "Highest priority"}
    numbers = [
        {"field": field, "headerName": name, "type": "rightAligned"}
        for field, name in named.items()
    ]
    return dag.AgGrid(
        id=_GROUPS,
        rowData=rows,
        columnDefs=[{"field": "name", "headerName": "Group"}, *numbers],
        defaultColDef={"flex": 1},
        getRowId="params.data.name",
        dashGridOptions={
            "rowSelection": {"mode": "singleRow", "enableClickSelection": True},
            "rowHeight": 34,
            "headerHeight": 38,
        },
        style={"height": 230, "marginBottom": 12},
    )


def _counted_vms(num_vms: int) -> str:
    return "1 VM was" if num_vms == 1 else f"{num_vms:,} VMs were"


PAGE: Final = Page(
    path="/clusters/<cluster_id>/vms",
    title="VMs",
    operation="vms.list",
    label="VMs",
    show=show,
    listen=listen,
    has_grid=True,
)
