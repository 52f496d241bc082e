"""Carries out the plan of one cluster as operators want it, and writes down how far it is.

The executor does the moving; here is what stands between it and the store: wishes in, progress out.
What the journal says is what happened; the plan's document follows it, after a crash too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from executor.clock import Clock
from executor.drivers.base import Driver
from executor.engine import Executor
from executor.journal import Journal
from executor.lease import Lease
from executor.params import ExecutorParameters
from executor.records import MoveChanged, PlanBegun, PlanChanged
from executor.report import ExecutionReport, MeasuredMove
from executor.states import TERMINAL, MoveState, PlanState
from service.plans.document import plan_of, progress_document, step_decisions
from service.store.base import KeptPlan

UNDECIDED: Final = timedelta(hours=1)
"""A plan that goes step by step ends when nobody has decided on its steps for so long."""

_MAY_BE_SKIPPED: Final = (MoveState.UNAPPROVED, MoveState.WAITING, MoveState.BACKING_OFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a plan ended.

    Parameters
    ----------
    complete
        Whether all that was to be done is done; steps that an operator left out do not count.
    """

    progress: dict[str, Any]
    complete: bool
    measured: tuple[MeasuredMove, ...] = ()


class Carrier:
    """Carries out one plan at a time.

    Parameters
    ----------
    driver, clock, journal, lease, params
        Of the executor.
    """

    def __init__(
        self,
        driver: Driver,
        clock: Clock,
        journal: Journal,
        lease: Lease,
        params: ExecutorParameters,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._executor = Executor(driver, clock, journal, params, lease=lease)
        # Decisions on steps so far, and since when there are no more.
        self._decided: tuple[int, datetime] | None = None

    def is_active(self) -> bool:
        """Return whether a plan is being carried out."""
        return self._executor.active

    @property
    def next_event_at(self) -> datetime | None:
        """When something is to be done next."""
        return self._executor.next_event_at

    def recover(self) -> bool:
        """Take up the plan that was interrupted, if there is one."""
        return self._executor.recover()

    def begin(self, kept: KeptPlan) -> None:
        """Begin a plan; nothing is moved before the next :meth:`carry_on`."""
        stepwise = bool(kept.document.get("stepwise"))
        self._executor.begin(plan_of(kept), plan_id=kept.id, approval=stepwise)

    def knows(self, kept: KeptPlan) -> bool:
        """Tell whether the plan was begun, by the journal."""
        return any(record.plan_id == kept.id for record in self._journal.read())

    def carry_on(self, kept: KeptPlan, *, in_blackout: bool) -> None:
        """Do what is due, as operators want it."""
        self._heed(kept, in_blackout=in_blackout)
        self._executor.tick()

    def progress(self) -> dict[str, Any]:
        """Return how far the plan is."""
        return progress_document(self._executor.report())

    def ended(self, kept: KeptPlan) -> Ended:
        """Return how the plan ended; from the journal if it ended before a crash."""
        try:
            report = self._executor.report()
        except ValueError:
            return self._ended_by_journal(kept)
        if report.plan_id != kept.id:
            return self._ended_by_journal(kept)
        measured = tuple(o.measured for o in report.outcomes if o.measured is not None)
        return _ended(progress_document(report), kept, measured)

    def stop(self, reason: str) -> None:
        """Begin nothing more; what is under way comes to its end."""
        self._executor.abort(reason, cancel_running=False)

    def _heed(self, kept: KeptPlan, *, in_blackout: bool) -> None:
        report = self._executor.report()
        wanted = kept.document.get("wanted", {})
        stop = wanted.get("abort")
        if stop is not None and report.state is not PlanState.STOPPING:
            reason = f"aborted by {stop['by']}" + (f": {stop['reason']}" if stop["reason"] else "")
            self._executor.abort(reason, cancel_running=stop["cancel_running"])
            return
        self._heed_pause(report, paused=bool(wanted.get("paused")), in_blackout=in_blackout)
        self._heed_decisions(report, kept)

    def _heed_pause(self, report: ExecutionReport, *, paused: bool, in_blackout: bool) -> None:
        hold = paused or in_blackout
        if hold and report.state is PlanState.RUNNING:
            self._executor.pause("paused by an operator" if paused else "a blackout")
        elif not hold and report.state is PlanState.PAUSED:
            self._executor.resume()

    def _heed_decisions(self, report: ExecutionReport, kept: KeptPlan) -> None:
        for position, decided in step_decisions(kept).items():
            state = report.outcomes[position].state
            if decided == "approved" and state is MoveState.UNAPPROVED:
                self._executor.approve(position)
            elif decided == "skipped" and state in _MAY_BE_SKIPPED:
                self._executor.skip(position, "left out by an operator")
        self._end_if_undecided(report, kept)

    def _end_if_undecided(self, report: ExecutionReport, kept: KeptPlan) -> None:
        decided, now = len(step_decisions(kept)), self._clock.now()
        if self._decided is None or self._decided[0] != decided:
            self._decided = decided, now
        if report.in_state(MoveState.UNAPPROVED) and now - self._decided[1] > UNDECIDED:
            self._executor.abort("nobody has decided on the remaining steps for an hour")

    def _ended_by_journal(self, kept: KeptPlan) -> Ended:
        """Return how a plan ended whose end was written to the journal and nowhere else."""
        steps = [_not_begun() for _ in plan_of(kept).steps]
        state, reason = PlanState.ABORTED, ""
        for record in self._journal.read():
            if record.plan_id != kept.id or isinstance(record, PlanBegun):
                continue
            if isinstance(record, PlanChanged):
                state, reason = record.state, record.reason
            else:
                _apply(steps[record.step_idx], record)
        return _ended({"state": state.value, "reason": reason, "steps": steps}, kept, ())


def cut_off(kept: KeptPlan) -> Ended:
    """Return how a plan ended whose cluster has no driver any more: where it was last seen."""
    steps = [_not_begun() for _ in plan_of(kept).steps]
    reason = "the cluster has no driver any more"
    nothing = {"state": PlanState.ABORTED.value, "reason": reason, "steps": steps}
    return Ended(progress=kept.document.get("progress") or nothing, complete=False)


def _ended(progress: dict[str, Any], kept: KeptPlan, measured: tuple[MeasuredMove, ...]) -> Ended:
    skipped = {i for i, what in step_decisions(kept).items() if what == "skipped"}
    complete = all(
        step["state"] == MoveState.DONE.value or i in skipped
        for i, step in enumerate(progress["steps"])
    )
    return Ended(progress=progress, complete=complete, measured=measured)


def _not_begun() -> dict[str, Any]:
    return {
        "state": MoveState.ABORTED.value,
        "reason": "",
        "started_at": None,
        "ended_at": None,
        "attempts": 0,
        "fraction": 0.0,
        "transferred_mib": 0,
        "downtime_ms": None,
    }


def _apply(step: dict[str, Any], record: MoveChanged) -> None:
    step["state"], step["reason"] = record.state.value, record.reason
    step["attempts"] = record.attempt
    if record.state is MoveState.STARTING and step["started_at"] is None:
        step["started_at"] = record.at.isoformat()
    if record.state in TERMINAL:
        step["ended_at"] = record.at.isoformat()
        step["fraction"] = 1.0 if record.state is MoveState.DONE else step["fraction"]
        step["transferred_mib"] = record.transferred_mib
        step["downtime_ms"] = record.downtime_ms
