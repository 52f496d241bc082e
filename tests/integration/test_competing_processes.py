"""Real processes on one cluster: one acts at a time, whatever signals they are sent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from executor.clock import SystemClock
from executor.engine import Executor
from executor.errors import LeaseHeldError, LeaseLostError
from executor.journal import FileJournal
from executor.lease import FileLease, boottime_s
from executor.params import ExecutorParameters
from executor.records import MoveChanged, PlanChanged, Record, decode
from executor.states import MOVE_TRANSITIONS, MoveEvent, MoveState, PlanState
from solver.domain.plan import Plan
from tests.executor_builders import make_plan, migrate
from tests.file_cluster import HOSTS, FileCluster

VMS = ("v1", "v2", "v3")
PARAMS = ExecutorParameters(
    poll_interval_s=0.01,
    recheck_interval_s=0.05,
    backoff_s=0.02,
    timeout_min_s=60,
    stall_s=0.1,
)
LONG_S, SHORT_S = 600.0, 0.5
LOST, DONE = 3, 0
DEADLINE_S = 30.0
FORK = multiprocessing.get_context("fork")


def plan(vms: Sequence[str]) -> Plan:
    """Return the plan that takes the VMs to the second host."""
    return make_plan(*(migrate(name, "h1", "h2", at_s=i) for i, name in enumerate(vms)))


Die = Callable[[bool], None]
"""Called before (False) and after (True) every record is written, to die or not."""


class DyingJournal(FileJournal):
    """A journal whose process is killed just before or just after a record is written."""

    die: Die | None = None

    def append(self, record: Record) -> None:
        """Write, or die."""
        if self.die is not None:
            self.die(False)
        super().append(record)
        if self.die is not None:
            self.die(True)


def work(folder: Path, *, ttl_s: float, stop_at: str = "", die: Die | None = None) -> None:
    """Do what every process does: wait for the lease, take up or begin the plan, see it through."""
    lease = FileLease(folder / "lease", ttl_s=ttl_s)
    while not acquired(lease):
        time.sleep(0.01)
    cluster = FileCluster(folder / "cluster", stop_at=stop_at)
    with DyingJournal(folder / "journal", lease) as journal:
        journal.die = die
        executor = Executor(cluster, SystemClock(), journal, PARAMS, lease)
        if not executor.recover() and not journal.read():
            executor.begin(plan(list(cluster.snapshot().placement)))
        while executor.active:
            executor.run_until_done()
    lease.release()


def acquired(lease: FileLease) -> bool:
    """Try to become the holder."""
    try:
        lease.acquire()
    except LeaseHeldError:
        return False
    return True


@dataclass
class Stage:
    """A cluster, and processes that compete for it."""

    folder: Path
    cluster: FileCluster
    started: list[Any] = field(default_factory=list)

    def start(self, **options: Any) -> Any:
        """Start a process."""
        process = FORK.Process(target=_main, args=(self.folder,), kwargs=options)
        process.start()
        self.started.append(process)
        return process

    def ended(self, process: Any) -> int:
        """Wait for the end of a process and return how it ended."""
        process.join(DEADLINE_S)
        code = process.exitcode
        assert code is not None, f"process {process.pid} did not end"
        return int(code)

    def records(self) -> tuple[Record, ...]:
        """Return what stands in the journal."""
        lines = (self.folder / "journal").read_text().splitlines()
        return tuple(decode(line) for line in lines)

    def require_truth(self) -> None:
        """Fail unless the plan was closed, legally, with tokens in order, as reality has it."""
        states = dict.fromkeys(range(len(self.cluster.snapshot().vms)), MoveState.WAITING)
        records = self.records()
        tokens = [record.token for record in records]
        assert tokens == sorted(token or 0 for token in tokens)
        for record in records:
            if isinstance(record, MoveChanged):
                row = MOVE_TRANSITIONS[states[record.step_idx]]
                assert row[record.event] is record.state
                states[record.step_idx] = record.state
        last = records[-1]
        assert isinstance(last, PlanChanged)
        assert last.state is PlanState.FINISHED
        assert set(states.values()) == {MoveState.DONE}
        placement = self.cluster.snapshot().placement
        assert set(placement.values()) == {HOSTS[1]}
        assert all(self.cluster.find_migration(vm_id) is None for vm_id in placement)


def _main(folder: Path, **options: Any) -> None:
    try:
        work(folder, **options)
    except LeaseLostError:
        raise SystemExit(LOST) from None


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    give_up_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_at, "it never came"
        time.sleep(0.005)


def stopped(pid: int) -> bool:
    """Whether a process stands still."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A cluster whose migrations take a moment; no process outlives the test."""
    cluster = FileCluster.create(tmp_path / "cluster", VMS, move_s=0.1, fates={})
    stage = Stage(tmp_path, cluster)
    yield stage
    for process in stage.started:
        if process.is_alive():
            process.kill()
        process.join()


