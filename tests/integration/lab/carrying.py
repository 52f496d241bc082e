"""Carries out plans on the lab by the real executor and driver, and checks what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executor.clock import SystemClock
from executor.engine import Executor
from executor.journal import FileJournal
from executor.kvm.config import HostConfig, KvmConfig, MigrationConfig
from executor.kvm.driver import KvmDriver
from executor.params import ExecutorParameters
from executor.records import MoveChanged, PlanBegun, PlanChanged, Record, decode
from executor.report import ExecutionReport, MoveOutcome
from executor.states import MOVE_TRANSITIONS, TERMINAL, MoveEvent, MoveState, PlanState
from solver.domain.plan import Plan, Step, StepKind
from solver.domain.units import HostId, VmId
from tests.integration.lab.soundness import assert_sound

if TYPE_CHECKING:
    from tests.integration.lab.hosts import Lab, LabHost

FAST_MIB_PER_S = 200
SLOW_MBIT_PER_S = 8
"""Over such a link a guest of 80 MiB takes a minute: as long as a test needs it under way."""
DEADLINE_S = 60.0
"""Far longer than anything here takes on a quiet machine."""

PARAMS = ExecutorParameters(
    poll_interval_s=0.2,
    recheck_interval_s=0.3,
    backoff_s=0.5,
    backoff_max_s=2.0,
    room_wait_s=DEADLINE_S,
    verify_wait_s=DEADLINE_S,
    timeout_min_s=DEADLINE_S,
    stall_s=DEADLINE_S,
)
"""In a hurry to look and to try again, in none to give up."""


def make_config(
    lab: Lab, *, addresses: Mapping[str, str] | None = None, **migration: Any
) -> KvmConfig:
    """Return the lab's hosts as an operator would configure them.

    :param addresses: at which hosts receive guests, where that is not their own
    :param migration: of ``MigrationConfig``
    """
    hosts = tuple(
        HostConfig(
            id=HostId(host.name),
            uri=host.uri,
            peer_uri=host.peer_uri,
            migration_address=(addresses or {}).get(host.name, host.address),
            memory_mib=1000,
        )
        for host in lab.hosts
    )
    return KvmConfig(hosts=hosts, migration=MigrationConfig(**migration), timeout_s=5.0)


def write_hosts_file(path: Path, hosts: Iterable[LabHost]) -> Path:
    """Write the file by which an operator names hosts; return its path."""
    entries = "".join(
        f'[[hosts]]\nid = "{host.name}"\nuri = "{host.uri}"\npeer_uri = "{host.peer_uri}"\n'
        f'migration_address = "{host.address}"\n'
        for host in hosts
    )
    path.write_text(f'foreswap = "hosts"\nversion = 1\n{entries}', encoding="utf-8")
    return path


def go(
    name: str, source: LabHost, destination: LabHost, *, mib_per_s: int = FAST_MIB_PER_S
) -> Step:
    """Return the step that takes a guest from host to host."""
    return Step(
        kind=StepKind.MIGRATE,
        vm_id=VmId(name),
        source_id=HostId(source.name),
        destination_id=HostId(destination.name),
        start_ms=0,
        end_ms=1000,
        bandwidth_mib_per_s=mib_per_s,
    )


def make_plan(*steps: Step) -> Plan:
    """Return a plan of the steps, made now."""
    timed = (replace(step, start_ms=i, end_ms=i + 1000) for i, step in enumerate(steps))
    return Plan(made_at=datetime.now(UTC), steps=tuple(timed))


class Carrier:
    """An executor with a journal on disk, driven tick by tick, so that faults come between."""

    def __init__(self, config: KvmConfig, journal: FileJournal, params: ExecutorParameters) -> None:
        self._config = config
        self.driver = KvmDriver(config)
        self._journal = journal
        self._params = params
        self.executor = self._new_executor()

    def _new_executor(self) -> Executor:
        return Executor(self.driver, SystemClock(), self._journal, self._params)

    def start_anew(self) -> None:
        """Forget everything but the journal, as a new process does, and recover."""
        self.driver.close()
        self.driver = KvmDriver(self._config)
        self.executor = self._new_executor()
        self.executor.recover()

    def begin(self, *steps: Step) -> None:
        """Take up a plan of the steps."""
        self.executor.begin(make_plan(*steps))

    def until(
        self, holds: Callable[[], bool], what: str, *, deadline_s: float = DEADLINE_S
    ) -> None:
        """Go on with the plan until a condition holds.

        :raises TimeoutError: saying how the plan stands after ``deadline_s``
        """
        give_up_at_s = time.monotonic() + deadline_s
        while not holds():
            if time.monotonic() > give_up_at_s:
                raise TimeoutError(f"not within {deadline_s:g} s: {what}; {self.outcomes()}")
            self.executor.tick()
            time.sleep(0.01)

    def until_state(self, *states: MoveState, idx: int = 0, deadline_s: float = DEADLINE_S) -> None:
        """Go on until a step is in one of the states."""
        wanted = f"step {idx} is one of {states}"
        self.until(lambda: self.outcome(idx).state in states, wanted, deadline_s=deadline_s)

    def until_sent(self, mib: int, *, idx: int = 0) -> None:
        """Go on until a migration is under way and has sent so much."""
        self.until(lambda: self.outcome(idx).transferred_mib >= mib, f"step {idx} sent {mib} MiB")
        assert self.outcome(idx).state is MoveState.RUNNING

    def finish(self, *, deadline_s: float = DEADLINE_S) -> ExecutionReport:
        """Go on until the plan is over."""
        self.until(lambda: not self.executor.active, "the plan is over", deadline_s=deadline_s)
        return self.executor.report()

    def outcome(self, idx: int = 0) -> MoveOutcome:
        """Return where a step stands."""
        return self.outcomes()[idx]

    def outcomes(self) -> tuple[MoveOutcome, ...]:
        """Return where the steps stand."""
        return self.executor.report().outcomes

    def records(self) -> tuple[Record, ...]:
        """Return what stands in the journal."""
        return self._journal.read()


@contextmanager
def carrying(
    lab: Lab,
    folder: Path,
    *,
    params: ExecutorParameters = PARAMS,
    **settings: Any,
) -> Iterator[Carrier]:
    """Return a context with an executor on the lab.

    :param folder: of the journal
    :param settings: of ``make_config``
    """
    with FileJournal(folder / "journal") as journal:
        carrier = Carrier(make_config(lab, **settings), journal, params)
        try:
            yield carrier
        finally:
            carrier.driver.close()


@contextmanager
def on_its_way(lab: Lab, folder: Path, **settings: Any) -> Iterator[Carrier]:
    """Return a context in which ``vm1`` is on its way from the first host to the second.

    The first host's link is slow, and a little has been sent.

    :param settings: of ``carrying``
    """
    source, destination, *_ = lab.hosts
    lab.start_guest("vm1", source).wait_ticking()
    source.slow_link(SLOW_MBIT_PER_S)
    with carrying(lab, folder, **settings) as carrier:
        carrier.begin(go("vm1", source, destination))
        carrier.until_sent(2)
        yield carrier


def read_journal(path: Path) -> tuple[Record, ...]:
    """Return the records of a journal that another process may have open."""
    whole_lines = path.read_text(encoding="ascii").rpartition("\n")[0]
    return tuple(decode(line) for line in whole_lines.splitlines())


def assert_well_ended(
    lab: Lab,
    records: tuple[Record, ...],
    expected: Mapping[str, str],
    *,
    others_did: Collection[str] = (),
) -> None:
    """Check that no guest came to harm, and that the journal says what is so.

    :param expected: host name of each guest that should run
    :param others_did: guests that somebody else moved or ended: of them the journal must say no
        more than that the plan did not
    """
    assert_sound(lab, expected)
    states, plan = closed_plan(records)
    told: dict[str, str] = {}
    for step, state in zip(plan.steps, states, strict=True):
        told.setdefault(step.vm_id, str(step.source_id))
        if state is MoveState.DONE:
            assert step.vm_id not in others_did
            told[step.vm_id] = step.destination_id
    for name in others_did:
        del told[name]
    assert told == {name: host for name, host in expected.items() if name in told}


def events(records: tuple[Record, ...]) -> list[MoveEvent]:
    """Return what happened to the steps of a plan, in order."""
    return [record.event for record in records if isinstance(record, MoveChanged)]


def closed_plan(records: tuple[Record, ...]) -> tuple[list[MoveState], Plan]:
    """Return where the journal's only plan ended, which it did, after legal transitions alone."""
    begun, *changes = records
    assert isinstance(begun, PlanBegun)
    states = [MoveState.WAITING] * len(begun.plan.steps)
    for record in changes:
        if isinstance(record, MoveChanged):
            assert MOVE_TRANSITIONS[states[record.step_idx]][record.event] is record.state
            states[record.step_idx] = record.state
    assert isinstance(changes[-1], PlanChanged)
    assert changes[-1].state in (PlanState.FINISHED, PlanState.ABORTED)
    assert set(states) <= TERMINAL - {MoveState.ADRIFT}
    return states, begun.plan
