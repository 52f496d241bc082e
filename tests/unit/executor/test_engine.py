"""The engine on a simulated cluster: order, retries, limits, verification, recovery."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from executor.clock import ManualClock
from executor.drivers.base import MigrationHandle, MigrationProgress, MigrationState
from executor.drivers.simulated import SimulatedDriver
from executor.engine import Executor
from executor.errors import BusyError, JournalError
from executor.journal import MemoryJournal
from executor.params import ExecutorParameters, OnTimeout
from executor.records import MoveChanged, Record
from executor.report import ExecutionReport, MoveOutcome
from executor.simulation.faults import Fate, Incident, IncidentKind, ScriptedFaults
from executor.states import MoveEvent, MoveState, PlanState
from solver.domain.cluster import Cluster, HostState
from solver.domain.errors import InvalidInputError, PermanentError, TemporaryError
from solver.domain.plan import Plan
from solver.domain.rules import MoveBudget
from solver.domain.units import HostId, VmId
from tests.builders import NOW, make_cluster, make_host, make_vm
from tests.executor_builders import make_plan, make_workload, migrate, simulate, start

V1, V2, V3 = (VmId(name) for name in ("v1", "v2", "v3"))
H1, H2, H3 = (HostId(name) for name in ("h1", "h2", "h3"))


def small(**more: Any) -> Cluster:
    """Return three hosts of 16 GiB and three VMs of 4 GiB on the first."""
    hosts = more.pop("hosts", [make_host(name, memory_gib=16) for name in ("h1", "h2", "h3")])
    vms = more.pop("vms", [make_vm(name) for name in ("v1", "v2", "v3")])
    return make_cluster(hosts, vms, **more)


def run(
    cluster: Cluster, plan: Plan, params: ExecutorParameters | None = None, **faults: Any
) -> tuple[ExecutionReport, SimulatedDriver]:
    """Carry out a plan to its end; return the report and the driver."""
    driver, clock = simulate(cluster, faults=ScriptedFaults(**faults))
    executor = Executor(driver, clock, MemoryJournal(), params)
    return executor.run_until_done(plan), driver


def only(report: ExecutionReport) -> MoveOutcome:
    """Return the outcome of a plan of one step."""
    (outcome,) = report.outcomes
    return outcome


def at(seconds: float, kind: IncidentKind, **more: Any) -> Incident:
    """Return an incident."""
    return Incident(at=NOW + timedelta(seconds=seconds), kind=kind, **more)


def test_a_plan_is_carried_out() -> None:
    """Every VM ends where the plan says, and everything is measured."""
    plan = make_plan(migrate("v1", "h1", "h2"), migrate("v2", "h1", "h3", at_s=1))
    report, driver = run(small(), plan)
    assert report.state is PlanState.FINISHED
    assert driver.snapshot().placement == {V1: H2, V2: H3, V3: H1}
    for outcome in report.outcomes:
        assert outcome.state is MoveState.DONE
        assert outcome.transferred_mib == 4096
        assert outcome.downtime_ms is not None
        assert outcome.started_at is not None
        assert outcome.ended_at is not None
        assert outcome.measured is not None
        assert outcome.attempts == 1
    assert driver.account().violations == ()


def test_an_empty_plan_is_done_at_once() -> None:
    """There is nothing to do and nothing to wait for."""
    report, _ = run(small(), make_plan())
    assert report.state is PlanState.FINISHED
    assert report.outcomes == ()


def test_ticks_never_block_and_say_when_to_come_back() -> None:
    """The caller owns time: without it nothing ends."""
    driver, clock = simulate(small())
    executor = Executor(driver, clock, MemoryJournal())
    assert executor.next_event_at is None
    executor.tick()
    executor.begin(make_plan(migrate("v1", "h1", "h2")))
    assert executor.next_event_at == NOW
    for _ in range(5):
        executor.tick()
    assert only(executor.report()).state is MoveState.RUNNING
    assert clock.now() == NOW
    assert executor.next_event_at == NOW + timedelta(seconds=2)
    clock.advance(3)
    executor.tick()
    assert 0 < only(executor.report()).fraction < 1
    clock.advance(60)
    executor.tick()
    assert not executor.active
    assert executor.next_event_at is None


def test_a_slot_is_refilled_as_soon_as_it_frees() -> None:
    """With one migration at a time three follow one another without a barrier or a gap."""
    names = ("v1", "v2", "v3")
    plan = make_plan(*(migrate(v, "h1", "h2", at_s=i) for i, v in enumerate(names)))
    report, _ = run(small(budget=MoveBudget(max_parallel=1)), plan)
    outcomes = report.outcomes
    for before, after in itertools.pairwise(outcomes):
        assert before.ended_at == after.started_at


def test_caps_per_host_hold_at_every_instant() -> None:
    """Never more leave or enter a host at once than the budget allows."""
    vms = [make_vm(f"v{i}", "h1", memory_gib=1) for i in range(8)]
    cluster = small(vms=vms, budget=MoveBudget(max_parallel=3, max_parallel_out_per_host=2))
    driver, clock = simulate(cluster)
    executor = Executor(driver, clock, MemoryJournal())
    executor.begin(
        make_plan(*(migrate(f"v{i}", "h1", f"h{2 + i % 2}", mib_per_s=100) for i in range(8)))
    )
    most = 0
    while executor.active:
        executor.tick()
        most = max(most, len(executor.report().in_state(MoveState.RUNNING)))
        clock.advance(1)
    assert most == 2
    assert len(executor.report().in_state(MoveState.DONE)) == 8


def test_a_step_waits_for_the_room_that_an_earlier_one_makes() -> None:
    """A swap over a third host needs its order, and gets it."""
    hosts = [make_host("h1", memory_gib=4), make_host("h2", memory_gib=4), make_host("h3")]
    cluster = small(hosts=hosts, vms=[make_vm("v1", "h1"), make_vm("v2", "h2")])
    plan = make_plan(
        replace(migrate("v1", "h1", "h3"), parking=True),
        migrate("v2", "h2", "h1", at_s=10),
        migrate("v1", "h3", "h2", at_s=20),
    )
    report, driver = run(cluster, plan)
    assert [outcome.state for outcome in report.outcomes] == [MoveState.DONE] * 3
    assert driver.snapshot().placement == {V1: H2, V2: H1}
    assert driver.account().violations == ()


def test_a_failed_step_takes_with_it_what_needed_its_room() -> None:
    """Dependents are skipped at once when nothing in the plan can make room any more."""
    hosts = [make_host("h1", memory_gib=4), make_host("h2", memory_gib=4), make_host("h3")]
    cluster = small(hosts=hosts, vms=[make_vm("v1", "h1"), make_vm("v2", "h2")])
    plan = make_plan(migrate("v1", "h1", "h3"), migrate("v2", "h2", "h1", at_s=10))
    forever = Fate(fails_at_fraction=0.5, failure_is_permanent=True)
    report, driver = run(cluster, plan, fates={V1: [forever]})
    assert [outcome.state for outcome in report.outcomes] == [MoveState.FAILED, MoveState.SKIPPED]
    assert "makes room" in report.outcomes[1].reason
    assert driver.snapshot().placement == {V1: H1, V2: H2}


def test_the_second_step_of_a_vm_waits_while_the_first_is_retried() -> None:
    """A parked VM's way on is not given up because its first step needs another try."""
    plan = make_plan(migrate("v1", "h1", "h3"), migrate("v1", "h3", "h2", at_s=20))
    report, driver = run(small(), plan, fates={V1: [Fate(fails_at_fraction=0.5)]})
    assert [outcome.state for outcome in report.outcomes] == [MoveState.DONE] * 2
    assert driver.snapshot().placement[V1] == H2


