"""Tiny clusters, all placements tried: the joint model against exhaustive search by the judge."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.instances.small_judge import best_total
from solver.bounds.relaxed import relaxed_bound
from solver.bounds.shedding import shedding_bound
from solver.compiler.compile import compile_problem
from solver.domain.cluster import Cluster
from solver.domain.scenario import ScenarioSet
from solver.domain.score import score_placement
from solver.domain.weights import Weights
from solver.limit import Allowance
from solver.params import Engine
from solver.portfolio import run
from solver.search.state import State
from tests.strategies import problems, weights


@given(
    problems(max_hosts=3, max_vms=5), weights(), st.sampled_from([Engine.CPSAT, Engine.PORTFOLIO])
)
def test_the_joint_model_finds_the_optimum_and_proves_it(
    problem_data: tuple[Cluster, ScenarioSet], prices: Weights, engine: Engine
) -> None:
    """With rules, maintenance, broken starts and budgets, to the last unit."""
    cluster, scenarios = problem_data
    problem = compile_problem(cluster, scenarios, prices)
    best = best_total(cluster, scenarios, prices)
    assert relaxed_bound(problem) <= best
    assert shedding_bound(problem, State(problem, problem.start).burden) <= best
    hasty = run(problem, engine, Allowance(60.0, 0.002), threshold=0, seed=0)
    assert hasty.bound <= best <= hasty.total
    answer = run(problem, engine, Allowance(60.0, 10.0), threshold=0, seed=0)
    assert answer.total == best
    assert answer.bound == best
    found = score_placement(cluster, scenarios, prices, problem.placement(answer.hosts))
    assert found.total == answer.total
