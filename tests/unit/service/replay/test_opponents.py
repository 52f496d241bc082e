"""The opponents that even out load, and that follow the textbook rule."""

from __future__ import annotations

import numpy as np
import pytest

from service.replay.ledger import Ledger
from service.replay.spread import SpreadParams, even_out
from service.replay.textbook import TextbookParams, relieve
from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.rules import AntiAffinity, Pin
from solver.domain.score import host_loads, host_positions
from solver.domain.units import NUM_RESOURCES, HostId, Resource, VmId
from solver.domain.weights import Weights
from tests.builders import make_cluster, make_host, make_scenarios, make_vm


def demand_of(cluster: Cluster, cores: dict[str, float]) -> np.ndarray:
    """Return demand with the given cores per VM."""
    demand = np.zeros((len(cluster.vms), NUM_RESOURCES), dtype=np.int64)
    for v, vm in enumerate(cluster.vms):
        demand[v, Resource.CPU] = round(1000 * cores[vm.id])
    return demand


def three_on_the_first(**first: object) -> Cluster:
    """Return two hosts of ten cores; VMs a, b and c run on h1."""
    return make_cluster(
        [make_host("h1"), make_host("h2")],
        [make_vm("a", "h1", **first), make_vm("b", "h1"), make_vm("c", "h1")],  # type: ignore[arg-type]
    )


def test_evening_out_makes_the_move_that_evens_out_most() -> None:
    """Of 1, 3 and 4 cores on one host the four leave; then no host is far above the mean."""
    cluster = three_on_the_first()
    demand = demand_of(cluster, {"a": 1, "b": 3, "c": 4})
    wanted = even_out(cluster, demand, SpreadParams(target_fraction=0.1))
    assert wanted == {VmId("a"): "h1", VmId("b"): "h1", VmId("c"): "h2"}


def test_evening_out_leaves_small_differences() -> None:
    """Use of 80 % and 0 % is 40 % from the mean; a target of 50 % is met."""
    cluster = three_on_the_first()
    demand = demand_of(cluster, {"a": 1, "b": 3, "c": 4})
    assert even_out(cluster, demand, SpreadParams(target_fraction=0.5)) == cluster.placement


def test_textbook_moves_the_cheapest_pair_that_relieves() -> None:
    """Twelve cores wanted of ten: among the candidates the one whose move costs least leaves."""
    cluster = three_on_the_first(memory_gib=1)
    scenarios = make_scenarios(cluster, {VmId("a"): 4.0, VmId("b"): 4.0, VmId("c"): 4.0})
    wanted = relieve(cluster, scenarios, Weights(), TextbookParams())
    assert wanted == {VmId("a"): "h2", VmId("b"): "h1", VmId("c"): "h1"}


def test_textbook_looks_at_low_priorities_first() -> None:
    """With one candidate allowed it is the VM of lowest priority, though all demand the same."""
    cluster = three_on_the_first(priority=2)
    scenarios = make_scenarios(cluster, {VmId("a"): 4.0, VmId("b"): 4.0, VmId("c"): 4.0})
    wanted = relieve(cluster, scenarios, Weights(), TextbookParams(num_candidates=1))
    assert wanted[VmId("a")] == "h2"


def test_textbook_fills_no_host_beyond_the_threshold() -> None:
    """Where every destination would become contended nothing moves."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [make_vm("a", "h1"), make_vm("b", "h1"), make_vm("c", "h2")],
    )
    scenarios = make_scenarios(cluster, {VmId("a"): 6.0, VmId("b"): 6.0, VmId("c"): 6.0})
    assert relieve(cluster, scenarios, Weights(), TextbookParams()) == cluster.placement


@pytest.mark.parametrize("balance", ["even out", "textbook"])
def test_rules_are_kept(balance: str) -> None:
    """What a rule forbids is not done, and the next best is, where there is one."""
    vms = [make_vm("a", "h1"), make_vm("b", "h1"), make_vm("c", "h1"), make_vm("d", "h2")]
    rules = (
        AntiAffinity(id="apart", vm_ids=(VmId("a"), VmId("d"))),
        Pin(id="stays", vm_ids=(VmId("b"),), host_ids=(HostId("h1"),)),
    )
    cluster = make_cluster([make_host("h1"), make_host("h2")], vms, rules=rules)
    cores = {"a": 4.0, "b": 4.0, "c": 4.0, "d": 0.0}
    if balance == "even out":
        wanted = even_out(cluster, demand_of(cluster, cores), SpreadParams(target_fraction=0.1))
    else:
        scenarios = make_scenarios(cluster, {VmId(vm): need for vm, need in cores.items()})
        wanted = relieve(cluster, scenarios, Weights(), TextbookParams())
    assert wanted == {**cluster.placement, VmId("c"): "h2"}


def test_the_ledger_keeps_its_sums() -> None:
    """After moves, loads are those of the placement it tells."""
    cluster = three_on_the_first()
    demand = demand_of(cluster, {"a": 1, "b": 3, "c": 4})
    ledger = Ledger(cluster, demand)
    ledger.move(2, 1)
    ledger.move(0, 1)
    hosts = host_positions(cluster, ledger.placement)
    assert hosts.tolist() == ledger.host_of.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(ledger.load, host_loads(demand, hosts, 2))


@pytest.mark.parametrize("wrong", [0.0, -0.1, 1.5])
def test_settings_are_checked(wrong: float) -> None:
    """The error names the setting and the value."""
    with pytest.raises(InvalidInputError, match=f"target_fraction.*{wrong}"):
        SpreadParams(target_fraction=wrong)
    if wrong <= 0:
        with pytest.raises(InvalidInputError, match=f"threshold_host_s.*{wrong}"):
            TextbookParams(threshold_host_s=wrong)
