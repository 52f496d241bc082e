"""Proofs: what is told on the way, and how they end."""

from __future__ import annotations

import numpy as np
import pytest

from solver.cpsat.decomposition import OVERHEAD
from solver.cpsat.exact import prove, unpolished
from solver.cpsat.judge import keeps, nearest_allowed, total_of
from solver.problem import IntArray, Problem
from tests.compiled_problems import plain_allowed, plain_total, random_problem

LIMIT_S = 60.0


@pytest.fixture(scope="module")
def problem() -> Problem:
    """Return a problem of a few hosts with rules."""
    return random_problem(np.random.default_rng(5), 5, 14, 3, (False, False))


@pytest.mark.parametrize("work_limit", [OVERHEAD / 2, 2.5 * OVERHEAD, 0.5])
def test_same_seed_and_work_same_answer(problem: Problem, work_limit: float) -> None:
    """Whatever the number of workers, and wherever in a round of prices the work ends."""
    proofs = [
        prove(problem, problem.start, limit_s=LIMIT_S, work_limit=work_limit, num_workers=workers)
        for workers in (1, 2)
    ]
    assert (proofs[0].hosts == proofs[1].hosts).all()
    assert (proofs[0].bound, proofs[0].work) == (proofs[1].bound, proofs[1].work)


def test_work_ends_within_a_round(problem: Problem) -> None:
    """Regression: hosts were asked until the round was over, six times the work allowed."""
    asked = len(problem.capacity)
    proof = prove(problem, problem.start, limit_s=LIMIT_S, work_limit=1.5 * OVERHEAD)
    assert 1.5 * OVERHEAD <= proof.work < asked * OVERHEAD
    assert proof.bound < 0


def test_bounds_rise_and_totals_fall(problem: Problem) -> None:
    """Each call tells a better placement or a better bound, and the last is the answer."""
    told: list[tuple[int, int]] = []

    def better(hosts: IntArray, total: int, bound: int) -> None:
        assert total == plain_total(problem, hosts)
        told.append((total, bound))

    proof = prove(problem, problem.start, limit_s=LIMIT_S, on_better=better)
    totals, bounds = zip(*told, strict=True)
    assert list(totals) == sorted(totals, reverse=True)
    assert list(bounds) == sorted(bounds)
    assert told[-1] == (proof.total, proof.bound)


def test_cancelled_before_it_begins(problem: Problem) -> None:
    """What was given is returned, and no bound worth the name."""
    proof = prove(problem, problem.start, limit_s=LIMIT_S, cancel=lambda: True)
    assert (proof.hosts == problem.start).all()
    assert proof.work == 0.0
    assert proof.bound < 0


def test_cancelled_on_the_way(problem: Problem) -> None:
    """What is known by then is returned."""
    told: list[int] = []
    proof = prove(
        problem,
        problem.start,
        limit_s=LIMIT_S,
        cancel=lambda: len(told) > 0,
        on_better=lambda hosts, total, bound: told.append(bound),
    )
    assert proof.bound < proof.total
    assert keeps(problem, proof.hosts)


def test_polish_is_given_allowed_placements(problem: Problem) -> None:
    """Roundings of fractional placements are mended before a local search sees them."""
    seen: list[IntArray] = []

    def polish(hosts: IntArray, work_limit: float) -> tuple[IntArray, float]:
        seen.append(hosts)
        return unpolished(hosts, work_limit)

    prove(problem, problem.start, limit_s=LIMIT_S, polish=polish)
    assert seen
    assert all(plain_allowed(problem, hosts) for hosts in seen)


def test_what_polishing_takes_is_part_of_the_work(problem: Problem) -> None:
    """Regression: descents from rounded placements took twelve seconds that nobody counted."""
    offered: list[float] = []

    def polish(hosts: IntArray, work_limit: float) -> tuple[IntArray, float]:
        offered.append(work_limit)
        return hosts, work_limit

    proof = prove(problem, problem.start, limit_s=LIMIT_S, work_limit=1.0, polish=polish)
    assert len(offered) == 1
    assert 0.0 < offered[0] < 1.0
    assert proof.work >= 1.0


def test_nothing_can_move(problem: Problem) -> None:
    """Where everything stays, doing nothing is proven best."""
    still = problem.restricted_to(np.zeros(problem.num_vms, dtype=np.bool_))
    proof = prove(still, still.start, limit_s=LIMIT_S)
    assert proof.bound == proof.total <= total_of(still, still.start)


@pytest.mark.parametrize("seed", range(8))
def test_nearest_allowed(seed: int) -> None:
    """As much of a wish as is allowed comes true, and all of one that is allowed."""
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, 4, 8, 3, (True, False))
    wanted = rng.integers(0, 4, 8)
    hosts = nearest_allowed(problem, problem.start, wanted)
    assert plain_allowed(problem, hosts)
    assert (nearest_allowed(problem, problem.start, hosts) == hosts).all()
