"""Annealing: never worse than the start, allowed, exact, repeatable, and ended when told."""

from __future__ import annotations

import time

import pytest

from benchmarks.instances.synthetic import Synthetic, synthetic
from solver.compiler.compile import compile_problem
from solver.domain.check import check_placement
from solver.domain.score import score_placement
from solver.domain.weights import Weights
from solver.problem import IntArray, Problem
from solver.search.annealing import PROPOSALS_AT_ONCE, WORK_PER_PROPOSAL, improve
from solver.search.warm import warm_up

WORK = 20 * PROPOSALS_AT_ONCE * WORK_PER_PROPOSAL
NO_WALL_LIMIT_S = 600.0

# Whoever comes first compiles the kernels, on a busy machine for minutes.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def instance() -> tuple[Problem, Synthetic]:
    """A contended cluster, compiled; so are the kernels, whichever test of a process is first."""
    warm_up()
    made = synthetic(num_hosts=8, num_vms=80, fill=0.8, seed=1)
    return compile_problem(made.cluster, made.futures(), Weights()), made


def test_every_improvement_is_exact_and_allowed(instance: tuple[Problem, Synthetic]) -> None:
    """What is told falls strictly, costs what the judge says, and breaks nothing more."""
    problem, made = instance
    told: list[int] = []

    def on_better(hosts: IntArray, total: int) -> None:
        placement = problem.placement(hosts)
        judged = score_placement(made.cluster, made.futures(), Weights(), placement)
        assert judged.total == total
        before = len(check_placement(made.cluster, made.cluster.placement))
        assert len(check_placement(made.cluster, placement)) <= before
        told.append(total)

    improve(problem, problem.start, limit_s=NO_WALL_LIMIT_S, work_limit=WORK, on_better=on_better)
    assert told
    assert told == sorted(set(told), reverse=True)


def test_the_same_seed_and_work_give_the_same_answer(instance: tuple[Problem, Synthetic]) -> None:
    """Work, not time, decides; another seed goes another way."""
    problem, _ = instance
    answers = [
        improve(
            problem, problem.start, limit_s=NO_WALL_LIMIT_S, work_limit=WORK, seed=seed
        ).tolist()
        for seed in (3, 3, 4)
    ]
    assert answers[0] == answers[1] != answers[2]


def test_it_ends_at_its_limit_and_when_told(instance: tuple[Problem, Synthetic]) -> None:
    """Cancelled before it begins, it returns the start; a limit of seconds is kept."""
    problem, _ = instance
    kept = improve(problem, problem.start, limit_s=NO_WALL_LIMIT_S, cancel=lambda: True)
    assert kept.tolist() == problem.start.tolist()
    # Of this thread's own time: a busy machine may stop it for longer.
    begun_s = time.thread_time()
    improve(problem, problem.start, limit_s=0.2)
    assert time.thread_time() - begun_s < 1.0
