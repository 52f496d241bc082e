"""Large-neighbourhood search: it only improves, keeps what is allowed, and ends when told."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given

from benchmarks.instances.synthetic import synthetic
from solver.compiler.compile import compile_problem
from solver.cpsat import neighbourhoods
from solver.cpsat.joint import JointAnswer
from solver.cpsat.judge import total_of
from solver.cpsat.neighbourhoods import improve_by_neighbourhoods
from solver.cpsat.sources import SIZES, relief_scope
from solver.cpsat.variables import Scope
from solver.domain.weights import Weights
from solver.problem import NOWHERE, IntArray, Problem
from tests.builders import make_cluster, make_host, make_scenarios, make_vm
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
    totals: list[int] = [plain_total(problem, problem.start)]

    def better(hosts: IntArray, total: int) -> None:
        assert total == plain_total(problem, hosts)
        told.append(hosts)
        totals.append(total)

    found = improve_by_neighbourhoods(
        problem, problem.start, limit_s=LIMIT_S, work_limit=0.3, on_better=better
    )
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
        on_better=lambda hosts, total: told.append(hosts),
    )
    assert len(told) == 1
    assert (found.hosts == told[0]).all()


@given(compiled_problems())
def test_a_scope_by_sources_is_a_part_of_what_is_allowed(problem: Problem) -> None:
    """Few sources, places that are allowed, and where VMs are and began among them."""
    scope = relief_scope(problem, problem.start, np.random.default_rng(1))
    rows = np.arange(len(scope.vms))
    start = problem.start[scope.vms]
    assert (start != NOWHERE).all()
    assert len(np.unique(start)) <= max(SIZES)
    assert (scope.destinations <= problem.allowed_hosts(scope.vms)).all()
    assert scope.destinations[rows, start].all()


def test_a_scope_by_sources_has_whoever_could_leave_in_place_of_others() -> None:
    """All VMs of the one short host, with the other host; none that would have to come there."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [
            make_vm("large", memory_gib=40),
            *(make_vm(f"s{i}") for i in range(3)),
            make_vm("c", "h2"),
        ],
    )
    demand = {"large": 6.0, "s0": 2.0, "s1": 2.0, "s2": 2.0, "c": 1.0}
    problem = compile_problem(cluster, make_scenarios(cluster, demand), Weights())
    scope = relief_scope(problem, np.array([1, 0, 0, 0, 1]), np.random.default_rng(1))
    assert scope.vms.tolist() == [0, 1, 2, 3]
    assert scope.destinations.all()


def test_none_is_begun_that_could_not_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 1,000 hosts with 128 scenarios one took seconds, and a limit of ten ended after eleven."""
    made = synthetic(num_hosts=8, num_vms=60)
    problem = compile_problem(made.cluster, made.futures(4), Weights())
    now_s, begun = [0.0], []

    def look(problem: Problem, hosts: IntArray) -> int:
        now_s[0] += 1.0
        return total_of(problem, hosts)

    def jointly(problem: Problem, scope: Scope, *_: object, **__: object) -> JointAnswer:
        begun.append(now_s[0])
        now_s[0] += 12.0
        total = total_of(problem, scope.base)
        return JointAnswer(hosts=scope.base, total=total, bound=None, work=0.1)

    monkeypatch.setattr(neighbourhoods, "total_of", look)
    monkeypatch.setattr(neighbourhoods, "optimise_jointly", jointly)
    monkeypatch.setattr(neighbourhoods, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    for limit_s, number in ((8.0, 0), (20.0, 1), (26.0, 2)):
        now_s[0], begun[:] = 0.0, []
        neighbourhoods.improve_by_neighbourhoods(problem, problem.start, limit_s=limit_s)
        assert len(begun) == number
        assert now_s[0] <= max(limit_s, 1.0)
