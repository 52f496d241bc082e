"""Room for a flavour: against every distribution tried, and judged by the checker."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from solver.capacity.question import CapacityStatus, Flavour
from solver.capacity.room import room_for
from solver.capacity.survival import survival
from solver.domain.check import check_placement, new_or_worse
from solver.domain.cluster import Cluster, HostState
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import ScenarioSet, equal_probabilities
from solver.domain.units import NUM_RESOURCES, HostId, Resource, VmId
from tests.builders import NOW, make_cluster, make_host, make_scenarios, make_vm


def random_question(seed: int) -> tuple[Cluster, ScenarioSet, Flavour, int]:
    """Return a small cluster, its demand, a flavour and a target."""
    rng = np.random.default_rng(seed)
    states = [HostState.UP] * 4 + [HostState.MAINTENANCE]
    hosts = [
        make_host(
            f"h{i}",
            cores=int(rng.choice([4, 6])),
            memory_gib=int(rng.choice([8, 12])),
            state=states[rng.integers(5)],
        )
        for i in range(3)
    ]
    vms = [make_vm(f"v{i}", f"h{rng.integers(3)}", memory_gib=2) for i in range(4)]
    demand = np.zeros((4, 5, NUM_RESOURCES, 3), dtype=np.int64)
    demand[:, :, Resource.CPU] = rng.integers(0, 4, (4, 5, 3)) * 500
    scenarios = ScenarioSet(
        vm_ids=tuple(vm.id for vm in vms),
        start_at=NOW,
        step_seconds=900,
        probability_ppm=equal_probabilities(4),
        demand=demand[:, :4].copy(),
    )
    flavour = Flavour(
        template=make_vm("new", None, memory_gib=int(rng.choice([1, 3]))),
        demand=demand[:, 4],
        host_ids=(HostId("h0"), HostId("h1")) if rng.random() < 0.3 else (),
        max_per_host=[None, 1, 2][rng.integers(3)],
    )
    return make_cluster(hosts, vms), scenarios, flavour, int(rng.choice([0, 250_000, 500_000]))


def grown(cluster: Cluster, flavour: Flavour, numbers: dict[HostId, int]) -> Cluster:
    """Return the cluster with more VMs."""
    more = [
        replace(flavour.template, id=VmId(f"new-{host_id}-{i}"), host_id=host_id)
        for host_id, n in numbers.items()
        for i in range(n)
    ]
    return replace(cluster, vms=(*cluster.vms, *more))


def overload(
    cluster: Cluster, scenarios: ScenarioSet, flavour: Flavour, numbers: dict[HostId, int]
) -> int:
    """Return the probability that any host is short, added up VM by VM."""
    ppm = 0
    for k, p in enumerate(scenarios.probability_ppm):
        short = False
        for host in cluster.hosts:
            for r, usable in enumerate(host.usable()):
                load = flavour.demand[k, r, 1:] * numbers.get(host.id, 0)
                for v, vm in enumerate(cluster.vms):
                    if vm.host_id == host.id:
                        load = load + scenarios.demand[k, v, r, 1:]
                short |= usable is not None and bool((load > usable).any())
        ppm += p * short
    return ppm


def fits(
    cluster: Cluster,
    scenarios: ScenarioSet,
    flavour: Flavour,
    target_ppm: int,
    numbers: dict[HostId, int],
) -> bool:
    """Return whether so many more keep everything."""
    more = grown(cluster, flavour, numbers)
    worse = new_or_worse(
        check_placement(cluster, cluster.placement), check_placement(more, more.placement)
    )
    most = 99 if flavour.max_per_host is None else flavour.max_per_host
    named = flavour.host_ids or tuple(host.id for host in cluster.hosts)
    return (
        not worse
        and all(n <= most and (n == 0 or host_id in named) for host_id, n in numbers.items())
        and overload(cluster, scenarios, flavour, numbers) <= target_ppm
    )


def test_the_number_is_that_of_trying_all_distributions() -> None:
    """On small clusters, some hosts closed, some futures given up."""
    seen = {0: 0, 1: 0}
    for seed in range(60):
        cluster, scenarios, flavour, target_ppm = random_question(seed)
        answer = room_for(cluster, scenarios, flavour, target_ppm=target_ppm)
        ids = [host.id for host in cluster.hosts]
        # What fits still fits with one less, so nothing above fits if nothing just above does.
        for numbers in itertools.product(range(answer.number + 2), repeat=3):
            if sum(numbers) == answer.number + 1:
                more = dict(zip(ids, numbers, strict=True))
                assert not fits(cluster, scenarios, flavour, target_ppm, more), seed
        assert answer.bound == answer.number, seed
        assert sum(answer.by_host.values()) == answer.number
        assert answer.limits
        assert overload(cluster, scenarios, flavour, answer.by_host) == answer.overload_ppm
        if answer.status is not CapacityStatus.INFEASIBLE:
            assert answer.status is CapacityStatus.OPTIMAL
            assert fits(cluster, scenarios, flavour, target_ppm, answer.by_host)
        seen[min(1, answer.number)] += 1
    assert min(seen.values()) >= 3, seen


def test_what_must_stand_a_loss_stands_it() -> None:
    """Three hosts of 12 GiB and VMs of 2: a third stays free, as the survivors must take it."""
    cluster = make_cluster([make_host(f"h{i}", memory_gib=12) for i in range(3)], [])
    scenarios = make_scenarios(cluster, {})
    flavour = Flavour(
        template=make_vm("new", None, memory_gib=2), demand=np.zeros((1, 4, 5), dtype=np.int64)
    )
    assert room_for(cluster, scenarios, flavour, target_ppm=0).number == 18
    answer = room_for(cluster, scenarios, flavour, target_ppm=0, survive_loss=True)
    assert answer.number == 12
    assert answer.bound == 18
    assert answer.status is CapacityStatus.FEASIBLE
    assert answer.survives_loss is True
    assert survival(grown(cluster, flavour, answer.by_host)).survives is True


def test_a_cluster_that_survives_no_loss_has_no_room_that_does() -> None:
    """One host alone: infeasible with the reason."""
    cluster = make_cluster([make_host("h1")], [make_vm()])
    scenarios = make_scenarios(cluster, {})
    flavour = Flavour(template=make_vm("new"), demand=np.zeros((1, 4, 5), dtype=np.int64))
    answer = room_for(cluster, scenarios, flavour, target_ppm=0, survive_loss=True)
    assert (answer.status, answer.number) == (CapacityStatus.INFEASIBLE, 0)
    assert "loss" in answer.limits


def test_demand_of_other_scenarios_is_refused() -> None:
    """The flavour's futures are the cluster's."""
    cluster = make_cluster([make_host("h1")], [make_vm()])
    flavour = Flavour(template=make_vm("new"), demand=np.zeros((2, 4, 5), dtype=np.int64))
    with pytest.raises(InvalidInputError, match="shape"):
        room_for(cluster, make_scenarios(cluster, {}), flavour, target_ppm=0)
