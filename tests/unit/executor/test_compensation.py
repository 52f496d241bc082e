"""What is due after a plan that failed half-way, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from executor.compensation import plan_return
from executor.engine import Executor
from executor.journal import MemoryJournal
from executor.params import OnFailure
from executor.report import ExecutionReport, MoveOutcome
from executor.simulation.faults import Fate, ScriptedFaults
from executor.states import MoveState, PlanState
from solver.domain.check import check_plan
from solver.domain.cluster import VM, Cluster, Host, HostState
from solver.domain.errors import InvalidInputError
from solver.domain.plan import Step
from solver.domain.rules import Affinity
from solver.domain.units import HostId, VmId
from tests.builders import NOW, make_cluster, make_host, make_vm
from tests.executor_builders import make_plan, migrate, simulate, start

V1, V2 = VmId("v1"), VmId("v2")
H1, H2 = HostId("h1"), HostId("h2")


def outcome(step: Step, state: MoveState, at_s: float = 0) -> MoveOutcome:
    """Return the outcome of a step that ended."""
    return MoveOutcome(
        vm_id=step.vm_id,
        step=step,
        state=state,
        reason="",
        started_at=NOW,
        ended_at=NOW + timedelta(seconds=at_s),
        attempts=1,
        fraction=0,
        transferred_mib=0,
        downtime_ms=None,
    )


def report(
    *outcomes: MoveOutcome,
    state: PlanState = PlanState.FINISHED,
    on_failure: OnFailure = OnFailure.RETURN,
) -> ExecutionReport:
    """Return the report of a plan."""
    return ExecutionReport(
        plan_id="p1", state=state, reason="", outcomes=outcomes, on_failure=on_failure
    )


def done(*steps: Step) -> ExecutionReport:
    """Return the report of a plan whose steps were completed one after the other, and one not."""
    failed = outcome(migrate("other", "h1", "h2"), MoveState.FAILED)
    return report(*(outcome(s, MoveState.DONE, i) for i, s in enumerate(steps)), failed)


def way(cluster: Cluster, told: ExecutionReport) -> list[tuple[str, str, str]]:
    """Return the way back as (VM, from, to), having checked that it breaks nothing."""
    plan = plan_return(told, cluster).plan
    assert check_plan(cluster, plan) == ()
    return [(s.vm_id, s.source_id or "", s.destination_id) for s in plan.steps]


def hosts(*memory_gib: int) -> list[Host]:
    """Return hosts h1, h2, … with so much memory."""
    return [make_host(f"h{i}", memory_gib=gib) for i, gib in enumerate(memory_gib, start=1)]


MOVE, OTHER = migrate("v1", "h1", "h2"), migrate("v2", "h1", "h2")


@pytest.mark.parametrize(
    ("states", "plan_state", "replan", "back"),
    [
        ([MoveState.DONE, MoveState.DONE], PlanState.FINISHED, None, None),
        ([MoveState.DONE, MoveState.FAILED], PlanState.FINISHED, "replan", "return"),
        ([MoveState.DONE, MoveState.SKIPPED], PlanState.FINISHED, "replan", "return"),
        ([MoveState.DONE, MoveState.ADRIFT], PlanState.FINISHED, "replan", "return"),
        ([MoveState.DONE, MoveState.ABORTED], PlanState.FINISHED, None, None),
        ([MoveState.DONE, MoveState.ABORTED], PlanState.ABORTED, "replan", "return"),
        ([MoveState.FAILED, MoveState.SKIPPED], PlanState.FINISHED, "replan", None),
        ([MoveState.DONE, MoveState.FAILED], PlanState.RUNNING, None, None),
        ([MoveState.DONE, MoveState.FAILED], PlanState.PAUSED, None, None),
    ],
)
def test_the_report_says_what_is_due(
    states: Sequence[MoveState], plan_state: PlanState, replan: str | None, back: str | None
) -> None:
    """Nothing while it goes on or if all went well; else what the operator chose."""
    outcomes = [outcome(s, state) for s, state in zip((MOVE, OTHER), states, strict=True)]
    for chosen, expected in ((OnFailure.REPLAN, replan), (OnFailure.RETURN, back)):
        due = report(*outcomes, state=plan_state, on_failure=chosen).due
        assert (None if due is None else due.value) == expected


def test_a_plan_that_goes_on_has_no_way_back() -> None:
    """Its moves are not over yet."""
    with pytest.raises(InvalidInputError, match="'p1' is running"):
        plan_return(report(state=PlanState.RUNNING), make_cluster(hosts(9, 9), []))


def test_the_last_moved_goes_back_first() -> None:
    """One after the other, each with what its link carries."""
    cluster = make_cluster(hosts(100, 100), [make_vm("v1", "h2"), make_vm("v2", "h2")])
    told = done(MOVE, OTHER)
    assert way(cluster, told) == [("v2", "h2", "h1"), ("v1", "h2", "h1")]
    first, second = plan_return(told, cluster).plan.steps
    assert second.start_ms == first.end_ms
    assert first.bandwidth_mib_per_s == 1000
    assert not first.parking
    assert "'p1'" in first.reason


def test_who_needs_room_goes_after_who_makes_it() -> None:
    """Whatever the order they came in."""
    vms = [make_vm("v1", "h2"), make_vm("v2", "h3")]
    cluster = make_cluster(hosts(4, 4, 4), vms)
    told = done(migrate("v1", "h1", "h2"), migrate("v2", "h2", "h3"))
    assert way(cluster, told) == [("v1", "h2", "h1"), ("v2", "h3", "h2")]


def test_an_exchange_is_undone_over_the_host_it_was_parked_on() -> None:
    """Straight back there is no order: so the way they came, the last first."""
    vms = [make_vm("v1", "h2"), make_vm("v2", "h1")]
    cluster = make_cluster(hosts(4, 4, 4), vms)
    told = done(migrate("v1", "h1", "h3"), migrate("v2", "h2", "h1"), migrate("v1", "h3", "h2"))
    assert way(cluster, told) == [
        ("v1", "h2", "h3"),
        ("v2", "h1", "h2"),
        ("v1", "h3", "h1"),
    ]
    assert [step.parking for step in plan_return(told, cluster).plan.steps] == [True, False, False]


def test_where_there_is_room_a_parked_vm_goes_straight_back() -> None:
    """One move instead of two."""
    cluster = make_cluster(hosts(9, 9, 9), [make_vm("v1", "h2")])
    assert way(cluster, done(migrate("v1", "h1", "h3"), migrate("v1", "h3", "h2"))) == [
        ("v1", "h2", "h1")
    ]


def test_nobody_is_left_half_way() -> None:
    """The parking host has room, home has not: the VM stays where it is, with the reason."""
    vms = [make_vm("v1", "h2"), make_vm("new", "h1")]
    cluster = make_cluster(hosts(4, 9, 9), vms)
    told = done(migrate("v1", "h1", "h3"), migrate("v1", "h3", "h2"))
    assert way(cluster, told) == []
    (staying,) = plan_return(told, cluster).staying
    assert staying.vm_id == V1
    assert "h1" in staying.reason


@pytest.mark.parametrize(
    ("vm", "step", "reason"),
    [
        (make_vm("v2", "h1"), MOVE, "does not exist any more"),
        (make_vm("v1", "h2"), start("v1", "h2"), "was started by the plan"),
        (make_vm("v1", "h3"), MOVE, "was moved to 'h3' since"),
        (make_vm("v1", None), MOVE, "runs nowhere"),
        (make_vm("v1", "h2", not_migratable_reason="powered off"), MOVE, "powered off"),
    ],
)
def test_who_stays_is_told_with_the_reason(vm: VM, step: Step, reason: str) -> None:
    """What is not the plan's any more, or cannot be moved, is left alone."""
    cluster = make_cluster(hosts(9, 9, 9), [vm])
    told = done(step)
    assert way(cluster, told) == []
    (staying,) = plan_return(told, cluster).staying
    assert reason in staying.reason


