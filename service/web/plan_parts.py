"""Parts of the page of one plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import dcc, html

from service.plans.document import plan_of
from service.store.base import KeptPlan, PlanStage
from service.web import plan_chart, plan_hosts, plan_rows
from service.web.parts import figure, heading, instant
from service.web.site import Component

STEPS: Final = "plan-steps"
TIME_LINE: Final = "plan-time-line"
KEY: Final = "plan-key"

_MOST_SAID: Final = 200
"""Sentences on what stays as it is."""
_MOST_HOSTS_PX: Final = 460
_NAMED: Final[dict[str, Any]] = {"aria-label": "Moves on a time line"}

# Nothing leaves the service: no button that would upload a chart to somebody's cloud.
CHART: Final[Any] = {
    "displaylogo": False,
    "toImageButtonOptions": {"format": "png", "scale": 2},
    "modeBarButtonsToRemove": ["sendChartToCloud", "select2d", "lasso2d", "autoScale2d"],
}


def head(kept: KeptPlan, hint: str) -> Component:
    """Return what is said of the plan as a whole.

    Parameters
    ----------
    hint
        Why it is never carried out, and what to change; empty if it may be.
    """
    decided = kept.document.get("decision") or {}
    progress = kept.document.get("progress") or {}
    figures = [
        figure("Stage", plan_rows.stage_of(kept)),
        figure("Made at", instant(kept.made_at)),
        figure("For", kept.trigger),
        figure("Length", f"{plan_rows.length_s(plan_of(kept)):,.0f} s"),
    ]
    if decided:
        figures.append(figure(str(decided["decision"]).capitalize(), f"by {decided['by']}"))
    if progress:
        figures.append(figure("Moves", plan_rows.counted(kept)))
    reason = progress.get("reason") or kept.document.get("reason") or ""
    plans = f"/clusters/{quote(kept.cluster_id, safe='')}/plans"
    return [
        heading("Plan", dmc.Anchor("All plans", href=plans, underline="always")),
        dmc.Text(plan_rows.summary(kept), mb="xs"),
        dmc.Group(figures, gap="xl", mb="sm"),
        _progress(kept),
        dmc.Text(reason, size="sm", c="dimmed", mb="sm"),
        *([dmc.Text(f"A recommendation: {hint}.", size="sm", mb="sm")] if hint else []),
        *_objections(kept),
    ]


def _progress(kept: KeptPlan) -> Component:
    if not kept.document.get("progress"):
        return None
    return dmc.Progress(
        value=plan_rows.percent_over(kept),
        mb="sm",
        color="blue" if kept.stage is PlanStage.RUNNING else "gray",
        **{"aria-label": "How far the plan is"},
    )


def _objections(kept: KeptPlan) -> list[Component]:
    found = kept.document.get("objections") or ()
    if not found:
        return []
    return [
        dmc.Alert(
            "; ".join(found),
            title="The telemetry it is made of is poor",
            variant="outline",
            color="red",
            mb="sm",
        )
    ]


def time_line(rows: Sequence[Mapping[str, Any]]) -> Component:
    """Return the moves as bars, in a box that scrolls where there are many hosts."""
    if not rows:
        return html.Div(dcc.Graph(id=TIME_LINE), hidden=True)
    drawn = dcc.Graph(
        id=TIME_LINE,
        figure=plan_chart.time_line(rows),
        config=CHART,
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
        defaultColDef={
            "flex": 10,
            "minWidth": 64,
            "suppressHeaderMenuButton": True,
            "wrapHeaderText": True,
        },
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


_RIGHT: Final = {"type": "rightAligned"}
_SECONDS: Final = {**_RIGHT, "valueFormatter": {"function": "d3.format(',.1f')(params.value)"}}
_HOST_S: Final = {
    **_RIGHT,
    "valueFormatter": {"function": "params.value == null ? '' : d3.format(',.2f')(params.value)"},
}
_COLUMNS: Final[tuple[dict[str, Any], ...]] = (
    {"field": "step", "headerName": "Step", "flex": 5, "minWidth": 56, **_RIGHT},
    {"field": "vm", "headerName": "VM", "flex": 12, "minWidth": 96},
    {"field": "source", "headerName": "From", "minWidth": 88},
    {"field": "destination", "headerName": "To", "minWidth": 88},
    {"field": "start_s", "headerName": "Start s", "flex": 7, **_SECONDS},
    {"field": "duration_s", "headerName": "Takes s", "flex": 7, **_SECONDS},
    {"field": "bandwidth", "headerName": "MiB/s", "flex": 7, **_RIGHT},
    {"field": "saves", "headerName": "Saves host-s", "flex": 9, "minWidth": 80, **_HOST_S},
    {"field": "cost", "headerName": "Costs host-s", "flex": 8, **_HOST_S},
    {"field": "state", "headerName": "State", "flex": 9, "minWidth": 88},
    {"field": "percent", "headerName": "Sent %", "flex": 6, **_RIGHT},
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
            **_HOST_S,
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
    vm = f"/clusters/{quote(kept.cluster_id, safe='')}/vms/{quote(step.vm_id, safe='')}"
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


def hosts(kept: KeptPlan, caps: Mapping[str, plan_hosts.Caps]) -> list[Component]:
    """Return what the plan does to each host."""
    rows = plan_hosts.host_rows(kept, caps)
    if not rows:
        return []
    drawn = []
    if any(row["before"] or row["after"] for row in rows):
        drawn = [
            dcc.Graph(
                figure=plan_hosts.before_and_after(rows),
                config=CHART,
                style={"height": plan_hosts.height_px(rows)},
                responsive=True,
            )
        ]
    return [
        _title("Hosts before and after"),
        dmc.Text(
            "As predicted when the plan was made: contention of the next hour in host-seconds, and "
            "how likely a host is short of anything. CPU and memory: the hour's peak in percent of "
            "what is usable, median / 95th percentile. Caps are those of the cluster as it is now.",
            size="sm",
            c="dimmed",
        ),
        *drawn,
        _hosts_grid(rows),
    ]


def _hosts_grid(rows: Sequence[Mapping[str, Any]]) -> Component:
    return dag.AgGrid(
        id="plan-hosts",
        rowData=rows,
        columnDefs=[
            {"field": "host", "headerName": "Host", "flex": 12, "minWidth": 88},
            {"field": "before", "headerName": "Contention before", **_HOST_S},
            {"field": "after", "headerName": "after", **_HOST_S},
            {"field": "risk_before", "headerName": "Overload before, %", **_RIGHT},
            {"field": "risk_after", "headerName": "after, %", **_RIGHT},
            *_load_columns(rows),
            {"field": "out", "headerName": "VMs leave", "flex": 7, **_RIGHT},
            {"field": "in", "headerName": "VMs arrive", "flex": 7, **_RIGHT},
            {"field": "out_at_once", "headerName": "Most leave at once", "flex": 9},
            {"field": "in_at_once", "headerName": "Most arrive at once", "flex": 9},
            {"field": "link", "headerName": "Most on its link, MiB/s", "flex": 12, "minWidth": 110},
        ],
        defaultColDef={
            "flex": 10,
            "minWidth": 64,
            "suppressHeaderMenuButton": True,
            "wrapHeaderText": True,
        },
        getRowId="params.data.id",
        dashGridOptions={"animateRows": False, "rowHeight": 32, "headerHeight": 62},
        style={"height": min(_MOST_HOSTS_PX, 80 + 32 * len(rows)), "marginTop": 8},
    )


def _load_columns(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the columns of predicted loads; none for a plan that was made without."""
    return [
        {
            "field": f"{resource}_{when}",
            "headerName": f"{name} {when}, %",
            "minWidth": 82,
            "hide": not any(row[f"{resource}_{when}"] for row in rows),
        }
        for resource, name in plan_hosts.LOADS.items()
        for when in ("before", "after")
    ]


