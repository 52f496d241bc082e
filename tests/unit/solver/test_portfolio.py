"""The portfolio: what is told on the way, and that engines cannot make anything worse."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import pytest

from benchmarks.instances.synthetic import Synthetic, synthetic
from solver import portfolio
from solver.bounds.relaxed import relaxed_bound
from solver.bounds.shedding import shedding_bound
from solver.compiler.compile import compile_problem
from solver.domain.score import score_placement
from solver.domain.weights import Weights
from solver.limit import Allowance
from solver.params import Engine
from solver.portfolio import (
    CPSAT,
    LOCAL_SEARCH,
    NO_BOUND,
    Answer,
    Found,
    Search,
    Share,
    load,
    run,
)
from solver.problem import Problem
from solver.search.state import State
from solver.search.warm import warm_up

LIMIT_S = 300.0
WORK = 0.3

# Whoever comes first compiles the kernels, on a busy machine for minutes.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def instance() -> tuple[Problem, Synthetic]:
    """A contended cluster, compiled."""
    warm_up()
    load(Engine.PORTFOLIO, 8)
    made = synthetic(num_hosts=8, num_vms=80, fill=0.8, seed=1)
    return compile_problem(made.cluster, made.futures(), Weights()), made


def searched(
    problem: Problem,
    *,
    seed: int = 0,
    on_progress: Callable[[Answer], None] = lambda answer: None,
) -> Answer:
    """Return what the portfolio finds with a little work, no engine failing."""
    answer = attempted(problem, seed=seed, on_progress=on_progress)
    assert answer.failures == ()
    return answer


def attempted(
    problem: Problem,
    *,
    seed: int = 0,
    on_progress: Callable[[Answer], None] = lambda answer: None,
) -> Answer:
    """Return what the portfolio finds with a little work, whoever fails."""
    return run(
        problem,
        Engine.PORTFOLIO,
        Allowance(LIMIT_S, WORK),
        threshold=0,
        seed=seed,
        on_progress=on_progress,
    )


def test_progress_is_exact_and_never_falls_back(instance: tuple[Problem, Synthetic]) -> None:
    """Everything told is better, or better known, than what came before; the last is the answer."""
    problem, made = instance
    told: list[Answer] = []
    answer = searched(problem, on_progress=told.append)
    assert len(told) > 2
    assert told[0].engine == "none"
    for one, other in itertools.pairwise(told):
        assert other.total <= one.total
        assert other.bound >= one.bound
        assert (other.total, -other.bound) != (one.total, -one.bound)
    for reached in told:
        placement = problem.placement(reached.hosts)
        judged = score_placement(made.cluster, made.futures(), Weights(), placement)
        assert judged.total == reached.total
        assert reached.bound <= answer.total
    assert (told[-1].total, told[-1].bound) == (answer.total, answer.bound)


def test_what_an_engine_finds_is_told_before_it_is_done(
    instance: tuple[Problem, Synthetic], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: of ten seconds nothing was told for four, until both engines had ended."""
    problem, _ = instance
    seen = threading.Event()
    total = -1  # below anything that an engine can come to

    def search(self: Search, share: Share) -> Found:
        self.board.placement(LOCAL_SEARCH, share.base, total)
        # Ends only once that was told, or the test has failed.
        assert seen.wait(LIMIT_S)
        return Found(share.base)

    def told(answer: Answer) -> None:
        if answer.total == total:
            seen.set()

    monkeypatch.setattr(Search, "by_local_search", search)
    searched(problem, on_progress=told)
    assert seen.is_set()


