"""Carries out a plan: states, driver, clock and journal put together.

The engine never blocks: ``tick`` looks at whatever is due, starts whatever may start, and returns;
``next_event_at`` says when to come back. So the caller owns time, and the same engine runs in a
service, in a replay at a thousand times the speed of life, and in a test that kills it anywhere.

Every transition is written to the journal before it is acted on. After a crash ``recover`` reads
the journal and then believes only what the driver shows: where VMs really are.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, count

from executor.admission import Admission
from executor.clock import Clock
from executor.drivers.base import (
    Driver,
    MigrationProgress,
    MigrationState,
    MigrationUnderWay,
)
from executor.errors import BusyError
from executor.guards import Decision
from executor.journal import Journal, unfinished_plan
from executor.params import ExecutorParameters, OnTimeout
from executor.records import MoveChanged, PlanBegun, PlanChanged
from executor.report import ExecutionReport
from executor.states import (
    MoveEvent,
    MoveState,
    PlanEvent,
    PlanState,
    next_move_state,
    next_plan_state,
)
from executor.tracker import Tracker
from solver.domain.cluster import Cluster
from solver.domain.errors import (
    ExecutionError,
    InvalidInputError,
    PermanentError,
    StaleClusterError,
    TemporaryError,
)
from solver.domain.plan import Plan, StepKind
from solver.domain.units import HostId


@dataclass(slots=True, kw_only=True)
class _Run:
    """The plan being carried out."""

    plan_id: str
    plan: Plan
    moves: list[Tracker]
    state: PlanState = PlanState.NEW
    reason: str = ""
    changed: bool = True
    """Whether something happened since the waiting steps were judged last."""
    recheck_at: datetime | None = None


class Executor:
    """Carries out one plan at a time.

    Parameters
    ----------
    driver
        The hypervisors.
    clock
        Owns time; the driver must live by the same clock if it is simulated.
    journal
        Remembers; one executor per journal.
    params
        Settings.
    """

    def __init__(
        self,
        driver: Driver,
        clock: Clock,
        journal: Journal,
        params: ExecutorParameters | None = None,
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._journal = journal
        self._params = params or ExecutorParameters()
        self._run: _Run | None = None

    # What callers use -----------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether a plan is being carried out."""
        return self._run is not None and self._run.state in (
            PlanState.RUNNING,
            PlanState.STOPPING,
        )

    @property
    def next_event_at(self) -> datetime | None:
        """When ``tick`` has something to do next; ``None`` when nothing is left to do."""
        run = self._run
        if run is None or not self.active:
            return None
        now = self._clock.now()
        waiting = any(move.state is MoveState.WAITING for move in run.moves)
        if run.changed and waiting:
            return now
        instants = [
            move.due_at
            for move in run.moves
            if move.due_at is not None and (move.under_way or move.state is MoveState.BACKING_OFF)
        ]
        if waiting and run.recheck_at is not None:
            instants.append(run.recheck_at)
        return max(now, min(instants)) if instants else now

    def begin(self, plan: Plan, *, plan_id: str | None = None) -> str:
        """Accept a plan and return its id; nothing is started before the next ``tick``.

        Raises
        ------
        BusyError
            If another plan is still being carried out, here or by the journal.
        InvalidInputError
            If the journal already knows the id.
        """
        if self._run is not None and self.active:
            raise BusyError(f"plan {self._run.plan_id!r} is still being carried out")
        records = self._journal.read()
        unfinished = unfinished_plan(records)
        if unfinished is not None:
            raise BusyError(f"plan {unfinished.begun.plan_id!r} has to be recovered first")
        known = {record.plan_id for record in records}
        chosen = plan_id or _new_id(plan, known)
        if chosen in known:
            raise InvalidInputError(f"plan {chosen!r} was carried out already", path="plan_id")
        now = self._clock.now()
        self._journal.append(PlanBegun(plan_id=chosen, at=now, plan=plan))
        moves = [Tracker(idx=i, step=step) for i, step in enumerate(plan.steps)]
        self._run = _Run(plan_id=chosen, plan=plan, moves=moves)
        self._run.state = next_plan_state(self._run.state, PlanEvent.BEGIN)
        return chosen

    def tick(self) -> None:
        """Do everything that is due now and return at once.

        Raises
        ------
        JournalError
            If a transition could not be written: it was not acted on, and nothing may go on
            before the journal can be written again.
        """
        run = self._run
        if run is None or not self.active:
            return
        now = self._clock.now()
        for move in run.moves:
            if move.due_at is not None and move.due_at <= now:
                if move.under_way:
                    self._follow(run, move)
                elif move.state is MoveState.BACKING_OFF:
                    move.due_at = None
                    self._change(run, move, MoveEvent.RETRY, move.reason)
        if run.state is PlanState.RUNNING:
            self._start_what_may(run)
        if all(move.over for move in run.moves):
            self._change_plan(run, PlanEvent.SETTLE, run.reason)

    def run_until_done(self, plan: Plan | None = None) -> ExecutionReport:
        """Carry out ``plan``, or what is under way, to its end; sleeps on the clock.

        Raises
        ------
        BusyError
            If a plan is given while another is being carried out.
        InvalidInputError
            If there is no plan at all.
        """
        if plan is not None:
            self.begin(plan)
        while self.active:
            self.tick()
            next_at = self.next_event_at
            if next_at is not None:
                self._clock.sleep_until(next_at)
        return self.report()

    def abort(self, reason: str, *, cancel_running: bool = True) -> None:
        """Start nothing more; cancel what is under way unless told to let it finish.

        The plan is over once everything has come to rest: keep ticking until then. Without a plan
        under way nothing happens.
        """
        run = self._run
        if run is None or not self.active:
            return
        if run.state is PlanState.RUNNING:
            self._change_plan(run, PlanEvent.STOP, reason)
        for move in run.moves:
            if move.state in (MoveState.WAITING, MoveState.BACKING_OFF):
                self._change(run, move, MoveEvent.ABORT, reason)
            elif cancel_running and move.state is MoveState.RUNNING and self._can_cancel():
                self._cancel(run, move, reason, retriable=False)
        run.changed = True

    def recover(self, *, resume: bool = True) -> bool:
        """Take up the plan that a crash interrupted; return whether there is one.

        Nothing is believed but what the driver shows: migrations still under way are followed on,
        ended ones are verified at both ends, and steps that had not begun are checked as any step
        is before it starts.

        Parameters
        ----------
        resume
            Whether steps that had not begun are still wanted; otherwise they are aborted.

        Raises
        ------
        BusyError
            If a plan is being carried out.
        JournalError
            If the journal is damaged.
        """
        if self._run is not None and self.active:
            raise BusyError(f"plan {self._run.plan_id!r} is still being carried out")
        found = unfinished_plan(self._journal.read())
        if found is None:
            return False
        plan = found.begun.plan
        run = _Run(
            plan_id=found.begun.plan_id,
            plan=plan,
            moves=[Tracker(idx=i, step=step) for i, step in enumerate(plan.steps)],
            state=found.state,
            reason=found.reason,
        )
        self._run = run
        now = self._clock.now()
        for idx, record in found.moves.items():
            run.moves[idx].restore(record, found.started_at.get(idx))
        for move in run.moves:
            if move.state is MoveState.STARTING:
                self._change(run, move, MoveEvent.ENDED, "interrupted while it was being started")
            if move.under_way:
                move.follow_from(now, self._params)
            elif move.state is MoveState.BACKING_OFF:
                move.due_at = now
        if run.state is PlanState.STOPPING or not resume:
            self.abort("not resumed after an interruption", cancel_running=False)
        return True

    def report(self) -> ExecutionReport:
        """Return where the plan and its steps stand.

        Raises
        ------
        InvalidInputError
            If no plan was ever begun.
        """
        if self._run is None:
            raise InvalidInputError("no plan was begun")
        return ExecutionReport(
            plan_id=self._run.plan_id,
            state=self._run.state,
            reason=self._run.reason,
            outcomes=tuple(move.outcome() for move in self._run.moves),
        )

    # Starting -------------------------------------------------------------------------------

    def _start_what_may(self, run: _Run) -> None:
        """Judge the waiting steps in order and start those that may; end a deadlock."""
        now = self._clock.now()
        due = run.changed or run.recheck_at is None or run.recheck_at <= now
        while due and any(move.state is MoveState.WAITING for move in run.moves):
            run.changed = False
            run.recheck_at = now + timedelta(seconds=self._params.recheck_interval_s)
            try:
                cluster = self._driver.snapshot()
            except TemporaryError as error:
                run.recheck_at = now + timedelta(seconds=error.delay_s)
                return
            stuck = self._judge_waiting(run, cluster)
            at_work = any(
                move.under_way or move.state is MoveState.BACKING_OFF for move in run.moves
            )
            due = stuck is not None and not at_work
            if due and stuck is not None:
                reason = f"nothing in the plan makes room: {stuck.reason}"
                self._change(run, stuck, MoveEvent.SKIP, reason)

    def _judge_waiting(self, run: _Run, cluster: Cluster) -> Tracker | None:
        """Start or skip waiting steps; return the first that only the plan itself could help."""
        waiting = [move for move in run.moves if move.state is MoveState.WAITING]
        admission = Admission(
            cluster,
            under_way=[move.step for move in run.moves if move.under_way],
            pausing=[m.step for m in run.moves if m.state is MoveState.BACKING_OFF],
            waiting=[move.step for move in waiting],
        )
        stuck: Tracker | None = None
        hopeful = False
        for move in waiting:
            verdict, granted = admission.judge(move.step)
            if verdict.decision is Decision.PROCEED:
                move.begin_attempt(self._clock.now(), granted, admission.vm(granted.vm_id))
                self._start(run, move)
                hopeful = True
            elif verdict.decision is Decision.SKIP:
                self._change(run, move, MoveEvent.SKIP, verdict.reason)
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

    def _waited_too_long(self, run: _Run, move: Tracker) -> bool:
        """Skip a step that has waited long enough for room or a host; return whether it has."""
        now = self._clock.now()
        move.waiting_since = move.waiting_since or now
        waited_s = (now - move.waiting_since).total_seconds()
        if waited_s < self._params.room_wait_s:
            return False
        reason = f"waited {waited_s:.0f} s in vain: {move.reason}"
        self._change(run, move, MoveEvent.SKIP, reason)
        return True

    def _start(self, run: _Run, move: Tracker) -> None:
        self._change(run, move, MoveEvent.START, "")
        step = move.step
        try:
            if step.kind is StepKind.START:
                self._driver.start_vm(step.vm_id, step.destination_id)
            else:
                move.handle = self._driver.start_migration(
                    step.vm_id,
                    step.destination_id,
                    bandwidth_mib_per_s=step.bandwidth_mib_per_s,
                )
        except TemporaryError as error:
            self._defer(run, move, error)
        except ExecutionError as error:
            self._change(run, move, MoveEvent.REFUSED, str(error))
        else:
            move.follow_from(self._clock.now(), self._params)
            started = step.kind is StepKind.START
            move.confirmed = started
            self._change(run, move, MoveEvent.ENDED if started else MoveEvent.ACCEPTED, "")
            if started:
                self._follow(run, move)
            else:
                self._look_again(move)

    def _defer(self, run: _Run, move: Tracker, error: TemporaryError) -> None:
        """Back off after a refusal that may pass, or give up after the last try."""
        pause_s = self._params.pause_s(move.attempt, error.delay_s)
        move.due_at = self._clock.now() + timedelta(seconds=pause_s)
        self._change(run, move, MoveEvent.DEFERRED, str(error))
        if move.attempt >= self._params.max_attempts:
            self._change(run, move, MoveEvent.GIVE_UP, f"refused {move.attempt} times: {error}")

    # Following ------------------------------------------------------------------------------

    def _follow(self, run: _Run, move: Tracker) -> None:
        if move.state is MoveState.STARTING:
            # The answer of the driver could not be written down: reality has it all the same.
            self._change(run, move, MoveEvent.ENDED, "interrupted while it was being started")
        if move.state in (MoveState.RUNNING, MoveState.CANCELLING, MoveState.POST_COPY):
            self._poll(run, move)
        if move.state is MoveState.VERIFYING:
            self._verify(run, move)
        if move.under_way:
            self._look_again(move)

    def _poll(self, run: _Run, move: Tracker) -> None:
        now = self._clock.now()
        if move.handle is None:
            self._change(run, move, MoveEvent.ENDED, "its handle was not remembered")
            return
        progress = self._driver.poll(move.handle)
        if progress.state is MigrationState.UNKNOWN:
            move.unclear_since = move.unclear_since or now
            if self._unclear_for_too_long(move) or self._forgotten(move):
                self._change(run, move, MoveEvent.ENDED, progress.reason)
            return
        move.unclear_since = None
        move.note(progress, now)
        if progress.state is not MigrationState.RUNNING:
            self._note_end(move, progress)
            self._change(run, move, MoveEvent.ENDED, move.reason)
        elif progress.post_copy:
            if move.state is not MoveState.POST_COPY:
                self._change(run, move, MoveEvent.SWITCH, "it was found in post-copy")
        elif move.state is MoveState.POST_COPY:
            self._send_switch(run, move)
        elif move.state is MoveState.CANCELLING:
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

    def _enforce_limits(self, run: _Run, move: Tracker) -> None:
        """Switch or cancel a migration that lasts too long, cancel one that sends nothing."""
        now = self._clock.now()
        assert move.deadline_at is not None
        assert move.advanced_at is not None
        silent_s = (now - move.advanced_at).total_seconds()
        if silent_s >= self._params.stall_s:
            if self._can_cancel():
                self._cancel(run, move, f"it sent nothing for {silent_s:.0f} s", retriable=True)
        elif now >= move.deadline_at:
            if self._may_switch(move):
                self._change(run, move, MoveEvent.SWITCH, "it lasted too long")
                self._send_switch(run, move)
            elif self._can_cancel():
                self._cancel(run, move, "it lasted too long", retriable=True)

    def _may_switch(self, move: Tracker) -> bool:
        wanted = self._params.on_timeout is OnTimeout.POST_COPY and move.can_switch
        return wanted and self._driver.capabilities().can_post_copy

    def _send_switch(self, run: _Run, move: Tracker) -> None:
        """Ask the driver to switch; what it refuses for now is followed on and asked for later."""
        assert move.handle is not None
        try:
            self._driver.switch_to_post_copy(move.handle)
        except TemporaryError as error:
            move.deadline_at = self._clock.now() + timedelta(seconds=error.delay_s)
            self._change(run, move, MoveEvent.NOT_SWITCHED, f"not switched yet: {error}")
        except (PermanentError, StaleClusterError) as error:
            move.can_switch = False
            self._change(run, move, MoveEvent.NOT_SWITCHED, f"cannot be switched: {error}")

    def _cancel(self, run: _Run, move: Tracker, reason: str, *, retriable: bool) -> None:
        move.retriable = retriable
        self._change(run, move, MoveEvent.CANCEL, reason)
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

    def _verify(self, run: _Run, move: Tracker) -> None:
        """Decide by where the VM really runs."""
        move.unclear_since = move.unclear_since or self._clock.now()
        try:
            if not move.confirmed and self._found_under_way(run, move):
                return
            self._conclude(run, move)
        except TemporaryError as error:
            if self._unclear_for_too_long(move):
                self._change(run, move, MoveEvent.LOSE, f"cannot be verified: {error}")

    def _found_under_way(self, run: _Run, move: Tracker) -> bool:
        """Follow on a migration of the VM that is under way, or leave it to whoever began it."""
        found = self._driver.find_migration(move.step.vm_id)
        if found is None:
            return False
        if not _is_own(move, found):
            return self._left_to_others(run, move, found)
        move.handle = found.handle
        move.unclear_since = None
        move.cancel_sent = False
        move.follow_from(self._clock.now(), self._params)
        self._change(run, move, MoveEvent.FOUND_UNDER_WAY, "found under way")
        return True

    def _left_to_others(self, run: _Run, move: Tracker, found: MigrationUnderWay) -> bool:
        """Give up a step whose VM somebody else moves, unless it had arrived before."""
        destination_id = move.step.destination_id
        if self._driver.locate(move.step.vm_id, (destination_id,)):
            return False
        reason = f"somebody else moves it to {found.destination_id!r}"
        self._change(run, move, MoveEvent.GIVE_UP, reason)
        return True

    def _conclude(self, run: _Run, move: Tracker) -> None:
        step = move.step
        ends = tuple(end for end in (step.source_id, step.destination_id) if end is not None)
        found = self._driver.locate(step.vm_id, ends)
        if found == (step.destination_id,):
            self._change(run, move, MoveEvent.ARRIVED, "")
        elif step.source_id is not None and found == (step.source_id,):
            self._back_at_source(run, move)
        elif found:
            self._lose_in_time(run, move, f"runs on {_names(found)} at once")
        else:
            self._conclude_missing(run, move)

    def _conclude_missing(self, run: _Run, move: Tracker) -> None:
        """Tell apart what runs at neither end: moved by others, ended by its owner, or lost."""
        step = move.step
        elsewhere = self._driver.locate(step.vm_id)
        if len(elsewhere) == 1:
            self._change(
                run, move, MoveEvent.GIVE_UP, f"somebody else moved it to {elsewhere[0]!r}"
            )
            return
        vm = next((vm for vm in self._driver.snapshot().vms if vm.id == step.vm_id), None)
        if step.kind is StepKind.START and vm is not None and vm.host_id is None:
            self._back_at_source(run, move)
        elif move.confirmed and not move.retriable and (vm is None or not vm.migratable):
            self._change(run, move, MoveEvent.GIVE_UP, move.reason)
        else:
            told = f" ({move.reason})" if move.reason else ""
            self._lose_in_time(run, move, f"runs nowhere{told}")

    def _back_at_source(self, run: _Run, move: Tracker) -> None:
        """Try again, or give up: the VM is as it was before the step."""
        reason = move.reason or "it was found as it was before"
        if run.state is PlanState.STOPPING:
            self._change(run, move, MoveEvent.ABORT, run.reason)
        elif not move.retriable:
            self._change(run, move, MoveEvent.GIVE_UP, reason)
        elif move.attempt >= self._params.max_attempts:
            tried = f"tried {move.attempt} times: {reason}"
            self._change(run, move, MoveEvent.GIVE_UP, tried)
        else:
            pause_s = self._params.pause_s(max(1, move.attempt))
            move.due_at = self._clock.now() + timedelta(seconds=pause_s)
            self._change(run, move, MoveEvent.RETURNED, reason)

    def _lose_in_time(self, run: _Run, move: Tracker, what: str) -> None:
        move.reason = what
        if self._unclear_for_too_long(move):
            self._change(run, move, MoveEvent.LOSE, f"VM {move.step.vm_id!r} {what}")

    def _unclear_for_too_long(self, move: Tracker) -> bool:
        assert move.unclear_since is not None
        unclear_s = (self._clock.now() - move.unclear_since).total_seconds()
        return unclear_s >= self._params.verify_wait_s

    def _look_again(self, move: Tracker) -> None:
        move.due_at = self._clock.now() + timedelta(seconds=self._params.poll_interval_s)

    def _can_cancel(self) -> bool:
        return self._driver.capabilities().can_cancel

    # Transitions ----------------------------------------------------------------------------

    def _change(self, run: _Run, move: Tracker, event: MoveEvent, reason: str) -> None:
        """Take a step through a transition: written down first, then true."""
        state = next_move_state(move.state, event)
        now = self._clock.now()
        self._journal.append(
            MoveChanged(
                plan_id=run.plan_id,
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
        run.changed |= move.over or state in (MoveState.WAITING, MoveState.BACKING_OFF)

    def _change_plan(self, run: _Run, event: PlanEvent, reason: str) -> None:
        state = next_plan_state(run.state, event)
        self._journal.append(
            PlanChanged(
                plan_id=run.plan_id, at=self._clock.now(), event=event, state=state, reason=reason
            )
        )
        run.state = state
        run.reason = reason


def _is_own(move: Tracker, found: MigrationUnderWay) -> bool:
    """Return whether a migration that was found is the step's: by its name, or where it goes."""
    if move.step.kind is not StepKind.MIGRATE:
        return False
    return found.handle == move.handle or found.destination_id == move.step.destination_id


def _new_id(plan: Plan, known: Set[str]) -> str:
    """Return an id that is not known: the plan's instant, then a number."""
    stem = f"{plan.made_at:%Y%m%dT%H%M%SZ}"
    names = chain((stem,), (f"{stem}-{number}" for number in count(2)))
    return next(name for name in names if name not in known)


def _names(host_ids: tuple[HostId, ...]) -> str:
    return " and ".join(repr(host_id) for host_id in host_ids)
