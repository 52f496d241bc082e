"""The engine where more than one process might act: only the holder of the lease does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from executor.clock import ManualClock
from executor.drivers.simulated import SimulatedDriver
from executor.engine import Executor
from executor.errors import BusyError, LeaseHeldError, LeaseLostError
from executor.journal import MemoryJournal
from executor.lease import FileLease
from executor.states import MoveState
from solver.domain.rules import MoveBudget
from solver.domain.units import VmId
from tests.builders import NOW, make_cluster, make_host, make_vm
from tests.executor_builders import make_plan, migrate, simulate

V1 = VmId("v1")


@dataclass
class Rivals:
    """Two executors on one cluster and journal, with a lease that lasts half a minute."""

    driver: SimulatedDriver
    clock: ManualClock
    journal: MemoryJournal
    leases: tuple[FileLease, FileLease]
    executors: tuple[Executor, Executor]


@pytest.fixture
def rivals(tmp_path: Path) -> Rivals:
    """Return two executors; neither holds the lease."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [make_vm("v1"), make_vm("v2")],
        budget=MoveBudget(max_parallel=1),
    )
    driver, clock = simulate(cluster)
    journal = MemoryJournal()
    one, two = (
        FileLease(tmp_path / "lease", ttl_s=30, now_s=lambda: (clock.now() - NOW).total_seconds())
        for _ in range(2)
    )
    executors = (
        Executor(driver, clock, journal, lease=one),
        Executor(driver, clock, journal, lease=two),
    )
    return Rivals(driver, clock, journal, (one, two), executors)


def test_without_the_lease_no_plan_is_begun(rivals: Rivals) -> None:
    """Nor is one recovered; nothing is written."""
    with pytest.raises(LeaseLostError):
        rivals.executors[0].begin(make_plan(migrate("v1", "h1", "h2")))
    with pytest.raises(LeaseLostError):
        rivals.executors[0].recover()
    rivals.executors[0].tick()
    assert rivals.journal.read() == ()


def test_ticks_renew_the_lease(rivals: Rivals) -> None:
    """With a plan and without one; the engine says when it wants to be called for it."""
    executor, lease = rivals.executors[0], rivals.leases[0]
    lease.acquire()
    executor.tick()
    assert executor.next_event_at == NOW + timedelta(seconds=10)
    executor.run_until_done(make_plan(migrate("v1", "h1", "h2", mib_per_s=20)))
    for _ in range(20):
        next_at = executor.next_event_at
        assert next_at is not None
        rivals.clock.sleep_until(next_at)
        executor.tick()
        with pytest.raises(LeaseHeldError):
            rivals.leases[1].acquire()
    lease.release()
    executor.tick()
    rivals.leases[1].acquire()


def test_who_lost_the_lease_does_nothing_more(rivals: Rivals) -> None:
    """The successor goes on with the plan, and every record says under which token."""
    (first, second), (one, two) = rivals.executors, rivals.leases
    one.acquire()
    first.begin(make_plan(migrate("v1", "h1", "h2"), migrate("v2", "h1", "h2", at_s=9)))
    first.tick()
    rivals.clock.advance(30)
    two.acquire()
    with pytest.raises(LeaseLostError):
        first.tick()
    assert not first.active
    first.abort("too late")
    first.tick()
    with pytest.raises(LeaseLostError):
        first.begin(make_plan())
    assert second.recover()
    report = second.run_until_done()
    assert {outcome.state for outcome in report.outcomes} == {MoveState.DONE}
    assert rivals.driver.account().migrations == 2
    tokens = [record.token for record in rivals.journal.read()]
    assert set(tokens) == {1, 2}
    assert tokens == sorted(token or 0 for token in tokens)


@pytest.mark.parametrize("what", ["start", "cancel"])
def test_the_very_call_that_acts_is_fenced(rivals: Rivals, what: str) -> None:
    """Between two ticks the lease was lost: nothing is started, nothing is cancelled."""
    (first, _), (one, two) = rivals.executors, rivals.leases
    one.acquire()
    first.begin(make_plan(migrate("v1", "h1", "h2")))
    if what == "cancel":
        first.tick()
    one.release()
    two.acquire()
    written = rivals.journal.read()
    act = first.tick if what == "start" else partial(first.abort, "the operator said so")
    with pytest.raises(LeaseLostError):
        act()
    assert rivals.journal.read() == written
    assert (rivals.driver.find_migration(V1) is None) == (what == "start")


def test_a_plan_of_a_lost_lease_has_to_be_recovered(rivals: Rivals) -> None:
    """Acquired again unnoticed, what the engine remembers may have been overtaken."""
    (first, second), (one, two) = rivals.executors, rivals.leases
    one.acquire()
    first.begin(make_plan(migrate("v1", "h1", "h2"), migrate("v2", "h1", "h2", at_s=9)))
    one.release()
    two.acquire()
    second.recover()
    second.tick()
    two.release()
    one.acquire()
    with pytest.raises(BusyError, match="recovered first"):
        first.begin(make_plan())
    with pytest.raises(LeaseLostError, match="taken up under token 1"):
        first.tick()
    assert first.recover()
    report = first.run_until_done()
    assert {outcome.state for outcome in report.outcomes} == {MoveState.DONE}
    assert rivals.driver.account().migrations == 2