@pytest.mark.parametrize("fate", [Fate(refused=True), Fate(fails_at_fraction=0.3)])
def test_temporary_faults_are_retried_after_a_pause(fate: Fate) -> None:
    """Twice bad, once good: done at the third try, not before the pauses are over."""
    report, _ = run(small(), make_plan(migrate("v1", "h1", "h2")), fates={V1: [fate, fate]})
    outcome = only(report)
    assert outcome.state is MoveState.DONE
    assert outcome.attempts == 3
    assert outcome.ended_at is not None
    assert outcome.ended_at >= NOW + timedelta(seconds=30)


@pytest.mark.parametrize("fate", [Fate(refused=True), Fate(fails_at_fraction=0.3)])
def test_tries_are_bounded(fate: Fate) -> None:
    """After the last try the step has failed, and the VM is where it was."""
    report, driver = run(small(), make_plan(migrate("v1", "h1", "h2")), fates={V1: [fate] * 9})
    assert only(report).state is MoveState.FAILED
    assert "3 times" in only(report).reason
    assert driver.locate(V1) == (H1,)


def test_permanent_faults_are_not_retried() -> None:
    """One try, one reason."""
    fate = Fate(fails_at_fraction=0.3, failure_is_permanent=True)
    report, driver = run(small(), make_plan(migrate("v1", "h1", "h2")), fates={V1: [fate]})
    assert only(report).state is MoveState.FAILED
    assert only(report).attempts == 1
    assert "cannot run this VM" in only(report).reason
    assert driver.locate(V1) == (H1,)


