"""The partitioned mode: never worse, always allowed, the same on either backend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.instances.synthetic import synthetic
from solver.compiler.compile import compile_problem
from solver.domain.check import check_placement
from solver.domain.cluster import Cluster
from solver.domain.rules import MoveBudget
from solver.domain.weights import Weights
from solver.partition import improve_by_parts
from solver.problem import NOWHERE, IntArray, Problem
from solver.search.greedy import greedy
from solver.search.state import State
from tests.compiled_problems import compiled_problems, plain_allowed, plain_total

NO_LIMIT_S = 60.0


def _cluster(ruled_fraction: float) -> tuple[Cluster, Problem]:
    instance = synthetic(
        num_hosts=24, num_vms=480, fill=0.85, ruled_fraction=ruled_fraction, seed=3
    )
    return instance.cluster, compile_problem(instance.cluster, instance.futures(4), Weights())


@given(problem=compiled_problems(max_hosts=6, max_vms=8), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_never_worse_and_always_allowed(problem: Problem, seed: int) -> None:
    """Whatever the rules and budgets, what comes out is allowed and costs no more."""
    begin = greedy(problem, problem.start)
    found = improve_by_parts(problem, begin, limit_s=NO_LIMIT_S, seed=seed, hosts_per_part=2)
    assert plain_allowed(problem, found)
    assert plain_total(problem, found) <= plain_total(problem, begin)


@pytest.mark.parametrize("ruled_fraction", [0.0, 0.5])
def test_parts_gain_on_greedy_and_break_nothing(ruled_fraction: float) -> None:
    """Three parts of a cluster find exchanges that greedy has not, and break no rule."""
    cluster, problem = _cluster(ruled_fraction)
    begin = greedy(problem, problem.start)
    found = improve_by_parts(problem, begin, limit_s=NO_LIMIT_S, hosts_per_part=8)
    assert State(problem, found).total < State(problem, begin).total
    broken = {v.key for v in check_placement(cluster, cluster.placement)}
    assert {v.key for v in check_placement(cluster, problem.placement(found))} <= broken


def test_budget_of_moves_is_shared() -> None:
    """Parts together make no more moves than the whole may."""
    cluster, _ = _cluster(0.0)
    tight = replace(cluster, budget=MoveBudget(max_moves=9, max_moves_per_host=2))
    instance = synthetic(num_hosts=24, num_vms=480, seed=3)
    problem = compile_problem(tight, instance.futures(4), Weights())
    found = improve_by_parts(problem, problem.start, limit_s=NO_LIMIT_S, hosts_per_part=4)
    assert 0 < (found != problem.start).sum() <= 9
    assert not check_placement(tight, problem.placement(found))


def test_backends_agree() -> None:
    """Threads of this process and workers of Dask give the same placement."""
    _, problem = _cluster(0.2)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as workers,
        Client(workers),
    ):
        by_dask = improve_by_parts(
            problem, problem.start, limit_s=NO_LIMIT_S, work_limit=1.0, seed=5,
            backend="dask", hosts_per_part=4,
        )  # fmt: skip
    by_joblib = improve_by_parts(
        problem, problem.start, limit_s=NO_LIMIT_S, work_limit=1.0, seed=5, hosts_per_part=4
    )
    assert (by_dask == by_joblib).all()


def test_hosts_in_different_parts_meet_in_the_end() -> None:
    """With parts of one host each nothing moves inside any: joining them does it."""
    _, problem = _cluster(0.0)
    found = improve_by_parts(problem, problem.start, limit_s=NO_LIMIT_S, hosts_per_part=1)
    assert State(problem, found).total < State(problem, problem.start).total


def test_another_split_finds_what_one_cannot() -> None:
    """Passes after the first, split differently, go on improving; each is told of."""
    _, problem = _cluster(0.0)
    totals: list[int] = []

    def told(hosts: IntArray, total: int) -> None:
        assert total == State(problem, hosts).total
        totals.append(total)

    improve_by_parts(problem, problem.start, limit_s=NO_LIMIT_S, hosts_per_part=4, on_better=told)
    assert len(totals) > 1
    assert totals == sorted(totals, reverse=True)


def test_cancelled_at_once_changes_nothing() -> None:
    """A search cancelled before it begins returns where it began."""
    _, problem = _cluster(0.0)
    found = improve_by_parts(problem, problem.start, limit_s=NO_LIMIT_S, cancel=lambda: True)
    assert (found == problem.start).all()
    assert NOWHERE not in found
    assert isinstance(found, np.ndarray)
