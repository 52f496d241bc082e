"""The memory of the engine about one step: its state, and what it needs to follow it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from executor.drivers.base import MigrationHandle, MigrationProgress
from executor.params import ExecutorParameters
from executor.records import MoveChanged
from executor.report import MeasuredMove, MoveOutcome
from executor.states import TERMINAL, UNDER_WAY, MoveState
from solver.domain.cluster import VM
from solver.domain.plan import Step


@dataclass(slots=True, kw_only=True)
class Tracker:
    """One step being carried out.

    Parameters
    ----------
    step
        As planned, later with the bandwidth it was granted.
    due_at
        When it is to be looked at next, if its state has a next look.
    waiting_since
        Since when it has been waiting for room or a host.
    advanced_at
        When the migration was last seen to have sent something.
    confirmed
        Whether the driver itself has told how the migration ended.
    retriable
        Whether another try may help, should the VM be found at its source.
    cancel_sent
        Whether the driver has taken the cancellation.
    can_switch
        Whether it may be switched to post-copy; not once the driver has refused for good.
    unclear_since
        Since when it has been out of sight or unclear where the VM is.
    """

    idx: int
    step: Step
    state: MoveState = MoveState.WAITING
    attempt: int = 0
    handle: MigrationHandle | None = None
    reason: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    due_at: datetime | None = None
    deadline_at: datetime | None = None
    waiting_since: datetime | None = None
    advanced_at: datetime | None = None
    unclear_since: datetime | None = None
    confirmed: bool = False
    retriable: bool = True
    cancel_sent: bool = False
    can_switch: bool = True
    fraction: float = 0.0
    transferred_mib: int = 0
    duration_ms: int | None = None
    downtime_ms: int | None = None
    iterations: int | None = None
    vm: VM | None = None

    @property
    def over(self) -> bool:
        """Whether the step has come to its end."""
        return self.state in TERMINAL

    @property
    def under_way(self) -> bool:
        """Whether its VM may hold memory at both ends."""
        return self.state in UNDER_WAY

    def begin_attempt(self, now: datetime, granted: Step, vm: VM) -> None:
        """Forget the try before, and note what this one starts from."""
        self.step = granted
        self.vm = vm
        self.attempt += 1
        self.handle = None
        self.started_at = self.started_at or now
        self.waiting_since = None
        self.unclear_since = None
        self.confirmed = False
        self.retriable = True
        self.cancel_sent = False
        self.can_switch = True
        self.fraction = 0.0
        self.transferred_mib = 0
        self.duration_ms = None
        self.downtime_ms = None
        self.iterations = None

    def follow_from(self, now: datetime, params: ExecutorParameters) -> None:
        """Set the limits of a migration that is followed from now on."""
        planned_s = (self.step.end_ms - self.step.start_ms) / 1000
        limit_s = max(params.timeout_min_s, params.timeout_factor * planned_s)
        self.deadline_at = now + timedelta(seconds=limit_s)
        self.advanced_at = now
        self.due_at = now

    def note(self, progress: MigrationProgress, now: datetime) -> None:
        """Take over what the driver has measured."""
        if progress.transferred_mib > self.transferred_mib or self.advanced_at is None:
            self.advanced_at = now
        self.fraction = progress.fraction
        self.transferred_mib = progress.transferred_mib
        self.duration_ms = progress.duration_ms
        self.downtime_ms = progress.downtime_ms
        self.iterations = progress.iterations

    def restore(self, record: MoveChanged, started_at: datetime | None) -> None:
        """Take over what the journal remembers."""
        self.state = record.state
        self.attempt = record.attempt
        self.handle = record.handle
        self.reason = record.reason
        self.transferred_mib = record.transferred_mib
        self.duration_ms = record.duration_ms
        self.downtime_ms = record.downtime_ms
        self.iterations = record.iterations
        self.started_at = started_at
        self.ended_at = record.at if self.over else None

    def outcome(self) -> MoveOutcome:
        """Return where the step stands."""
        return MoveOutcome(
            vm_id=self.step.vm_id,
            step=self.step,
            state=self.state,
            reason=self.reason,
            started_at=self.started_at,
            ended_at=self.ended_at,
            attempts=self.attempt,
            fraction=1.0 if self.state is MoveState.DONE else self.fraction,
            transferred_mib=self.transferred_mib,
            downtime_ms=self.downtime_ms,
            iterations=self.iterations,
            measured=self._measured(),
        )

    def _measured(self) -> MeasuredMove | None:
        told = self.duration_ms is not None and self.downtime_ms is not None
        if self.state is not MoveState.DONE or self.vm is None or self.handle is None or not told:
            return None
        assert self.duration_ms is not None
        assert self.downtime_ms is not None
        return MeasuredMove(
            footprint_mib=self.vm.memory_footprint_mib,
            dirty_mib_per_s=self.vm.dirty_mib_per_s,
            bandwidth_mib_per_s=self.step.bandwidth_mib_per_s,
            duration_ms=self.duration_ms,
            transferred_mib=self.transferred_mib,
            downtime_ms=self.downtime_ms,
            iterations=self.iterations,
        )
