"""One plan being carried out: where it and its steps stand, every transition written down first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from executor.clock import Clock
from executor.errors import LeaseLostError
from executor.journal import Journal
from executor.lease import Lease
from executor.params import OnFailure
from executor.records import MoveChanged, PlanChanged, Record
from executor.states import (
    MoveEvent,
    MoveState,
    PlanEvent,
    PlanState,
    next_move_state,
    next_plan_state,
)
from executor.tracker import Tracker
from solver.domain.plan import Plan


@dataclass(slots=True, kw_only=True)
class Run:
    """A plan and its steps.

    Parameters
    ----------
    moves
        The plan's steps in its order.
    changed
        Whether something happened since the waiting steps were judged last.
    recheck_at
        When they are to be judged again though nothing happened.
    lease, token
        What gives the right to act, and the token under which the plan was taken up.
    on_failure
        What is due if the plan does not do all it is to do.
    cancel_running
        Whether a stop cancels what is under way, or is found to be later.
    lost
        Whether that right was lost: then another process goes on with the plan.
    """

    plan_id: str
    plan: Plan
    moves: list[Tracker]
    journal: Journal
    clock: Clock
    lease: Lease | None = None
    token: int | None = None
    on_failure: OnFailure = OnFailure.REPLAN
    cancel_running: bool = False
    lost: bool = False
    state: PlanState = PlanState.NEW
    reason: str = ""
    changed: bool = True
    recheck_at: datetime | None = None

    def in_state(self, *states: MoveState) -> list[Tracker]:
        """Return the steps in any of the states."""
        return [move for move in self.moves if move.state in states]

    @contextmanager
    def fenced(self) -> Iterator[None]:
        """Return a context in which nobody else acts; whatever acts or writes does so inside.

        Raises
        ------
        LeaseLostError
            If the right to act was lost since the plan was taken up; nothing inside was run.
        """
        if self.lease is None:
            yield
            return
        try:
            with self.lease.guard() as token:
                if token != self.token:
                    raise LeaseLostError(
                        f"plan {self.plan_id!r} was taken up under token {self.token}, "
                        f"and the lease was lost since: its token is {token}"
                    )
                yield
        except LeaseLostError:
            self.lost = True
            raise

    def change(self, move: Tracker, event: MoveEvent, reason: str) -> None:
        """Take a step through a transition: written down first, then true.

        Raises
        ------
        IllegalTransitionError
            If its state does not know the event.
        JournalError
            If it could not be written; nothing has changed.
        LeaseLostError
            If the right to act was lost; nothing has changed.
        """
        state = next_move_state(move.state, event)
        now = self.clock.now()
        self._write(
            MoveChanged(
                plan_id=self.plan_id,
                at=now,
                step_idx=move.idx,
                event=event,
                state=state,
                attempt=move.attempt,
                handle=move.handle,
                reason=reason,
                transferred_mib=move.transferred_mib,
                duration_ms=move.duration_ms,
                downtime_ms=move.downtime_ms,
                iterations=move.iterations,
                token=self.token,
            )
        )
        move.state = state
        move.reason = reason
        if state is MoveState.VERIFYING:
            move.unclear_since = None
        if move.over:
            move.ended_at = now
            move.due_at = None
        # A step that has ended, or waits again, may let others go.
        self.changed |= move.over or state in (MoveState.WAITING, MoveState.BACKING_OFF)

    def change_plan(self, event: PlanEvent, reason: str) -> None:
        """Take the plan through a transition, in the same way."""
        state = next_plan_state(self.state, event)
        self._write(
            PlanChanged(
                plan_id=self.plan_id,
                at=self.clock.now(),
                event=event,
                state=state,
                reason=reason,
                token=self.token,
            )
        )
        self.state = state
        self.reason = reason

    def _write(self, record: Record) -> None:
        with self.fenced():
            self.journal.append(record)
