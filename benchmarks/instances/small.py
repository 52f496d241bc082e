"""Small clusters by the thousand: seeded, as broken as they come, with every rule there is.

Few hosts and VMs, so that all placements can be tried; round numbers, so that ties and exactly full
hosts are common. Hosts are out of service now and then, VMs run nowhere or may not move, rules
contradict each other, budgets are tight, and any weight of the objective may be off or decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import numpy as np

from solver.domain.cluster import VM, Cluster, Host, HostState, Link, Network, Overcommit
from solver.domain.errors import InvalidInputError
from solver.domain.rules import (
    LEVELS,
    RULES,
    Among,
    Ban,
    Dependency,
    GroupRule,
    LicenceLimit,
    MoveBudget,
    PerHostLimit,
    Pin,
    PlacementRule,
    Spread,
)
from solver.domain.scenario import ScenarioSet, equal_probabilities
from solver.domain.units import NUM_RESOURCES, Amounts, HostId, Limits, Resource, VmId
from solver.domain.weights import Weights

NOW: Final = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
FEATURES: Final = ("cpu:a", "net:b")
OTHER_ZONE: Final = Link(latency_us=2000, bandwidth_mib_per_s=100, distance=1)
SIZES: Final = ((3, 5), (3, 5), (3, 5), (4, 5), (2, 8), (5, 12))
"""Most hosts and VMs; three to the fifth placements take a moment, five to the twelfth for ever."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Small:
    """A cluster, the demand of its VMs, and what things cost."""

    cluster: Cluster
    scenarios: ScenarioSet
    weights: Weights

    @property
    def num_placements(self) -> int:
        """Placements that hosts out of service and rules have not yet been taken from."""
        return int(len(self.cluster.hosts) ** len(self.cluster.vms))


def small(seed: int) -> Small:
    """Return the cluster of a seed: same seed, same cluster."""
    rng = Random(seed)
    while True:
        try:
            cluster = _cluster(rng)
        except InvalidInputError:
            # Pins and bans that leave a VM no host are refused at the door: draw again.
            continue
        return Small(cluster=cluster, scenarios=_scenarios(rng, cluster), weights=_weights(rng))


