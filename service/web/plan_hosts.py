"""What a plan does to each host: contention before and after, and its moves against the caps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go

from service.plans.document import plan_of
from service.store.base import KeptPlan
from solver.domain.cluster import Cluster
from solver.domain.plan import Step, StepKind
from solver.domain.weights import to_host_s

Row = dict[str, Any]

MOST_DRAWN: Final = 24
"""Hosts on the chart: the most contended."""
LOADS: Final = {"cpu": "CPU", "memory": "Memory"}
"""Resources whose loads are told: field → its name."""
_PPM_PER_PERCENT: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What migrations may take of a host; ``None`` where that is not known.

    Parameters
    ----------
    bandwidth_mib_per_s
        Of its link, in and out together.
    moves_in, moves_out
        At once.
    """

    bandwidth_mib_per_s: int | None = None
    moves_in: int | None = None
    moves_out: int | None = None


def caps_of(cluster: Cluster) -> dict[str, Caps]:
    """Return the caps of each host."""
    return {
        str(host.id): Caps(
            bandwidth_mib_per_s=host.migration_bandwidth_mib_per_s,
            moves_in=cluster.budget.max_parallel_in_per_host,
            moves_out=cluster.budget.max_parallel_out_per_host,
        )
        for host in cluster.hosts
    }


def host_rows(kept: KeptPlan, caps: Mapping[str, Caps]) -> list[Row]:
    """Return a row for each host, the most contended before the plan first."""
    result = kept.document.get("result") or {}
    before = {item["host_id"]: item for item in result.get("contention_before", ())}
    after = {item["host_id"]: item for item in result.get("contention_after", ())}
    loads = {item["host_id"]: item for item in kept.document.get("loads", ())}
    moves: dict[str, list[Step]] = defaultdict(list)
    for step in plan_of(kept).steps:
        for end in _ends(step):
            moves[str(end)].append(step)
    rows = [
        _row(host, before.get(host), after.get(host), moves.get(host, []), caps.get(host, Caps()))
        | _loads(loads.get(host, {}))
        for host in dict.fromkeys([*before, *moves])
    ]
    return sorted(rows, key=lambda row: (-(row["before"] or 0.0), row["host"]))


def before_and_after(rows: Iterable[Row]) -> go.Figure:
    """Return the contention of hosts as pairs of bars."""
    drawn = [row for row in rows if row["before"] or row["after"]][:MOST_DRAWN][::-1]
    pairs = (("after", "After", "#2b8a3e"), ("before", "Before", "#c2410c"))
    figure = go.Figure(
        [
            go.Bar(
                x=[row[field] for row in drawn],
                y=[row["host"] for row in drawn],
                name=name,
                orientation="h",
                marker={"color": color},
                hovertemplate="%{y}: %{x:,.1f} host-s<extra>" + name + "</extra>",
            )
            for field, name, color in pairs
        ]
    )
    figure.update_layout(
        margin={"l": 10, "r": 10, "t": 10, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#868e96", "activecolor": "#1971c2"},
        barmode="group",
        xaxis={
            "title": "host-seconds",
            "gridcolor": "rgba(128,128,128,0.3)",
        },
        yaxis={"automargin": True, "type": "category"},
        legend={"traceorder": "reversed", "orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )
    return figure


def height_px(rows: Iterable[Row]) -> int:
    """Return how high the chart is."""
    drawn = sum(1 for row in rows if row["before"] or row["after"])
    return 110 + 26 * min(MOST_DRAWN, drawn)


def _row(
    host: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    steps: Iterable[Step],
    caps: Caps,
) -> Row:
    outgoing = [step for step in steps if step.source_id == host]
    incoming = [step for step in steps if step.destination_id == host]
    own = [s for s in (*outgoing, *incoming) if s.kind is StepKind.MIGRATE]
    return {
        "id": host,
        "host": host,
        "before": _score(before),
        "after": _score(after),
        "risk_before": _risk(before),
        "risk_after": _risk(after),
        "out": len(outgoing),
        "in": len(incoming),
        "out_at_once": _of(_most(outgoing), caps.moves_out),
        "in_at_once": _of(_most(incoming), caps.moves_in),
        "link": _of(_most(own, by_bandwidth=True), caps.bandwidth_mib_per_s),
    }


def _loads(found: Mapping[str, Any]) -> Row:
    """Return median and 95th percentile of peak loads in percent; empty where nothing is told."""
    return {
        f"{resource}_{when}": _band(found.get(when, {}).get(resource))
        for resource in LOADS
        for when in ("before", "after")
    }


def _band(peaks: Mapping[str, float] | None) -> str:
    return "" if peaks is None else f"{100 * peaks['p50']:.0f} / {100 * peaks['p95']:.0f}"


def _ends(step: Step) -> tuple[str, ...]:
    return (
        (step.destination_id,)
        if step.source_id is None
        else (
            step.source_id,
            step.destination_id,
        )
    )


def _most(steps: Iterable[Step], *, by_bandwidth: bool = False) -> int:
    """Return the most moves at once, or the most bandwidth of them together."""
    changes: list[tuple[int, int]] = []
    for step in steps:
        weight = step.bandwidth_mib_per_s if by_bandwidth else 1
        changes += [(step.start_ms, weight), (step.end_ms, -weight)]
    most = now = 0
    # What ends in a moment makes room for what begins in it.
    for _, weight in sorted(changes):
        now += weight
        most = max(most, now)
    return most


def _of(amount: int, cap: int | None) -> str:
    if not amount:
        return ""
    return f"{amount:,}" if cap is None else f"{amount:,} of {cap:,}"


def _score(contention: Mapping[str, Any] | None) -> float | None:
    return None if contention is None else round(to_host_s(contention["total"]), 2)


def _risk(contention: Mapping[str, Any] | None) -> float | None:
    return None if contention is None else round(contention["overload_ppm"] / _PPM_PER_PERCENT, 1)
