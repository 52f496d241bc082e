"""Synthetic clusters of any size: seeded, with the unevenness and the correlation of real ones.

VM loads are heavy-tailed (few VMs carry most of the load) and move together: a fleet-wide factor,
one per application group, and one of each VM's own, all drawn per scenario and drifting by step.
Hosts come in two sizes and several zones, and limit all four resources; CPU is what they run short
of. No real trace is behind them; they serve to measure engines where size is what matters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from solver.domain.cluster import VM, Cluster, Host
from solver.domain.rules import Affinity, Among, AntiAffinity, Pin, PlacementRule, Spread
from solver.domain.scenario import ScenarioSet, equal_probabilities
from solver.domain.units import NUM_RESOURCES, Amounts, HostId, Limits, Resource, VmId

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
STEP_SECONDS = 900
NUM_STEPS = 4
SMALL_HOST_MILLICORES = 32_000
LARGE_HOST_MILLICORES = 48_000
LEAST_HOST_MIB = 576 * 1024
HOST_DISK_KIB_PER_S = 1_000_000
HOST_NET_KIB_PER_S = 1_250_000
PRIORITIES = (2, 4, 5, 5, 5, 5, 6, 8)
IO_FILL = 0.4
"""Expected disk and network demand over what the hosts have."""


def synthetic(
    *,
    num_hosts: int = 24,
    num_vms: int = 850,
    fill: float = 0.7,
    ruled_fraction: float = 0.0,
    seed: int = 0,
) -> Synthetic:
    """Return a cluster whose demand can be drawn again and again.

    Parameters
    ----------
    fill
        Expected CPU demand over CPU capacity of the whole cluster; hosts spread around it.
    ruled_fraction
        Share of the VMs that stand under a hard rule: anti-affinity, affinity, among zones,
        spread over zones, fence. All hold at the start.
    seed
        Same seed, same cluster.
    """
    rng = np.random.default_rng([seed, num_hosts, num_vms])
    cores = np.where(np.arange(num_hosts) % 4 == 3, LARGE_HOST_MILLICORES, SMALL_HOST_MILLICORES)
    base = rng.lognormal(0.0, 1.1, num_vms)
    base *= fill * cores.sum() / base.sum()
    base = np.minimum(base, SMALL_HOST_MILLICORES / 3)
    memory = rng.choice([2, 4, 8, 16, 32], num_vms, p=[0.2, 0.3, 0.3, 0.15, 0.05]) * 1024
    # Denser clusters get larger hosts, so that memory is seldom what decides.
    host_mib = max(LEAST_HOST_MIB, int(1.5 * memory.sum() / num_hosts))
    where = _anywhere_it_fits(rng, memory, num_hosts, host_mib)
    group = rng.integers(0, max(1, num_vms // 12), num_vms)
    vcpus = np.maximum(1, np.ceil(base * 2 / 1000)).astype(np.int64)
    footprint = (memory * rng.uniform(0.3, 1.0, num_vms)).astype(np.int64)
    dirty = rng.choice([0, 5, 20, 80], num_vms)
    priority = rng.choice(PRIORITIES, num_vms)
    zones = max(1, min(8, num_hosts // 8))
    hosts = tuple(
        Host(
            id=HostId(f"host{h:05d}"),
            capacity=Limits(
                cpu_millicores=int(cores[h]),
                memory_mib=host_mib,
                disk_io_kib_per_s=HOST_DISK_KIB_PER_S,
                net_io_kib_per_s=HOST_NET_KIB_PER_S,
            ),
            zone=f"zone{h % zones}",
        )
        for h in range(num_hosts)
    )
    vms = tuple(
        VM(
            id=VmId(f"vm{v:06d}"),
            host_id=hosts[where[v]].id,
            allocation=Amounts(cpu_millicores=int(vcpus[v]) * 1000, memory_mib=int(memory[v])),
            memory_footprint_mib=int(footprint[v]),
            dirty_mib_per_s=int(dirty[v]),
            priority=int(priority[v]),
            group=f"app{group[v]}" if v % 2 else "",
        )
        for v in range(num_vms)
    )
    cluster = Cluster(
        observed_at=NOW,
        hosts=hosts,
        vms=vms,
        rules=_rules(rng, hosts, vms, where, int(ruled_fraction * num_vms)),
    )
    disk = _shared(rng, num_vms, IO_FILL * HOST_DISK_KIB_PER_S * num_hosts)
    net = _shared(rng, num_vms, IO_FILL * HOST_NET_KIB_PER_S * num_hosts)
    return Synthetic(cluster, group, base, memory, disk, net, seed)


class Synthetic:
    """A cluster, and the process its demand comes from."""

    def __init__(
        self,
        cluster: Cluster,
        group: IntArray,
        cpu_millicores: FloatArray,
        memory_mib: IntArray,
        disk_kib_per_s: FloatArray,
        net_kib_per_s: FloatArray,
        seed: int,
    ) -> None:
        self.cluster = cluster
        self._group = group
        self._cpu = cpu_millicores
        self._memory = memory_mib
        self._disk = disk_kib_per_s
        self._net = net_kib_per_s
        self._seed = seed

    def futures(self, num_scenarios: int = 16, *, draw: int = 0) -> ScenarioSet:
        """Return joint futures of the one present; another ``draw`` gives fresh ones."""
        num_vms = len(self._cpu)
        groups = int(self._group.max(initial=0)) + 1
        # How far factors are from their means: now, which is one for all paths, and step by step.
        now = np.random.default_rng([self._seed, num_vms])
        rng = np.random.default_rng([self._seed, num_scenarios, draw, num_vms])

        def walk(size: int, spread: float) -> FloatArray:
            first = np.broadcast_to(now.normal(0, spread, (1, size, 1)), (num_scenarios, size, 1))
            later = rng.normal(0, spread, (num_scenarios, size, NUM_STEPS))
            found: FloatArray = np.cumsum(np.concatenate([first, later], axis=2), axis=2)
            return found

        fleet = walk(1, 0.05)
        by_group = walk(groups, 0.12)
        own = walk(num_vms, 0.15)
        level = np.exp(fleet + by_group[:, self._group] + own)
        demand = np.zeros((num_scenarios, num_vms, NUM_RESOURCES, 1 + NUM_STEPS), dtype=np.int64)
        vcpus = np.array([vm.allocation.cpu_millicores for vm in self.cluster.vms])
        demand[:, :, Resource.CPU] = np.minimum(
            np.rint(self._cpu[None, :, None] * level), vcpus[None, :, None]
        )
        drift = 1 + walk(num_vms, 0.01)
        used = np.clip(0.6 * self._memory[None, :, None] * drift, 0, self._memory[None, :, None])
        demand[:, :, Resource.MEMORY] = np.rint(used)
        demand[:, :, Resource.DISK_IO] = np.rint(self._disk[None, :, None] * level)
        demand[:, :, Resource.NET_IO] = np.rint(self._net[None, :, None] * level)
        return ScenarioSet(
            vm_ids=tuple(vm.id for vm in self.cluster.vms),
            start_at=NOW,
            step_seconds=STEP_SECONDS,
            probability_ppm=equal_probabilities(num_scenarios),
            demand=demand,
        )


def _shared(rng: np.random.Generator, num_vms: int, total: float) -> FloatArray:
    """Return a heavy-tailed amount for every VM that adds up to a total."""
    amount = rng.lognormal(0.0, 1.5, num_vms)
    scaled: FloatArray = np.minimum(amount * total / amount.sum(), HOST_DISK_KIB_PER_S / 4)
    return scaled


def _anywhere_it_fits(
    rng: np.random.Generator, memory: IntArray, num_hosts: int, host_mib: int
) -> IntArray:
    """Return a random host for every VM whose memory is still free there."""
    free = np.full(num_hosts, host_mib)
    where = rng.integers(0, num_hosts, len(memory))
    for v, size in enumerate(memory.tolist()):
        if free[where[v]] < size:
            fits = np.flatnonzero(free >= size)
            if not fits.size:
                raise ValueError(f"{len(memory)} VMs do not fit {num_hosts} hosts")
            where[v] = rng.choice(fits)
        free[where[v]] -= size
    return where


def _rules(
    rng: np.random.Generator,
    hosts: tuple[Host, ...],
    vms: tuple[VM, ...],
    where: IntArray,
    num_ruled: int,
) -> tuple[PlacementRule, ...]:
    """Return rules that hold at the start, over disjoint sets of VMs, their kinds in turn."""
    zone = [hosts[h].zone for h in where.tolist()]
    on_host: dict[int, list[int]] = defaultdict(list)
    for v, h in enumerate(where.tolist()):
        on_host[h].append(v)
    kinds: tuple[Callable[[int, int], bool], ...] = (
        lambda v, u: where[v] != where[u],
        lambda v, u: where[v] == where[u],
        lambda v, u: zone[v] == zone[u],
        lambda v, u: zone[v] != zone[u],
    )
    found: list[PlacementRule] = []
    fenced: dict[str, list[VmId]] = defaultdict(list)
    free = set(range(len(vms)))
    for turn, v in enumerate(rng.permutation(len(vms)).tolist()):
        if len(vms) - len(free) >= num_ruled:
            break
        if v not in free:
            continue
        kind = turn % (len(kinds) + 1)
        if kind == len(kinds):
            fenced[zone[v]].append(vms[v].id)
            free.discard(v)
            continue
        asked = on_host[int(where[v])] if kind == 1 else rng.integers(len(vms), size=16).tolist()
        mate = next((u for u in asked if u != v and u in free and kinds[kind](v, u)), None)
        if mate is None:
            continue
        free -= {v, mate}
        found.append(_pair_rule(kind, f"rule{len(found)}", (vms[v].id, vms[mate].id)))
    for name, vm_ids in sorted(fenced.items()):
        inside = tuple(host.id for host in hosts if host.zone == name)
        found.append(Pin(id=f"fence-{name}", vm_ids=tuple(vm_ids), host_ids=inside))
    return tuple(found)


def _pair_rule(kind: int, rule_id: str, vm_ids: tuple[VmId, ...]) -> PlacementRule:
    if kind == 0:
        return AntiAffinity(id=rule_id, vm_ids=vm_ids)
    if kind == 1:
        return Affinity(id=rule_id, vm_ids=vm_ids)
    if kind == 2:
        return Among(id=rule_id, vm_ids=vm_ids, parts=())
    return Spread(id=rule_id, vm_ids=vm_ids, min_domains=2)
