"""Whatever goes wrong, no VM is lost, doubled or left paused, and the journal tells the truth.

Clusters, plans and faults are generated; some plans are nonsense on purpose. The judge is
``solver.domain.check`` in the simulated cluster's account, and the cluster itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.clock import ManualClock
from executor.compensation import plan_return
from executor.drivers.simulated import SimulatedDriver
from executor.engine import Executor
from executor.errors import IllegalTransitionError, LeaseHeldError, LeaseLostError
from executor.guards import Decision, judge_step
from executor.journal import MemoryJournal
from executor.lease import FileLease
from executor.params import ExecutorParameters, OnTimeout
from executor.records import MoveChanged, Record
from executor.report import ExecutionReport
from executor.simulation.bandwidth import Flow, max_min_rates
from executor.simulation.faults import (
    GOOD_FATE,
    Fate,
    FaultPlan,
    FaultRates,
    Incident,
    IncidentKind,
    RandomFaults,
)
from executor.states import (
    MOVE_TRANSITIONS,
    TERMINAL,
    MoveEvent,
    MoveState,
    PlanState,
)
from executor.under_way import rules_at_rest
from solver.domain.check import check_plan, new_or_worse
from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.plan import Plan
from solver.domain.rules import Affinity, AntiAffinity, MoveBudget
from solver.domain.units import HostId, VmId
from tests.builders import NOW, make_cluster, make_host, make_vm
from tests.executor_builders import make_plan, make_workload, migrate, start

WINDOW_S = 200.0
"""When incidents happen: about as long as the plans last."""

FAULT_RUNS = settings(max_examples=max(120, settings().max_examples))
"""At least so many clusters with faults, whatever the profile says."""


@dataclass(frozen=True)
class Story:
    """A cluster, a plan for it, what goes wrong, and how patient the executor is."""

    cluster: Cluster
    plan: Plan
    rates: FaultRates
    seed: int
    params: ExecutorParameters

    def faults(self) -> RandomFaults:
        """Return what goes wrong."""
        return RandomFaults(
            np.random.default_rng(self.seed),
            self.rates,
            vm_ids=[vm.id for vm in self.cluster.vms],
            host_ids=[host.id for host in self.cluster.hosts],
            start_at=NOW,
            window_s=WINDOW_S,
        )

    def driver(self, clock: ManualClock, faults: FaultPlan | None = None) -> SimulatedDriver:
        """Return the cluster come to life."""
        workload = make_workload(self.cluster.vms, cores=0.5)
        return SimulatedDriver(self.cluster, workload, clock, faults=faults or self.faults())


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Draw three or four hosts with little room, up to eight VMs, and any steps between them."""
    hosts = [
        make_host(f"h{h}", memory_gib=draw(st.integers(8, 24)))
        for h in range(draw(st.integers(3, 4)))
    ]
    vms: list[Any] = []
    for v in range(draw(st.integers(2, 8))):
        host = draw(st.sampled_from([*(host.id for host in hosts), None]))
        dirty = draw(st.sampled_from([0, 100, 2000]))
        size = draw(st.integers(1, 6))
        vms.append(make_vm(f"v{v}", host, memory_gib=size, dirty_mib_per_s=dirty))
    names = tuple(vm.id for vm in vms)
    rules: list[Any] = []
    if draw(st.booleans()):
        rules.append(AntiAffinity(id="apart", vm_ids=names[:2]))
    if len(names) > 3 and draw(st.booleans()):
        rules.append(Affinity(id="together", vm_ids=names[2:4]))
    steps = []
    where: dict[VmId, HostId | None] = {vm.id: vm.host_id for vm in vms}
    for i in range(draw(st.integers(1, 8))):
        vm_id = draw(st.sampled_from(names))
        choices = [host.id for host in hosts if host.id != where[vm_id]]
        target = draw(st.sampled_from(choices))
        source = where[vm_id]
        if source is None:
            steps.append(start(vm_id, target, at_s=i))
        else:
            share = draw(st.sampled_from([100, 500, 1000]))
            steps.append(migrate(vm_id, source, target, at_s=i, mib_per_s=share))
        where[vm_id] = target
    rates = FaultRates(
        refused=draw(st.sampled_from([0.0, 0.2])),
        fails=draw(st.sampled_from([0.0, 0.3])),
        fails_for_good=draw(st.sampled_from([0.0, 0.1])),
        stalls=draw(st.sampled_from([0.0, 0.2])),
        hosts_unreachable=draw(st.integers(0, 3)),
        host_daemons_dying=draw(st.integers(0, 2)),
        links_slowed=draw(st.integers(0, 2)),
        vms_shut_down=draw(st.integers(0, 1)),
        vms_vanished=draw(st.integers(0, 1)),
        vms_moved=draw(st.integers(0, 2)),
    )
    cluster = make_cluster(
        hosts,
        vms,
        rules=tuple(rules),
        budget=MoveBudget(max_parallel=draw(st.integers(1, 4))),
    )
    params = ExecutorParameters(
        timeout_min_s=draw(st.sampled_from([10.0, 300.0])),
        timeout_factor=draw(st.sampled_from([1.1, 4.0])),
        stall_s=draw(st.sampled_from([10.0, 120.0])),
        on_timeout=draw(st.sampled_from(OnTimeout)),
    )
    return Story(cluster, make_plan(*steps), rates, draw(st.integers(0, 2**32 - 1)), params)


