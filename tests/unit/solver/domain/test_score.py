"""Simple facts about the objective, each computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.plan import Plan, Step, StepKind
from solver.domain.plan_score import score_plan
from solver.domain.rules import AntiAffinity
from solver.domain.scenario import PROBABILITY_PPM, ScenarioSet
from solver.domain.score import Score, host_contention, score_placement
from solver.domain.units import HostId, VmId
from solver.domain.weights import UNITS_PER_HOST_S, Weights, to_host_s
from tests.builders import NOW, make_cluster, make_host, make_scenarios, make_vm

V1, V2 = VmId("v1"), VmId("v2")
H1, H2 = HostId("h1"), HostId("h2")
HALF_AN_HOUR: dict[str, Any] = {"step_seconds": 900, "num_steps": 2}


def hot(**more: object) -> tuple[Cluster, ScenarioSet]:
    """Return two hosts of 10 cores, the first with two VMs that want 6 cores each."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [make_vm("v1", priority=5), make_vm("v2", priority=5)],
        **more,
    )
    scenarios = make_scenarios(cluster, {"v1": 6, "v2": 6}, **HALF_AN_HOUR)
    return cluster, scenarios


def score(cluster: Cluster, scenarios: ScenarioSet, weights: Weights | None = None) -> Score:
    """Return the score of staying."""
    return score_placement(cluster, scenarios, weights or Weights(), cluster.placement)


def test_shortfall_is_counted_in_host_seconds() -> None:
    """Two cores too many of ten for half an hour: 0.2 hosts times 1800 s."""
    cluster, scenarios = hot()
    stay = score(cluster, scenarios)
    assert to_host_s(stay.contention) == pytest.approx(0.2 * 1800)
    assert stay.contention_by_host == {H1: stay.contention, H2: 0}
    assert (stay.moves, stay.migration, stay.repair) == (0, 0, 0)


def test_a_move_trades_shortfall_for_its_cost() -> None:
    """Apart, both VMs have what they want, and the move is all that costs."""
    cluster, scenarios = hot()
    away = score_placement(cluster, scenarios, Weights(), {V1: H1, V2: H2})
    assert (away.contention, away.moves) == (0, 1)
    assert away.migration == away.move_costs[V2].total > 0
    assert 0 < away.total < score(cluster, scenarios).total


def test_the_highest_priority_is_served_first() -> None:
    """Who suffers is the lowest priority: two doublings apart, a quarter of the cost."""
    hosts = [make_host("h1")]
    costs = []
    for low in (5, 1):
        vms = [make_vm("v1", priority=9), make_vm("v2", priority=low)]
        cluster = make_cluster(hosts, vms)
        scenarios = make_scenarios(cluster, {"v1": 6, "v2": 6})
        costs.append(score(cluster, scenarios).contention)
    assert costs[1] == pytest.approx(costs[0] / 4, rel=1e-6)


def test_scenarios_are_weighted_by_probability() -> None:
    """A shortfall in one of two equally likely futures counts half."""
    cluster, always = hot()
    sometimes = make_scenarios(cluster, {"v1": [6, 0], "v2": [6, 0]}, **HALF_AN_HOUR)
    assert score(cluster, sometimes).contention * 2 == score(cluster, always).contention


def test_a_broken_rule_is_priced_as_repair_and_a_soft_one_by_its_penalty() -> None:
    """Hard and soft rules never add to the same term."""
    hard, scenarios = hot(rules=(AntiAffinity(id="apart", vm_ids=(V1, V2)),))
    soft, _ = hot(rules=(AntiAffinity(id="apart", vm_ids=(V1, V2), penalty_host_s=3.0),))
    assert to_host_s(score(hard, scenarios).repair) == Weights().repair_host_s
    assert score(hard, scenarios).soft_rules == 0
    assert score(soft, scenarios).soft_rules == 3 * UNITS_PER_HOST_S
    assert score(soft, scenarios).repair == 0


def test_memory_shortage_is_dearer_than_cpu_shortage() -> None:
    """Ten times, by default: it is swapping or death, not slowness."""
    cluster = make_cluster([make_host("h1", cores=10, memory_gib=10)], [make_vm()])
    cpu = score(cluster, make_scenarios(cluster, {"v1": 12}))
    memory = score(cluster, make_scenarios(cluster, {"v1": 0}, memory_gib={"v1": 12}))
    assert memory.contention == pytest.approx(10 * cpu.contention, rel=1e-6)


def test_imbalance_never_pays_for_a_move() -> None:
    """A host at 95 % and an idle one: staying is cheaper than any move."""
    cluster = make_cluster([make_host("h1"), make_host("h2")], [make_vm("v1"), make_vm("v2")])
    scenarios = make_scenarios(cluster, {"v1": 4.7, "v2": 4.8})
    stay = score(cluster, scenarios)
    away = score_placement(cluster, scenarios, Weights(), {V1: H1, V2: H2})
    assert 0 == stay.contention < stay.imbalance
    assert away.imbalance == 0
    assert stay.total < away.total


def test_moving_much_of_one_group_is_charged() -> None:
    """The most-moved application group counts per VM; starts are no disruption."""
    hosts = [make_host("h1"), make_host("h2")]
    vms = [make_vm("v1", group="shop"), make_vm("v2", group="shop"), make_vm("v3", None, group="x")]
    cluster = make_cluster(hosts, vms)
    target = {V1: H2, V2: H2, VmId("v3"): H1}
    moved = score_placement(cluster, make_scenarios(cluster, {}), Weights(), target)
    assert to_host_s(moved.disruption) == pytest.approx(2 * Weights().disruption)
    assert moved.moves == 3


def test_contention_tells_the_chance_of_any_overload() -> None:
    """One of four futures overloads the host at one step: 250,000 parts per million."""
    cluster = make_cluster([make_host("h1"), make_host("h2")], [make_vm("v1", cores=16)])
    scenarios = make_scenarios(
        cluster, {"v1": [[1, 1], [1, 11], [1, 1], [10, 10]]}, num_steps=2, present={"v1": 12}
    )
    first, second = host_contention(cluster, scenarios, Weights(), cluster.placement)
    assert first.overload_ppm == PROBABILITY_PPM // 4
    assert to_host_s(first.current) == pytest.approx(0.2 * 900)
    assert first.predicted > 0
    assert (second.total, second.overload_ppm) == (0, 0)


def test_relief_counts_from_the_end_of_the_move() -> None:
    """A move that takes half of the horizon saves half of the shortfall."""
    cluster, scenarios = hot()

    def with_move(end_s: int) -> tuple[int, int]:
        move = Step(
            kind=StepKind.MIGRATE,
            vm_id=V2,
            source_id=H1,
            destination_id=H2,
            start_ms=0,
            end_ms=end_s * 1000,
            bandwidth_mib_per_s=1,
        )
        return score_plan(cluster, scenarios, Weights(), Plan(made_at=NOW, steps=(move,)))

    without, half = with_move(900)
    assert half * 2 == without == score(cluster, scenarios).contention
    assert with_move(1800) == (without, without)
    assert with_move(9000) == (without, without)


def test_a_vm_without_demand_is_refused() -> None:
    """A score over some of the VMs would be a wrong score."""
    cluster, scenarios = hot()
    with pytest.raises(InvalidInputError, match="VM 'v1' has no demand"):
        score(cluster, scenarios.for_vms((V2,)))
