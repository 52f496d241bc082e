"""Hosts as cells in their zones: a map of the cluster that shows at a glance what is short.

Cells are few and plain elements: a hundred with two dozen components each take seconds to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from dash import html

from service.web.host_loads import NAMES, ClusterLoad, HostLoad, Meter, told
from service.web.site import Component
from solver.domain.cluster import HostState
from solver.domain.units import Resource

SWITCH: Final = "overview-maintenance"
"""Store that is told which host's button was pressed, to be drained or to return."""

_STATES: Final = {
    HostState.UP: "",
    HostState.MAINTENANCE: "maintenance",
    HostState.UNREACHABLE: "out of reach",
}
_HOT, _WARM = 0.5, 0.05
"""Probability that a host is short within the hour, from which on its cell stands out."""


def zones(load: ClusterLoad, *, acts: bool) -> Component:
    """Return a map of all hosts, zone by zone."""
    return [_zone(load, name, hosts, acts) for name, hosts in load.zones.items()]


def legend(load: ClusterLoad) -> Component:
    """Return what the bars of the map mean."""
    if load.forecast_at is None:
        return html.P(
            "There is no forecast yet: bars show what is promised to VMs, of what a host has.",
            className="legend",
        )
    return html.P(
        [
            "Bars: load now, ",
            html.Span(className="tick p50"),
            " most of the next hour as expected (p50), ",
            html.Span(className="tick p95"),
            " passed in one of twenty cases (p95).",
        ],
        className="legend",
    )


def host_address(cluster_id: str, host_id: str) -> str:
    """Return where a host is shown."""
    return f"/clusters/{quote(cluster_id, safe='')}/hosts/{quote(host_id, safe='')}"


def _zone(load: ClusterLoad, name: str, hosts: Sequence[HostLoad], acts: bool) -> Component:
    cells = [_cell(load.inventory.cluster_id, each, acts) for each in hosts]
    short = sum((each.overload_probability or 0) >= _HOT for each in hosts)
    aside = f" · {short} likely to be short" if short else ""
    title = f"Zone {name}" if name else "Hosts"
    return html.Section(
        [
            html.H2(f"{title} · {len(hosts):,} host{'s' if len(hosts) > 1 else ''}{aside}"),
            html.Div(cells, className="host-map"),
        ],
        className="zone",
    )


def _cell(cluster_id: str, load: HostLoad, acts: bool) -> Component:
    host = load.host
    state = _STATES.get(host.state, host.state.value)
    return html.Div(
        [
            html.A(host.id, href=host_address(cluster_id, host.id), title=host.id),
            _switch(load) if acts else None,
            html.Div(_standing(load, state), className="standing"),
            _likely(load),
            *(_meter(meter, host.id) for meter in load.meters),
            html.Div(_promised(load), className="standing"),
        ],
        className=f"host-cell {_heat(load)}",
    )


def _heat(load: HostLoad) -> str:
    if load.host.state is not HostState.UP:
        return "aside"
    probability = load.overload_probability or 0
    return "hot" if probability >= _HOT else "warm" if probability >= _WARM else ""


def _standing(load: HostLoad, state: str) -> str:
    vms = "1 VM" if load.num_vms == 1 else f"{load.num_vms:,} VMs"
    score = "" if load.score_host_s is None else f"contention {load.score_host_s:,.1f}"
    return " · ".join(filter(None, (state, vms, score)))


def _likely(load: HostLoad) -> Component:
    """Return how likely the host is short, where it is."""
    percent = round(100 * (load.overload_probability or 0))
    return html.Div(f"{percent} % likely to be short", className="likely") if percent else None


def _promised(load: HostLoad) -> str:
    """Return what is promised in a few words."""
    shown = [meter for meter in load.meters if meter.resource in (Resource.CPU, Resource.MEMORY)]
    if not shown:
        return "No limits"
    texts = [f"{NAMES[meter.resource]} {meter.promised}" for meter in shown]
    return f"Promised {', '.join(texts)}\u00a0%"


def _meter(meter: Meter, host_id: str) -> Component:
    """Return one resource as a bar with ticks; the style sheet draws it out of one element."""
    ahead = meter.now is not None and meter.p95 is not None
    filled = meter.promised if meter.now is None else meter.now
    over = max(0 if meter.now is None else meter.now, meter.p95 or 0) > 100
    style = {"--now": _left(filled)}
    if ahead:
        style |= {"--p50": _left(meter.p50 or 0), "--p95": _left(meter.p95 or 0)}
    labels: dict[str, Any] = {
        "aria-label": told(meter, host_id),
        "data-name": NAMES[meter.resource],
        "data-figures": f"{filled} · {meter.p50} · {meter.p95} %" if ahead else f"{filled} %",
    }
    return html.Div(
        className=f"meter{' ahead' if ahead else ''}{' over' if over else ''}",
        role="img",
        title=told(meter, host_id),
        style=style,
        **labels,
    )


def _left(percent: int) -> str:
    return f"{min(100, percent)}%"


def _switch(load: HostLoad) -> Component:
    """Return the button that the script of the pages listens to; a hundred of Dash's are slow."""
    what = "Return" if load.kept_empty else "Drain"
    labels: dict[str, Any] = {
        "aria-label": f"{what} {load.host.id}",
        "data-tells": SWITCH,
        "data-value": load.host.id,
    }
    return html.Button(what, className="small-button", **labels)