class Crash(BaseException):
    """The process dies."""


class DyingJournal(MemoryJournal):
    """A journal whose process dies just before or just after its n-th record is written."""

    def __init__(self, lives: int, *, after: bool) -> None:
        super().__init__()
        self._lives = lives
        self._after = after

    def append(self, record: Record) -> None:
        """Write, or die."""
        self._lives -= 1
        if self._lives == 0 and not self._after:
            raise Crash
        super().append(record)
        if self._lives == 0:
            raise Crash


def require_whole(
    story: Story, driver: SimulatedDriver, report: ExecutionReport, clock: ManualClock
) -> None:
    """Fail unless every VM is where it must be and the report says what happened."""
    clock.advance(1000)
    assert driver.paused() == ()
    touched = _ended_by_owner(story)
    live = {vm.id: vm for vm in driver.snapshot().vms}
    for vm in story.cluster.vms:
        assert driver.find_migration(vm.id) is None
        copies = driver.locate(vm.id)
        assert len(copies) <= 1
        if vm.host_id is not None and vm.id not in touched:
            assert len(copies) == 1, f"{vm.id} was lost"
            assert live[vm.id].host_id == copies[0]
    for outcome in report.outcomes:
        assert outcome.state in TERMINAL
        assert outcome.reason or outcome.state is MoveState.DONE
        if outcome.state is MoveState.ADRIFT:
            assert outcome.vm_id in touched


def _ended_by_owner(story: Story) -> set[VmId]:
    """Return the VMs that an incident shut down or deleted."""
    return {
        incident.vm_id
        for incident in story.faults().incidents()
        if incident.vm_id is not None
        and incident.kind in (IncidentKind.VM_SHUT_DOWN, IncidentKind.VM_VANISHES)
    }


