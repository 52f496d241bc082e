"""One plan being carried out: where it and its steps stand, every transition written down first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from executor.clock import Clock
from executor.journal import Journal
from executor.records import MoveChanged, PlanChanged
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
    """

    plan_id: str
    plan: Plan
    moves: list[Tracker]
    journal: Journal
    clock: Clock
    state: PlanState = PlanState.NEW
    reason: str = ""
    changed: bool = True
    recheck_at: datetime | None = None

    def in_state(self, *states: MoveState) -> list[Tracker]:
        """Return the steps in any of the states."""
        return [move for move in self.moves if move.state in states]

    def change(self, move: Tracker, event: MoveEvent, reason: str) -> None:
        """Take a step through a transition: written down first, then true.

        Raises
        ------
        IllegalTransitionError
            If its state does not know the event.
        JournalError
            If it could not be written; nothing has changed.
        """
        state = next_move_state(move.state, event)
        now = self.clock.now()
        self.journal.append(
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
        self.journal.append(
            PlanChanged(
                plan_id=self.plan_id, at=self.clock.now(), event=event, state=state, reason=reason
            )
        )
        self.state = state
        self.reason = reason
