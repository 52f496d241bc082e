"""What every answer must keep, on generated clusters, with the independent checker as judge."""

from __future__ import annotations

from hypothesis import given

from solver.domain.check import check_moves, check_placement, check_plan, new_or_worse
from solver.domain.cluster import Cluster
from solver.domain.result import Result, SolveStatus
from solver.domain.scenario import ScenarioSet
from solver.domain.score import host_contention, score_placement
from solver.domain.weights import Weights
from solver.solve import SolveParams, solve
from tests.strategies import problems

WEIGHTS = Weights()


def judge(cluster: Cluster, scenarios: ScenarioSet, result: Result) -> None:
    """Recompute everything a result says, and check everything it may not do."""
    assert check_plan(cluster, result.plan) == ()
    assert result.placement == result.plan.placement_after(cluster.placement)
    assert check_moves(cluster, result.placement) == ()
    before = check_placement(cluster, cluster.placement)
    after = check_placement(cluster, result.placement)
    assert new_or_worse(before, after) == ()
    assert result.remaining == tuple(violation for violation in after if violation.hard)
    assert result.before == score_placement(cluster, scenarios, WEIGHTS, cluster.placement)
    assert result.after == score_placement(cluster, scenarios, WEIGHTS, result.placement)
    assert result.after.total <= result.before.total
    assert result.contention_before == host_contention(
        cluster, scenarios, WEIGHTS, cluster.placement
    )
    assert result.contention_after == host_contention(cluster, scenarios, WEIGHTS, result.placement)
    if result.bound is not None:
        assert result.bound <= result.after.total
    if result.status in (SolveStatus.BELOW_THRESHOLD, SolveStatus.NO_BENEFICIAL_MOVE):
        assert not result.plan.steps
    moved = {vm.id for vm in cluster.vms if result.placement[vm.id] != vm.host_id}
    assert {item.vm_id for item in result.explanations} == moved
    for item in result.explanations:
        back = score_placement(
            cluster, scenarios, WEIGHTS, result.placement | {item.vm_id: item.source_id}
        )
        assert item.saved - item.cost == back.total - result.after.total
        if item.alternative_id is not None:
            other = result.placement | {item.vm_id: item.alternative_id}
            there = score_placement(cluster, scenarios, WEIGHTS, other)
            assert item.alternative_loss == there.total - result.after.total


@given(problems())
def test_greedy_answers_hold_before_the_judge(problem: tuple[Cluster, ScenarioSet]) -> None:
    """No new or worse violation at any instant, and every figure is the recomputed one."""
    cluster, scenarios = problem
    judge(cluster, scenarios, solve(cluster, scenarios, SolveParams(engine="greedy")))
