"""Two independent solvers and exhaustive search: the same optimum, to the last unit."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.instances.small_judge import best_total
from solver.bounds.relaxed import relaxed_bound
from solver.bounds.shedding import shedding_bound
from solver.capacity.second_opinion import relaxed_opinion, second_opinion
from solver.compiler.compile import compile_problem
from solver.domain.check import check_moves, check_placement, new_or_worse
from solver.domain.cluster import Cluster
from solver.domain.rules import Affinity, AntiAffinity, Ban, Pin
from solver.domain.scenario import ScenarioSet
from solver.domain.score import score_placement
from solver.domain.weights import Weights
from solver.limit import Allowance
from solver.params import Engine
from solver.portfolio import run
from solver.search.state import State
from tests.strategies import clusters, scenarios_of, weights

WEIGHTS = Weights()


@st.composite
def problems(draw: st.DrawFn, *, max_hosts: int, max_vms: int) -> tuple[Cluster, ScenarioSet]:
    """Draw a cluster with rules of every kind, and the demand of its VMs."""
    cluster = draw(clusters(max_hosts=max_hosts, max_vms=max_vms, whole=True))
    return cluster, draw(scenarios_of(cluster))


@given(problems(max_hosts=3, max_vms=5), weights(signed=True))
def test_highs_finds_the_optimum_of_exhaustive_search(
    problem_data: tuple[Cluster, ScenarioSet], prices: Weights
) -> None:
    """With every rule, broken starts, budgets and weights; the relaxation is below."""
    cluster, scenarios = problem_data
    problem = compile_problem(cluster, scenarios, prices)
    best = best_total(cluster, scenarios, prices)
    opinion = second_opinion(problem)
    assert opinion.proven
    assert opinion.hosts is not None
    placement = problem.placement(opinion.hosts)
    before = check_placement(cluster, cluster.placement)
    assert not check_moves(cluster, placement)
    assert not new_or_worse(before, check_placement(cluster, placement))
    assert score_placement(cluster, scenarios, prices, placement).total == best
    assert relaxed_bound(problem) <= best
    assert shedding_bound(problem, State(problem, problem.start).burden) <= best
    assert relaxed_opinion(problem).bound <= opinion.bound + 1 + best // 10**6
    assert best * (1 - 3e-6) - 2 <= opinion.bound <= best


@given(problems(max_hosts=4, max_vms=8))
def test_highs_and_cp_sat_agree(problem_data: tuple[Cluster, ScenarioSet]) -> None:
    """On sizes beyond exhaustive search, with the rules that both encode."""
    whole, scenarios = problem_data
    kept = (Pin, Ban, Affinity, AntiAffinity)
    cluster = replace(whole, rules=tuple(r for r in whole.rules if isinstance(r, kept)))
    problem = compile_problem(cluster, scenarios, WEIGHTS)
    opinion = second_opinion(problem)
    answer = run(problem, Engine.CPSAT, Allowance(60.0, 10.0), threshold=0, seed=0)
    assert opinion.hosts is not None
    placement = problem.placement(opinion.hosts)
    assert score_placement(cluster, scenarios, WEIGHTS, placement).total == answer.total
    assert answer.bound == answer.total >= opinion.bound
