"""Follows what is under way: progress, limits of time, cancelling, the switch to post-copy."""

from __future__ import annotations

from datetime import timedelta

from executor.clock import Clock
from executor.concluding import Concluding
from executor.drivers.base import Driver, MigrationProgress, MigrationState
from executor.params import ExecutorParameters, OnTimeout
from executor.run import Run
from executor.states import MoveEvent, MoveState, PlanState
from executor.tracker import Tracker
from solver.domain.errors import PermanentError, StaleClusterError, TemporaryError


class Following:
    """Looks at the migrations that are due."""

    def __init__(self, driver: Driver, clock: Clock, params: ExecutorParameters) -> None:
        self._driver = driver
        self._clock = clock
        self._params = params
        self._concluding = Concluding(driver, clock, params)

    def follow(self, run: Run, move: Tracker) -> None:
        """Look at a step under way, and verify it once it is over."""
        if move.state is MoveState.STARTING:
            # The answer of the driver could not be written down: reality has it all the same.
            run.change(move, MoveEvent.ENDED, "interrupted while it was being started")
        if move.state in (MoveState.RUNNING, MoveState.CANCELLING, MoveState.POST_COPY):
            self._poll(run, move)
        if move.state is MoveState.VERIFYING:
            self._concluding.verify(run, move)
        if move.under_way:
            self.look_again(move)

    def _poll(self, run: Run, move: Tracker) -> None:
        now = self._clock.now()
        if move.handle is None:
            run.change(move, MoveEvent.ENDED, "its handle was not remembered")
            return
        progress = self._driver.poll(move.handle)
        if progress.state is MigrationState.UNKNOWN:
            move.unclear_since = move.unclear_since or now
            if self._concluding.unclear_for_too_long(move) or self._forgotten(move):
                run.change(move, MoveEvent.ENDED, progress.reason)
            return
        move.unclear_since = None
        move.note(progress, now)
        if progress.state is not MigrationState.RUNNING:
            self._note_end(move, progress)
            run.change(move, MoveEvent.ENDED, move.reason)
        elif progress.post_copy:
            if move.state is not MoveState.POST_COPY:
                run.change(move, MoveEvent.SWITCH, "it was found in post-copy")
        elif move.state is MoveState.POST_COPY:
            with run.fenced():
                self._send_switch(run, move)
        elif move.state is MoveState.CANCELLING:
            with run.fenced():
                self._send_cancel(move)
        else:
            self._enforce_limits(run, move)

    def _forgotten(self, move: Tracker) -> bool:
        """Whether the source answers, and knows nothing of the migration any more."""
        try:
            found = self._driver.find_migration(move.step.vm_id)
        except TemporaryError:
            return False
        return found is None or found.handle != move.handle

    def _note_end(self, move: Tracker, progress: MigrationProgress) -> None:
        move.confirmed = True
        if progress.state is MigrationState.COMPLETED:
            move.reason = ""
        elif move.state is not MoveState.CANCELLING:
            move.reason = progress.reason
            move.retriable = progress.temporary

    def _enforce_limits(self, run: Run, move: Tracker) -> None:
        """Switch or cancel a migration that lasts too long, cancel one that sends nothing."""
        now = self._clock.now()
        if run.cancel_running and run.state is PlanState.STOPPING:
            self.cancel(run, move, run.reason, retriable=False)
            return
        assert move.deadline_at is not None
        assert move.advanced_at is not None
        silent_s = (now - move.advanced_at).total_seconds()
        if silent_s >= self._params.stall_s:
            self.cancel(run, move, f"it sent nothing for {silent_s:.0f} s", retriable=True)
        elif now >= move.deadline_at:
            if self._may_switch(move):
                with run.fenced():
                    run.change(move, MoveEvent.SWITCH, "it lasted too long")
                    self._send_switch(run, move)
            else:
                self.cancel(run, move, "it lasted too long", retriable=True)

    def _may_switch(self, move: Tracker) -> bool:
        wanted = self._params.on_timeout is OnTimeout.POST_COPY and move.can_switch
        return wanted and self._driver.capabilities().can_post_copy

    def _send_switch(self, run: Run, move: Tracker) -> None:
        """Ask the driver to switch; what it refuses for now is followed on and asked for later."""
        assert move.handle is not None
        try:
            self._driver.switch_to_post_copy(move.handle)
        except TemporaryError as error:
            move.deadline_at = self._clock.now() + timedelta(seconds=error.delay_s)
            run.change(move, MoveEvent.NOT_SWITCHED, f"not switched yet: {error}")
        except (PermanentError, StaleClusterError) as error:
            move.can_switch = False
            run.change(move, MoveEvent.NOT_SWITCHED, f"cannot be switched: {error}")

    def cancel(self, run: Run, move: Tracker, reason: str, *, retriable: bool) -> None:
        """Cancel a running migration if the driver can."""
        if not self._driver.capabilities().can_cancel:
            return
        move.retriable = retriable
        with run.fenced():
            run.change(move, MoveEvent.CANCEL, reason)
            self._send_cancel(move)
        move.due_at = self._clock.now()

    def _send_cancel(self, move: Tracker) -> None:
        """Ask the driver to cancel; a source that does not answer is asked again next time."""
        if move.cancel_sent or move.handle is None:
            return
        try:
            self._driver.cancel(move.handle)
            move.cancel_sent = True
        except (TemporaryError, StaleClusterError) as error:
            move.reason = f"{move.reason}; not cancelled yet: {error}"
        except PermanentError as error:
            move.cancel_sent = True
            move.reason = f"{move.reason}; cannot be cancelled: {error}"

    def look_again(self, move: Tracker) -> None:
        """Come back to a step at the next look."""
        move.due_at = self._clock.now() + timedelta(seconds=self._params.poll_interval_s)
