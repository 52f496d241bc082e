"""A whole solve ends when its time is over or it is cancelled, and what it has then holds.

Seconds are of the processor, so that other work on the machine does not count: the clock that
``solve`` goes by is set to them. Wall seconds are looked at where waiting would cost none.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from benchmarks.instances.synthetic import Synthetic, synthetic
from solver.domain.check import check_moves, check_placement, check_plan, new_or_worse
from solver.domain.result import Refusal, Result, Unmet
from solver.domain.scenario import ScenarioSet
from solver.domain.score import score_placement
from solver.domain.weights import Weights
from solver.limit import Allowance
from solver.params import SolveParams
from solver.portfolio import Answer
from solver.search.warm import warm_up
from solver.solve import solve

GRACE_S = 0.5
"""What is promised; a limit of more than ten seconds may be exceeded by 5 %."""

NOBODY_WAITS_S = 10.0
"""Wall seconds in which half a second of work is done, however busy the machine is."""

Problem = tuple[Synthetic, ScenarioSet]
Moment = Callable[[pytest.MonkeyPatch, threading.Event], Callable[[Answer], None]]


@pytest.fixture(scope="module")
def medium() -> Problem:
    """64 hosts and 1,200 VMs, a fifth of them under rules; most hosts are contended."""
    warm_up()
    instance = synthetic(num_hosts=64, num_vms=1200, ruled_fraction=0.2)
    return instance, instance.futures()


@pytest.fixture(scope="module")
def large() -> Problem:
    """100 hosts and 2,000 VMs of the same kind."""
    warm_up()
    instance = synthetic(num_hosts=100, num_vms=2000, ruled_fraction=0.2)
    return instance, instance.futures()


@pytest.fixture(autouse=True)
def processor_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``solve`` go by processor seconds."""
    monkeypatch.setattr("solver.solve.Allowance", partial(Allowance, clock=time.process_time))


def check(problem: Problem, result: Result) -> None:
    """Check what every answer must keep, and recompute its total."""
    cluster, scenarios = problem[0].cluster, problem[1]
    assert check_plan(cluster, result.plan) == ()
    assert result.placement == result.plan.placement_after(cluster.placement)
    assert check_moves(cluster, result.placement) == ()
    before = check_placement(cluster, cluster.placement)
    assert new_or_worse(before, check_placement(cluster, result.placement)) == ()
    assert result.after == score_placement(cluster, scenarios, Weights(), result.placement)
    assert result.after.total <= result.before.total
    assert {item.vm_id for item in result.explanations} == {
        vm.id for vm in cluster.vms if result.placement[vm.id] != vm.host_id
    }


def before_it_begins(
    monkeypatch: pytest.MonkeyPatch, now: threading.Event
) -> Callable[[Answer], None]:
    """Cancel before anything is computed."""
    now.set()
    return lambda answer: None


def at_the_start(monkeypatch: pytest.MonkeyPatch, now: threading.Event) -> Callable[[Answer], None]:
    """Cancel when the search has told what doing nothing costs."""
    return lambda answer: now.set()


def after_greedy(monkeypatch: pytest.MonkeyPatch, now: threading.Event) -> Callable[[Answer], None]:
    """Cancel when greedy has told its answer."""
    return lambda answer: now.set() if answer.engine == "greedy" else None


ROOMS = {"prove": "solver.cpsat.exact", "relieve": "solver.portfolio"}
"""Where the portfolio takes its engines from."""


def amid(engine: str) -> Moment:
    """Cancel when an engine has asked five times whether it is."""

    def moment(monkeypatch: pytest.MonkeyPatch, now: threading.Event) -> Callable[[Answer], None]:
        room = importlib.import_module(ROOMS[engine])
        original = getattr(room, engine)

        def patched(*arguments: Any, cancel: Callable[[], bool], **more: Any) -> Any:
            asked = iter(range(5))

            def counted() -> bool:
                if next(asked, None) is None:
                    now.set()
                return cancel()

            return original(*arguments, cancel=counted, **more)

        monkeypatch.setattr(room, engine, patched)
        return lambda answer: None

    return moment


@pytest.mark.parametrize(
    ("moment", "moves"),
    [
        pytest.param(before_it_begins, False, id="before it begins"),
        pytest.param(at_the_start, False, id="at the start"),
        pytest.param(after_greedy, True, id="after greedy"),
        pytest.param(amid("relieve"), True, id="amid local search"),
        pytest.param(amid("prove"), True, id="amid a proof"),
    ],
)
def test_cancelled_from_another_thread_it_answers_at_once(
    medium: Problem, monkeypatch: pytest.MonkeyPatch, moment: Moment, moves: bool
) -> None:
    """With the best that was found until then, ordered, judged and explained."""

    def lateness_s() -> float:
        with monkeypatch.context() as patch:
            late_s, told, result = cancelled(medium, patch, moment)
        check(medium, result)
        assert [answer.total for answer in told] == sorted((a.total for a in told), reverse=True)
        cut_off = any(refusal.unmet is Unmet.CUT_OFF for refusal in result.refusals)
        assert cut_off or result.after.total <= told[-1].total
        if moves:
            assert result.plan.steps
            assert result.after.total < result.before.total / 10
        return late_s

    assert at_best(lateness_s, GRACE_S)