def require_true(
    story: Story, journal: MemoryJournal, driver: SimulatedDriver, *, approval: bool = False
) -> None:
    """Fail unless the journal tells one legal story per step, and reality agrees with its end."""
    first = MoveState.UNAPPROVED if approval else MoveState.WAITING
    states = dict.fromkeys(range(len(story.plan.steps)), first)
    arrived: dict[VmId, HostId] = {}
    for record in journal.read():
        if isinstance(record, MoveChanged):
            before = states[record.step_idx]
            assert MOVE_TRANSITIONS[before][record.event] is record.state
            states[record.step_idx] = record.state
            if record.state is MoveState.DONE:
                step = story.plan.steps[record.step_idx]
                arrived[step.vm_id] = step.destination_id
    placement = driver.snapshot().placement
    if story.rates.vms_moved == 0:
        for vm_id, host_id in arrived.items():
            assert placement.get(vm_id, host_id) == host_id
        # Of a VM adrift nothing is claimed: it was shut down while its host was out of sight.
        adrift = {
            story.plan.steps[idx].vm_id
            for idx, state in states.items()
            if state is MoveState.ADRIFT
        }
        untouched = {vm.id for vm in story.cluster.vms} - set(arrived) - adrift
        for vm in story.cluster.vms:
            if vm.id in untouched and vm.host_id is not None and vm.id in placement:
                assert placement[vm.id] == vm.host_id


@FAULT_RUNS
@given(story=stories())
def test_every_plan_comes_to_rest_with_every_vm_whole(story: Story) -> None:
    """Nothing is lost, doubled or paused; no rule is broken by us; the journal agrees."""
    clock = ManualClock(NOW)
    driver = story.driver(clock)
    journal = MemoryJournal()
    report = Executor(driver, clock, journal, story.params).run_until_done(story.plan)
    require_whole(story, driver, report, clock)
    require_true(story, journal, driver)
    assert report.state is PlanState.FINISHED
    assert driver.account().violations == ()


@FAULT_RUNS
@given(
    story=stories(),
    lives=st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=4),
    down_s=st.floats(0, 300),
    resume=st.booleans(),
)
def test_killed_anywhere_and_recovered(
    story: Story, lives: list[tuple[int, bool]], down_s: float, resume: bool
) -> None:
    """A process that dies before or after any record leaves a cluster that the next one mends."""
    clock = ManualClock(NOW)
    driver = story.driver(clock)
    written: tuple[Record, ...] = ()
    report: ExecutionReport | None = None
    for number, after in [*lives, (10**9, False)]:
        journal = DyingJournal(number, after=after)
        journal._lines.extend(MemoryJournal(written)._lines)
        executor = Executor(driver, clock, journal, story.params)
        try:
            if not executor.recover(resume=resume):
                if journal.read():
                    break
                executor.begin(story.plan)
            report = executor.run_until_done()
        except Crash:
            clock.advance(down_s)
        written = journal.read()
        if report is not None:
            break
    if report is not None:
        require_whole(story, driver, report, clock)
    require_true(story, MemoryJournal(written), driver)
    assert driver.account().violations == ()


@given(story=stories())
def test_the_same_seed_gives_the_same_story(story: Story) -> None:
    """Two runs write the same journal, record by record."""
    journals = []
    for _ in range(2):
        clock = ManualClock(NOW)
        journal = MemoryJournal()
        Executor(story.driver(clock), clock, journal, story.params).run_until_done(story.plan)
        journals.append(journal.read())
    assert journals[0] == journals[1]


@given(story=stories(), at_s=st.floats(0, 120), cancel=st.booleans())
def test_an_aborted_plan_comes_to_rest(story: Story, at_s: float, cancel: bool) -> None:
    """At any moment, with and without cancelling what is under way."""
    clock = ManualClock(NOW)
    driver = story.driver(clock)
    journal = MemoryJournal()
    executor = Executor(driver, clock, journal, replace(story.params, poll_interval_s=1))
    executor.begin(story.plan)
    asked = False
    while executor.active:
        executor.tick()
        if not asked and (clock.now() - NOW).total_seconds() >= at_s:
            executor.abort("enough", cancel_running=cancel)
            asked = True
        next_at = executor.next_event_at
        if next_at is not None:
            clock.sleep_until(next_at)
    require_whole(story, driver, executor.report(), clock)
    require_true(story, journal, driver)


