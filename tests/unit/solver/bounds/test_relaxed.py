"""A bound from sums: exact where the whole cluster is short, or nothing may move."""

from __future__ import annotations

import numpy as np
import pytest

from solver.bounds.relaxed import relaxed_bound
from solver.compiler.compile import compile_problem
from solver.domain.cluster import Cluster, HostState
from solver.domain.weights import Weights
from solver.problem import Problem
from solver.search.state import State
from tests.builders import make_cluster, make_host, make_scenarios, make_vm


def compiled(cluster: Cluster, demand: dict[str, float]) -> Problem:
    """Return the problem of a constant CPU demand."""
    return compile_problem(cluster, make_scenarios(cluster, demand), Weights())


@pytest.mark.parametrize(
    ("demand", "tight"), [({"a": 30.0, "b": 5.0}, True), ({"a": 6.0, "b": 6.0}, False)]
)
def test_bound_is_exact_where_the_whole_cluster_is_short(
    demand: dict[str, float], tight: bool
) -> None:
    """35 cores needed, 20 there: 15 short wherever the VMs are; with room enough, next to 0."""
    cluster = make_cluster([make_host("h1"), make_host("h2")], [make_vm("a"), make_vm("b")])
    problem = compiled(cluster, demand)
    bound = relaxed_bound(problem)
    best = min(State(problem, np.array([i, j])).total for i in (0, 1) for j in (0, 1))
    assert 0 <= bound <= best
    assert (bound > 0.5 * best) == tight


def test_bound_is_the_total_where_nothing_may_move() -> None:
    """Frozen hosts, over-full and out of place: the start is proven best."""
    cluster = make_cluster(
        [make_host("h1", memory_gib=6, state=HostState.UNREACHABLE), make_host("h2")],
        [make_vm("a"), make_vm("b"), make_vm("c", "h2", not_migratable_reason="passthrough")],
    )
    problem = compiled(cluster, {"a": 12, "c": 14})
    assert relaxed_bound(problem) == State(problem, problem.start).total
