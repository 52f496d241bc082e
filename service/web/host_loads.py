"""How loaded each host of a cluster is, will be, and is promised to be: plain values of a page."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from service.inventory.effective import Inventory, look_up
from service.runtime.kept import CONTENTION, OUTLOOK
from service.store.base import Transaction
from solver.domain.cluster import VM, Host, HostState
from solver.domain.units import FIELDS, NUM_RESOURCES, Resource

NAMES: Final = {
    Resource.CPU: "CPU",
    Resource.MEMORY: "Memory",
    Resource.DISK_IO: "Disk",
    Resource.NET_IO: "Network",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """One resource of a host, in percent of what VMs may use.

    Parameters
    ----------
    now, p50, p95
        Demand at the latest forecast, and its peak in the hour after; ``None`` without one.
    promised
        To the VMs there, whatever they use.
    most_promised
        That may be promised, by overcommit; ``None`` for no limit.
    """

    resource: Resource
    promised: int
    most_promised: int | None = None
    now: int | None = None
    p50: int | None = None
    p95: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLoad:
    """One host.

    Parameters
    ----------
    meters
        Of resources that it limits.
    score_host_s, overload_probability
        Contention of the next hour, and how likely anything is short; ``None`` without a forecast.
    """

    host: Host
    num_vms: int
    kept_empty: bool
    meters: tuple[Meter, ...]
    score_host_s: float | None = None
    overload_probability: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterLoad:
    """A cluster as a whole.

    Parameters
    ----------
    zones
        Hosts by zone, both in the order of their names.
    headroom, survival
        As ``runtime.outlook`` keeps them; ``None`` without a forecast.
    """

    inventory: Inventory
    zones: Mapping[str, tuple[HostLoad, ...]]
    forecast_at: datetime | None = None
    forecaster: str = ""
    total_host_s: float | None = None
    headroom: Mapping[str, Mapping[str, Any]] | None = None
    survival: Mapping[str, Any] | None = None


def cluster_load(tx: Transaction, cluster_id: str) -> ClusterLoad:
    """Return how loaded a cluster is.

    Raises
    ------
    NotFoundError
        If there is no such cluster, or nothing was seen of it yet.
    """
    inventory = look_up(tx, cluster_id)
    contention, outlook = _kept(tx, cluster_id, CONTENTION), _kept(tx, cluster_id, OUTLOOK)
    scored = {row["host_id"]: row for row in contention.get("hosts", ())}
    peaks = outlook.get("hosts", {})
    vms: dict[str | None, list[VM]] = defaultdict(list)
    for vm in inventory.cluster.vms:
        vms[vm.host_id].append(vm)
    zones: dict[str, list[HostLoad]] = defaultdict(list)
    for host in sorted(inventory.cluster.hosts, key=_name):
        there = vms.get(host.id, ())
        loaded = _load(inventory, host, there, scored.get(host.id), peaks.get(host.id, {}))
        zones[host.zone].append(loaded)
    at = contention.get("at")
    return ClusterLoad(
        inventory=inventory,
        zones={name: tuple(zones[name]) for name in sorted(zones)},
        forecast_at=None if at is None else datetime.fromisoformat(at),
        forecaster=contention.get("forecaster", ""),
        total_host_s=contention.get("total_host_s"),
        headroom=outlook.get("headroom"),
        survival=outlook.get("survival"),
    )


def promised_percent(load: ClusterLoad, resource: Resource) -> int | None:
    """Return how much of what serves is promised; ``None`` where no host has a limit."""
    serving = [
        (meter.promised * usable, usable)
        for host_load in _hosts(load)
        if host_load.host.state is HostState.UP
        for meter in host_load.meters
        if meter.resource is resource and (usable := host_load.host.usable()[resource])
    ]
    total = sum(usable for _, usable in serving)
    return round(sum(promised for promised, _ in serving) / total) if total else None


def told(meter: Meter, host_id: str) -> str:
    """Return a meter in words, for those who do not see it."""
    name = f"{NAMES[meter.resource]} of {host_id}"
    if meter.now is None:
        return f"{name}: {meter.promised} % promised, not forecast yet"
    ahead = "" if meter.p95 is None else f"; next hour {meter.p50} % (p50), {meter.p95} % (p95)"
    return f"{name}: {meter.now} % now{ahead}; {meter.promised} % promised"


def survival_told(survival: Mapping[str, Any] | None) -> tuple[str, bool]:
    """Return what losing a host would do in a few words, and whether that is bad."""
    if survival is None:
        return "not judged yet", False
    if survival["survives"]:
        return "any one host may be lost", False
    if survival["num_fatal"]:
        worst = survival["worst"]
        named = f", {worst['host_id']} the worst" if worst else ""
        return f"not for {survival['num_fatal']} of {_counted(survival['num_judged'])}{named}", True
    return f"not known of {_counted(survival['num_unknown'])}", False


def _load(
    inventory: Inventory,
    host: Host,
    vms: Sequence[VM],
    scored: Mapping[str, Any] | None,
    peaks: Mapping[str, Mapping[str, float]],
) -> HostLoad:
    allocated = [vm.allocation.as_tuple() for vm in vms]
    promised = [sum(amounts[r] for amounts in allocated) for r in range(NUM_RESOURCES)]
    used = {} if scored is None else scored["used"]
    meters = tuple(
        _meter(host, resource, usable, promised[resource], used, peaks.get(FIELDS[resource], {}))
        for resource in Resource
        if (usable := host.usable()[resource]) is not None
    )
    return HostLoad(
        host=host,
        num_vms=len(vms),
        kept_empty=host.id in inventory.maintenance,
        meters=meters,
        score_host_s=None if scored is None else scored["score_host_s"],
        overload_probability=None if scored is None else scored["overload_probability"],
    )


def _meter(
    host: Host,
    resource: Resource,
    usable: int,
    promised: int,
    used: Mapping[str, int],
    peak: Mapping[str, float],
) -> Meter:
    factors = {Resource.CPU: host.overcommit.cpu, Resource.MEMORY: host.overcommit.memory}
    factor, field = factors.get(resource), FIELDS[resource]
    return Meter(
        resource=resource,
        promised=_percent(promised, usable),
        most_promised=None if factor is None else round(100 * factor),
        now=_percent(used[field], usable) if field in used else None,
        p50=_percent(peak["p50"], usable) if peak else None,
        p95=_percent(peak["p95"], usable) if peak else None,
    )


def _percent(amount: float, usable: int) -> int:
    return round(100 * amount / usable) if usable else (100 if amount else 0)


def _counted(num_hosts: int) -> str:
    return "1 host" if num_hosts == 1 else f"{num_hosts:,} hosts"


def _hosts(load: ClusterLoad) -> Iterable[HostLoad]:
    return (host_load for hosts in load.zones.values() for host_load in hosts)


def _kept(tx: Transaction, cluster_id: str, name: str) -> dict[str, Any]:
    kept = tx.blobs.get(cluster_id, name)
    return {} if kept is None else dict(json.loads(kept[1]))


def _name(host: Host) -> str:
    return host.id