def cancelled(
    problem: Problem, patch: pytest.MonkeyPatch, moment: Moment
) -> tuple[float, list[Answer], Result]:
    """Return how long a solve went on after it was cancelled, what it told, and its result."""
    now, cancel = threading.Event(), threading.Event()
    on_progress = moment(patch, now)
    told: list[Answer] = []
    cancelled_at: list[tuple[float, float]] = []

    def watch() -> None:
        if now.wait(30.0):
            cancelled_at.append((time.process_time(), time.monotonic()))
            cancel.set()

    def tell(answer: Answer) -> None:
        told.append(answer)
        on_progress(answer)

    watcher = threading.Thread(target=watch)
    watcher.start()
    if now.is_set():
        watcher.join()
    params = SolveParams(limit_s=10.0)
    result = solve(problem[0].cluster, problem[1], params, cancel=cancel, on_progress=tell)
    ended_at = time.process_time(), time.monotonic()
    watcher.join()
    assert cancelled_at, "the moment to cancel never came"
    assert ended_at[1] - cancelled_at[0][1] <= NOBODY_WAITS_S
    return ended_at[0] - cancelled_at[0][0], told, result


def at_best(measure: Callable[[], float], allowed_s: float) -> bool:
    """Whether one of three measurements is within what is allowed.

    Caches and cores shared with others make even processor seconds longer, at times.
    """
    return any(measure() <= allowed_s for _ in range(3))


def test_no_time_at_all_is_an_answer(medium: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """A microsecond is over before anything is computed: nothing moves, and why is told.

    A fast machine has looked into everything in the tenth of a second that is left for that; the
    last hosts do without only where there is not even that.
    """

    def solved() -> Result:
        params = SolveParams(limit_s=1e-6, act_threshold_host_s=5.0)
        return solve(medium[0].cluster, medium[1], params)

    def left_hot(result: Result) -> list[Refusal]:
        check(medium, result)
        assert not result.plan.steps
        return [refusal for refusal in result.refusals if refusal.unmet is Unmet.HOT_HOST]

    def took_s() -> float:
        begun_s = time.process_time()
        result = solved()
        seconds = time.process_time() - begun_s
        assert len(left_hot(result)) > 10
        return seconds

    assert at_best(took_s, GRACE_S)
    monkeypatch.setattr("solver.solve.LAST_WORDS_S", 0.0)
    last = left_hot(solved())[-1]
    assert last.sentence.endswith("what blocks it was not looked into, as time was over")


@pytest.mark.parametrize("limit_s", [0.5, 1.0, 2.0])
def test_a_limit_holds_for_the_whole_solve(large: Problem, limit_s: float) -> None:
    """Compiling, searching, ordering, judging and explaining, on 100 hosts."""

    def took_s() -> float:
        begun_s = time.process_time()
        result = solve(large[0].cluster, large[1], SolveParams(limit_s=limit_s))
        seconds = time.process_time() - begun_s
        check(large, result)
        assert result.runtime_s <= seconds
        return seconds

    assert at_best(took_s, limit_s + max(GRACE_S, 0.05 * limit_s))


def test_a_tenth_of_a_second_is_kept() -> None:
    """Regression: better times for a small plan were looked for up to seven tenths of a second."""
    warm_up()
    small = synthetic(num_hosts=10, num_vms=100, fill=0.75, seed=6)
    futures = small.futures()
    solve(small.cluster, futures, SolveParams(limit_s=2.0))

    def took_s() -> float:
        begun_s = time.process_time()
        result = solve(small.cluster, futures, SolveParams(limit_s=0.1))
        check((small, futures), result)
        assert len(result.plan.steps) > 2
        return time.process_time() - begun_s

    assert at_best(took_s, 0.2)


def test_a_limit_holds_with_hundreds_of_scenarios() -> None:
    """Regression: looking for kin and polishing a proof's placement ended seven seconds late."""
    instance = synthetic(num_hosts=32, num_vms=500)
    many = instance.futures(256)

    def took_s() -> float:
        begun_s = time.process_time()
        result = solve(instance.cluster, many, SolveParams(limit_s=4.0))
        seconds = time.process_time() - begun_s
        check((instance, many), result)
        return seconds

    assert at_best(took_s, 4.0 + GRACE_S)
