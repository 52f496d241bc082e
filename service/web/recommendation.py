"""What is recommended for a cluster now, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from executor.states import MoveState
from service.plans.document import num_steps
from service.plans.wishes import ACTIVE
from service.store.base import KeptPlan, PlanStage
from solver.domain.result import Hindrance

Words = tuple[str | datetime, ...]
"""A sentence; its instants are shown by the viewer's clock."""

_LEAST_SHOWN_HOST_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What to do, or why nothing.

    Parameters
    ----------
    plan_id
        Of the plan it speaks of; empty for none.
    """

    words: Words
    plan_id: str = ""


def recommend(plans: Sequence[KeptPlan], status: Mapping[str, Any] | None) -> Recommendation:
    """Return what is recommended.

    Parameters
    ----------
    plans
        Those that are still to be decided on or carried out, the newest first.
    status
        What the keeper tells of itself; ``None`` before it first looked at the cluster.
    """
    for stage in (*ACTIVE, PlanStage.PROPOSED, PlanStage.WANTED):
        kept = next((plan for plan in plans if plan.stage is stage), None)
        if kept is not None:
            return Recommendation(words=_of_plan(kept), plan_id=kept.id)
    return Recommendation(words=_of_status(status))


def doubts(status: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return what is wrong with the view of the cluster, if anything."""
    if status is None:
        return ()
    error = status.get("error")
    return (*((error,) if error else ()), *status.get("objections", ()))


def _of_plan(kept: KeptPlan) -> Words:
    moves = _moves(num_steps(kept))
    if kept.stage is PlanStage.WANTED:
        return ("A plan was asked for and is being made.",)
    if kept.stage is PlanStage.APPROVED:
        return (f"{moves} approved, about to begin.",)
    if kept.stage is PlanStage.RUNNING:
        return (f"{_num_done(kept)} of {moves} made so far.",)
    expected = kept.document.get("expected")
    if not expected or expected["saved_host_s"] < _LEAST_SHOWN_HOST_S:
        return (f"Proposed: {kept.document.get('reason') or moves}.",)
    return (
        f"{moves} would avoid {_amount(expected['saved_host_s'])} host-seconds of shortfall by ",
        kept.made_at + timedelta(minutes=expected["minutes"]),
        f"; {_beyond(kept)}.",
    )


def _of_status(status: Mapping[str, Any] | None) -> Words:
    if status is None:
        return ("This cluster was not looked at yet.",)
    outcome, run_at = status.get("last_outcome"), status.get("last_run_at")
    if outcome and run_at:
        return ("Nothing is proposed. At ", datetime.fromisoformat(run_at), f": {outcome}.")
    if status.get("next_run_at"):
        return ("No plan was made yet; the first is due at ", _at(status["next_run_at"]), ".")
    return ("No plan was made yet, and none is due.",)


def _beyond(kept: KeptPlan) -> str:
    """Return whether more would be worth moving, were there no limit on the number of moves."""
    refusals = (kept.document.get("result") or {}).get("refusals", ())
    limited = any(
        obstacle["hindrance"] == Hindrance.BUDGET
        for refusal in refusals
        for obstacle in refusal.get("obstacles", ())
    )
    if limited:
        return "more would help, but the number of moves allowed is used up"
    return "nothing else is worth moving"


def _num_done(kept: KeptPlan) -> int:
    steps = (kept.document.get("progress") or {}).get("steps", ())
    return sum(step["state"] == MoveState.DONE.value for step in steps)


def _moves(count: int) -> str:
    return "1 move" if count == 1 else f"{count:,} moves"


def _amount(host_s: float) -> str:
    return f"{host_s:,.0f}" if host_s >= 10 else f"{host_s:,.1f}"


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
