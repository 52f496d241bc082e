"""The moves of a plan: on a time line, in a table, and all that is known of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import dcc, html

from service.plans.document import plan_of
from service.store.base import KeptPlan
from service.web import plan_chart, plan_rows
from service.web.charts import buttons
from service.web.site import Component
from service.web.tables import COLUMN, HOST_S, NUMBER, place

STEPS: Final = "plan-steps"
TIME_LINE: Final = "plan-time-line"
KEY: Final = "plan-key"

_NAMED: Final[dict[str, Any]] = {"aria-label": "Moves on a time line"}


def time_line(rows: Sequence[Mapping[str, Any]]) -> Component:
    """Return the moves as bars, in a box that scrolls where there are many hosts."""
    if not rows:
        return html.Div(dcc.Graph(id=TIME_LINE), hidden=True)
    drawn = dcc.Graph(
        id=TIME_LINE,
        figure=plan_chart.time_line(rows),
        config=buttons(TIME_LINE),
        style={"height": plan_chart.height_px(rows)},
        responsive=True,
    )
    more = len(rows) - plan_chart.MOST_DRAWN
    said = (
        f"The first {plan_chart.MOST_DRAWN} of {len(rows):,} moves are drawn." if more > 0 else ""
    )
    return [
        html.Div(
            drawn,
            tabIndex=0,
            role="group",
            style={"maxHeight": 420, "overflowY": "auto"},
            **_NAMED,
        ),
        dmc.Text(said, size="sm", c="dimmed") if said else None,
    ]


def key(rows: Sequence[Mapping[str, Any]]) -> Component:
    """Return what the colours of the time line say."""
    return dmc.Group(
        [
            dmc.Group(
                [
                    html.Span(
                        style={
                            "background": plan_chart.COLORS[kind],
                            "width": 14,
                            "height": 14,
                            "display": "inline-block",
                        }
                    ),
                    dmc.Text(kind, size="sm"),
                ],
                gap=6,
            )
            for kind in plan_chart.kinds_shown(rows)
        ],
        gap="md",
    )


def steps_grid(rows: Sequence[Mapping[str, Any]], acts: bool) -> Component:
    """Return the table of moves; those who decide may select many."""
    several = {"mode": "multiRow", "enableClickSelection": True}
    one = {"mode": "singleRow", "checkboxes": False, "enableClickSelection": True}
    return dag.AgGrid(
        id=STEPS,
        rowData=rows,
        columnDefs=_columns(rows),
        defaultColDef=COLUMN,
        getRowId="params.data.id",
        csvExportParams={"fileName": "plan.csv", "allColumns": True},
        dashGridOptions={
            "rowSelection": several if acts else one,
            "animateRows": False,
            "rowHeight": 32,
            "headerHeight": 48,
            "localeText": {"noRowsToShow": "No VM is moved"},
        },
        style={"height": min(420, 66 + 32 * max(2, len(rows)))},
    )


_SECONDS: Final = {**NUMBER, "valueFormatter": {"function": "d3.format(',.1f')(params.value)"}}
_COLUMNS: Final[tuple[dict[str, Any], ...]] = (
    {"field": "step", "headerName": "Step", "flex": 5, "minWidth": 56, **NUMBER},
    {"field": "vm", "headerName": "VM", "flex": 12, "minWidth": 96},
    {"field": "source", "headerName": "From", "minWidth": 88},
    {"field": "destination", "headerName": "To", "minWidth": 88},
    {"field": "start_s", "headerName": "Start s", "flex": 7, **_SECONDS},
    {"field": "duration_s", "headerName": "Takes s", "flex": 7, **_SECONDS},
    {"field": "bandwidth", "headerName": "MiB/s", "flex": 7, **NUMBER},
    {"field": "saves", "headerName": "Saves host-s", "flex": 9, "minWidth": 80, **HOST_S},
    {"field": "cost", "headerName": "Costs host-s", "flex": 8, **HOST_S},
    {"field": "state", "headerName": "State", "flex": 9, "minWidth": 88},
    {"field": "percent", "headerName": "Sent %", "flex": 6, **NUMBER},
    {"field": "why", "headerName": "Why", "flex": 24, "minWidth": 150, "tooltipField": "why"},
)
_LOOKED_BACK: Final = {
    f"saved_{span}": f"Saved in {words}" for span, words in plan_rows.SPANS.items()
}
_EXPORTED: Final = {
    "next_best": "Next best",
    "utilisation": "Cost: fuller destination",
    "transfer": "Cost: sending memory",
    "downtime": "Cost: standing still",
    "latency": "Cost: distance",
    "planned_mib": "MiB planned",
    "sent_mib": "MiB sent",
    "planned_downtime_ms": "Downtime planned ms",
    "stood_ms": "Downtime ms",
    "took_s": "Took s",
}
"""Columns of the exported file alone."""


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the columns; those of what was observed once there is something."""
    observed = [
        {
            "field": field,
            "headerName": name,
            "flex": 8,
            "hide": all(row[field] is None for row in rows),
            **HOST_S,
        }
        for field, name in _LOOKED_BACK.items()
    ]
    hidden = [
        {"field": field, "headerName": name, "hide": True} for field, name in _EXPORTED.items()
    ]
    return [*_COLUMNS[:-1], *observed, _COLUMNS[-1], *hidden]


def one_move(kept: KeptPlan, step_idx: int) -> Component:
    """Return all that is known of one move."""
    step = plan_of(kept).steps[step_idx]
    vm = place(kept.cluster_id, "vms", step.vm_id)
    why = plan_rows.step_rows(kept)[step_idx]["why"]
    groups = [_pairs(title, pairs) for title, pairs in plan_rows.one_move(kept, step_idx)]
    return dmc.Paper(
        [
            dmc.Group(
                [
                    dmc.Text(f"Move {step_idx}", fw=600),
                    dmc.Anchor(step.vm_id, href=vm, underline="always"),
                    dmc.Text(f"{step.source_id or 'nowhere'} → {step.destination_id}"),
                ],
                gap="sm",
            ),
            dmc.Text(why, size="sm", mb="xs"),
            dmc.SimpleGrid(groups, cols={"base": 2, "md": 4}, spacing="lg"),
        ],
        withBorder=True,
        p="sm",
        mt="xs",
    )


def no_move() -> Component:
    """Return what stands in the place of a move that is still to be chosen."""
    return dmc.Text(
        "Choose a move in the table or on the time line: what it is worth, what it costs, and what "
        "came of it.",
        size="sm",
        c="dimmed",
        mt="xs",
    )


def _pairs(title: str, pairs: Iterable[tuple[str, str]]) -> Component:
    return html.Div(
        [
            dmc.Text(title, size="sm", fw=600),
            *[
                dmc.Group(
                    [dmc.Text(name, size="sm", c="dimmed"), dmc.Text(value, size="sm")],
                    justify="space-between",
                    gap="xs",
                )
                for name, value in pairs
            ],
        ]
    )