def test_a_stalled_migration_is_cancelled_and_tried_again() -> None:
    """What sends nothing for too long does not hold its slot."""
    fate = Fate(stalls_at_fraction=0.5, stall_s=3600)
    report, _ = run(small(), make_plan(migrate("v1", "h1", "h2")), fates={V1: [fate]})
    assert only(report).state is MoveState.DONE
    assert only(report).attempts == 2


def test_a_migration_that_lasts_too_long_is_cancelled() -> None:
    """Repeated short stalls never look like a stall, but they do end."""
    params = ExecutorParameters(timeout_min_s=20, timeout_factor=2, stall_s=1000, max_attempts=1)
    fate = Fate(stalls_at_fraction=0.5, stall_s=500)
    plan = make_plan(migrate("v1", "h1", "h2"))
    report, driver = run(small(), plan, params, fates={V1: [fate]})
    assert only(report).state is MoveState.FAILED
    assert "too long" in only(report).reason
    assert driver.locate(V1) == (H1,)


SWITCHING = ExecutorParameters(
    timeout_min_s=10, timeout_factor=0.1, on_timeout=OnTimeout.POST_COPY, max_attempts=1
)


class Ruthless(SimulatedDriver):
    """A driver whose hypervisors cancel in post-copy too, and lose the VM by it."""

    def cancel(self, handle: MigrationHandle) -> None:
        """Cancel, or destroy."""
        if self.poll(handle).post_copy:
            raise AssertionError("the VM is lost")
        super().cancel(handle)


def dirty() -> Cluster:
    """Return the small cluster whose first VM rewrites its memory all the time."""
    return small(vms=[make_vm("v1", dirty_mib_per_s=5000), make_vm("v2"), make_vm("v3")])


def test_what_does_not_converge_is_switched_to_post_copy_if_wanted() -> None:
    """It arrives in one try, with its passes counted."""
    plan = make_plan(migrate("v1", "h1", "h2", mib_per_s=100))
    report, driver = run(dirty(), plan, SWITCHING)
    assert only(report).state is MoveState.DONE
    assert only(report).iterations == 1
    assert only(report).measured is not None
    assert driver.locate(V1) == (H2,)
    cancelled, _ = run(dirty(), plan, replace(SWITCHING, on_timeout=OnTimeout.CANCEL))
    assert only(cancelled).state is MoveState.FAILED


