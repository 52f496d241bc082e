"""The hosts of a cluster by zone: what is promised on each, and which are kept empty."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, ctx, html, no_update

from service.api.services import Services
from service.inventory.effective import Inventory, look_up
from service.inventory.maintenance import set_maintenance
from service.inventory.policies import Maintenance
from service.web.door import may, require
from service.web.errors import notice
from service.web.parts import figure, heading, instant
from service.web.site import Component, Page, Visit
from solver.domain.cluster import VM, Host, HostState
from solver.domain.units import HostId

_CLUSTER: Final = "overview-cluster"
_HOSTS: Final = "overview-hosts"
_SWITCH: Final = "overview-maintenance"
_LIVE: Final = "live"

_STATES: Final = {
    HostState.UP: "",
    HostState.MAINTENANCE: "maintenance",
    HostState.UNREACHABLE: "out of reach",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """What VMs on hosts were promised, and what there is for it.

    Parameters
    ----------
    usable_cpu_millicores, usable_memory_mib
        Of the machine, without overcommit; ``None`` for no limit.
    most_memory_fraction
        Of the usable memory that may be promised.
    """

    num_vms: int
    cpu_millicores: int
    memory_mib: int
    usable_cpu_millicores: int | None
    usable_memory_mib: int | None
    most_memory_fraction: float


def promised(host: Host, vms: Sequence[VM]) -> Promised:
    """Return what is promised on a host."""
    cpu, memory, *_ = host.usable()
    return Promised(
        num_vms=len(vms),
        cpu_millicores=sum(vm.allocation.cpu_millicores for vm in vms),
        memory_mib=sum(vm.allocation.memory_mib for vm in vms),
        usable_cpu_millicores=cpu,
        usable_memory_mib=memory,
        most_memory_fraction=host.overcommit.memory,
    )


def show(services: Services, visit: Visit) -> Component:
    """Return the hosts."""
    with services.store.begin(read_only=True) as tx:
        inventory = look_up(tx, visit.cluster_id)
    acts = may(visit.principal, "maintenance.set", visit.cluster_id)
    return [
        html.Div(visit.cluster_id, id=_CLUSTER, hidden=True),
        heading("Overview"),
        html.Div(_hosts(inventory, acts), id=_HOSTS),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""

    @app.callback(
        Output(_HOSTS, "children"),
        Input(_LIVE, "data"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def refresh(_live: str, cluster_id: str) -> Any:
        """Show what has changed meanwhile."""
        principal = require(services, "hosts.list", cluster_id)
        with services.store.begin(read_only=True) as tx:
            inventory = look_up(tx, cluster_id)
        return _hosts(inventory, may(principal, "maintenance.set", cluster_id))

    @app.callback(
        Output(_HOSTS, "children", allow_duplicate=True),
        Input({"type": _SWITCH, "host": ALL}, "n_clicks"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def switch(_clicks: Sequence[int | None], cluster_id: str) -> Any:
        """Put a host into maintenance, or take it out."""
        # Buttons that have just been drawn say so, too.
        if not any(event["value"] for event in ctx.triggered):
            return no_update
        host_id: str = ctx.triggered_id["host"]
        principal = require(services, "maintenance.set", cluster_id)
        with services.store.begin() as tx:
            wanted = None if HostId(host_id) in look_up(tx, cluster_id).maintenance else ON_PAGE
            set_maintenance(
                tx,
                principal,
                cluster_id,
                HostId(host_id),
                wanted,
                expected_revision=None,
                now=services.now(),
            )
        notice(host_id, "is to be emptied and to stay empty" if wanted else "may hold VMs again")
        with services.store.begin(read_only=True) as tx:
            return _hosts(look_up(tx, cluster_id), True)


ON_PAGE: Final = Maintenance(reason="set on the overview")


def _hosts(inventory: Inventory, acts: bool) -> Component:
    vms: dict[str | None, list[VM]] = defaultdict(list)
    for vm in inventory.cluster.vms:
        vms[vm.host_id].append(vm)
    zones: dict[str, list[Host]] = defaultdict(list)
    for host in inventory.cluster.hosts:
        zones[host.zone].append(host)
    parts = [_zone(name, zones[name], vms, inventory, acts) for name in sorted(zones)]
    return [_figures(inventory, vms), *parts]


def _figures(inventory: Inventory, vms: Mapping[str | None, Sequence[VM]]) -> Component:
    hosts = inventory.cluster.hosts
    serving = [host for host in hosts if host.state is HostState.UP]
    shares = [promised(host, vms.get(host.id, ())) for host in serving]
    aside = len(hosts) - len(serving)
    return dmc.Group(
        [
            figure("Hosts", f"{len(hosts):,}" + (f" ({aside} not serving)" if aside else "")),
            figure("VMs", f"{len(inventory.cluster.vms):,}"),
            figure(
                "CPU promised",
                _share_of_all((s.cpu_millicores, s.usable_cpu_millicores) for s in shares),
            ),
            figure(
                "Memory promised",
                _share_of_all((s.memory_mib, s.usable_memory_mib) for s in shares),
            ),
            figure("Rules in force", f"{len(inventory.cluster.rules):,}"),
            figure("Seen at", instant(inventory.cluster.observed_at)),
        ],
        gap="xl",
        mb="md",
    )


def _zone(
    name: str,
    hosts: Sequence[Host],
    vms: Mapping[str | None, Sequence[VM]],
    inventory: Inventory,
    acts: bool,
) -> Component:
    cells = [
        _cell(host, promised(host, vms.get(host.id, ())), host.id in inventory.maintenance, acts)
        for host in hosts
    ]
    return html.Section(
        [
            dmc.Title(f"Zone {name}" if name else "Hosts", order=2, size="h5", mb="xs"),
            dmc.SimpleGrid(cells, cols={"base": 2, "md": 4, "xl": 6}, spacing="xs", mb="md"),
        ]
    )


def _cell(host: Host, share: Promised, kept_empty: bool, acts: bool) -> Component:
    state = _STATES.get(host.state, host.state.value)
    title = dmc.Group(
        [dmc.Text(host.id, fw=600), dmc.Text(state, size="sm") if state else None],
        justify="space-between",
        gap="xs",
    )
    return dmc.Paper(
        [
            title,
            dmc.Text(f"{share.num_vms:,} VMs", size="sm", c="dimmed"),
            _bar("CPU", host.id, _percent(share.cpu_millicores, share.usable_cpu_millicores)),
            _bar(
                "Memory",
                host.id,
                _percent(share.memory_mib, share.usable_memory_mib),
                most_percent=100 * share.most_memory_fraction,
            ),
            _switch(host.id, kept_empty) if acts else None,
        ],
        withBorder=True,
        p="xs",
    )


def _switch(host_id: str, kept_empty: bool) -> Component:
    return dmc.Button(
        "Return" if kept_empty else "Drain",
        id={"type": _SWITCH, "host": host_id},
        variant="default",
        size="compact-xs",
        mt="xs",
        **{"aria-label": f"{'Return' if kept_empty else 'Drain'} {host_id}"},
    )


def _bar(
    name: str, host_id: str, percent: int | None, *, most_percent: float = math.inf
) -> Component:
    """Return how much is promised; red if that is more than may be."""
    told = "no limit" if percent is None else f"{percent} %"
    color = "red" if (percent or 0) > most_percent else "blue"
    return html.Div(
        [
            dmc.Group(
                [dmc.Text(f"{name} promised", size="xs"), dmc.Text(told, size="xs")],
                justify="space-between",
            ),
            dmc.Progress(
                value=min(100, percent or 0),
                color=color,
                **{"aria-label": f"{name} promised on {host_id}"},
            ),
        ]
    )


def _percent(amount: int, usable: int | None) -> int | None:
    if usable is None:
        return None
    return round(100 * amount / usable) if usable else (100 if amount else 0)


def _share_of_all(shares: Iterable[tuple[int, int | None]]) -> str:
    limited = [(amount, usable) for amount, usable in shares if usable is not None]
    if not limited:
        return "no limit"
    percent = _percent(sum(amount for amount, _ in limited), sum(usable for _, usable in limited))
    return f"{percent} %"


PAGE: Final = Page(
    path="/clusters/<cluster_id>",
    title="Overview",
    operation="hosts.list",
    label="Overview",
    show=show,
    listen=listen,
)