def _cluster(rng: Random) -> Cluster:
    most_hosts, most_vms = rng.choice(SIZES)
    hosts = tuple(_host(rng, i) for i in range(rng.randint(2, most_hosts)))
    host_ids = [host.id for host in hosts]
    vms = tuple(_vm(rng, i, host_ids) for i in range(rng.randint(most_vms // 2, most_vms)))
    rules = (_rule(rng, f"r{i}", [vm.id for vm in vms], host_ids) for i in range(rng.randint(0, 3)))
    return Cluster(
        observed_at=NOW,
        hosts=hosts,
        vms=vms,
        network=Network(other_zone=OTHER_ZONE),
        rules=tuple(rule for rule in rules if rule is not None),
        budget=MoveBudget(
            max_moves=rng.choice([*[None] * 6, 0, 1, 3]),
            max_moves_per_host=rng.choice([*[None] * 6, 1, 2]),
            max_parallel=rng.choice([1, 8]),
        ),
    )


def _host(rng: Random, number: int) -> Host:
    return Host(
        id=HostId(f"h{number}"),
        capacity=Limits(
            cpu_millicores=rng.choice([4000, 4000, 8000]),
            memory_mib=rng.choice([8192, 16384, 16384, None]),
            net_io_kib_per_s=rng.choice([None, None, 1000]),
        ),
        reserve=Amounts(memory_mib=rng.choice([0, 1024])),
        overcommit=Overcommit(cpu=rng.choice([None, None, 2.0]), memory=rng.choice([1.0, 1.5])),
        zone=rng.choice(["a", "a", "b", ""]),
        rack=rng.choice(["", "r1", "r2"]),
        state=rng.choice([HostState.UP] * 8 + [HostState.MAINTENANCE, HostState.UNREACHABLE]),
        migration_bandwidth_mib_per_s=rng.choice([100, 1000]),
        max_vms=rng.choice([None, None, None, 0, 2, 3]),
        provides=rng.choice([FEATURES, FEATURES, FEATURES[:1], ()]),
    )


def _vm(rng: Random, number: int, host_ids: list[HostId]) -> VM:
    return VM(
        id=VmId(f"v{number}"),
        host_id=rng.choice([*host_ids * 4, None]),
        allocation=Amounts(
            cpu_millicores=rng.choice([1000, 2000, 4000]),
            memory_mib=rng.choice([1024, 2048, 4096]),
        ),
        memory_footprint_mib=rng.choice([-1, 512]),
        dirty_mib_per_s=rng.choice([0, 20]),
        priority=rng.choice([1, 5, 5, 7, 10]),
        group=rng.choice(["", "", "web", "db"]),
        not_migratable_reason=rng.choice([""] * 9 + ["passthrough"]),
        not_before_at=rng.choice([*[None] * 9, NOW + timedelta(hours=1)]),
        requires=rng.choice([()] * 4 + [FEATURES[:1], FEATURES]),
    )


def _rule(
    rng: Random, rule_id: str, vm_ids: list[VmId], host_ids: list[HostId]
) -> PlacementRule | None:
    """Return a rule of any kind, hard or soft; ``None`` if there are too few VMs for it."""
    kind = rng.choice(RULES)
    fewest = kind.min_vms + bool(kind.other_side)
    if len(vm_ids) < fewest:
        return None
    members = rng.sample(vm_ids, min(len(vm_ids), rng.randint(fewest, 4 if kind.other_side else 3)))
    more = _fields(rng, kind, host_ids)
    if kind.other_side:
        cut = rng.randint(1, len(members) - 1)
        more[kind.other_side] = tuple(members[cut:])
        members = members[:cut]
    if issubclass(kind, GroupRule):
        more["continuous"] = rng.choice([True, True, False])
    penalty = rng.choice([None, None, 0.5, 50.0])
    return kind(id=rule_id, vm_ids=tuple(members), penalty_host_s=penalty, **more)


def _fields(rng: Random, kind: type[PlacementRule], host_ids: list[HostId]) -> dict[str, Any]:
    """Return what a kind of rule says beside its VMs."""
    named = tuple(rng.sample(host_ids, rng.randint(1, 2)))
    if kind in (Pin, Ban):
        return {"host_ids": named}
    if kind is Among:
        return {"parts": rng.choice([(), (named,), (tuple(host_ids[::2]), tuple(host_ids[1::2]))])}
    if kind is Spread:
        return {"min_domains": rng.randint(2, 3), "level": rng.choice(LEVELS)}
    if kind is Dependency:
        return {"level": rng.choice(LEVELS)}
    if kind is PerHostLimit:
        return {"max_vms": rng.randint(0, 2), "host_ids": rng.choice([(), named])}
    if kind is LicenceLimit:
        return {"max_hosts": rng.randint(1, 2)}
    return {}


def _scenarios(rng: Random, cluster: Cluster) -> ScenarioSet:
    """Return up to three futures of none to three steps."""
    num_scenarios, num_vms = rng.randint(1, 3), len(cluster.vms)
    shape = (num_scenarios, num_vms, 1 + rng.randint(0, 3))
    draws = np.random.default_rng(rng.getrandbits(32))
    demand = np.zeros((*shape[:2], NUM_RESOURCES, shape[2]), dtype=np.int64)
    hottest = rng.choice([1000, 2000, 4000])
    demand[:, :, Resource.CPU] = draws.integers(0, hottest // 500 + 1, shape) * 500
    demand[:, :, Resource.MEMORY] = draws.integers(1, 5, (num_vms, 1)) * 1024
    demand[:, :, Resource.NET_IO] = draws.integers(0, 3, shape) * 100
    return ScenarioSet(
        vm_ids=tuple(vm.id for vm in cluster.vms),
        start_at=NOW,
        step_seconds=rng.choice([300, 900]),
        probability_ppm=equal_probabilities(num_scenarios),
        demand=demand,
    )


def _weights(rng: Random) -> Weights:
    """Return weights: each term now and then off, at its default, or so heavy that it decides."""
    return Weights(
        contention=rng.choice([0.0, 1.0, 1.0, 3.0]),
        imbalance=rng.choice([0.0, 1e-5, 0.1]),
        stranded=rng.choice([0.0, 1e-3, 0.05]),
        utilisation=rng.choice([0.0, 1.0]),
        transfer=rng.choice([0.0, 1.0, 5.0]),
        downtime=rng.choice([0.0, 1.0, 5.0]),
        latency=rng.choice([0.0, 1.0, 5.0]),
        disruption=rng.choice([0.0, 0.1, 5.0]),
        priority_steps_per_doubling=rng.choice([1.0, 2.0, 8.0]),
        knees=rng.choice([(), (0.5,), (0.7, 0.8, 0.9)]),
    )
