"""Carries out a plan: states, driver, clock and journal put together.

The engine never blocks: ``tick`` looks at whatever is due, starts whatever may start, and returns;
``next_event_at`` says when to come back. So the caller owns time, and the same engine runs in a
service, in a replay at a thousand times the speed of life, and in a test that kills it anywhere.

Every transition is written to the journal before it is acted on. After a crash ``recover`` reads
the journal and then believes only what the driver shows: where VMs really are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import chain, count

from executor.clock import Clock
from executor.drivers.base import Driver
from executor.errors import BusyError
from executor.following import Following
from executor.journal import Journal, UnfinishedPlan, unfinished_plan
from executor.lease import Lease
from executor.params import ExecutorParameters, OnFailure
from executor.records import PlanBegun
from executor.report import ExecutionReport
from executor.run import Run
from executor.starting import Starting
from executor.states import UNDER_WAY, MoveEvent, MoveState, PlanEvent, PlanState, next_plan_state
from executor.tracker import Tracker
from solver.domain.errors import InvalidInputError
from solver.domain.plan import Plan


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
    lease
        The right to act on the cluster, where more than one process might; whoever calls acquires
        it, each tick renews it. Once it is lost nothing is done any more: after acquiring it again,
        ``recover``.
    """

    def __init__(
        self,
        driver: Driver,
        clock: Clock,
        journal: Journal,
        params: ExecutorParameters | None = None,
        lease: Lease | None = None,
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._journal = journal
        self._params = params or ExecutorParameters()
        self._lease = lease
        self._renew_at: datetime | None = None
        self._following = Following(driver, clock, self._params)
        self._starting = Starting(driver, clock, self._params, self._following)
        self._run: Run | None = None

    # What callers use -----------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether a plan is being carried out."""
        run = self._run
        going_on = (PlanState.RUNNING, PlanState.PAUSED, PlanState.STOPPING)
        return run is not None and run.state in going_on and not run.lost

    @property
    def next_event_at(self) -> datetime | None:
        """When ``tick`` has something to do next; ``None`` when nothing is left to do.

        Nothing is either while nothing can go on without an operator. A lease has to be renewed as
        long as it is held.
        """
        instants = [at for at in (self._next_step_at(), self._renew_at) if at is not None]
        return max(self._clock.now(), min(instants)) if instants else None

    def _next_step_at(self) -> datetime | None:
        """When the plan has something to do next."""
        run = self._run
        if run is None or not self.active:
            return None
        if all(move.over for move in run.moves):
            return self._clock.now()
        at_work = run.in_state(MoveState.BACKING_OFF, *UNDER_WAY)
        instants = [move.due_at for move in at_work if move.due_at is not None]
        if run.state is PlanState.RUNNING and run.in_state(MoveState.WAITING):
            recheck_at = None if run.changed else run.recheck_at
            instants.append(recheck_at or self._clock.now())
        return min(instants, default=None)

    def begin(
        self,
        plan: Plan,
        *,
        plan_id: str | None = None,
        approval: bool = False,
        on_failure: OnFailure = OnFailure.REPLAN,
    ) -> str:
        """Accept a plan and return its id; nothing is started before the next ``tick``.

        Parameters
        ----------
        approval
            Whether each step waits until it is approved.
        on_failure
            What the report is to call for if the plan does not do all it is to do.

        Raises
        ------
        BusyError
            If another plan is still being carried out, here or by the journal.
        InvalidInputError
            If the journal already knows the id.
        LeaseLostError
            If there is a lease and it is not held.
        """
        with self._right_to_act() as token:
            self._require_idle(token)
            begun = PlanBegun(
                plan_id=self._new_id(plan, plan_id),
                at=self._clock.now(),
                plan=plan,
                approval=approval,
                on_failure=on_failure,
                token=token,
            )
            self._journal.append(begun)
            self._run = self._make_run(begun, token)
        self._run.state = next_plan_state(self._run.state, PlanEvent.BEGIN)
        return begun.plan_id

    def _new_id(self, plan: Plan, wanted: str | None) -> str:
        """Return an id that the journal does not know: as wanted, or after the plan's instant."""
        records = self._journal.read()
        unfinished = unfinished_plan(records)
        if unfinished is not None:
            raise BusyError(f"plan {unfinished.begun.plan_id!r} has to be recovered first")
        known = {record.plan_id for record in records}
        if wanted in known:
            raise InvalidInputError(f"plan {wanted!r} was carried out already", path="plan_id")
        stem = f"{plan.made_at:%Y%m%dT%H%M%SZ}"
        names = chain((stem,), (f"{stem}-{number}" for number in count(2)))
        return wanted or next(name for name in names if name not in known)

    def _require_idle(self, token: int | None) -> None:
        """Raise unless no plan is being carried out; one of a former token is not ours any more."""
        if self._run is not None and self.active and self._run.token == token:
            raise BusyError(f"plan {self._run.plan_id!r} is still being carried out")

    def _make_run(self, begun: PlanBegun, token: int | None) -> Run:
        state = MoveState.UNAPPROVED if begun.approval else MoveState.WAITING
        steps = enumerate(begun.plan.steps)
        return Run(
            plan_id=begun.plan_id,
            plan=begun.plan,
            moves=[Tracker(idx=i, step=step, state=state) for i, step in steps],
            journal=self._journal,
            clock=self._clock,
            lease=self._lease,
            token=token,
            on_failure=begun.on_failure,
        )

    @contextmanager
    def _right_to_act(self) -> Iterator[int | None]:
        """Return a context in which nobody else acts, and its token; both void without a lease."""
        if self._lease is None:
            yield None
            return
        with self._lease.guard() as token:
            interval = timedelta(seconds=self._lease.renew_interval_s)
            self._renew_at = self._clock.now() + interval
            yield token

    def tick(self) -> None:
        """Do everything that is due now and return at once.

        Raises
        ------
        JournalError
            If a transition could not be written: it was not acted on, and nothing may go on
            before the journal can be written again.
        LeaseLostError
            If there is a lease and it was lost: another process goes on with the plan, and this
            one does nothing more.
        LeaseHeldError, LeaseError
            If that could not be found out: nothing was done, and a later tick may succeed.
        """
        self._keep_lease()
        run = self._run
        if run is None or not self.active:
            return
        now = self._clock.now()
        for move in run.moves:
            if move.due_at is not None and move.due_at <= now:
                if move.under_way:
                    self._following.follow(run, move)
                elif move.state is MoveState.BACKING_OFF:
                    run.change(move, MoveEvent.RETRY, move.reason)
                    move.due_at = None
        if run.state is PlanState.STOPPING:
            self._abort_waiting(run)
        elif run.state is PlanState.RUNNING:
            self._starting.start_what_may(run)
        if all(move.over for move in run.moves):
            run.change_plan(PlanEvent.SETTLE, run.reason if run.state is PlanState.STOPPING else "")

    def _keep_lease(self) -> None:
        """Renew the lease if it is time, or nobody knows when."""
        if self._lease is None or (self._renew_at and self._clock.now() < self._renew_at):
            return
        self._renew_at = None
        if self._run is not None and self.active:
            with self._run.fenced():
                pass
        if self._lease.token is not None:
            with self._right_to_act():
                pass

    def run_until_done(self, plan: Plan | None = None) -> ExecutionReport:
        """Carry out ``plan``, or what is under way, to its end; sleeps on the clock.

        Returns before the end if nothing can go on without an operator.

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
            if self._next_step_at() is None or next_at is None:
                break
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
        if run.state is not PlanState.STOPPING:
            run.change_plan(PlanEvent.STOP, reason)
        self._abort_waiting(run)
        run.cancel_running = cancel_running
        if cancel_running:
            for move in run.in_state(MoveState.RUNNING):
                self._following.cancel(run, move, reason, retriable=False)

    def _abort_waiting(self, run: Run) -> None:
        for move in run.moves:
            if not (move.over or move.under_way):
                run.change(move, MoveEvent.ABORT, run.reason)

    def pause(self, reason: str) -> None:
        """Start nothing more until ``resume``; what is under way goes on.

        Raises
        ------
        InvalidInputError
            If no plan is being carried out.
        IllegalTransitionError
            If it is paused or stopping.
        """
        self._require_run().change_plan(PlanEvent.PAUSE, reason)

    def resume(self) -> None:
        """Go on with a paused plan.

        Raises
        ------
        InvalidInputError
            If no plan is being carried out.
        IllegalTransitionError
            If it is not paused.
        """
        run = self._require_run()
        run.change_plan(PlanEvent.RESUME, "")
        run.changed = True
        for move in run.moves:
            # Nobody could have made room meanwhile.
            move.waiting_since = None

    def approve(self, step_idx: int, reason: str = "") -> None:
        """Let a step of a plan that was begun with ``approval`` start when it may.

        Raises
        ------
        InvalidInputError
            If no plan is being carried out, or it has no such step.
        IllegalTransitionError
            If the step does not wait for approval.
        """
        run = self._require_run()
        run.change(self._require_move(run, step_idx), MoveEvent.APPROVE, reason)

    def skip(self, step_idx: int, reason: str) -> None:
        """Leave out a single step that is not under way; it ends as aborted.

        Later steps that need it are skipped by the last check before each.

        Raises
        ------
        InvalidInputError
            If no plan is being carried out, or it has no such step.
        IllegalTransitionError
            If the step is under way or over.
        """
        run = self._require_run()
        run.change(self._require_move(run, step_idx), MoveEvent.WITHDRAW, reason)

    def _require_run(self) -> Run:
        run = self._run
        if run is None or not self.active:
            lost = ": the lease was lost" if run is not None and run.lost else ""
            raise InvalidInputError(f"no plan is being carried out{lost}")
        return run

    def _require_move(self, run: Run, step_idx: int) -> Tracker:
        if not 0 <= step_idx < len(run.moves):
            raise InvalidInputError(
                f"plan {run.plan_id!r}: expected a step of 0 to {len(run.moves) - 1}, "
                f"got {step_idx}",
                path="step_idx",
            )
        return run.moves[step_idx]

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
        LeaseLostError
            If there is a lease and it is not held.
        """
        with self._right_to_act() as token:
            self._require_idle(token)
            found = unfinished_plan(self._journal.read())
            if found is None:
                return False
            self._run = self._restore(found, token)
            self._take_up(self._run)
        if self._run.state is PlanState.STOPPING or not resume:
            self.abort("not resumed after an interruption", cancel_running=False)
        return True

    def _restore(self, found: UnfinishedPlan, token: int | None) -> Run:
        run = self._make_run(found.begun, token)
        run.state = found.state
        run.reason = found.reason
        for idx, record in found.moves.items():
            run.moves[idx].restore(record, found.started_at.get(idx))
        return run

    def _take_up(self, run: Run) -> None:
        """Look at once at whatever was going on."""
        now = self._clock.now()
        for move in run.moves:
            if move.state is MoveState.STARTING:
                run.change(move, MoveEvent.ENDED, "interrupted while it was being started")
            if move.under_way:
                move.follow_from(now, self._params)
            elif move.state is MoveState.BACKING_OFF:
                move.due_at = now

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
            on_failure=self._run.on_failure,
        )
