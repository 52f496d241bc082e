"""The form in which a plan is kept and shown: the one owner of ``KeptPlan.document``.

Everything that happens to a plan is written into it: what it was made of, who decided what, how far
each step is, what was then observed. The result in it is a result document of ``solver.instances``,
as a stateless solve answers, without the placement of every VM, which its steps tell already.

Fields of a document::

    reason      why there is a plan, or why there could be none
    asked_by    who asked for it; absent for plans made by schedule
    automation  how far balancing went by itself when it was made
    forecaster  who forecast
    result      status, scores, plan, explanations, refusals, contention before and after, engines
                that failed
    expected    shortfall of the next hour without and with it, on paths the solver never saw
    loads       peaks of the next hour on hosts that it touches, without and with it, on those paths
    decision    who approved, rejected or superseded it, when and why
    steps       decisions on single steps, by position
    stepwise    whether each step waits for its own approval
    wanted      what an operator wants of a running plan: paused, abort
    progress    state of the plan and of each step, as the executor tells
    observed    by horizon, shortfall without and with it, and what each step saved, by the demand
                that was then observed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from executor.report import ExecutionReport, MoveOutcome
from service.store.base import Document, KeptPlan, PlanHead, PlanStage
from solver.domain.plan import Plan
from solver.domain.result import Result
from solver.domain.weights import to_host_s
from solver.instances import plan_from_document, result_to_document

AnyPlan = KeptPlan | PlanHead
"""A plan, with its result or without."""

OVER = frozenset({PlanStage.DONE, PlanStage.ENDED, PlanStage.REJECTED, PlanStage.SUPERSEDED})
"""Stages that a plan never leaves."""


START_BLOBS = "start/"
"""Names of blobs begin so that hold the cluster as it was when a plan was made; its id follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Shortfall of a span of time without and with a plan, in host-seconds.

    Parameters
    ----------
    minutes
        Length of the span.
    num_paths
        Futures it is the mean of; 1 for what was observed.
    saved_by_steps
        What each step saved, in host-seconds, had only its VM stayed; ``None`` where that cannot
        be known, empty where nobody asked.
    """

    without_host_s: float
    with_host_s: float
    minutes: float
    num_paths: int = 1
    saved_by_steps: tuple[float | None, ...] = ()

    @property
    def saved_host_s(self) -> float:
        """What the plan saves."""
        return self.without_host_s - self.with_host_s

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "without_host_s": round(self.without_host_s, 3),
            "with_host_s": round(self.with_host_s, 3),
            "saved_host_s": round(self.saved_host_s, 3),
            "minutes": self.minutes,
            "num_paths": self.num_paths,
        } | ({"saved_by_steps": list(self.saved_by_steps)} if self.saved_by_steps else {})


def wanted_document(*, asked_by: str, reason: str) -> dict[str, Any]:
    """Return the document of a plan that was asked for and is still to be made."""
    return {"reason": reason, "asked_by": asked_by}


def made_document(
    result: Result,
    *,
    reason: str,
    automation: str,
    forecaster: str,
    expected: Expectation | None,
    asked_by: str = "",
) -> dict[str, Any]:
    """Return the document of a plan that was just made."""
    shown = result_to_document(result)
    del shown["placement"]
    document: dict[str, Any] = {
        "reason": reason,
        "automation": automation,
        "forecaster": forecaster,
        "result": shown,
        "benefit_host_s": benefit_host_s(result),
        "expected": None if expected is None else expected.to_document(),
    }
    return document | ({"asked_by": asked_by} if asked_by else {})


def benefit_host_s(result: Result) -> float:
    """Return what a result saves of the objective, its own cost deducted, in host-seconds."""
    return round(to_host_s(result.before.total - result.after.total), 3)


def plan_of(kept: KeptPlan) -> Plan:
    """Return the plan itself; one without steps where none was made."""
    result = kept.document.get("result")
    return Plan(made_at=kept.made_at) if result is None else plan_from_document(result["plan"])


def num_steps(kept: AnyPlan) -> int:
    """Return how many steps a plan has."""
    if isinstance(kept, PlanHead):
        return kept.num_steps
    result = kept.document.get("result")
    return 0 if result is None else len(result["plan"]["steps"])


def repairs(kept: AnyPlan) -> bool:
    """Tell whether less is broken after a plan than before it."""
    if isinstance(kept, PlanHead):
        return kept.repairs
    result = kept.document.get("result") or {}
    before, after = (result.get(name, {}).get("repair", 0) for name in ("before", "after"))
    return bool(before > after)


def step_decisions(kept: KeptPlan) -> dict[int, str]:
    """Return what was decided on single steps: ``approved`` or ``skipped``, by position."""
    steps: Mapping[str, Any] = kept.document.get("steps", {})
    return {int(position): str(entry["decision"]) for position, entry in steps.items()}


def with_entry(kept: KeptPlan, stage: PlanStage | None = None, **entries: Any) -> KeptPlan:
    """Return the plan with entries of its document replaced, and its stage if one is given."""
    document: Document = {**kept.document, **entries}
    return replace(kept, document=document, stage=kept.stage if stage is None else stage)


def decision(what: str, *, by: str, at: datetime, reason: str = "") -> dict[str, Any]:
    """Return who decided what on a plan or a step."""
    return {"decision": what, "by": by, "at": at.isoformat(), "reason": reason}


def progress_document(report: ExecutionReport) -> dict[str, Any]:
    """Return how far a plan is, step by step."""
    return {
        "state": report.state.value,
        "reason": report.reason,
        "steps": [_step_progress(outcome) for outcome in report.outcomes],
    }


def _step_progress(outcome: MoveOutcome) -> dict[str, Any]:
    return {
        "state": outcome.state.value,
        "reason": outcome.reason,
        "started_at": _instant(outcome.started_at),
        "ended_at": _instant(outcome.ended_at),
        "attempts": outcome.attempts,
        "fraction": round(outcome.fraction, 4),
        "transferred_mib": outcome.transferred_mib,
        "downtime_ms": outcome.downtime_ms,
    }


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