def test_of_processes_started_together_one_acts(stage: Stage) -> None:
    """Every VM is moved once, by the same process, and the others find nothing to do."""
    processes = [stage.start(ttl_s=LONG_S) for _ in range(3)]
    assert [stage.ended(process) for process in processes] == [DONE] * 3
    calls = stage.cluster.calls()
    assert [call.vm_id for call in calls] == list(VMS)
    assert len({call.pid for call in calls}) == 1
    stage.require_truth()


def test_a_process_stopped_beyond_its_lease_starts_nothing_afterwards(stage: Stage) -> None:
    """Its successor carries on with what was under way; continued, it finds its lease lost."""
    first = stage.start(ttl_s=SHORT_S, stop_at="poll")
    wait_for(lambda: stopped(first.pid))
    second = stage.start(ttl_s=SHORT_S)
    assert stage.ended(second) == DONE
    stage.require_truth()
    written = stage.records()
    continued_at_s = boottime_s()
    os.kill(first.pid, signal.SIGCONT)
    assert stage.ended(first) == LOST
    calls = stage.cluster.calls()
    assert [call.vm_id for call in calls] == list(VMS)
    assert [call.pid for call in calls] == [first.pid, second.pid, second.pid]
    assert all(call.at_s < continued_at_s for call in calls)
    assert stage.records() == written


def test_a_process_continued_while_its_successor_works_does_not_interfere(stage: Stage) -> None:
    """Both run at once, and still only the new holder starts and writes."""
    first = stage.start(ttl_s=SHORT_S, stop_at="poll")
    wait_for(lambda: stopped(first.pid))
    second = stage.start(ttl_s=SHORT_S)
    wait_for(lambda: any(call.pid == second.pid for call in stage.cluster.calls()))
    os.kill(first.pid, signal.SIGCONT)
    assert stage.ended(first) == LOST
    assert stage.ended(second) == DONE
    assert [call.pid for call in stage.cluster.calls()] == [first.pid, second.pid, second.pid]
    stage.require_truth()


@pytest.mark.parametrize("where", ["start", "started"])
def test_a_process_stopped_while_it_acts_is_ended_by_its_successor(
    stage: Stage, where: str
) -> None:
    """Nobody can tell whether it will go on: it is killed before anybody else acts."""
    first = stage.start(ttl_s=SHORT_S, stop_at=where)
    wait_for(lambda: stopped(first.pid))
    second = stage.start(ttl_s=SHORT_S)
    assert stage.ended(second) == DONE
    assert stage.ended(first) == -signal.SIGKILL
    calls = stage.cluster.calls()
    assert sorted(call.vm_id for call in calls) == list(VMS)
    assert [call.pid for call in calls].count(first.pid) == (where == "started")
    stage.require_truth()


def test_after_a_kill_another_takes_over_at_once(stage: Stage) -> None:
    """On one machine the dead are known to be dead: nobody waits for the lease to run out."""
    first = stage.start(ttl_s=LONG_S)
    wait_for(stage.cluster.calls)
    first.kill()
    began_s = boottime_s()
    assert stage.ended(stage.start(ttl_s=LONG_S)) == DONE
    assert boottime_s() - began_s < LONG_S / 10
    assert len({call.pid for call in stage.cluster.calls()}) == 2
    stage.require_truth()


def test_killed_at_any_record_the_next_process_closes_the_plan(tmp_path: Path) -> None:
    """Before and after each record, in a plan with a failure to retry and a stall to cancel."""
    seen: set[MoveEvent] = set()
    deaths = 0
    for after in (False, True):
        for number in range(1, 100):
            folder = tmp_path / f"{number}-{after}"
            folder.mkdir()
            fates = {"v1": ["fails"], "v2": ["stalls"]}
            cluster = FileCluster.create(folder / "cluster", VMS[:2], move_s=0.02, fates=fates)
            stage = Stage(folder, cluster)
            first = stage.start(ttl_s=LONG_S, die=killer(number, after=after))
            killed = stage.ended(first) == -signal.SIGKILL
            if killed:
                work(folder, ttl_s=LONG_S)
                deaths += 1
            stage.require_truth()
            seen |= {r.event for r in stage.records() if isinstance(r, MoveChanged)}
            if not killed:
                break
    assert deaths > 20
    assert {MoveEvent.RETRY, MoveEvent.CANCEL, MoveEvent.ARRIVED} <= seen


def killer(number: int, *, after: bool) -> Die:
    """Return what kills its process at the n-th record."""
    left = number

    def die(now_after: bool) -> None:
        nonlocal left
        left -= now_after is after
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return die
