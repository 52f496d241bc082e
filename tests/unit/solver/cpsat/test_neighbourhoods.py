"""Large-neighbourhood search: it only improves, keeps what is allowed, and ends when told."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given

from solver.cpsat.neighbourhoods import improve_by_neighbourhoods
from solver.problem import IntArray, Problem
from tests.compiled_problems import compiled_problems, plain_allowed, plain_total, random_problem

LIMIT_S = 60.0


@pytest.fixture(scope="module")
def problem() -> Problem:
    """Return a problem of a few hosts with rules."""
    return random_problem(np.random.default_rng(5), 6, 20, 3, (False, False))


@given(compiled_problems())
def test_what_is_told_is_allowed_and_better_each_time(problem: Problem) -> None:
    """On problems of every kind; the last placement told is the answer."""
    told: list[IntArray] = [problem.start]
    found = improve_by_neighbourhoods(
        problem, problem.start, limit_s=LIMIT_S, work_limit=0.3, on_better=told.append
    )
    totals = [plain_total(problem, hosts) for hosts in told]
    assert all(b < a for a, b in itertools.pairwise(totals))
    assert all(plain_allowed(problem, hosts) for hosts in told)
    assert (found.hosts == told[-1]).all()
    assert found.total == totals[-1]


def test_same_seed_and_work_same_answer(problem: Problem) -> None:
    """The wall clock has no part in it."""
    one, other = (
        improve_by_neighbourhoods(problem, problem.start, limit_s=LIMIT_S, work_limit=0.5, seed=3)
        for _ in range(2)
    )
    assert (one.hosts == other.hosts).all()
    assert one.work == other.work
    assert one.total < plain_total(problem, problem.start)


def test_ends_when_nothing_helps(problem: Problem) -> None:
    """Without a limit on work, where nothing may move."""
    still = problem.restricted_to(np.zeros(problem.num_vms, dtype=np.bool_))
    running = np.flatnonzero(still.start >= 0)
    found = improve_by_neighbourhoods(still, still.start, limit_s=LIMIT_S)
    assert (found.hosts[running] == still.start[running]).all()


def test_cancelled(problem: Problem) -> None:
    """It ends with what it has: what it was given, or what it has just told."""
    told: list[IntArray] = []
    nothing = improve_by_neighbourhoods(
        problem, problem.start, limit_s=LIMIT_S, cancel=lambda: True
    )
    assert (nothing.hosts == problem.start).all()
    found = improve_by_neighbourhoods(
        problem,
        problem.start,
        limit_s=LIMIT_S,
        cancel=lambda: len(told) > 0,
        on_better=told.append,
    )
    assert len(told) == 1
    assert (found.hosts == told[0]).all()