def test_a_better_bound_is_not_told_with_a_worse_placement(
    instance: tuple[Problem, Synthetic], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: of two engines that ended together the worse one was told after the better one.

    The board knows the local search's total; then the proof ends with a better bound, and less.
    """
    problem, _ = instance
    told: list[Answer] = []
    seen = threading.Event()

    def progress(answer: Answer) -> None:
        told.append(answer)
        if answer.engine == LOCAL_SEARCH:
            seen.set()

    def local(self: Search, share: Share) -> Found:
        found = by_local_search(self, share)
        assert seen.wait(LIMIT_S)
        return found

    def proof(self: Search, share: Share) -> Found:
        # Not before the other one was told, and from greedy's placement.
        assert seen.wait(LIMIT_S)
        bound = told[-1].bound + 1 if share.number == 0 else NO_BOUND
        return Found(share.base, bound)

    by_local_search = Search.by_local_search
    monkeypatch.setattr(Search, "by_local_search", local)
    monkeypatch.setattr(Search, "by_cpsat", proof)
    searched(problem, on_progress=progress)
    totals = [answer.total for answer in told]
    assert totals == sorted(totals, reverse=True)
    bounds = [answer.bound for answer in told]
    assert bounds == sorted(bounds)


def test_the_same_seed_and_work_give_the_same_answer(instance: tuple[Problem, Synthetic]) -> None:
    """Whenever engines tell what they find."""
    problem, _ = instance
    one, other = (searched(problem, seed=4) for _ in range(2))
    assert (one.hosts == other.hosts).all()
    assert (one.total, one.bound, one.engine) == (other.total, other.bound, other.engine)


def raising(message: str, calls: list[Share]) -> Callable[[Search, Share], Found]:
    """Return an engine that ends in an error."""

    def engine(self: Search, share: Share) -> Found:
        calls.append(share)
        raise MemoryError(message)

    return engine


@pytest.mark.engine_fails
@pytest.mark.parametrize(
    ("method", "name"), [("by_cpsat", CPSAT), ("by_local_search", LOCAL_SEARCH)]
)
def test_an_engine_that_fails_does_not_cost_the_others_answer(
    instance: tuple[Problem, Synthetic],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
    name: str,
) -> None:
    """Regression: one engine's error ended the solve, though greedy and the other had answers."""
    problem, _ = instance
    greedy = run(problem, Engine.GREEDY, Allowance(LIMIT_S), threshold=0, seed=0)
    calls: list[Share] = []
    monkeypatch.setattr(Search, method, raising("out of room", calls))
    answer = attempted(problem)
    assert answer.total < greedy.total
    assert answer.failures == (f"engine {name} failed: MemoryError: out of room",)
    assert len(calls) == 1  # nobody asks it again
    assert [record.getMessage() for record in caplog.records] == [f"engine {name} failed"]


@pytest.mark.engine_fails
def test_if_all_engines_fail_the_answer_is_greedy_s(
    instance: tuple[Problem, Synthetic], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No engine is left for a second round; what greedy found stands."""
    problem, _ = instance
    greedy = run(problem, Engine.GREEDY, Allowance(LIMIT_S), threshold=0, seed=0)
    for method in ("by_cpsat", "by_local_search"):
        monkeypatch.setattr(Search, method, raising("", []))
    answer = attempted(problem)
    assert (answer.total, answer.engine) == (greedy.total, "greedy")
    assert answer.failures == (
        f"engine {CPSAT} failed: MemoryError",
        f"engine {LOCAL_SEARCH} failed: MemoryError",
    )


@pytest.mark.engine_fails
def test_what_an_engine_found_before_it_failed_is_kept(
    instance: tuple[Problem, Synthetic], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was told as progress already: what is returned must not fall behind that."""
    problem, _ = instance
    found = searched(problem)
    told: list[Answer] = []

    def engine(self: Search, _share: Share) -> Found:
        self.board.placement(CPSAT, found.hosts, found.total)
        self.board.bound(found.bound)
        raise RuntimeError

    monkeypatch.setattr(Search, "by_cpsat", engine)
    monkeypatch.setattr(Search, "by_local_search", raising("", []))
    answer = attempted(problem, on_progress=told.append)
    assert (answer.total, answer.engine, answer.bound) == (found.total, CPSAT, found.bound)
    assert (told[-1].total, told[-1].bound) == (answer.total, answer.bound)
    assert len(answer.failures) == 2


@pytest.mark.engine_fails
def test_an_engine_that_failed_is_not_asked_in_another_search(
    instance: tuple[Problem, Synthetic], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A solve of several searches hands on who failed, and tells of it once."""
    problem, _ = instance
    calls: list[Share] = []
    monkeypatch.setattr(Search, "by_cpsat", raising("", calls))
    failed: set[str] = set()
    answers = [
        run(
            problem,
            Engine.PORTFOLIO,
            Allowance(LIMIT_S, WORK),
            threshold=0,
            seed=0,
            failed=failed,
        )
        for _ in range(2)
    ]
    assert [len(answer.failures) for answer in answers] == [1, 0]
    assert failed == {CPSAT}
    assert len(calls) == 1


@pytest.mark.parametrize("larger_than", ["MOST_PROVEN", "MOST_WHOLE"])
def test_hosts_prove_a_bound_where_nobody_proves_an_optimum(
    monkeypatch: pytest.MonkeyPatch, larger_than: str
) -> None:
    """Regression: of large clusters no bound was known but that of sums, which was nothing."""
    made = synthetic(num_hosts=16, num_vms=200, fill=0.6, seed=2)
    problem = compile_problem(made.cluster, made.futures(), Weights())
    monkeypatch.setattr(portfolio, "MOST_PROVEN", 0)
    monkeypatch.setattr(portfolio, larger_than, 0)
    answer = searched(problem)
    by_hosts = shedding_bound(problem, State(problem, problem.start).burden)
    assert answer.total >= answer.bound == by_hosts > 10 * relaxed_bound(problem)


def test_a_bound_that_is_reached_ends_the_search(
    instance: tuple[Problem, Synthetic], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hosts prove of greedy's answer ends the engines beside them."""
    problem, _ = instance
    greedy = run(problem, Engine.GREEDY, Allowance(LIMIT_S), threshold=0, seed=0)

    def proven(*_: object, **__: object) -> int:
        return greedy.total

    def waits(self: Search, share: Share) -> Found:
        assert share.over.wait(LIMIT_S)
        return Found(share.base)

    monkeypatch.setattr("solver.bounds.shedding.shedding_bound", proven)
    monkeypatch.setattr(Search, "by_cpsat", waits)
    monkeypatch.setattr(Search, "by_local_search", waits)
    answer = searched(problem)
    assert answer.proven
    assert answer.total == greedy.total
