"""Stranded capacity, computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from solver.compiler.compile import compile_problem
from solver.domain.cluster import VM, Cluster, Host, HostState, Overcommit
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import ScenarioSet
from solver.domain.score import host_contention, score_placement
from solver.domain.units import HostId, VmId
from solver.domain.weights import Weights, to_host_s
from tests.builders import make_cluster, make_host, make_scenarios, make_vm

PRICED = Weights(stranded=1.0)
AN_HOUR: dict[str, Any] = {"step_seconds": 900, "num_steps": 4}


def stranded(
    hosts: list[Host], vms: list[VM], demand: dict[str, float], weights: Weights = PRICED
) -> float:
    """Return the host-seconds of staying."""
    cluster = make_cluster(hosts, vms)
    scenarios = make_scenarios(cluster, demand, **AN_HOUR)
    return to_host_s(score_placement(cluster, scenarios, weights, cluster.placement).stranded)


def two_sorts() -> tuple[Cluster, ScenarioSet]:
    """Return VMs that want CPU on one host and VMs that want memory on another."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [
            *(make_vm(f"c{i}", "h1", memory_gib=5) for i in range(2)),
            *(make_vm(f"m{i}", "h2", memory_gib=40) for i in range(2)),
        ],
    )
    return cluster, make_scenarios(cluster, {"c0": 4, "c1": 4, "m0": 0.5, "m1": 0.5}, **AN_HOUR)


def test_what_is_free_of_one_resource_only_is_counted_by_the_hour() -> None:
    """Half the CPU free beside nine tenths of the memory strands 0.4 hosts for an hour."""
    found = stranded([make_host()], [make_vm(memory_gib=10)], {"v1": 5})
    assert found == pytest.approx(0.4 * 3600, rel=1e-5)


def test_free_cpu_without_memory_counts_alike() -> None:
    """Nine tenths of the CPU free beside half the memory: the same the other way round."""
    found = stranded([make_host()], [make_vm(memory_gib=50)], {"v1": 1})
    assert found == pytest.approx(0.4 * 3600, rel=1e-5)


def test_in_proportion_nothing_is_stranded() -> None:
    """A half-full host with half of both left is as useful as it can be."""
    assert stranded([make_host()], [make_vm(memory_gib=50)], {"v1": 5}) == 0


def test_it_is_off_unless_asked_for() -> None:
    """The default weights do not look at it."""
    assert stranded([make_host()], [make_vm()], {"v1": 5}, Weights()) == 0


def test_promised_memory_counts_by_the_over_commit() -> None:
    """At two for one, 50 of 100 GiB leave three quarters of what may be promised."""
    host = make_host(overcommit=Overcommit(memory=2.0))
    assert stranded([host], [make_vm(memory_gib=50)], {"v1": 2.5}) == 0


@pytest.mark.parametrize(
    "aside",
    [
        make_host("h2", memory_gib=10, state=HostState.MAINTENANCE),
        make_host("h2", memory_gib=10, state=HostState.UNREACHABLE),
        make_host("h2", memory_gib=None),
        make_host("h2", cores=0),
    ],
    ids=["maintenance", "unreachable", "unlimited", "no CPU"],
)
def test_what_no_vm_could_have_anyway_is_not_stranded(aside: Host) -> None:
    """Hosts out of service, without limit or without a resource neither count nor set the scale."""
    found = stranded([make_host(), aside], [make_vm(memory_gib=10)], {"v1": 5})
    assert found == pytest.approx(0.4 * 3600, rel=1e-5)


def test_mixing_sorts_of_vms_strands_less() -> None:
    """One of each sort on each host leaves as much, but usable, and every figure is recomputed."""
    cluster, scenarios = two_sorts()
    mixed = cluster.placement | {VmId("c1"): HostId("h2"), VmId("m1"): HostId("h1")}
    apart = score_placement(cluster, scenarios, PRICED, cluster.placement)
    together = score_placement(cluster, scenarios, PRICED, mixed)
    assert together.stranded < apart.stranded
    assert together.total < apart.total


def test_it_is_no_contention() -> None:
    """A host that strands much is not contended, so the gate stays shut."""
    cluster, scenarios = two_sorts()
    with_it = host_contention(cluster, scenarios, PRICED, cluster.placement)
    assert with_it == host_contention(cluster, scenarios, Weights(), cluster.placement)


def test_very_large_hosts_stay_within_64_bits() -> None:
    """10,000 cores and 100 TiB, and what is too large to be told apart is refused."""
    large = [make_host(f"h{i}", cores=10_000, memory_gib=100 * 1024) for i in range(4)]
    vms = [make_vm(f"v{i}", f"h{i}", memory_gib=50 * 1024) for i in range(4)]
    found = stranded(large, vms, {vm.id: 1000 for vm in vms}, Weights(stranded=1e3))
    assert found == pytest.approx(4 * 0.4 * 3600 * 1e3, rel=1e-5)
    cluster = make_cluster([make_host(cores=0.001)], [make_vm(memory_gib=1e6)])
    scenarios = make_scenarios(cluster, {"v1": 2e6}, **AN_HOUR)
    with pytest.raises(InvalidInputError, match="smaller weight") as refused:
        compile_problem(cluster, scenarios, Weights(stranded=1e6, contention=0.0))
    assert refused.value.path == "weights.stranded"
