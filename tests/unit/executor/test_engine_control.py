"""What an operator may do to a plan under way: pause, resume, abort; approve and skip steps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from executor.clock import ManualClock
from executor.drivers.simulated import SimulatedDriver
from executor.engine import Executor
from executor.errors import IllegalTransitionError
from executor.journal import MemoryJournal
from executor.simulation.faults import Fate, ScriptedFaults
from executor.states import (
    MOVE_TRANSITIONS,
    PLAN_TRANSITIONS,
    MoveEvent,
    MoveState,
    PlanEvent,
    PlanState,
)
from solver.domain.errors import InvalidInputError
from solver.domain.plan import Plan
from solver.domain.rules import MoveBudget
from solver.domain.units import HostId, VmId
from tests.builders import NOW, make_cluster, make_host, make_vm
from tests.executor_builders import make_plan, migrate, simulate

V1, V2, V3 = (VmId(name) for name in ("v1", "v2", "v3"))
H1, H2 = HostId("h1"), HostId("h2")

PLAN = make_plan(migrate("v1", "h1", "h2"), migrate("v2", "h1", "h2", at_s=9))


class Desk:
    """A small cluster, one migration at a time, and an executor that can be replaced."""

    def __init__(self, fates: dict[VmId, list[Fate]] | None = None, **hosts: int) -> None:
        cluster = make_cluster(
            [make_host(name, memory_gib=hosts.get(name, 100)) for name in ("h1", "h2", "h3")],
            [make_vm("v1"), make_vm("v2"), make_vm("v3", "h2")],
            budget=MoveBudget(max_parallel=1),
        )
        self.driver: SimulatedDriver
        self.clock: ManualClock
        self.driver, self.clock = simulate(cluster, faults=ScriptedFaults(fates=fates or {}))
        self.journal = MemoryJournal()
        self.executor = self.restarted()

    def restarted(self) -> Executor:
        """Forget everything but the journal."""
        self.executor = Executor(self.driver, self.clock, self.journal)
        self.executor.recover()
        return self.executor

    def begin(self, plan: Plan = PLAN, *, approval: bool = False) -> Executor:
        """Begin a plan."""
        self.executor.begin(plan, approval=approval)
        return self.executor

    def states(self) -> list[MoveState]:
        """Return where the steps stand."""
        return [outcome.state for outcome in self.executor.report().outcomes]

    def bring_to(self, state: PlanState) -> Executor:
        """Bring a plan to a state."""
        executor = self.begin()
        executor.tick()
        if state is PlanState.PAUSED:
            executor.pause("for now")
        elif state is PlanState.FINISHED:
            executor.run_until_done()
        elif state in (PlanState.STOPPING, PlanState.ABORTED):
            executor.abort("enough", cancel_running=False)
            if state is PlanState.ABORTED:
                executor.run_until_done()
        assert executor.report().state is state
        return executor

    def bring_step_to(self, state: MoveState) -> Executor:
        """Bring the first step to a state."""
        executor = self.begin(approval=state is MoveState.UNAPPROVED)
        for _ in range(2000):
            if self.states()[0] is state:
                return executor
            executor.tick()
            self.clock.advance(0.5)
        raise AssertionError(f"never {state}")


@pytest.mark.parametrize("state", [s for s in PlanState if s is not PlanState.NEW])
@pytest.mark.parametrize("event", [PlanEvent.PAUSE, PlanEvent.RESUME])
def test_a_plan_is_paused_and_resumed_when_its_table_says_so(
    state: PlanState, event: PlanEvent
) -> None:
    """Otherwise an error says what was expected, and nothing is written."""
    desk = Desk()
    executor = desk.bring_to(state)
    written = desk.journal.read()
    act = executor.resume if event is PlanEvent.RESUME else lambda: executor.pause("because")
    if event in PLAN_TRANSITIONS[state]:
        act()
        assert executor.report().state is PLAN_TRANSITIONS[state][event]
        assert len(desk.journal.read()) == len(written) + 1
    else:
        error = IllegalTransitionError if executor.active else InvalidInputError
        with pytest.raises(error):
            act()
        assert desk.journal.read() == written


REACHABLE = [
    MoveState.UNAPPROVED,
    MoveState.WAITING,
    MoveState.RUNNING,
    MoveState.BACKING_OFF,
    MoveState.DONE,
]


@pytest.mark.parametrize("state", REACHABLE)
@pytest.mark.parametrize("event", [MoveEvent.APPROVE, MoveEvent.WITHDRAW])
def test_a_step_is_approved_and_skipped_when_its_table_says_so(
    state: MoveState, event: MoveEvent
) -> None:
    """Otherwise an error says what was expected, and nothing is written."""
    fails = state is MoveState.BACKING_OFF
    desk = Desk(fates={V1: [Fate(refused=True)]} if fails else {})
    executor = desk.bring_step_to(state)
    written = desk.journal.read()
    act: Callable[[int, str], None] = (
        executor.approve if event is MoveEvent.APPROVE else executor.skip
    )
    if event in MOVE_TRANSITIONS[state]:
        act(0, "because")
        outcome = executor.report().outcomes[0]
        assert outcome.state is MOVE_TRANSITIONS[state][event]
        assert outcome.reason == "because"
        assert len(desk.journal.read()) == len(written) + 1
    else:
        with pytest.raises(IllegalTransitionError, match="expected"):
            act(0, "because")
        assert desk.journal.read() == written


@pytest.mark.parametrize("restart", [False, True])
def test_a_paused_plan_starts_nothing_and_lets_finish_what_runs(restart: bool) -> None:
    """Also after a crash; resumed, it goes on where it was."""
    desk = Desk()
    executor = desk.begin()
    executor.tick()
    executor.pause("the operator looks")
    report = executor.run_until_done()
    assert report.state is PlanState.PAUSED
    assert report.reason == "the operator looks"
    assert desk.states() == [MoveState.DONE, MoveState.WAITING]
    assert executor.next_event_at is None
    desk.clock.advance(1e5)
    executor = desk.restarted() if restart else executor
    executor.tick()
    assert executor.report().reason == "the operator looks"
    assert desk.states() == [MoveState.DONE, MoveState.WAITING]
    executor.resume()
    report = executor.run_until_done()
    assert report.state is PlanState.FINISHED
    assert report.reason == ""
    assert desk.states() == [MoveState.DONE] * 2


def test_what_backs_off_waits_in_a_paused_plan() -> None:
    """A second try is a start like any other."""
    desk = Desk(fates={V1: [Fate(fails_at_fraction=0.5)]})
    executor = desk.bring_step_to(MoveState.BACKING_OFF)
    executor.pause("for now")
    executor.run_until_done()
    assert desk.states()[0] is MoveState.WAITING
    assert desk.driver.find_migration(V1) is None
    executor.resume()
    assert [outcome.state for outcome in executor.run_until_done().outcomes] == [
        MoveState.DONE,
        MoveState.DONE,
    ]


def test_time_spent_paused_is_not_waiting_for_room() -> None:
    """Nobody could have made room meanwhile."""
    desk = Desk(h2=7)
    executor = desk.begin(make_plan(migrate("v1", "h1", "h2"), migrate("v3", "h2", "h3", at_s=9)))
    executor.tick()
    executor.pause("for now")
    desk.clock.advance(1e4)
    executor.resume()
    executor.run_until_done()
    assert desk.states() == [MoveState.DONE] * 2


def test_a_paused_plan_that_has_nothing_left_is_finished() -> None:
    """Its last step was under way: nobody has to resume it."""
    desk = Desk()
    executor = desk.begin(make_plan(migrate("v1", "h1", "h2")))
    executor.tick()
    executor.pause("for now")
    report = executor.run_until_done()
    assert report.state is PlanState.FINISHED
    assert report.reason == ""


def test_a_paused_plan_can_be_aborted() -> None:
    """What waits is aborted, and the plan ends."""
    desk = Desk()
    executor = desk.bring_to(PlanState.PAUSED)
    executor.abort("enough", cancel_running=False)
    report = executor.run_until_done()
    assert report.state is PlanState.ABORTED
    assert desk.states() == [MoveState.DONE, MoveState.ABORTED]


@pytest.mark.parametrize("restart", [False, True])
def test_only_approved_steps_start(restart: bool) -> None:
    """One by one, in any order, and what was approved is remembered after a crash."""
    desk = Desk()
    executor = desk.begin(approval=True)
    executor.run_until_done()
    assert desk.states() == [MoveState.UNAPPROVED] * 2
    executor.approve(1)
    executor = desk.restarted() if restart else executor
    executor.run_until_done()
    assert desk.states() == [MoveState.UNAPPROVED, MoveState.DONE]
    assert desk.driver.snapshot().placement[V1] == H1
    executor = desk.restarted() if restart else executor
    executor.approve(0, "by the operator")
    report = executor.run_until_done()
    assert report.state is PlanState.FINISHED
    assert desk.states() == [MoveState.DONE] * 2


def test_the_second_step_of_a_vm_waits_for_the_approval_of_the_first() -> None:
    """An approved step is not taken for outdated because its VM has not come that far."""
    desk = Desk()
    executor = desk.begin(
        make_plan(migrate("v1", "h1", "h3"), migrate("v1", "h3", "h2", at_s=9)), approval=True
    )
    executor.approve(1)
    executor.tick()
    assert desk.states() == [MoveState.UNAPPROVED, MoveState.WAITING]
    executor.approve(0)
    executor.run_until_done()
    assert desk.states() == [MoveState.DONE] * 2
    assert desk.driver.locate(V1) == (H2,)


def test_what_needs_room_waits_for_the_approval_of_what_makes_it() -> None:
    """However long the operator takes; denied the room, it is skipped at once."""
    plan = make_plan(migrate("v3", "h2", "h3"), migrate("v1", "h1", "h2", at_s=9))
    for granted in (True, False):
        desk = Desk(h2=7)
        executor = desk.begin(plan, approval=True)
        executor.approve(1)
        for _ in range(100):
            executor.tick()
            desk.clock.advance(20)
        assert desk.states() == [MoveState.UNAPPROVED, MoveState.WAITING]
        if granted:
            executor.approve(0)
        else:
            executor.skip(0, "not now")
        executor.run_until_done()
        last = [MoveState.DONE] * 2 if granted else [MoveState.ABORTED, MoveState.SKIPPED]
        assert desk.states() == last


def test_a_skipped_step_is_left_out_alone() -> None:
    """The others go on, and why it was left out survives a crash."""
    desk = Desk()
    executor = desk.begin()
    executor.skip(0, "its owner asked for it")
    executor = desk.restarted()
    report = executor.run_until_done()
    assert desk.states() == [MoveState.ABORTED, MoveState.DONE]
    assert report.outcomes[0].reason == "its owner asked for it"
    assert report.state is PlanState.FINISHED


@pytest.mark.parametrize("step_idx", [-1, 2])
def test_a_step_must_exist(step_idx: int) -> None:
    """The error names what there is."""
    executor = Desk().begin()
    with pytest.raises(InvalidInputError, match="0 to 1, got"):
        executor.approve(step_idx)
    with pytest.raises(InvalidInputError, match="step_idx"):
        executor.skip(step_idx, "")


def test_without_a_plan_there_is_nothing_to_pause() -> None:
    """The error says so."""
    executor = Desk().executor
    with pytest.raises(InvalidInputError, match="no plan is being carried out"):
        executor.pause("for now")
    with pytest.raises(InvalidInputError, match="no plan is being carried out"):
        executor.resume()


def test_an_idle_engine_wants_no_tick_until_the_operator_acts() -> None:
    """Then it wants one at once."""
    desk = Desk()
    executor = desk.begin(approval=True)
    executor.tick()
    assert executor.next_event_at is None
    desk.clock.advance(77)
    executor.approve(0)
    assert executor.next_event_at == NOW + timedelta(seconds=77)
