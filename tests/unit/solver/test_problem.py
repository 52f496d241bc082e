"""Compilation: what is merged, dropped, restricted and refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from solver.compiler.compile import compile_problem
from solver.domain.cluster import HostState
from solver.domain.errors import InvalidInputError
from solver.domain.rules import AntiAffinity, Ban, Pin
from solver.domain.score import pair_costs
from solver.domain.units import HostId, VmId
from solver.domain.weights import Weights
from solver.problem import NOWHERE, IntArray, Problem
from tests.builders import make_cluster, make_host, make_scenarios, make_vm

V1 = VmId("v1")
NO_KNEES = Weights(imbalance=0.0)


def everyone(problem: Problem) -> IntArray:
    """Return the positions of all VMs."""
    return np.arange(problem.num_vms)


def test_equal_columns_are_merged_and_unlimited_resources_dropped() -> None:
    """Four equal steps of CPU and of memory are two columns; disk and network none."""
    cluster = make_cluster([make_host("h1")], [make_vm("v1")])
    scenarios = make_scenarios(cluster, {"v1": 2.0}, memory_gib={"v1": 3.0})
    problem = compile_problem(cluster, scenarios, NO_KNEES)
    assert problem.future.demand.tolist() == [[2000, 3072]]
    assert problem.capacity.shape == (1, 2)
    single = compile_problem(cluster, make_scenarios(cluster, {"v1": 2.0}, num_steps=1), NO_KNEES)
    assert problem.future.prices[0, 0] == 4 * single.future.prices[0, 0]


def test_bands_are_the_priorities_that_occur() -> None:
    """Increments of priorities that do not occur go to the next one above."""
    vms = [make_vm(f"v{p}", priority=p) for p in (2, 5, 9)]
    cluster = make_cluster([make_host("h1")], vms)
    scenarios = make_scenarios(cluster, {"v2": 1.0})
    problem = compile_problem(cluster, scenarios, NO_KNEES)
    assert problem.num_bands == 3
    assert problem.band.tolist() == [0, 1, 2]
    omega = [Weights().omega(p) for p in (2, 5, 9)]
    ratio = problem.future.prices.sum(axis=0)[0] / problem.future.prices[0, 0]
    assert ratio == pytest.approx(omega[2] / omega[0], rel=1e-4)


def test_a_broken_rule_lets_its_vm_stay_and_go_anywhere() -> None:
    """A pin that holds binds; a pin that is broken binds no more, but its breach is priced."""
    hosts = [make_host("h1"), make_host("h2"), make_host("h3")]
    pin = Pin(id="pin", vm_ids=(V1,), host_ids=(HostId("h1"),))
    scenarios = make_scenarios(make_cluster(hosts, [make_vm("v1")]), {})
    kept = compile_problem(make_cluster(hosts, [make_vm("v1")], rules=(pin,)), scenarios, Weights())
    assert kept.allowed_hosts(everyone(kept)).tolist() == [[True, False, False]]
    away = make_cluster(hosts, [make_vm("v1", "h2")], rules=(pin,))
    broken = compile_problem(away, scenarios, Weights())
    assert broken.allowed_hosts(everyone(broken)).all()
    assert (broken.place_prices(everyone(broken)) > 0).tolist() == [[False, True, True]]


def test_hosts_out_of_service_take_nothing() -> None:
    """Maintenance may be left, unreachable not even that."""
    hosts = [
        make_host("h1", state=HostState.MAINTENANCE),
        make_host("h2", state=HostState.UNREACHABLE),
        make_host("h3"),
    ]
    cluster = make_cluster(hosts, [make_vm("a", "h1"), make_vm("b", "h2"), make_vm("c", None)])
    problem = compile_problem(cluster, make_scenarios(cluster, {}), Weights())
    assert problem.allowed_hosts(everyone(problem)).tolist() == [
        [True, False, True],
        [False, True, False],
        [False, False, True],
    ]


def test_restriction_freezes_the_rest() -> None:
    """VMs that may not move keep their own host only; idle ones stay idle."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")], [make_vm("a"), make_vm("b"), make_vm("c", None)]
    )
    problem = compile_problem(cluster, make_scenarios(cluster, {}), Weights())
    narrow = problem.restricted_to(np.array([True, False, False]))
    assert narrow.allowed_hosts(everyone(narrow)).tolist() == [
        [True, True],
        [True, False],
        [False, False],
    ]
    assert problem.allowed_hosts(everyone(problem)).all()