def outcome(kept: KeptPlan) -> list[Component]:
    """Return what came of the plan, by the demand that was then observed."""
    if not plan_of(kept).steps:
        return []
    rows = plan_rows.outcome_rows(kept)
    title = _title("What came of it")
    if not rows:
        soon = (
            "It is looked back on 5 minutes, 1 hour and 24 hours after it was made, as soon as the "
            "telemetry of that time is there."
        )
        return [title, dmc.Text(soon, size="sm")]
    names = ("After", "Shortfall without, host-s", "With it", "Saved", "Predicted to save")
    fields = ("without_host_s", "with_host_s", "saved_host_s", "predicted")
    body = [
        dmc.TableTr(
            [
                dmc.TableTd(row["span"]),
                *[dmc.TableTd(plan_rows.host_s(row[field])) for field in fields],
            ]
        )
        for row in rows
    ]
    return [title, dmc.Text(_judged(kept), size="sm", c="dimmed"), table(names, body)]


def table(names: Sequence[str], body: Sequence[Component]) -> Component:
    """Return a small table, which scrolls within itself where it is too wide."""
    cells = dmc.TableTr([dmc.TableTh(name) for name in names])
    found = dmc.Table([dmc.TableThead(cells), dmc.TableTbody(list(body))], striped=True)
    # Reached by Tab, so that it is scrolled by keys as well.
    return dmc.TableScrollContainer(
        found, minWidth=760, scrollAreaProps={"viewportProps": {"tabIndex": 0}}
    )


def refusals(kept: KeptPlan) -> list[Component]:
    """Return what stays as it is, and why."""
    found = (kept.document.get("result") or {}).get("refusals", ())
    if not found:
        return []
    sentences = [dmc.ListItem(item["sentence"]) for item in found[:_MOST_SAID]]
    more = len(found) - _MOST_SAID
    return [
        _title("What stays as it is, and why"),
        dmc.List(sentences, size="sm"),
        dmc.Text(f"… and {more:,} more", size="sm") if more > 0 else None,
    ]


def _judged(kept: KeptPlan) -> str:
    by = "as its moves really ended" if kept.document.get("progress") else "as if it had been run"
    return f"By the demand that was then observed, {by}."


def _title(text: str) -> Component:
    return dmc.Title(text, order=2, size="h5", mt="md", mb="xs")


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
