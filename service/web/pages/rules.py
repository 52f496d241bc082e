"""Placement rules: what they say, whether they are met, and changing them, to be undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, html, no_update

from service.api.services import Services
from service.inventory.effective import look_up
from service.inventory.rules import delete_rule, keep_rule
from service.security.principal import Principal
from service.store.base import Kind
from service.web.door import may, require
from service.web.errors import notice
from service.web.pages import rule_editor
from service.web.parts import heading
from service.web.rule_rows import Row, rule_rows
from service.web.site import Component, Page, Visit
from solver.instances import rule_from_document
from solver.validate import find_contradictions

_CLUSTER: Final = rule_editor.CLUSTER
_GRID: Final = "rules-grid"
_ADD: Final = rule_editor.ADD
_EDIT: Final = rule_editor.EDIT
_REMOVE: Final = "rules-remove"
_UNDO: Final = "rules-undo"
_CHECK: Final = "rules-check"
_CHECKED: Final = "rules-checked"
_LIVE: Final = "live"

MOST_UNDONE: Final = 20
"""Changes that can be undone one after the other."""
CHECK_LIMIT_S: Final = 5.0
"""For looking for contradictions among all rules."""

_TIME: Final = "params.value ? d3.timeFormat('%Y-%m-%d %H:%M')(d3.isoParse(params.value)) : ''"
_TEXT: Final = {"filter": "agTextColumnFilter", "filterParams": {"debounceMs": 0}}

Done = dict[str, Any]
"""One change: the rule's id, its document before, and the revision it was left at."""