def test_in_post_copy_nothing_is_cancelled() -> None:
    """Neither the time limit, nor silence, nor an operator, nor a restart ends it early."""
    clock = ManualClock(NOW)
    cluster = dirty()
    driver = Ruthless(cluster, make_workload(cluster.vms), clock)
    journal = MemoryJournal()
    executor = Executor(driver, clock, journal, SWITCHING)
    executor.begin(make_plan(migrate("v1", "h1", "h2", mib_per_s=10)))
    while executor.report().outcomes[0].state is not MoveState.POST_COPY:
        executor.tick()
        clock.advance(1)
    clock.advance(100)
    executor.tick()
    executor.abort("the operator said so")
    successor = Executor(driver, clock, journal, ExecutorParameters(timeout_min_s=1, stall_s=1))
    assert successor.recover()
    assert only(successor.run_until_done()).state is MoveState.DONE


def test_a_migration_that_others_switched_is_not_cancelled() -> None:
    """What the driver shows counts, whoever asked for it."""
    clock = ManualClock(NOW)
    cluster = dirty()
    driver = Ruthless(cluster, make_workload(cluster.vms), clock)
    params = ExecutorParameters(timeout_min_s=10, timeout_factor=0.1)
    executor = Executor(driver, clock, MemoryJournal(), params)
    executor.begin(make_plan(migrate("v1", "h1", "h2", mib_per_s=10)))
    executor.tick()
    clock.advance(5)
    under_way = driver.find_migration(V1)
    assert under_way is not None
    driver.switch_to_post_copy(under_way.handle)
    assert only(executor.run_until_done()).state is MoveState.DONE


class NoSwitch(SimulatedDriver):
    """A driver whose hypervisors refuse the switch, for now at first and then for good."""

    asked = 0

    def switch_to_post_copy(self, handle: MigrationHandle) -> None:
        """Refuse."""
        self.asked += 1
        if self.asked == 1:
            raise TemporaryError("busy", delay_s=5)
        raise PermanentError("not begun with post-copy")


def test_what_cannot_be_switched_is_cancelled() -> None:
    """A refusal that passes is asked again after its pause, one for good is not."""
    clock = ManualClock(NOW)
    cluster = dirty()
    driver = NoSwitch(cluster, make_workload(cluster.vms), clock)
    executor = Executor(driver, clock, MemoryJournal(), SWITCHING)
    outcome = only(executor.run_until_done(make_plan(migrate("v1", "h1", "h2", mib_per_s=100))))
    assert outcome.state is MoveState.FAILED
    assert "too long" in outcome.reason
    assert driver.asked == 2
    assert driver.locate(V1) == (H1,)


def test_a_vm_shut_down_under_way_is_its_owners_business() -> None:
    """The step has failed with that reason; nobody is called."""
    incident = at(3, IncidentKind.VM_SHUT_DOWN, vm_id=V1)
    report, _ = run(small(), make_plan(migrate("v1", "h1", "h2")), happening=[incident])
    assert only(report).state is MoveState.FAILED
    assert "shut down" in only(report).reason


@pytest.mark.parametrize(
    "incident",
    [
        at(1, IncidentKind.VM_MOVED, vm_id=V2, host_id=H2),
        at(1, IncidentKind.VM_MOVED, vm_id=V2, host_id=H3),
        at(1, IncidentKind.VM_VANISHES, vm_id=V2),
        at(1, IncidentKind.VM_SHUT_DOWN, vm_id=V2),
    ],
)
def test_what_happened_meanwhile_is_no_error(incident: Incident) -> None:
    """A VM that others moved or ended before its turn is skipped with the reason."""
    cluster = small(budget=MoveBudget(max_parallel=1))
    plan = make_plan(migrate("v1", "h1", "h3"), migrate("v2", "h1", "h2", at_s=10))
    report, _ = run(cluster, plan, happening=[incident])
    assert [outcome.state for outcome in report.outcomes] == [MoveState.DONE, MoveState.SKIPPED]
    assert report.outcomes[1].reason


