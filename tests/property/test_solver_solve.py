"""What every answer must keep, on generated clusters, with the independent checker as judge."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from solver.compiler.compile import compile_problem
from solver.domain.check import check_moves, check_placement, check_plan, new_or_worse
from solver.domain.cluster import Cluster
from solver.domain.result import Result, SolveStatus
from solver.domain.scenario import ScenarioSet
from solver.domain.score import host_contention, score_placement
from solver.domain.weights import Weights
from solver.limit import Allowance
from solver.params import Engine, SolveParams
from solver.portfolio import run
from solver.solve import solve
from tests.strategies import problems, weights

WEIGHTS = Weights()


def judge(
    cluster: Cluster,
    scenarios: ScenarioSet,
    result: Result,
    prices: Weights = WEIGHTS,
    *,
    explained_by_totals: bool = True,
) -> None:
    """Recompute everything a result says, and check everything it may not do."""
    assert result.failures == ()
    assert check_plan(cluster, result.plan) == ()
    assert result.placement == result.plan.placement_after(cluster.placement)
    assert check_moves(cluster, result.placement) == ()
    before = check_placement(cluster, cluster.placement)
    after = check_placement(cluster, result.placement)
    assert new_or_worse(before, after) == ()
    assert result.remaining == tuple(violation for violation in after if violation.hard)
    assert result.before == score_placement(cluster, scenarios, prices, cluster.placement)
    assert result.after == score_placement(cluster, scenarios, prices, result.placement)
    assert result.after.total <= result.before.total
    assert result.contention_before == host_contention(
        cluster, scenarios, prices, cluster.placement
    )
    assert result.contention_after == host_contention(cluster, scenarios, prices, result.placement)
    if result.bound is not None:
        assert result.bound <= result.after.total
    if result.status in (SolveStatus.BELOW_THRESHOLD, SolveStatus.NO_BENEFICIAL_MOVE):
        assert not result.plan.steps
    moved = {vm.id for vm in cluster.vms if result.placement[vm.id] != vm.host_id}
    assert {item.vm_id for item in result.explanations} == moved
    for item in result.explanations if explained_by_totals else ():
        back = score_placement(
            cluster, scenarios, prices, result.placement | {item.vm_id: item.source_id}
        )
        assert item.saved - item.cost == back.total - result.after.total
        if item.alternative_id is not None:
            other = result.placement | {item.vm_id: item.alternative_id}
            there = score_placement(cluster, scenarios, prices, other)
            assert item.alternative_loss == there.total - result.after.total


@given(problems(), weights(), st.sampled_from(["greedy", "cpsat", "portfolio"]), st.booleans())
def test_every_answer_holds_before_the_judge(
    problem: tuple[Cluster, ScenarioSet], prices: Weights, engine: str, was_acting: bool
) -> None:
    """No new or worse violation at any instant, every figure recomputed, never late."""
    cluster, scenarios = problem
    params = SolveParams(
        weights=prices, engine=engine, limit_s=5.0, work_limit=0.5, was_acting=was_acting
    )
    result = solve(cluster, scenarios, params)
    judge(cluster, scenarios, result, prices)
    assert result.runtime_s <= 5.5


@given(problems(), st.integers(0, 3))
def test_portfolio_is_never_worse_than_greedy_and_repeats_itself(
    problem_data: tuple[Cluster, ScenarioSet], seed: int
) -> None:
    """Same seed and work limit, same answer; never worse than greedy or nothing."""
    cluster, scenarios = problem_data
    problem = compile_problem(cluster, scenarios, WEIGHTS)
    greedy, first, second = (
        run(problem, engine, Allowance(60.0, 0.2), threshold=10**9, seed=seed)
        for engine in (Engine.GREEDY, Engine.PORTFOLIO, Engine.PORTFOLIO)
    )
    assert first.total <= greedy.total
    assert greedy.total <= score_placement(cluster, scenarios, WEIGHTS, cluster.placement).total
    assert (first.hosts == second.hosts).all()
    assert first.bound == second.bound
    assert first.bound <= first.total


@given(problems())
def test_a_plan_is_never_worse_than_the_plan_of_greedy(
    problem: tuple[Cluster, ScenarioSet],
) -> None:
    """Once no safe order cut anything off, or whatever it did."""
    cluster, scenarios = problem
    base = SolveParams(limit_s=60.0, act_threshold_host_s=0.0, stop_threshold_host_s=0.0)
    contention = host_contention(cluster, scenarios, WEIGHTS, cluster.placement)
    assume(any(host.total > 0 for host in contention))
    greedy = solve(cluster, scenarios, replace(base, engine="greedy"))
    portfolio = solve(cluster, scenarios, replace(base, work_limit=0.2))
    assert portfolio.after.total <= greedy.after.total


@given(problems(max_vms=6))
def test_a_limit_of_a_millisecond_is_kept(problem: tuple[Cluster, ScenarioSet]) -> None:
    """An answer comes at once, however short the limit, and holds before the judge."""
    cluster, scenarios = problem
    result = solve(cluster, scenarios, SolveParams(limit_s=0.001))
    judge(cluster, scenarios, result)
    assert result.runtime_s <= 0.5
