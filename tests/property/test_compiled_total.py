"""The compiled problem against the judge, to the last unit, on generated clusters and weights."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from solver.compiler.compile import compile_problem
from solver.domain.cluster import Cluster
from solver.domain.scenario import ScenarioSet
from solver.domain.score import score_placement
from solver.domain.weights import Weights
from solver.problem import NOWHERE, Problem
from solver.search.state import State
from tests.strategies import problems, weights


def priced_by_columns(problem: Problem, hosts: list[int]) -> int:
    """Return what the columns of the future say, read as their definition is written."""
    columns = problem.future
    total = 0
    for h in range(problem.num_hosts):
        for b in range(problem.num_bands):
            guests = [v for v, at in enumerate(hosts) if at == h and problem.band[v] >= b]
            for c, price in enumerate(columns.prices[b].tolist()):
                load = sum(int(columns.demand[v, c]) for v in guests)
                total += price * max(0, load - int(columns.threshold[h, c]))
    return total


@given(problems(max_hosts=4, max_vms=8), weights(signed=True), st.integers(0, 2**16))
def test_columns_and_total_are_the_judges(
    problem_data: tuple[Cluster, ScenarioSet], prices: Weights, seed: int
) -> None:
    """Contention, use above the knees and stranded capacity, wherever the VMs are."""
    cluster, scenarios = problem_data
    problem = compile_problem(cluster, scenarios, prices)
    rng = np.random.default_rng(seed)
    for hosts in (problem.start, rng.integers(NOWHERE, problem.num_hosts, problem.num_vms)):
        score = score_placement(cluster, scenarios, prices, problem.placement(hosts))
        convex = score.contention + score.imbalance + score.stranded
        assert convex == priced_by_columns(problem, hosts.tolist())
    stay = score_placement(cluster, scenarios, prices, cluster.placement)
    assert State(problem, problem.start).total == stay.total