def test_a_host_out_of_sight_is_waited_for() -> None:
    """Unknown is not failed: the migration went on, and is found to have arrived."""
    incident = at(3, IncidentKind.HOST_UNREACHABLE, host_id=H1, duration_s=60)
    report, driver = run(small(), make_plan(migrate("v1", "h1", "h2")), happening=[incident])
    assert only(report).state is MoveState.DONE
    assert only(report).attempts == 1
    assert driver.account().migrations == 1


def test_a_destination_that_stays_silent_is_given_up() -> None:
    """A step does not wait for a host for ever."""
    incident = at(0, IncidentKind.HOST_UNREACHABLE, host_id=H2, duration_s=1e5)
    report, _ = run(small(), make_plan(migrate("v1", "h1", "h2")), happening=[incident])
    assert only(report).state is MoveState.SKIPPED
    assert "waited 600 s in vain" in only(report).reason


def test_vms_are_started() -> None:
    """A start needs no source; one that somebody else has done is skipped."""
    cluster = small(
        hosts=[make_host("h1", memory_gib=4), make_host("h2", memory_gib=12)],
        vms=[make_vm("v1", "h1"), make_vm("v2", "h2"), make_vm("v3", None, memory_gib=10)],
    )
    plan = make_plan(migrate("v2", "h2", "h1", at_s=1), start("v3", "h2", at_s=9))
    blocked, _ = run(cluster, plan)
    assert blocked.outcomes[1].state is MoveState.SKIPPED
    roomy = replace(cluster, hosts=(make_host("h1", memory_gib=9), cluster.hosts[1]))
    report, driver = run(roomy, plan)
    assert [outcome.state for outcome in report.outcomes] == [MoveState.DONE] * 2
    assert driver.locate(V3) == (H2,)


def test_aborting_cancels_what_is_under_way() -> None:
    """Everything comes to rest where it was, and the plan says why."""
    driver, clock = simulate(small())
    executor = Executor(driver, clock, MemoryJournal())
    executor.begin(make_plan(migrate("v1", "h1", "h2"), migrate("v1", "h2", "h3", at_s=9)))
    executor.tick()
    clock.advance(2)
    executor.abort("the operator said so")
    report = executor.run_until_done()
    assert report.state is PlanState.ABORTED
    assert report.reason == "the operator said so"
    assert {outcome.state for outcome in report.outcomes} == {MoveState.ABORTED}
    assert driver.snapshot().placement[V1] == H1
    executor.abort("again")


def test_aborting_may_let_moves_finish() -> None:
    """What has been paid for is kept; nothing new begins."""
    driver, clock = simulate(small())
    executor = Executor(driver, clock, MemoryJournal())
    executor.begin(make_plan(migrate("v1", "h1", "h2"), migrate("v1", "h2", "h3", at_s=9)))
    executor.tick()
    executor.abort("a better plan is there", cancel_running=False)
    states = [outcome.state for outcome in executor.run_until_done().outcomes]
    assert states == [MoveState.DONE, MoveState.ABORTED]
    assert driver.snapshot().placement[V1] == H2


def test_one_plan_at_a_time() -> None:
    """A second plan is refused while one is carried out, and has its own id after it."""
    driver, clock = simulate(small())
    executor = Executor(driver, clock, MemoryJournal())
    first = executor.begin(make_plan(migrate("v1", "h1", "h2")))
    with pytest.raises(BusyError, match=first):
        executor.begin(make_plan())
    with pytest.raises(BusyError, match=first):
        executor.recover()
    executor.run_until_done()
    assert executor.begin(make_plan()) != first


