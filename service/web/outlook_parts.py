"""What the pages of a VM and of a host show alike: the chart, how forecasts fared, migrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import dash_mantine_components as dmc

from service.web.charts import chart, course_figure
from service.web.course import UNITS, Hindsight
from service.web.migrations import Migration, migration_rows
from service.web.parts import small_table, subheading
from service.web.readings import SPANS, Outlook
from service.web.site import Component
from service.web.tables import NUMBER, TIME, export_button, link, place, table
from solver.domain.units import Resource

NOT_YET: Final = (
    "There is no reading and no forecast of it yet. Readings come from the monitor of its host, "
    "forecasts from the process that leads, every five minutes."
)


def span_select(name: str) -> Component:
    """Return what chooses how far back a page looks."""
    return dmc.Select(
        id=name,
        data=[{"value": hours, "label": f"Last {text}"} for hours, text in SPANS.items()],
        value="24",
        allowDeselect=False,
        w=150,
        **{"aria-label": "How far back"},
    )


def course_chart(name: str, outlook: Outlook, of: str) -> Component:
    """Return the chart of all resources, with what is said where there is nothing to draw."""
    figure = course_figure(outlook.courses)
    resources = ", ".join(course.unit.name for course in outlook.courses)
    label = f"Readings and forecasts of {of}: {resources}"
    return chart(name, figure, label, nothing=NOT_YET)


def fared(
    found: Mapping[Resource, Hindsight], quality: Mapping[str, Any], of: str
) -> list[Component]:
    """Return how good the forecasts were: of this one, and of the whole cluster."""
    rows = [
        (
            UNITS[resource.field].name,
            f"{100 * own.within:.0f} %",
            f"{100 * own.below_p95:.0f} %",
            "" if own.loss is None else f"{own.loss:.2f}",
            f"{own.num_readings:,}",
            *_of_cluster(quality, resource.field),
        )
        for resource, own in found.items()
    ]
    if not rows:
        return [dmc.Text("Nothing that was forecast of it has come to pass yet.", size="sm")]
    head = (
        "Resource",
        "Within p5–p95 (of 90 %)",
        "Up to p95 (of 95 %)",
        "Loss",
        "Readings",
        "Cluster: up to p95",
        "Cluster: loss",
    )
    note = (
        f"Readings of {of} in the past 24 hours, against the first forecast of each hour. Loss: "
        "pinball loss over how far demand went from its reading at the time; lower is better. "
        "The cluster's figures are those of its busier VMs."
    )
    figures = small_table("How forecasts fared", head, rows)
    return [figures, dmc.Text(note, size="xs", c="dimmed", mt="xs")]


def rules_table(cluster_id: str, lines: Sequence[Mapping[str, Any]], of: str) -> Component:
    """Return the rules that name something, each leading to where it is changed."""
    if not lines:
        return dmc.Text(f"No rule names this {of}.", size="sm")
    rows = [
        (_rule(cluster_id, line["id"]), line["says"], line["strength"], line["state"])
        for line in lines
    ]
    return small_table("Rules", ("Rule", "Says", "Strength", "State"), rows)


def _rule(cluster_id: str, rule_id: str) -> Component:
    address = f"{place(cluster_id, 'rules').rstrip('/')}?rule={quote(rule_id, safe='')}"
    return dmc.Anchor(rule_id, href=address, underline="always", c="inherit", size="sm")


def migrations_part(
    name: str, cluster_id: str, moves: Sequence[Migration], *, with_vm: bool
) -> list[Component]:
    """Return the migrations so far, with the button that saves them."""
    hosts = {"minWidth": 100, **link(place(cluster_id, "hosts"))}
    plans = {"minWidth": 180, **link(place(cluster_id, "plans"))}
    vms = [{"field": "vm", "headerName": "VM", "minWidth": 110, **link(place(cluster_id, "vms"))}]
    columns = [
        {"field": "at", "headerName": "Begun at", "minWidth": 185, "valueFormatter": TIME},
        *(vms if with_vm else []),
        {"field": "source", "headerName": "From", **hosts},
        {"field": "destination", "headerName": "To", **hosts},
        {"field": "duration_s", "headerName": "Took s", "flex": 7, **NUMBER},
        {"field": "downtime_ms", "headerName": "Downtime ms", "flex": 8, "minWidth": 95, **NUMBER},
        {"field": "sent_mib", "headerName": "Sent MiB", "flex": 7, "minWidth": 70, **NUMBER},
        {
            "field": "outcome",
            "headerName": "Outcome",
            "flex": 16,
            "minWidth": 140,
            "tooltipField": "outcome",
        },
        {"field": "plan", "headerName": "Plan", "flex": 16, **plans},
    ]
    rows = migration_rows(moves)
    return [
        subheading("Migrations by plans", export_button(name)),
        table(name, columns, rows, nothing="No plan has moved it yet"),
    ]


def _of_cluster(quality: Mapping[str, Any], field: str) -> tuple[str, str]:
    share = quality.get("coverage", {}).get(field, {}).get("0.95")
    loss = quality.get("pinball", {}).get(field)
    return (
        "" if share is None else f"{100 * share:.0f} %",
        "" if loss is None else f"{loss:.2f}",
    )
