"""What the executor tells about the plan it carries out: outcomes, progress, measurements."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from executor.params import OnFailure
from executor.states import MoveState, PlanState
from solver.domain.plan import Step
from solver.domain.units import VmId


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredMove:
    """What one completed migration took, and what it was given; for ``executor.calibration``."""

    footprint_mib: int
    dirty_mib_per_s: int
    bandwidth_mib_per_s: int
    duration_ms: int
    transferred_mib: int
    downtime_ms: int
    iterations: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveOutcome:
    """Where one step of a plan stands, or how it ended.

    Parameters
    ----------
    reason
        Why it is where it is; empty while nothing is worth telling.
    started_at, ended_at
        Of the first try's start and of the end; ``None`` before.
    fraction
        How far its present migration is, 0 to 1.
    transferred_mib, downtime_ms, iterations
        Measured, of the latest try.
    measured
        Of a completed migration, if the driver told everything.
    """

    vm_id: VmId
    step: Step
    state: MoveState
    reason: str
    started_at: datetime | None
    ended_at: datetime | None
    attempts: int
    fraction: float
    transferred_mib: int
    downtime_ms: int | None
    iterations: int | None = None
    measured: MeasuredMove | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionReport:
    """A plan and its steps, in the plan's order.

    Parameters
    ----------
    on_failure
        What the operator wants done if the plan does not do all it was to do.
    """

    plan_id: str
    state: PlanState
    reason: str
    outcomes: tuple[MoveOutcome, ...]
    on_failure: OnFailure = OnFailure.REPLAN

    @property
    def due(self) -> OnFailure | None:
        """What is due now; ``None`` while the plan goes on, and if nothing has to be made good.

        A plan that was aborted counts as failed, a single step that an operator left out does not.
        Where nothing was moved there is nothing to return.
        """
        if self.state not in (PlanState.FINISHED, PlanState.ABORTED):
            return None
        failed = self.in_state(MoveState.FAILED, MoveState.SKIPPED, MoveState.ADRIFT)
        if not failed and self.state is PlanState.FINISHED:
            return None
        if self.on_failure is OnFailure.RETURN and not self.in_state(MoveState.DONE):
            return None
        return self.on_failure

    def in_state(self, *states: MoveState) -> tuple[MoveOutcome, ...]:
        """Return the outcomes in any of the states."""
        return tuple(outcome for outcome in self.outcomes if outcome.state in states)