def test_an_unfinished_plan_must_be_recovered_first() -> None:
    """A new executor does not forget what the old one was doing."""
    driver, clock = simulate(small())
    journal = MemoryJournal()
    Executor(driver, clock, journal).begin(make_plan(migrate("v1", "h1", "h2")))
    executor = Executor(driver, clock, journal)
    with pytest.raises(BusyError, match="recovered first"):
        executor.begin(make_plan())
    assert executor.recover()
    assert only(executor.run_until_done()).state is MoveState.DONE
    assert not Executor(driver, clock, journal).recover()


def test_recovery_may_give_up_what_had_not_begun() -> None:
    """A plan found hours later is brought to rest, not carried on."""
    driver, clock = simulate(small())
    journal = MemoryJournal()
    executor = Executor(driver, clock, journal)
    executor.begin(make_plan(migrate("v1", "h1", "h2"), migrate("v1", "h2", "h3", at_s=9)))
    executor.tick()
    clock.advance(3)
    successor = Executor(driver, clock, journal)
    assert successor.recover(resume=False)
    states = [outcome.state for outcome in successor.run_until_done().outcomes]
    assert states == [MoveState.DONE, MoveState.ABORTED]


def test_without_a_plan_there_is_no_report() -> None:
    """The error says so."""
    driver, clock = simulate(small())
    with pytest.raises(InvalidInputError, match="no plan"):
        Executor(driver, clock, MemoryJournal()).report()


class TwoCopies(SimulatedDriver):
    """A driver whose hypervisors start the VM at the destination and forget to end the source."""

    def locate(self, vm_id: VmId, among: tuple[HostId, ...] | None = None) -> tuple[HostId, ...]:
        """Return both ends."""
        return (H1, H2)


class NoCopies(SimulatedDriver):
    """A driver whose hypervisors lost the VM."""

    def locate(self, vm_id: VmId, among: tuple[HostId, ...] | None = None) -> tuple[HostId, ...]:
        """Return no host."""
        return ()


@pytest.mark.parametrize(
    ("kind", "told"), [(TwoCopies, "'h1' and 'h2' at once"), (NoCopies, "nowhere")]
)
def test_a_vm_lost_or_doubled_is_reported_as_adrift(kind: type[SimulatedDriver], told: str) -> None:
    """A driver's word is not enough: reality is looked at, and a person is called."""
    clock = ManualClock(NOW)
    cluster = small()
    driver = kind(cluster, make_workload(cluster.vms), clock)
    executor = Executor(driver, clock, MemoryJournal())
    outcome = only(executor.run_until_done(make_plan(migrate("v1", "h1", "h2"))))
    assert outcome.state is MoveState.ADRIFT
    assert told in outcome.reason


class NoSight(SimulatedDriver):
    """A driver that forgets every migration it has begun."""

    def poll(self, handle: MigrationHandle) -> MigrationProgress:
        """Know nothing."""
        return MigrationProgress(state=MigrationState.UNKNOWN, reason="forgotten")


def test_a_driver_that_knows_nothing_is_not_needed_to_know_the_end() -> None:
    """Where the VM runs tells how the migration ended."""
    clock = ManualClock(NOW)
    cluster = small()
    driver = NoSight(cluster, make_workload(cluster.vms), clock)
    executor = Executor(driver, clock, MemoryJournal())
    outcome = only(executor.run_until_done(make_plan(migrate("v1", "h1", "h2"))))
    assert outcome.state is MoveState.DONE
    assert outcome.measured is None


class NoStart(SimulatedDriver):
    """A driver whose hypervisors refuse every migration for good."""

    def start_migration(
        self, vm_id: VmId, destination_id: HostId, *, bandwidth_mib_per_s: int
    ) -> MigrationHandle:
        """Refuse."""
        raise PermanentError("never", vm_id=vm_id)


class FullDisk(MemoryJournal):
    """A journal that cannot be written for a while."""

    full_at: Sequence[MoveEvent] = ()

    def append(self, record: Record) -> None:
        """Refuse the events in ``full_at``."""
        if isinstance(record, MoveChanged) and record.event in self.full_at:
            raise JournalError("no space left")
        super().append(record)


