"""The threshold balancer that foreswap is compared with."""

import numpy as np

from service.replay.reactive import ReactiveParams, rebalance
from solver.domain.cluster import Cluster, HostState
from solver.domain.rules import AntiAffinity
from solver.domain.units import NUM_RESOURCES, Resource, VmId
from tests.builders import make_cluster, make_host, make_vm


def demand_of(cluster: Cluster, cores: dict[str, float]) -> np.ndarray:
    """Return present demand with the given cores per VM."""
    demand = np.zeros((len(cluster.vms), NUM_RESOURCES), dtype=np.int64)
    for v, vm in enumerate(cluster.vms):
        demand[v, Resource.CPU] = round(1000 * cores[vm.id])
    return demand


STRICT = ReactiveParams(threshold_fraction=0.8, target_fraction=0.8, least_relief_fraction=0.05)


def test_below_the_threshold_nothing_moves() -> None:
    """80 % of ten cores is not above the threshold."""
    cluster = make_cluster([make_host("h1"), make_host("h2")], [make_vm("a"), make_vm("b")])
    demand = demand_of(cluster, {"a": 4, "b": 4})
    assert rebalance(cluster, demand, STRICT) == cluster.placement


def test_the_smallest_vm_that_suffices_leaves_for_the_least_used_host() -> None:
    """Of two VMs that each bring the host below, the one with less memory moves."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2"), make_host("h3")],
        [
            make_vm("a", "h1", memory_gib=8),
            make_vm("b", "h1", memory_gib=4),
            make_vm("c", "h1", memory_gib=1),
            make_vm("d", "h2"),
        ],
    )
    demand = demand_of(cluster, {"a": 4, "b": 4, "c": 1, "d": 3})
    wanted = rebalance(cluster, demand, STRICT)
    assert wanted == {**cluster.placement, VmId("c"): "h3"} | {VmId("b"): "h1"}


def test_a_destination_is_never_filled_beyond_the_target() -> None:
    """Two hosts above the threshold have nowhere to shed to."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [make_vm("a", "h1"), make_vm("b", "h1"), make_vm("c", "h2")],
    )
    demand = demand_of(cluster, {"a": 5, "b": 4, "c": 7})
    assert rebalance(cluster, demand, STRICT) == cluster.placement


def test_a_busy_cluster_is_still_evened_out() -> None:
    """No host is below the target, but one is clearly less used than the hottest.

    A balancer that gave up then lost five times as much on a real trace: no fair opponent.
    """
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [make_vm("a", "h1"), make_vm("b", "h1"), make_vm("c", "h2")],
    )
    demand = demand_of(cluster, {"a": 10, "b": 1, "c": 8.5})
    assert rebalance(cluster, demand, STRICT)[VmId("b")] == "h2"


def test_maintenance_memory_and_rules_bind_it_too() -> None:
    """The only host left is the one that is up, has memory and keeps the rule."""
    cluster = make_cluster(
        [
            make_host("h1"),
            make_host("drained", state=HostState.MAINTENANCE),
            make_host("small", memory_gib=2),
            make_host("rival"),
            make_host("free"),
        ],
        [make_vm("a", "h1"), make_vm("b", "h1"), make_vm("x", "rival"), make_vm("y", "free")],
        rules=tuple(AntiAffinity(id=f"{v} apart", vm_ids=(VmId(v), VmId("x"))) for v in ("a", "b")),
    )
    demand = demand_of(cluster, {"a": 5, "b": 5, "x": 0, "y": 1})
    wanted = rebalance(cluster, demand, STRICT)
    assert sorted(str(wanted[VmId(v)]) for v in "ab") == ["free", "h1"]
