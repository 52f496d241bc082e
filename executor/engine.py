"""Carries out a plan: states, driver, clock and journal put together.

The engine never blocks: ``tick`` looks at whatever is due, starts whatever may start, and returns;
``next_event_at`` says when to come back. So the caller owns time, and the same engine runs in a
service, in a replay at a thousand times the speed of life, and in a test that kills it anywhere.

Every transition is written to the journal before it is acted on. After a crash ``recover`` reads
the journal and then believes only what the driver shows: where VMs really are.
"""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime
from itertools import chain, count

from executor.clock import Clock
from executor.drivers.base import Driver
from executor.errors import BusyError
from executor.following import Following
from executor.journal import Journal, unfinished_plan
from executor.params import ExecutorParameters
from executor.records import PlanBegun
from executor.report import ExecutionReport
from executor.run import Run
from executor.starting import Starting
from executor.states import MoveEvent, MoveState, PlanEvent, PlanState, next_plan_state
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
        self._following = Following(driver, clock, self._params)
        self._starting = Starting(driver, clock, self._params, self._following)
        self._run: Run | None = None

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
        waiting = run.in_state(MoveState.WAITING)
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
        self._run = Run(
            plan_id=chosen, plan=plan, moves=moves, journal=self._journal, clock=self._clock
        )
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
                    self._following.follow(run, move)
                elif move.state is MoveState.BACKING_OFF:
                    move.due_at = None
                    run.change(move, MoveEvent.RETRY, move.reason)
        if run.state is PlanState.RUNNING:
            self._starting.start_what_may(run)
        if all(move.over for move in run.moves):
            run.change_plan(PlanEvent.SETTLE, run.reason)

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
            run.change_plan(PlanEvent.STOP, reason)
        for move in run.moves:
            if move.state in (MoveState.WAITING, MoveState.BACKING_OFF):
                run.change(move, MoveEvent.ABORT, reason)
            elif cancel_running and move.state is MoveState.RUNNING:
                self._following.cancel(run, move, reason, retriable=False)
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
        run = Run(
            plan_id=found.begun.plan_id,
            plan=plan,
            moves=[Tracker(idx=i, step=step) for i, step in enumerate(plan.steps)],
            journal=self._journal,
            clock=self._clock,
            state=found.state,
            reason=found.reason,
        )
        self._run = run
        now = self._clock.now()
        for idx, record in found.moves.items():
            run.moves[idx].restore(record, found.started_at.get(idx))
        for move in run.moves:
            if move.state is MoveState.STARTING:
                run.change(move, MoveEvent.ENDED, "interrupted while it was being started")
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


def _new_id(plan: Plan, known: Set[str]) -> str:
    """Return an id that is not known: the plan's instant, then a number."""
    stem = f"{plan.made_at:%Y%m%dT%H%M%SZ}"
    names = chain((stem,), (f"{stem}-{number}" for number in count(2)))
    return next(name for name in names if name not in known)
