"""Starts the steps that may start now, and gives up those that never will."""

from __future__ import annotations

from datetime import timedelta

from executor.admission import Admission
from executor.clock import Clock
from executor.drivers.base import Driver, MigrationHandle
from executor.following import Following
from executor.guards import Decision
from executor.params import ExecutorParameters
from executor.run import Run
from executor.states import UNDER_WAY, MoveEvent, MoveState
from executor.tracker import Tracker
from solver.domain.cluster import Cluster
from solver.domain.errors import ExecutionError, TemporaryError
from solver.domain.plan import Step, StepKind


class Starting:
    """Judges the waiting steps of a plan."""

    def __init__(
        self, driver: Driver, clock: Clock, params: ExecutorParameters, following: Following
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._params = params
        self._following = following

    def start_what_may(self, run: Run) -> None:
        """Judge the waiting steps in order and start those that may; end a deadlock."""
        now = self._clock.now()
        due = run.changed or run.recheck_at is None or run.recheck_at <= now
        while due and run.in_state(MoveState.WAITING):
            run.changed = False
            run.recheck_at = now + timedelta(seconds=self._params.recheck_interval_s)
            try:
                cluster = self._driver.snapshot()
            except TemporaryError as error:
                run.recheck_at = now + timedelta(seconds=error.delay_s)
                return
            stuck = self._judge_waiting(run, cluster)
            at_work = run.in_state(MoveState.UNAPPROVED, MoveState.BACKING_OFF, *UNDER_WAY)
            due = stuck is not None and not at_work
            if due and stuck is not None:
                reason = f"nothing in the plan makes room: {stuck.reason}"
                run.change(stuck, MoveEvent.SKIP, reason)

    def _judge_waiting(self, run: Run, cluster: Cluster) -> Tracker | None:
        """Start or skip waiting steps; return the first that only the plan itself could help."""
        waiting = run.in_state(MoveState.WAITING, MoveState.UNAPPROVED)
        admission = Admission(
            cluster,
            under_way=[move.step for move in run.in_state(*UNDER_WAY)],
            pausing=[move.step for move in run.in_state(MoveState.BACKING_OFF)],
            waiting=[move.step for move in waiting],
        )
        stuck: Tracker | None = None
        hopeful = False
        for move in waiting:
            if move.state is MoveState.UNAPPROVED:
                admission.pass_over(move.step)
                continue
            verdict, granted = admission.judge(move.step)
            if verdict.decision is Decision.PROCEED:
                move.begin_attempt(self._clock.now(), granted, admission.vm(granted.vm_id))
                self._start(run, move)
                hopeful = True
            elif verdict.decision is Decision.SKIP:
                run.change(move, MoveEvent.SKIP, verdict.reason)
                hopeful = True
            elif verdict.decision is Decision.WAIT_FOR_SLOT:
                stuck = stuck or move
            else:
                move.reason = verdict.reason
                hopeful |= verdict.decision is Decision.WAIT_FOR_HOST
                if self._waited_too_long(run, move):
                    hopeful = True
                else:
                    stuck = stuck or move
        return None if hopeful else stuck

    def _waited_too_long(self, run: Run, move: Tracker) -> bool:
        """Skip a step that has waited long enough for room or a host; return whether it has.

        While an operator is asked about others, which may make that room, nobody is in a hurry.
        """
        now = self._clock.now()
        if run.in_state(MoveState.UNAPPROVED):
            move.waiting_since = None
            return False
        move.waiting_since = move.waiting_since or now
        waited_s = (now - move.waiting_since).total_seconds()
        if waited_s < self._params.room_wait_s:
            return False
        reason = f"waited {waited_s:.0f} s in vain: {move.reason}"
        run.change(move, MoveEvent.SKIP, reason)
        return True

    def _start(self, run: Run, move: Tracker) -> None:
        with run.fenced():
            run.change(move, MoveEvent.START, "")
            # Should the answer not be written down, reality is asked.
            move.due_at = self._clock.now()
            try:
                move.handle = self._ask(move.step)
            except TemporaryError as error:
                self._defer(run, move, error)
            except ExecutionError as error:
                run.change(move, MoveEvent.REFUSED, str(error))
            else:
                move.follow_from(self._clock.now(), self._params)
                # A VM that was started runs already, which is seen at once.
                move.confirmed = move.handle is None
                event = MoveEvent.ENDED if move.confirmed else MoveEvent.ACCEPTED
                run.change(move, event, "")
        if move.state is MoveState.VERIFYING:
            self._following.follow(run, move)
        elif move.state is MoveState.RUNNING:
            self._following.look_again(move)

    def _ask(self, step: Step) -> MigrationHandle | None:
        if step.kind is StepKind.START:
            self._driver.start_vm(step.vm_id, step.destination_id)
            return None
        return self._driver.start_migration(
            step.vm_id, step.destination_id, bandwidth_mib_per_s=step.bandwidth_mib_per_s
        )

    def _defer(self, run: Run, move: Tracker, error: TemporaryError) -> None:
        """Back off after a refusal that may pass, or give up after the last try."""
        pause_s = self._params.pause_s(move.attempt, error.delay_s)
        move.due_at = self._clock.now() + timedelta(seconds=pause_s)
        run.change(move, MoveEvent.DEFERRED, str(error))
        if move.attempt >= self._params.max_attempts:
            run.change(move, MoveEvent.GIVE_UP, f"refused {move.attempt} times: {error}")