@pytest.mark.parametrize(
    ("event", "fates"),
    [
        (MoveEvent.START, []),
        (MoveEvent.ACCEPTED, []),
        (MoveEvent.ENDED, []),
        (MoveEvent.ARRIVED, []),
        (MoveEvent.DEFERRED, [Fate(refused=True)]),
        (MoveEvent.RETURNED, [Fate(fails_at_fraction=0.5)]),
        (MoveEvent.RETRY, [Fate(fails_at_fraction=0.5)]),
        (MoveEvent.CANCEL, [Fate(stalls_at_fraction=0.5, stall_s=1e5)]),
    ],
)
def test_nothing_is_done_that_could_not_be_written_down(
    event: MoveEvent, fates: list[Fate]
) -> None:
    """A full disk stops the engine where it is; with space again it goes on by reality."""
    driver, clock = simulate(small(), faults=ScriptedFaults(fates={V1: fates}))
    journal = FullDisk()
    journal.full_at = [event]
    executor = Executor(driver, clock, journal)
    executor.begin(make_plan(migrate("v1", "h1", "h2")))
    with pytest.raises(JournalError):
        executor.run_until_done()
    if event is MoveEvent.START:
        assert driver.find_migration(V1) is None
    journal.full_at = []
    assert only(executor.run_until_done()).state is MoveState.DONE
    assert driver.account().migrations == 1


def test_a_refusal_that_could_not_be_written_down_is_found_out_again() -> None:
    """The step is not left between starting and anything else."""
    clock = ManualClock(NOW)
    cluster = small()
    driver = NoStart(cluster, make_workload(cluster.vms), clock)
    journal = FullDisk()
    journal.full_at = [MoveEvent.REFUSED]
    executor = Executor(driver, clock, journal)
    executor.begin(make_plan(migrate("v1", "h1", "h2")))
    with pytest.raises(JournalError):
        executor.run_until_done()
    journal.full_at = []
    outcome = only(executor.run_until_done())
    assert outcome.state is MoveState.FAILED
    assert "never" in outcome.reason


def test_an_abort_that_could_not_be_written_down_as_a_whole_is_completed() -> None:
    """The plan is stopping already: steps that still wait are aborted by the next tick."""
    driver, clock = simulate(small())
    journal = FullDisk()
    journal.full_at = [MoveEvent.ABORT]
    executor = Executor(driver, clock, journal)
    executor.begin(make_plan(migrate("v1", "h1", "h2")))
    with pytest.raises(JournalError):
        executor.abort("the operator said so")
    journal.full_at = []
    outcome = only(executor.run_until_done())
    assert outcome.state is MoveState.ABORTED
    assert outcome.reason == "the operator said so"


def test_maintenance_set_meanwhile_is_respected() -> None:
    """The live cluster decides, not the snapshot the plan was made on."""
    hosts = [make_host("h1"), make_host("h2", state=HostState.MAINTENANCE)]
    report, driver = run(small(hosts=hosts), make_plan(migrate("v1", "h1", "h2")))
    assert only(report).state is MoveState.SKIPPED
    assert driver.account().violations == ()


def test_why_a_plan_was_stopped_survives_a_crash() -> None:
    """Steps that come to rest after the restart once said nothing about why they were aborted."""
    driver, clock = simulate(small())
    journal = MemoryJournal()
    executor = Executor(driver, clock, journal)
    executor.begin(make_plan(migrate("v1", "h1", "h2", mib_per_s=100)))
    executor.tick()
    executor.abort("the operator said so", cancel_running=False)
    under_way = driver.find_migration(V1)
    assert under_way is not None
    driver.cancel(under_way.handle)
    successor = Executor(driver, clock, journal)
    assert successor.recover()
    report = successor.run_until_done()
    assert only(report).state is MoveState.ABORTED
    assert only(report).reason == report.reason == "the operator said so"
