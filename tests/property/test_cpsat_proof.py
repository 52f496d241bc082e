"""Proofs of optima and bounds against brute force, on compiled problems of every kind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from solver.cpsat.exact import prove
from solver.problem import IntArray, Problem
from tests.compiled_problems import (
    allowed_placements,
    compiled_problems,
    plain_allowed,
    plain_total,
)

LIMIT_S = 60.0


def least_total(problem: Problem) -> int:
    """Return the least total of all placements."""
    return min(plain_total(problem, hosts) for hosts in allowed_placements(problem))


@given(compiled_problems(max_hosts=3, max_vms=5), st.integers(0, 9))
def test_the_optimum_is_found_and_proven(problem: Problem, seed: int) -> None:
    """With time enough, the placement, its total and the bound all say what brute force says."""
    proof = prove(problem, problem.start, limit_s=LIMIT_S, seed=seed)
    assert plain_allowed(problem, proof.hosts)
    assert plain_total(problem, proof.hosts) == proof.total
    assert proof.bound == proof.total == least_total(problem)


@given(compiled_problems(max_hosts=3, max_vms=5), st.floats(0.0, 0.2))
def test_a_bound_holds_wherever_the_proof_ends(problem: Problem, work_limit: float) -> None:
    """However little work is allowed, nothing is below the bound, nothing told is wrong."""
    best = least_total(problem)

    def check(hosts: IntArray, total: int, bound: int) -> None:
        assert bound <= best <= total == plain_total(problem, hosts)

    proof = prove(problem, problem.start, limit_s=LIMIT_S, work_limit=work_limit, on_better=check)
    assert plain_allowed(problem, proof.hosts)
    assert proof.bound <= best <= proof.total == plain_total(problem, proof.hosts)