@pytest.mark.parametrize("state", [HostState.MAINTENANCE, HostState.UNREACHABLE])
def test_nobody_goes_back_to_a_host_that_is_left(state: HostState) -> None:
    """That may have been why the plan was made."""
    home = make_host("h1", state=state)
    cluster = make_cluster([home, make_host("h2")], [make_vm("v1", "h2")])
    assert way(cluster, done(MOVE)) == []
    cluster = make_cluster([make_host("h2")], [make_vm("v1", "h2")])
    assert way(cluster, done(MOVE)) == []


def test_a_rule_that_binds_at_rest_is_not_broken_by_half_a_group() -> None:
    """Of two that belong together one cannot go: both stay; a third goes."""
    together = Affinity(id="together", vm_ids=(V1, V2))
    vms = [make_vm("v1", "h2"), make_vm("v2", "h2", not_migratable_reason="pinned")]
    cluster = make_cluster(hosts(99, 99), [*vms, make_vm("v3", "h2")], rules=(together,))
    told = done(MOVE, OTHER, migrate("v3", "h1", "h2"))
    assert way(cluster, told) == [("v3", "h2", "h1")]
    assert {staying.vm_id for staying in plan_return(told, cluster).staying} == {V1, V2}
    free = replace(cluster, vms=tuple(replace(vm, not_migratable_reason="") for vm in cluster.vms))
    assert len(plan_return(told, free).plan.steps) == 3


def test_a_plan_that_failed_half_way_is_returned() -> None:
    """From report to rest: every VM is where it began, and what was chosen survives a crash."""
    cluster = make_cluster(hosts(99, 99), [make_vm("v1"), make_vm("v2")])
    fate = Fate(fails_at_fraction=0.5, failure_is_permanent=True)
    driver, clock = simulate(cluster, faults=ScriptedFaults(fates={V2: [fate]}))
    journal = MemoryJournal()
    Executor(driver, clock, journal).begin(make_plan(MOVE, OTHER), on_failure=OnFailure.RETURN)
    executor = Executor(driver, clock, journal)
    assert executor.recover()
    told = executor.run_until_done()
    assert told.due is OnFailure.RETURN
    assert driver.snapshot().placement == {V1: H2, V2: H1}
    back = plan_return(told, driver.snapshot())
    assert back.staying == ()
    assert executor.run_until_done(back.plan).due is None
    assert driver.snapshot().placement == {V1: H1, V2: H1}
    assert driver.account().violations == ()