class Contender:
    """A process that wants to act: it has its own memory, and shares cluster, journal and lease."""

    def __init__(
        self, story: Story, driver: SimulatedDriver, journal: MemoryJournal, path: Path
    ) -> None:
        self._story = story
        self._journal = journal
        self._clock = driver._clock
        self._lease = FileLease(path, ttl_s=20, now_s=self._now_s)
        self._executor = Executor(driver, self._clock, journal, story.params, self._lease)
        self.done = False

    def _now_s(self) -> float:
        return (self._clock.now() - NOW).total_seconds()

    def turn(self) -> None:
        """Do what a process does when it gets the processor."""
        try:
            if self._lease.token is None:
                self._lease.acquire()
                if not self._executor.recover() and not self._journal.read():
                    self._executor.begin(self._story.plan)
            self._executor.tick()
        except (LeaseHeldError, LeaseLostError):
            return
        self.done = not self._executor.active


@given(
    story=stories(),
    turns=st.lists(st.tuples(st.integers(0, 1), st.floats(0, 60)), max_size=60),
)
def test_two_executors_act_as_one(story: Story, turns: list[tuple[int, float]]) -> None:
    """Whoever is stopped for however long between its turns, the journal tells one story.

    Every record stands under a token at least as large as those before, so nobody wrote who had
    lost the lease; what was started has been written before.
    """
    clock = ManualClock(NOW)
    driver = story.driver(clock)
    journal = MemoryJournal()
    with TemporaryDirectory() as folder:
        both = [Contender(story, driver, journal, Path(folder) / "lease") for _ in range(2)]
        for who, pause_s in turns:
            both[who].turn()
            clock.advance(pause_s)
        while not both[0].done:
            both[0].turn()
            clock.advance(2)
        both[1].turn()
    clock.advance(1000)
    tokens = [record.token or 0 for record in journal.read()]
    assert tokens == sorted(tokens)
    assert tokens[0] > 0
    starts = [
        record
        for record in journal.read()
        if isinstance(record, MoveChanged) and record.event is MoveEvent.START
    ]
    assert len(driver._world.transfers) <= len(starts)
    require_true(story, journal, driver)
    # A new life of the last one, which knows nothing but the journal.
    assert not Executor(driver, clock, MemoryJournal(journal.read())).recover()
    for vm in story.cluster.vms:
        assert driver.find_migration(vm.id) is None
    assert driver.paused() == ()
    assert driver.account().violations == ()


@given(
    story=stories(),
    asked=st.lists(
        st.tuples(
            st.sampled_from(["pause", "resume", "approve", "skip", "crash"]), st.floats(0, 30)
        ),
        max_size=30,
    ),
    approval=st.booleans(),
    rng=st.randoms(use_true_random=False),
)
def test_whatever_an_operator_asks_the_plan_comes_to_rest(
    story: Story, asked: list[tuple[str, float]], approval: bool, rng: Random
) -> None:
    """Pausing, approving, skipping and crashing at any moment; what is illegal changes nothing."""
    clock = ManualClock(NOW)
    driver = story.driver(clock)
    journal = MemoryJournal()
    executor = Executor(driver, clock, journal, story.params)
    executor.begin(story.plan, approval=approval)
    for what, pause_s in asked:
        executor.tick()
        clock.advance(pause_s)
        if what == "crash":
            executor = Executor(driver, clock, journal, story.params)
            if not executor.recover():
                break
        else:
            step_idx = rng.randrange(len(story.plan.steps))
            with suppress(IllegalTransitionError, InvalidInputError):
                _ask(executor, what, step_idx)
    if executor.active:
        if executor.report().state is PlanState.PAUSED:
            executor.resume()
        for i, outcome in enumerate(executor.report().outcomes):
            if outcome.state is MoveState.UNAPPROVED:
                executor.approve(i)
        require_whole(story, driver, executor.run_until_done(), clock)
    require_true(story, journal, driver, approval=approval)
    assert driver.account().violations == ()


