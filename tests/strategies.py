"""Hypothesis strategies of whole clusters and their demand, as broken as real ones.

Sizes are small, so that examples are found fast and read easily; numbers are round, so that ties
and exactly full hosts are common.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from solver.domain.cluster import VM, Cluster, Host, HostState, Link, Network, Overcommit
from solver.domain.errors import InvalidInputError
from solver.domain.rules import (
    LEVELS,
    RULES,
    Affinity,
    Among,
    AntiAffinity,
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
from tests.builders import NOW

WHOLE_CATALOGUE: Final = True
"""Whether clusters have every kind of rule and every fact of hosts and VMs unless asked not to."""

SIGNED_COLUMNS: Final = True
"""Whether weights price stranded capacity unless asked not to: VMs then count below zero."""

FIRST_KINDS: Final[tuple[type[PlacementRule], ...]] = (Pin, Ban, Affinity, AntiAffinity)
FEATURES: Final = ("cpu:a", "net:b")


@st.composite
def hosts(
    draw: st.DrawFn, max_hosts: int = 5, *, whole: bool = WHOLE_CATALOGUE
) -> tuple[Host, ...]:
    """Draw hosts of a few sizes in a few zones and racks, now and then out of service."""
    states = st.sampled_from([HostState.UP] * 8 + [HostState.MAINTENANCE, HostState.UNREACHABLE])
    return tuple(
        Host(
            id=HostId(f"h{i}"),
            capacity=Limits(
                cpu_millicores=draw(st.sampled_from([4000, 4000, 8000])),
                memory_mib=draw(st.sampled_from([8192, 16384, 16384, None])),
                net_io_kib_per_s=draw(st.sampled_from([None, None, 1000])),
            ),
            reserve=Amounts(memory_mib=draw(st.sampled_from([0, 1024]))),
            overcommit=Overcommit(
                cpu=draw(st.sampled_from([None, None, 2.0])),
                memory=draw(st.sampled_from([1.0, 1.5])),
            ),
            zone=draw(st.sampled_from(["a", "a", "b", *([""] if whole else [])])),
            rack=draw(st.sampled_from(["", "r1", "r2"])) if whole else "",
            state=draw(states),
            migration_bandwidth_mib_per_s=draw(st.sampled_from([100, 1000])),
            max_vms=draw(st.sampled_from([None, None, None, 0, 2, 3])) if whole else None,
            provides=draw(st.sampled_from([FEATURES, FEATURES, FEATURES[:1], ()])) if whole else (),
        )
        for i in range(draw(st.sampled_from([1, *[max(2, max_hosts - 1), max_hosts] * 3])))
    )


@st.composite
def vms(
    draw: st.DrawFn,
    host_ids: list[HostId],
    max_vms: int = 12,
    *,
    whole: bool = WHOLE_CATALOGUE,
) -> tuple[VM, ...]:
    """Draw VMs anywhere, whether they fit or not; a few run nowhere or cannot be moved."""
    places = st.sampled_from([*host_ids * 4, None])
    return tuple(
        VM(
            id=VmId(f"v{i}"),
            host_id=draw(places),
            allocation=Amounts(
                cpu_millicores=draw(st.sampled_from([1000, 2000, 4000])),
                memory_mib=draw(st.sampled_from([1024, 2048, 4096])),
            ),
            memory_footprint_mib=draw(st.sampled_from([-1, 512])),
            dirty_mib_per_s=draw(st.sampled_from([0, 20])),
            priority=draw(st.sampled_from([1, 5, 5, 7, 10])),
            group=draw(st.sampled_from(["", "", "web", "db"])),
            not_migratable_reason=draw(st.sampled_from([""] * 9 + ["passthrough"])),
            not_before_at=draw(st.sampled_from([None] * 9 + [NOW + timedelta(hours=1)])),
            requires=draw(st.sampled_from([()] * 4 + [FEATURES[:1], FEATURES])) if whole else (),
        )
        for i in range(draw(st.sampled_from([0, 1, *[max_vms // 2, max_vms] * 4])))
    )


@st.composite
def placement_rules(
    draw: st.DrawFn,
    host_ids: list[HostId],
    vm_ids: list[VmId],
    *,
    max_rules: int = 3,
    whole: bool = WHOLE_CATALOGUE,
) -> tuple[PlacementRule, ...]:
    """Draw a few rules, hard or soft; they may contradict each other."""
    kinds = st.sampled_from(RULES if whole else FIRST_KINDS)
    found: list[PlacementRule] = []
    for i in range(draw(st.integers(0, max_rules))):
        kind = draw(kinds)
        if len(vm_ids) < kind.min_vms + bool(kind.other_side):
            continue
        members = draw(
            st.lists(
                st.sampled_from(vm_ids),
                min_size=kind.min_vms + bool(kind.other_side),
                max_size=4 if kind.other_side else 3,
                unique=True,
            )
        )
        more: dict[str, Any] = draw(_fields(kind, host_ids))
        if kind.other_side:
            cut = draw(st.integers(1, len(members) - 1))
            more[kind.other_side] = tuple(members[cut:])
            members = members[:cut]
        if whole and issubclass(kind, GroupRule):
            more["continuous"] = draw(st.sampled_from([True, True, False]))
        penalty = draw(st.sampled_from([None, None, 0.5, 50.0]))
        found.append(kind(id=f"r{i}", vm_ids=tuple(members), penalty_host_s=penalty, **more))
    return tuple(found)


@st.composite
def _fields(draw: st.DrawFn, kind: type[PlacementRule], host_ids: list[HostId]) -> dict[str, Any]:
    """Draw what a kind of rule says beside its VMs."""
    named = st.lists(st.sampled_from(host_ids), min_size=1, max_size=2, unique=True).map(tuple)
    if kind in (Pin, Ban):
        return {"host_ids": draw(named)}
    if kind is Among:
        cut = draw(st.integers(0, len(host_ids) - 1))
        return {"parts": draw(st.sampled_from([(), (tuple(host_ids[cut:]),), _halves(host_ids)]))}
    if kind is Spread:
        return {"min_domains": draw(st.integers(2, 3)), "level": draw(st.sampled_from(LEVELS))}
    if kind is Dependency:
        return {"level": draw(st.sampled_from(LEVELS))}
    if kind is PerHostLimit:
        return {"max_vms": draw(st.integers(0, 2)), "host_ids": draw(st.just(()) | named)}
    if kind is LicenceLimit:
        return {"max_hosts": draw(st.integers(1, 2))}
    return {}


def _halves(host_ids: list[HostId]) -> tuple[tuple[HostId, ...], ...]:
    return tuple(half for half in (tuple(host_ids[::2]), tuple(host_ids[1::2])) if half)


@st.composite
def clusters(
    draw: st.DrawFn,
    *,
    max_hosts: int = 5,
    max_vms: int = 12,
    max_rules: int = 3,
    whole: bool = WHOLE_CATALOGUE,
) -> Cluster:
    """Draw a cluster with rules, budgets and whatever may be broken at the start."""
    some_hosts = draw(hosts(max_hosts, whole=whole))
    host_ids = [host.id for host in some_hosts]
    some_vms = draw(vms(host_ids, max_vms, whole=whole))
    vm_ids = [vm.id for vm in some_vms]
    budget = MoveBudget(
        max_moves=draw(st.sampled_from([None] * 6 + [0, 1, 3])),
        max_moves_per_host=draw(st.sampled_from([None] * 6 + [1, 2])),
        max_parallel=draw(st.sampled_from([1, 8])),
    )
    network = Network(other_zone=Link(latency_us=2000, bandwidth_mib_per_s=100, distance=1))
    try:
        return Cluster(
            observed_at=NOW,
            hosts=some_hosts,
            vms=some_vms,
            network=network,
            rules=draw(placement_rules(host_ids, vm_ids, max_rules=max_rules, whole=whole)),
            budget=budget,
        )
    except InvalidInputError:
        # Pins and bans that leave a VM no host are refused; that is tested elsewhere.
        assume(False)
        raise


@st.composite
def scenarios_of(draw: st.DrawFn, cluster: Cluster) -> ScenarioSet:
    """Draw up to three futures of one to three steps for a cluster's VMs."""
    num_scenarios = draw(st.integers(1, 3))
    num_steps = draw(st.integers(0, 3))
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    num_vms = len(cluster.vms)
    shape = (num_scenarios, num_vms, 1 + num_steps)
    demand = np.zeros((num_scenarios, num_vms, NUM_RESOURCES, 1 + num_steps), dtype=np.int64)
    heat = draw(st.sampled_from([1000, 2000, 4000]))
    demand[:, :, Resource.CPU] = rng.integers(0, heat // 500 + 1, shape) * 500
    demand[:, :, Resource.MEMORY] = rng.integers(1, 5, (num_vms, 1)) * 1024
    demand[:, :, Resource.NET_IO] = rng.integers(0, 3, shape) * 100
    return ScenarioSet(
        vm_ids=tuple(vm.id for vm in cluster.vms),
        start_at=NOW,
        step_seconds=draw(st.sampled_from([300, 900])),
        probability_ppm=equal_probabilities(num_scenarios),
        demand=demand,
    )


@st.composite
def weights(draw: st.DrawFn, *, signed: bool = SIGNED_COLUMNS) -> Weights:
    """Draw weights: each term now and then off, at its default, or so heavy that it decides."""
    return Weights(
        contention=draw(st.sampled_from([0.0, 1.0, 1.0, 3.0])),
        imbalance=draw(st.sampled_from([0.0, 1e-5, 0.1])),
        stranded=draw(st.sampled_from([0.0, 1e-3, 0.05])) if signed else 0.0,
        utilisation=draw(st.sampled_from([0.0, 1.0])),
        transfer=draw(st.sampled_from([0.0, 1.0, 5.0])),
        downtime=draw(st.sampled_from([0.0, 1.0, 5.0])),
        latency=draw(st.sampled_from([0.0, 1.0, 5.0])),
        disruption=draw(st.sampled_from([0.0, 0.1, 5.0])),
        priority_steps_per_doubling=draw(st.sampled_from([1.0, 2.0, 8.0])),
        knees=draw(st.sampled_from([(), (0.5,), (0.7, 0.8, 0.9)])),
    )


@st.composite
def problems(
    draw: st.DrawFn, *, max_hosts: int = 5, max_vms: int = 12
) -> tuple[Cluster, ScenarioSet]:
    """Draw a cluster and the demand of its VMs."""
    cluster = draw(clusters(max_hosts=max_hosts, max_vms=max_vms))
    return cluster, draw(scenarios_of(cluster))
