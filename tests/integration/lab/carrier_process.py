"""A process of its own that carries out a plan on the lab, to be killed or stopped at any point.

Run as a program in a folder with a ``task``: it waits for the lease, takes up the plan of the
journal or begins that of the task, and sees it through.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from executor.clock import SystemClock
from executor.engine import Executor
from executor.errors import LeaseHeldError, LeaseLostError
from executor.journal import FileJournal
from executor.kvm.config import KvmConfig
from executor.kvm.driver import KvmDriver
from executor.lease import FileLease
from executor.params import ExecutorParameters
from executor.records import MoveChanged, Record
from executor.states import MoveEvent
from solver.domain.plan import Plan

DONE, LOST = 0, 3
"""How the process ends: nothing left to do; somebody else has the lease."""

END_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """When a process kills itself.

    Parameters
    ----------
    number
        Of the record it dies at, from 1; 0 for any.
    event
        Of the step's record that it dies at; ``None`` for any.
    after
        Whether the record is written before.
    """

    number: int = 0
    event: MoveEvent | None = None
    after: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """All that a process needs to know."""

    config: KvmConfig
    plan: Plan
    params: ExecutorParameters
    ttl_s: float = 600.0
    death: Death | None = None


class MortalJournal(FileJournal):
    """A journal that kills its process just before or after a record is written."""

    death: Death | None = None
    _number = 0

    def append(self, record: Record) -> None:
        """Write, or die."""
        self._number += 1
        dies = self._is_due(record)
        if dies and self.death is not None and not self.death.after:
            os.kill(os.getpid(), signal.SIGKILL)
        super().append(record)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_due(self, record: Record) -> bool:
        if self.death is None or self.death.number not in (0, self._number):
            return False
        event = record.event if isinstance(record, MoveChanged) else None
        return self.death.event in (None, event)


def work(folder: Path, task: Task) -> None:
    """Wait for the lease, take up or begin the plan, and see it through."""
    lease = FileLease(folder / "lease", ttl_s=task.ttl_s)
    while not _acquired(lease):
        time.sleep(0.05)
    with MortalJournal(folder / "journal", lease) as journal:
        journal.death = task.death
        executor = Executor(KvmDriver(task.config), SystemClock(), journal, task.params, lease)
        if not executor.recover() and not journal.read():
            executor.begin(task.plan)
        while executor.active:
            with suppress(LeaseHeldError):
                executor.run_until_done()
    lease.release()


def _acquired(lease: FileLease) -> bool:
    try:
        lease.acquire()
    except LeaseHeldError:
        return False
    return True


@contextmanager
def started(folder: Path, task: Task) -> Iterator[subprocess.Popen[bytes]]:
    """Return a context in which a process works on a task; it does not outlive the context."""
    path = folder / f"task-{time.monotonic_ns()}"
    path.write_bytes(pickle.dumps(task))
    command = (sys.executable, "-m", "tests.integration.lab.carrier_process", str(path))
    process = subprocess.Popen(command, cwd=Path(__file__).parents[3])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def run_to_its_end(folder: Path, task: Task) -> int:
    """Let a process work on a task and return how it ended."""
    with started(folder, task) as process:
        return process.wait(END_TIMEOUT_S)


def main() -> None:
    """Work on the task in a file."""
    path = Path(sys.argv[1])
    try:
        work(path.parent, pickle.loads(path.read_bytes()))
    except LeaseLostError:
        raise SystemExit(LOST) from None


if __name__ == "__main__":
    # Under its own name, by which the task knows its classes.
    from tests.integration.lab import carrier_process

    carrier_process.main()