def test_move_costs_are_those_of_the_public_function() -> None:
    """Computed by rows on demand, equal to the pairs that the score prices."""
    cluster = make_cluster(
        [make_host("h1", zone="a"), make_host("h2", zone="b"), make_host("h3", cores=None)],
        [make_vm("a", "h1", priority=8), make_vm("b", "h2"), make_vm("c", None)],
    )
    scenarios = make_scenarios(cluster, {"a": 4.0, "b": 8.0})
    problem = compile_problem(cluster, scenarios, Weights())
    found = problem.move_rows(np.array([1, 2, 0]))
    expected = pair_costs(
        cluster, scenarios, Weights(), np.array([1, 0]), np.arange(3)[None, :]
    ).total
    assert found[[0, 2]].tolist() == expected.tolist()
    assert not found[1].any()


def test_placements_and_positions_are_inverse() -> None:
    """Names to positions and back."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")], [make_vm("a", "h2"), make_vm("b", None)]
    )
    problem = compile_problem(cluster, make_scenarios(cluster, {}), Weights())
    assert problem.start.tolist() == [1, NOWHERE]
    assert problem.placement(problem.start) == cluster.placement
    assert problem.positions(cluster.placement).tolist() == [1, NOWHERE]


def test_missing_demand_is_refused() -> None:
    """Every VM needs a forecast; the message names one that has none."""
    cluster = make_cluster([make_host("h1")], [make_vm("a")])
    more = replace(cluster, vms=(*cluster.vms, make_vm("b")))
    with pytest.raises(InvalidInputError, match="'b' has no demand"):
        compile_problem(more, make_scenarios(cluster, {}), Weights())


@pytest.mark.parametrize(
    "weights",
    [
        Weights(contention=1e6, resources=(1e6, 1e6, 1e6, 1e6)),
        Weights(repair_host_s=1e6, contention=1e6, resources=(1e6, 1.0, 1.0, 1.0)),
        Weights(transfer=1e6),
    ],
    ids=["price", "total", "moves"],
)
def test_costs_beyond_64_bits_are_refused(weights: Weights) -> None:
    """Rather than wrapping round and calling the worst placement the best."""
    vm = make_vm("a", priority=10, memory_gib=2_000_000)
    cluster = make_cluster([make_host("h1", cores=1, migration_bandwidth_mib_per_s=1)], [vm])
    scenarios = make_scenarios(cluster, {"a": 2_000_000.0})
    with pytest.raises(InvalidInputError, match=r"64 bits|told apart"):
        compile_problem(cluster, scenarios, weights)


def test_soft_host_rules_price_the_wrong_places() -> None:
    """A soft ban forbids nothing and costs its penalty."""
    ban = Ban(id="no", vm_ids=(V1,), host_ids=(HostId("h2"),), penalty_host_s=2.5)
    cluster = make_cluster([make_host("h1"), make_host("h2")], [make_vm("v1")], rules=(ban,))
    problem = compile_problem(cluster, make_scenarios(cluster, {}), Weights())
    assert problem.allowed_hosts(everyone(problem)).all()
    assert problem.place_prices(everyone(problem)).tolist() == [[0, 2_500_000_000]]


def test_large_clusters_are_not_refused_for_what_they_cannot_break() -> None:
    """No placement has more VMs nowhere, or more rules broken, than the start has.

    The bound took every VM to be nowhere and every rule to be broken throughout, and refused
    30,000 VMs with the default weights; here 5,000 with a repair that is ten times as dear.
    """
    hosts = [make_host(f"h{i}", cores=None, memory_gib=None) for i in range(2)]
    vms = [make_vm(f"v{i}", f"h{i % 2}") for i in range(5_000)]
    apart = AntiAffinity(id="apart", vm_ids=(vms[0].id, vms[1].id))
    cluster = make_cluster(hosts, vms, rules=(apart,))
    dear = Weights(repair_host_s=1e6)
    assert compile_problem(cluster, make_scenarios(cluster, {}), dear).num_vms == 5_000
    lost = make_cluster(hosts, [replace(vm, host_id=None) for vm in vms])
    with pytest.raises(InvalidInputError, match="told apart"):
        compile_problem(lost, make_scenarios(lost, {}), dear)


def test_a_cluster_without_vms_is_compiled() -> None:
    """There is nothing to decide, and nothing that could be too dear."""
    cluster = make_cluster([make_host("h1")], [])
    assert compile_problem(cluster, make_scenarios(cluster, {}), Weights()).num_vms == 0
