"""Turns of a random search: as many proposals as its limit pays for, however dear one is."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import pytest

from benchmarks.instances.synthetic import synthetic
from solver.compiler.compile import compile_problem
from solver.cpsat.neighbourhoods import improve_by_neighbourhoods
from solver.domain.weights import Weights
from solver.problem import Problem
from solver.search import annealing, exchange, relief
from solver.search.effort import MOST_AT_ONCE, WORK_AT_ONCE, turns

NO_WALL_LIMIT_S = 600.0


@pytest.mark.parametrize("effort", [1e-8, 1e-6, 7.7e-6, 1e-3, 1.0])
def test_work_pays_for_so_many_proposals(effort: float) -> None:
    """All turns together use the limit up, and exceed it by less than one proposal."""
    work_limit = 3.3 * WORK_AT_ONCE
    made = list(turns(effort, limit_s=NO_WALL_LIMIT_S, work_limit=work_limit))
    work = effort * sum(turn.proposals for turn in made)
    assert work_limit <= work * (1 + 1e-9)
    assert work <= work_limit + effort * (1 + 1e-9)
    assert all(1 <= turn.proposals <= MOST_AT_ONCE for turn in made)


def test_what_is_used_is_the_share_of_work() -> None:
    """Temperatures follow from it, so it must not depend on the clock."""
    effort = WORK_AT_ONCE / 100
    used = [
        turn.used for turn in turns(effort, limit_s=NO_WALL_LIMIT_S, work_limit=4 * WORK_AT_ONCE)
    ]
    assert used == pytest.approx([0.0, 0.25, 0.5, 0.75])


def test_time_ends_turns_whatever_the_work() -> None:
    """A limit of time that is over leaves nothing, and one without work ends too."""
    assert not list(turns(1e-6, limit_s=1e-9, work_limit=math.inf))
    assert not list(turns(1e-6, limit_s=1e-9, work_limit=1.0))


def test_time_counts_from_the_call() -> None:
    """What is prepared between the call and the first turn is part of the limit."""
    limited = turns(1e-6, limit_s=1e-4)
    some_problem()
    assert not list(limited)


def test_cancelling_ends_turns() -> None:
    """It is asked before each turn, the first one included."""
    assert not list(turns(1e-6, limit_s=NO_WALL_LIMIT_S, cancel=lambda: True))


@pytest.mark.parametrize("search", [annealing, exchange, relief])
def test_searches_are_charged_by_columns(search: ModuleType) -> None:
    """Regression: a limit of work took four times as long once there were 128 scenarios."""
    few, many = (search.EFFORT.of(some_problem(scenarios)) for scenarios in (2, 128))
    assert many > 2 * few


def test_neighbourhoods_are_charged_by_columns() -> None:
    """What one costs before it is solved is what it takes to build it."""
    few, many = (
        improve_by_neighbourhoods(
            problem, problem.start, limit_s=NO_WALL_LIMIT_S, work_limit=0.2, cancel=once()
        )
        for problem in (some_problem(2), some_problem(128))
    )
    assert many.work > few.work + 0.05


def test_a_neighbourhood_that_could_not_be_solved_is_not_begun() -> None:
    """Regression: with 256 scenarios a round's work was spent on building models."""
    problem = some_problem(128)
    made = improve_by_neighbourhoods(
        problem, problem.start, limit_s=NO_WALL_LIMIT_S, work_limit=0.05
    )
    assert made.work == 0.0


def once() -> Callable[[], bool]:
    """Return what cancels when it is asked for the second time."""
    asked = iter((False,))
    return lambda: next(asked, True)


def some_problem(num_scenarios: int = 16) -> Problem:
    """Return a small cluster, compiled."""
    made = synthetic(num_hosts=4, num_vms=40, seed=0)
    return compile_problem(made.cluster, made.futures(num_scenarios), Weights())
