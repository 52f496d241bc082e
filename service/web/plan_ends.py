"""What a plan does to each host, what came of it, and what it leaves as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import dcc

from service.plans.document import plan_of
from service.store.base import KeptPlan
from service.web import plan_hosts, plan_rows
from service.web.charts import buttons
from service.web.parts import small_table, subheading
from service.web.site import Component
from service.web.tables import COLUMN, HOST_S, NUMBER

_MOST_SAID: Final = 200
"""Sentences on what stays as it is."""
_MOST_HOSTS_PX: Final = 460


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
                config=buttons("plan-hosts"),
                style={"height": plan_hosts.height_px(rows)},
                responsive=True,
            )
        ]
    return [
        subheading("Hosts before and after"),
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
            {"field": "before", "headerName": "Contention before", "minWidth": 108, **HOST_S},
            {"field": "after", "headerName": "after", **HOST_S},
            {"field": "risk_before", "headerName": "Overload before, %", "minWidth": 92, **NUMBER},
            {"field": "risk_after", "headerName": "after, %", **NUMBER},
            *_load_columns(rows),
            {"field": "out", "headerName": "VMs leave", "flex": 7, **NUMBER},
            {"field": "in", "headerName": "VMs arrive", "flex": 7, **NUMBER},
            {"field": "out_at_once", "headerName": "Most leave at once", "flex": 9},
            {"field": "in_at_once", "headerName": "Most arrive at once", "flex": 9},
            {"field": "link", "headerName": "Most on its link, MiB/s", "flex": 12, "minWidth": 110},
        ],
        defaultColDef=COLUMN,
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
    title = subheading("What came of it")
    if not rows:
        soon = (
            "It is looked back on 5 minutes, 1 hour and 24 hours after it was made, as soon as the "
            "telemetry of that time is there."
        )
        return [title, dmc.Text(soon, size="sm")]
    names = ("After", "Shortfall without, host-s", "With it", "Saved", "Predicted to save")
    fields = ("without_host_s", "with_host_s", "saved_host_s", "predicted")
    body = [[row["span"], *[plan_rows.host_s(row[field]) for field in fields]] for row in rows]
    table = small_table("What came of it", names, body)
    return [title, dmc.Text(_judged(kept), size="sm", c="dimmed"), table]


def refusals(kept: KeptPlan) -> list[Component]:
    """Return what stays as it is, and why."""
    found = (kept.document.get("result") or {}).get("refusals", ())
    if not found:
        return []
    sentences = [dmc.ListItem(item["sentence"]) for item in found[:_MOST_SAID]]
    more = len(found) - _MOST_SAID
    return [
        subheading("What stays as it is, and why"),
        dmc.List(sentences, size="sm"),
        dmc.Text(f"… and {more:,} more", size="sm") if more > 0 else None,
    ]


def failures(kept: KeptPlan) -> list[Component]:
    """Return which engines had no part in the plan, because they failed."""
    found = (kept.document.get("result") or {}).get("failures", ())
    said = [f"{failure}; the plan is what other engines found." for failure in found]
    return [dmc.Alert(sentence, color="orange", mt="sm") for sentence in said]


def _judged(kept: KeptPlan) -> str:
    by = "as its moves really ended" if kept.document.get("progress") else "as if it had been run"
    return f"By the demand that was then observed, {by}."