def _ask(executor: Executor, what: str, step_idx: int) -> None:
    if what == "pause":
        executor.pause("because")
    elif what == "resume":
        executor.resume()
    elif what == "approve":
        executor.approve(step_idx)
    else:
        executor.skip(step_idx, "because")


class Passing:
    """Faults that are over one day."""

    def __init__(self, faults: FaultPlan) -> None:
        self._faults = faults
        self.over = False

    def fate(self, vm_id: VmId) -> Fate:
        """Return what becomes of the next attempt."""
        return GOOD_FATE if self.over else self._faults.fate(vm_id)

    def incidents(self) -> Sequence[Incident]:
        """Return what happens by itself."""
        return self._faults.incidents()


@FAULT_RUNS
@given(story=stories())
def test_what_a_failed_plan_has_moved_is_brought_back(story: Story) -> None:
    """Whatever could return is where it began, nothing was broken on the way, the rest has reasons.

    Could: moved there now, it would pass the last check before every move.
    """
    clock = ManualClock(NOW)
    faults = Passing(story.faults())
    driver = story.driver(clock, faults)
    began = driver.snapshot().placement
    report = Executor(driver, clock, MemoryJournal(), story.params).run_until_done(story.plan)
    clock.advance(1000)
    faults.over = True
    cluster = driver.snapshot()
    back = plan_return(report, cluster)
    nothing = Plan(made_at=cluster.observed_at)
    new = new_or_worse(check_plan(cluster, nothing), check_plan(cluster, back.plan))
    at_rest = rules_at_rest(cluster)
    assert [violation for violation in new if violation.key not in at_rest] == []
    after = Executor(driver, clock, MemoryJournal()).run_until_done(back.plan)
    assert {outcome.state for outcome in after.outcomes} <= {MoveState.DONE}
    assert driver.account().violations == ()
    live = driver.snapshot()
    for step in back.plan.steps:
        assert live.placement[step.vm_id] == began[step.vm_id] or story.rates.vms_moved
    for staying in back.staying:
        assert staying.reason
        vm_id, home, there = staying.vm_id, began[staying.vm_id], live.placement.get(staying.vm_id)
        if home is not None and there not in (home, None) and not story.rates.vms_moved:
            alone = migrate(vm_id, there, home, mib_per_s=1000)
            assert judge_step(live, alone, [], []).decision is not Decision.PROCEED


FLOWS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.floats(0, 2000)).filter(
        lambda flow: flow[0] != flow[1]
    ),
    max_size=12,
)


@given(flows=FLOWS, links=st.lists(st.floats(1, 2000), min_size=5, max_size=5))
def test_bandwidth_is_shared_fairly_and_wholly(
    flows: list[tuple[int, int, float]], links: list[float]
) -> None:
    """No link or cap is exceeded, and each flow is held back by its cap or a full link.

    On that full link nobody has more than it: that is max-min fairness.
    """
    streams = [Flow(source_idx=a, destination_idx=b, cap_mib_per_s=c) for a, b, c in flows]
    rates = max_min_rates(streams, links)
    used = [0.0] * len(links)
    for stream, rate in zip(streams, rates, strict=True):
        assert 0 <= rate <= stream.cap_mib_per_s * (1 + 1e-9)
        used[stream.source_idx] += rate
        used[stream.destination_idx] += rate
    for total, link in zip(used, links, strict=True):
        assert total <= link * (1 + 1e-6)
    for stream, rate in zip(streams, rates, strict=True):
        at_cap = rate >= stream.cap_mib_per_s * (1 - 1e-6)
        held_back = any(
            used[end] >= links[end] * (1 - 1e-6)
            and all(
                other_rate <= rate * (1 + 1e-6) + 1e-6
                for other, other_rate in zip(streams, rates, strict=True)
                if end in (other.source_idx, other.destination_idx)
            )
            for end in (stream.source_idx, stream.destination_idx)
        )
        assert at_cap or held_back
