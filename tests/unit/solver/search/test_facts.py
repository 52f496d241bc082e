"""The flat form of a problem: the same columns, so ordered and cut that few must be looked at."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from benchmarks.instances.synthetic import synthetic
from solver.compiler.compile import compile_problem
from solver.domain.weights import Weights
from solver.problem import Problem
from solver.search.facts import MOST_RUN, facts_of


def many_scenarios() -> Problem:
    """Return a small cluster on sixty-four futures."""
    made = synthetic(num_hosts=6, num_vms=40, seed=2)
    return compile_problem(made.cluster, made.futures(64), Weights())


def test_columns_are_the_problems_in_another_order() -> None:
    """Each is there once, with its demand, threshold and prices."""
    problem = many_scenarios()
    facts, future = facts_of(problem), problem.future
    ours = np.vstack([facts.demand, facts.threshold, facts.prices])
    theirs = np.vstack([future.demand, future.threshold, future.prices])
    assert sorted(map(tuple, ours.T.tolist())) == sorted(map(tuple, theirs.T.tolist()))


def test_fullest_columns_of_a_threshold_come_first() -> None:
    """So that in a short run of them is all that may be short."""
    facts = facts_of(many_scenarios())
    begins = facts.run_begin.tolist()
    assert max(end - begin for begin, end in pairwise(begins)) <= MOST_RUN
    demand = facts.demand.sum(axis=0)
    for begin, end in pairwise(begins):
        run = facts.threshold[:, begin:end]
        if (run == run[:, :1]).all():
            assert (np.diff(demand[begin:end]) <= 0).all()
    # Cut within one threshold: the next run goes on where this one ended.
    cuts = [
        at for at in begins[1:-1] if (facts.threshold[:, at - 1] == facts.threshold[:, at]).all()
    ]
    assert cuts
    assert all(demand[at - 1] >= demand[at] for at in cuts)
