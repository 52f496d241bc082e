"""One plan: its moves on a time line, what each is for, and what is decided on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import dash_ag_grid as dag
import dash_mantine_components as dmc
import plotly.graph_objects as go
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update

from service.api.services import Services
from service.plans import wishes
from service.plans.document import plan_of
from service.store.base import KeptPlan, PlanStage
from service.web.door import may, require
from service.web.errors import notice
from service.web.parts import figure, heading, instant
from service.web.plan_rows import length_s, stage_of, step_rows, summary
from service.web.site import Component, Page, Visit

_CLUSTER: Final = "plan-cluster"
_PLAN: Final = "plan-id"
_HEAD: Final = "plan-head"
_STEPS: Final = "plan-steps"
_LIVE: Final = "live"
_MOST_DRAWN: Final = 500
"""Moves on the time line; more could not be told apart."""

Decide = Callable[..., KeptPlan]
_ON_PLAN: Final[Mapping[str, tuple[str, str, Decide]]] = {
    "plan-approve": ("Approve", "plans.approve", wishes.approve),
    "plan-reject": ("Reject", "plans.reject", wishes.reject),
    "plan-pause": ("Pause", "plans.pause", wishes.pause),
    "plan-resume": ("Resume", "plans.resume", wishes.resume),
    "plan-abort": ("Abort", "plans.abort", wishes.abort),
}
"""Button → its label, the operation, the use case."""

_ON_STEPS: Final[Mapping[str, tuple[str, str, Decide]]] = {
    "plan-approve-steps": ("Approve selected", "plans.approve_step", wishes.approve_step),
    "plan-skip-steps": ("Skip selected", "plans.skip_step", wishes.skip_step),
}

_BUTTONS: Final = {**_ON_PLAN, **_ON_STEPS}

_OFFERED: Final[Mapping[PlanStage, frozenset[str]]] = {
    PlanStage.WANTED: frozenset({"plan-reject"}),
    PlanStage.PROPOSED: frozenset({"plan-approve", "plan-reject", *_ON_STEPS}),
    PlanStage.APPROVED: frozenset({"plan-reject", *_ON_STEPS}),
    PlanStage.RUNNING: frozenset({"plan-pause", "plan-abort", *_ON_STEPS}),
}
"""Buttons that make sense at a stage; the use cases judge for themselves."""


def show(services: Services, visit: Visit) -> Component:
    """Return the plan."""
    with services.store.begin(read_only=True) as tx:
        kept = tx.plans.get(visit.cluster_id, visit.item_id)
    acts = may(visit.principal, "plans.approve", visit.cluster_id)
    return [
        html.Div(visit.cluster_id, id=_CLUSTER, hidden=True),
        html.Div(visit.item_id, id=_PLAN, hidden=True),
        html.Div(_head(kept), id=_HEAD),
        dmc.Group(_buttons(kept, acts), gap="xs", mb="sm"),
        dcc.Graph(
            figure=_time_line(kept), config={"displaylogo": False}, style={"height": _height(kept)}
        ),
        _grid(kept, acts),
        *_refusals(kept),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""
    buttons = tuple(_BUTTONS)
    shown = [Output(button, "style") for button in buttons]

    @app.callback(
        Output(_HEAD, "children"),
        Output(_STEPS, "rowData"),
        *shown,
        Input(_LIVE, "data"),
        State(_CLUSTER, "children"),
        State(_PLAN, "children"),
        prevent_initial_call=True,
    )
    def refresh(_live: str, cluster_id: str, plan_id: str) -> Any:
        """Show how far it is."""
        principal = require(services, "plans.show", cluster_id)
        with services.store.begin(read_only=True) as tx:
            kept = tx.plans.get(cluster_id, plan_id)
        return _now(kept, may(principal, "plans.approve", cluster_id))

    @app.callback(
        Output(_HEAD, "children", allow_duplicate=True),
        Output(_STEPS, "rowData", allow_duplicate=True),
        *[Output(button, "style", allow_duplicate=True) for button in buttons],
        *[Input(button, "n_clicks") for button in buttons],
        State(_STEPS, "selectedRows"),
        State(_CLUSTER, "children"),
        State(_PLAN, "children"),
        prevent_initial_call=True,
    )
    def decide(*asked: Any) -> Any:
        """Write down what is wanted of the plan."""
        selected, cluster_id, plan_id = asked[len(buttons) :]
        if not any(asked[: len(buttons)]):
            return (no_update,) * (2 + len(buttons))
        kept = _decided(services, str(ctx.triggered_id), cluster_id, plan_id, selected or ())
        return _now(kept, acts=True)


def _decided(
    services: Services, button: str, cluster_id: str, plan_id: str, selected: Any
) -> KeptPlan:
    label, operation, act = _BUTTONS[button]
    principal = require(services, operation, cluster_id)
    with services.store.begin() as tx:
        kept = tx.plans.get(cluster_id, plan_id)
        for which in _which(button, selected):
            kept = act(tx, principal, cluster_id, plan_id, *which, now=services.now())
    notice(label, "Written down; it is taken up within a second or two.")
    return kept


def _which(button: str, selected: Any) -> list[tuple[int, ...]]:
    """Return the arguments that name what a button is about: the plan, or each selected step."""
    if button in _ON_PLAN:
        return [()]
    return [(int(row["step"]),) for row in selected]


def _now(kept: KeptPlan, acts: bool) -> tuple[Any, ...]:
    styles = [_style(kept, button, acts) for button in _BUTTONS]
    return (_head(kept), step_rows(kept), *styles)


def _style(kept: KeptPlan, button: str, acts: bool) -> dict[str, str]:
    paused = bool(kept.document.get("wanted", {}).get("paused"))
    offered = set(_OFFERED.get(kept.stage, frozenset()))
    if paused and "plan-pause" in offered:
        offered = (offered - {"plan-pause"}) | {"plan-resume"}
    return {} if acts and button in offered else {"display": "none"}


def _buttons(kept: KeptPlan, acts: bool) -> list[Component]:
    return [
        dmc.Button(
            label,
            id=button,
            variant="filled" if button == "plan-approve" else "default",
            style=_style(kept, button, acts),
        )
        for button, (label, _, _) in _BUTTONS.items()
    ]


def _head(kept: KeptPlan) -> Component:
    decided = kept.document.get("decision") or {}
    progress = kept.document.get("progress") or {}
    figures = [
        figure("Stage", stage_of(kept)),
        figure("Made at", instant(kept.made_at)),
        figure("For", kept.trigger),
        figure("Length", f"{length_s(plan_of(kept)):,.0f} s"),
    ]
    if decided:
        figures.append(figure(str(decided["decision"]).capitalize(), f"by {decided['by']}"))
    reason = progress.get("reason") or kept.document.get("reason") or ""
    return [
        heading("Plan"),
        dmc.Text(summary(kept), mb="xs"),
        dmc.Group(figures, gap="xl", mb="sm"),
        dmc.Text(reason, size="sm", c="dimmed", mb="sm"),
    ]


def _time_line(kept: KeptPlan) -> go.Figure:
    """Return the moves as bars from begin to end, one line per host that receives."""
    rows = step_rows(kept)[:_MOST_DRAWN]
    bars = go.Bar(
        base=[row["start_s"] for row in rows],
        x=[row["duration_s"] for row in rows],
        y=[row["destination"] for row in rows],
        text=[row["vm"] for row in rows],
        customdata=[[row["source"] or "nowhere", row["bandwidth"]] for row in rows],
        hovertemplate="%{text} from %{customdata[0]}: %{base:.1f} s, %{x:.1f} s long, "
        "%{customdata[1]} MiB/s<extra></extra>",
        orientation="h",
        marker={"color": "#1971c2", "line": {"color": "white", "width": 1}},
        textposition="inside",
        textfont={"color": "white"},
    )
    figure_ = go.Figure(bars)
    figure_.update_layout(
        margin={"l": 10, "r": 10, "t": 10, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        barmode="overlay",
        xaxis={"title": "seconds from the begin", "gridcolor": "rgba(128,128,128,0.3)"},
        yaxis={"automargin": True, "gridcolor": "rgba(128,128,128,0.3)", "title": "to host"},
        showlegend=False,
    )
    return figure_


def _height(kept: KeptPlan) -> int:
    hosts = {row["destination"] for row in step_rows(kept)}
    return 110 + 34 * min(20, len(hosts))


def _grid(kept: KeptPlan, acts: bool) -> Component:
    selection = {"rowSelection": {"mode": "multiRow"}} if acts else {}
    return dag.AgGrid(
        id=_STEPS,
        rowData=step_rows(kept),
        columnDefs=_COLUMNS,
        defaultColDef={
            "flex": 10,
            "minWidth": 60,
            "suppressHeaderMenuButton": True,
            "wrapHeaderText": True,
        },
        getRowId="params.data.id",
        dashGridOptions={**selection, "animateRows": False, "rowHeight": 34, "headerHeight": 48},
        style={"height": 340},
    )


_RIGHT: Final = {"type": "rightAligned"}
_COLUMNS: Final = [
    {"field": "step", "headerName": "Step", "flex": 5, **_RIGHT},
    {"field": "vm", "headerName": "VM", "flex": 12},
    {"field": "source", "headerName": "From"},
    {"field": "destination", "headerName": "To"},
    {"field": "start_s", "headerName": "Begin s", "flex": 7, **_RIGHT},
    {"field": "duration_s", "headerName": "Takes s", "flex": 7, **_RIGHT},
    {"field": "bandwidth", "headerName": "MiB/s", "flex": 7, **_RIGHT},
    {"field": "cost", "headerName": "Cost host-s", "flex": 8, **_RIGHT},
    {"field": "state", "headerName": "State"},
    {"field": "percent", "headerName": "Sent %", "flex": 6, **_RIGHT},
    {"field": "why", "headerName": "Why", "flex": 30, "tooltipField": "why"},
]


def _refusals(kept: KeptPlan) -> list[Component]:
    found = (kept.document.get("result") or {}).get("refusals", ())
    if not found:
        return []
    sentences = [dmc.ListItem(item["sentence"]) for item in found[:_MOST_DRAWN]]
    return [
        dmc.Title("What stays as it is, and why", order=2, size="h5", mt="md", mb="xs"),
        dmc.List(sentences, size="sm"),
    ]


PAGE: Final = Page(
    path="/clusters/<cluster_id>/plans/<item_id>",
    title="Plan",
    operation="plans.show",
    label="",
    show=show,
    listen=listen,
)