def show(services: Services, visit: Visit) -> Component:
    """Return the table with what can be done on it."""
    with services.store.begin(read_only=True) as tx:
        rows = rule_rows(tx, visit.cluster_id)
    edits = may(visit.principal, "rules.put", visit.cluster_id)
    wanted = _wanted(visit.query, rows)
    draft = None
    if wanted and edits:
        draft = rule_editor.draft_of(services, visit.cluster_id, wanted)
    return [
        html.Div(visit.cluster_id, id=_CLUSTER, hidden=True),
        heading("Rules", _tools(edits)),
        dmc.Text(_counted(rows), id="rules-count", size="sm", c="dimmed", mb="xs"),
        html.Div(id=_CHECKED, role="status"),
        _grid(rows, wanted),
        *rule_editor.editor(draft),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""
    rule_editor.listen(app, services, _GRID)
    _listen_to_changes(app, services)

    @app.callback(
        Output(_GRID, "rowData"),
        Output("rules-count", "children"),
        Input(_LIVE, "data"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def refresh(_live: str, cluster_id: str) -> Any:
        """Show what has changed meanwhile."""
        require(services, "rules.list", cluster_id)
        rows = _rows(services, cluster_id)
        return rows, _counted(rows)

    @app.callback(
        Output(_CHECKED, "children"),
        Input(_CHECK, "n_clicks"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
        running=[(Output(_CHECK, "loading"), True, False)],
    )
    def check(clicks: int | None, cluster_id: str) -> Any:
        """Look for hard rules that no placement keeps together."""
        if not clicks:
            return no_update
        require(services, "rules.list", cluster_id)
        return _checked(services, cluster_id)


def _listen_to_changes(app: Dash, services: Services) -> None:
    @app.callback(
        Output(_GRID, "rowData", allow_duplicate=True),
        Output(rule_editor.DONE, "data"),
        Output(_UNDO, "disabled"),
        Input(_REMOVE, "n_clicks"),
        Input(_UNDO, "n_clicks"),
        Input(rule_editor.SAVED, "data"),
        State(_GRID, "selectedRows"),
        State(rule_editor.DONE, "data"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def change(
        _remove: int | None,
        _undo: int | None,
        saved: Done | None,
        selected: list[Mapping[str, Any]] | None,
        done: list[Done] | None,
        cluster_id: str,
    ) -> Any:
        """Remove a rule, undo a change, or take note of one."""
        before = list(done or ())
        if ctx.triggered_id == _REMOVE and _remove and selected:
            principal = require(services, "rules.delete", cluster_id)
            before.append(_removed(services, principal, cluster_id, str(selected[0]["id"])))
        elif ctx.triggered_id == _UNDO and _undo and before:
            principal = require(services, "rules.put", cluster_id)
            _undone(services, principal, cluster_id, before.pop())
        elif ctx.triggered_id == rule_editor.SAVED and saved:
            require(services, "rules.list", cluster_id)
            before.append(saved)
        else:
            return (no_update,) * 3
        return _rows(services, cluster_id), before[-MOST_UNDONE:], not before

    @app.callback(
        Output(_EDIT, "disabled"),
        Output(_REMOVE, "disabled"),
        Input(_GRID, "selectedRows"),
        prevent_initial_call=True,
    )
    def select(selected: list[Any] | None) -> tuple[bool, bool]:
        """Offer what can be done with a rule that is selected."""
        put = bool(selected) and selected is not None and selected[0]["source"] == "rule"
        return not selected, not put


def _removed(services: Services, principal: Principal, cluster_id: str, rule_id: str) -> Done:
    with services.store.begin() as tx:
        kept = tx.items.get(Kind.RULE, cluster_id, rule_id)
        delete_rule(
            tx,
            principal,
            cluster_id,
            rule_id,
            expected_revision=kept.revision,
            now=services.now(),
        )
    notice("Removed", f"Rule {rule_id} is no more.")
    return {"id": rule_id, "before": dict(kept.document), "revision": 0}


def _undone(services: Services, principal: Principal, cluster_id: str, done: Done) -> None:
    """Put back what stood before a change, unless somebody has changed it since."""
    if done["before"] is None:
        with services.store.begin() as tx:
            delete_rule(
                tx,
                principal,
                cluster_id,
                str(done["id"]),
                expected_revision=int(done["revision"]),
                now=services.now(),
            )
    else:
        keep_rule(
            services.store,
            principal,
            cluster_id,
            rule_from_document(done["before"]),
            # It stood, whatever it contradicted.
            force=True,
            expected_revision=int(done["revision"]),
            now=services.now(),
        )
    notice("Undone", f"Rule {done['id']} is as it was.")


def _rows(services: Services, cluster_id: str) -> list[Row]:
    with services.store.begin(read_only=True) as tx:
        return rule_rows(tx, cluster_id)


def _checked(services: Services, cluster_id: str) -> Component:
    with services.store.begin(read_only=True) as tx:
        cluster = look_up(tx, cluster_id).cluster
    found = find_contradictions(cluster, group_limit_s=CHECK_LIMIT_S, limit_s=CHECK_LIMIT_S)
    told = [f"{each.message[0].upper()}{each.message[1:]}." for each in found.contradictions]
    told += [f"Not decided in time: {', '.join(each)}." for each in found.undecided]
    if not told:
        return dmc.Text("No hard rules contradict each other.", mb="xs")
    return dmc.Alert(
        dmc.List([dmc.ListItem(each) for each in told], size="sm"),
        title="Smallest sets of rules that contradict each other",
        color="red",
        variant="default",
        mb="sm",
    )


def _wanted(query: str, rows: Sequence[Row]) -> str:
    """Return the rule that the address names, empty for none that is there."""
    named = parse_qs(query.removeprefix("?")).get("rule", [""])[0]
    return named if any(row["id"] == named for row in rows) else ""


def _tools(edits: bool) -> Component:
    shown = {} if edits else {"display": "none"}
    return dmc.Group(
        [
            dmc.Button("Look for contradictions", id=_CHECK, variant="default"),
            dmc.Button("Undo", id=_UNDO, variant="default", disabled=True, style=shown),
            dmc.Button("Remove", id=_REMOVE, variant="default", disabled=True, style=shown),
            dmc.Button("Edit", id=_EDIT, variant="default", disabled=True, style=shown),
            dmc.Button("Add a rule", id=_ADD, style=shown),
        ],
        gap="xs",
    )


def _grid(rows: Sequence[Row], wanted: str) -> Component:
    return dag.AgGrid(
        id=_GRID,
        rowData=list(rows),
        columnDefs=_COLUMNS,
        selectedRows={"ids": [wanted]} if wanted else [],
        defaultColDef={
            "flex": 10,
            "minWidth": 80,
            "floatingFilter": True,
            "suppressFloatingFilterButton": True,
            "suppressHeaderMenuButton": True,
            "suppressHeaderFilterButton": True,
            "wrapText": True,
            "autoHeight": True,
            "cellStyle": {"lineHeight": "1.45", "paddingTop": "7px", "paddingBottom": "7px"},
        },
        getRowId="params.data.id",
        dashGridOptions={
            "rowSelection": {"mode": "singleRow", "enableClickSelection": True},
            "animateRows": False,
            "headerHeight": 38,
            "localeText": {"noRowsToShow": "No rule", "noMatchingRows": "No rule fits"},
        },
        style={"height": "calc(100vh - 170px)", "minHeight": 300},
    )


_COLUMNS: Final = [
    {"field": "id", "headerName": "Rule", **_TEXT},
    {"field": "kind", "headerName": "Kind", **_TEXT},
    {"field": "says", "headerName": "What it says", "flex": 26, "minWidth": 200, **_TEXT},
    {"field": "strength", "headerName": "Strength", "flex": 8, "minWidth": 95, **_TEXT},
    {"field": "now", "headerName": "Now", "flex": 20, "minWidth": 180, **_TEXT},
    {"field": "changed_by", "headerName": "Changed by", "flex": 10, "minWidth": 110, **_TEXT},
    {
        "field": "changed_at",
        "headerName": "Changed at",
        "flex": 11,
        "minWidth": 110,
        "valueFormatter": {"function": _TIME},
    },
]


def _counted(rows: Sequence[Row]) -> str:
    if not rows:
        return "There is no rule: VMs may run wherever they fit."
    broken = sum(str(row["now"]).startswith("not met") for row in rows)
    waiting = sum(str(row["now"]).startswith("waits") for row in rows)
    number = "1 rule" if len(rows) == 1 else f"{len(rows):,} rules"
    return f"{number}, {broken:,} not met, {waiting:,} waiting"


PAGE: Final = Page(
    path="/clusters/<cluster_id>/rules",
    title="Rules",
    operation="rules.list",
    label="Rules",
    show=show,
    listen=listen,
    has_grid=True,
)
