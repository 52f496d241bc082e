"""Synthetic clusters of any size: seeded, with the unevenness and the correlation of real ones.

VM loads are heavy-tailed (few VMs carry most of the load) and move together: a fleet-wide factor,
one per application group, and one of each VM's own, all drawn per scenario and drifting by step.
No real trace is behind them; they serve to measure engines where size is what matters.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from solver.domain.cluster import VM, Cluster, Host
from solver.domain.rules import AntiAffinity, PlacementRule
from solver.domain.scenario import ScenarioSet, equal_probabilities
from solver.domain.units import NUM_RESOURCES, Amounts, HostId, Limits, Resource, VmId

IntArray = npt.NDArray[np.int64]

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOST_MILLICORES = 32_000
LEAST_HOST_MIB = 576 * 1024
PRIORITIES = (2, 4, 5, 5, 5, 5, 6, 8)


def synthetic(
    *,
    num_hosts: int = 24,
    num_vms: int = 850,
    num_scenarios: int = 16,
    num_steps: int = 4,
    fill: float = 0.7,
    num_rules: int = 0,
    seed: int = 0,
) -> tuple[Cluster, ScenarioSet]:
    """Return a cluster and its joint demand.

    Parameters
    ----------
    fill
        Expected CPU demand over CPU capacity of the whole cluster; hosts spread around it.
    num_rules
        Anti-affinity rules of three VMs each that hold at the start.
    seed
        Same seed, same instance.
    """
    rng = np.random.default_rng([seed, num_hosts, num_vms])
    base = rng.lognormal(0.0, 1.1, num_vms)
    base *= fill * num_hosts * HOST_MILLICORES / base.sum()
    base = np.minimum(base, HOST_MILLICORES / 3)
    memory = rng.choice([2, 4, 8, 16, 32], num_vms, p=[0.2, 0.3, 0.3, 0.15, 0.05]) * 1024
    # Denser clusters get larger hosts, so that memory is never what decides.
    host_mib = max(LEAST_HOST_MIB, int(1.5 * memory.sum() / num_hosts))
    where = _first_fit(rng, memory, num_hosts, host_mib)
    group = rng.integers(0, max(1, num_vms // 12), num_vms)
    cores = np.maximum(1, np.ceil(base * 2 / 1000)).astype(np.int64)
    vms = tuple(
        VM(
            id=VmId(f"vm{v:05d}"),
            host_id=HostId(f"host{where[v]:03d}"),
            allocation=Amounts(cpu_millicores=int(cores[v]) * 1000, memory_mib=int(memory[v])),
            memory_footprint_mib=int(memory[v] * rng.uniform(0.3, 1.0)),
            dirty_mib_per_s=int(rng.choice([0, 5, 20, 80])),
            priority=int(rng.choice(PRIORITIES)),
            group=f"app{group[v]}" if v % 2 else "",
        )
        for v in range(num_vms)
    )
    cluster = Cluster(
        observed_at=NOW,
        hosts=tuple(
            Host(
                id=HostId(f"host{h:03d}"),
                capacity=Limits(cpu_millicores=HOST_MILLICORES, memory_mib=host_mib),
            )
            for h in range(num_hosts)
        ),
        vms=vms,
        rules=_rules(rng, vms, where, num_rules),
    )
    return cluster, _futures(rng, vms, base, memory, group, num_scenarios, num_steps)


def _first_fit(
    rng: np.random.Generator, memory: IntArray, num_hosts: int, host_mib: int
) -> IntArray:
    """Return a random host for every VM whose memory is still free there."""
    free = np.full(num_hosts, host_mib)
    where = np.zeros(len(memory), dtype=np.int64)
    for v, size in enumerate(memory.tolist()):
        fits = np.flatnonzero(free >= size)
        if not fits.size:
            raise ValueError(f"{len(memory)} VMs do not fit {num_hosts} hosts")
        where[v] = rng.choice(fits)
        free[where[v]] -= size
    return where


def _rules(
    rng: np.random.Generator, vms: tuple[VM, ...], where: IntArray, num_rules: int
) -> tuple[PlacementRule, ...]:
    found: list[PlacementRule] = []
    while len(found) < num_rules:
        members = rng.choice(len(vms), 3, replace=False)
        if len(set(where[members].tolist())) == 3:
            ids = tuple(vms[v].id for v in members)
            found.append(AntiAffinity(id=f"apart{len(found)}", vm_ids=ids))
    return tuple(found)


def _futures(
    rng: np.random.Generator,
    vms: tuple[VM, ...],
    base: npt.NDArray[np.float64],
    memory: IntArray,
    group: IntArray,
    num_scenarios: int,
    num_steps: int,
) -> ScenarioSet:
    shape = (num_scenarios, 1 + num_steps)
    fleet = np.cumsum(rng.normal(0, 0.05, shape), axis=1)[:, None, :]
    by_group = np.cumsum(rng.normal(0, 0.12, (num_scenarios, group.max() + 1, shape[1])), axis=2)
    own = np.cumsum(rng.normal(0, 0.15, (num_scenarios, len(vms), shape[1])), axis=2)
    level = np.exp(fleet + by_group[:, group] + own)
    demand = np.zeros((num_scenarios, len(vms), NUM_RESOURCES, shape[1]), dtype=np.int64)
    limits = np.array([vm.allocation.cpu_millicores for vm in vms])[None, :, None]
    demand[:, :, Resource.CPU] = np.minimum(np.rint(base[None, :, None] * level), limits)
    resident = memory * rng.uniform(0.3, 0.9, len(vms))
    drift = 1 + np.cumsum(rng.normal(0, 0.01, (num_scenarios, len(vms), shape[1])), axis=2)
    used = np.clip(resident[None, :, None] * drift, 0, memory[None, :, None])
    demand[:, :, Resource.MEMORY] = np.rint(used)
    demand[:, :, Resource.CPU, 0] = demand[:1, :, Resource.CPU, 0]
    demand[:, :, Resource.MEMORY, 0] = demand[:1, :, Resource.MEMORY, 0]
    return ScenarioSet(
        vm_ids=tuple(vm.id for vm in vms),
        start_at=NOW,
        step_seconds=900,
        probability_ppm=equal_probabilities(num_scenarios),
        demand=demand,
    )
