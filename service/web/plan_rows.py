"""Plans as rows and figures, out of the documents that ``service.plans.document`` owns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from service.plans.document import plan_of, step_decisions
from service.store.base import KeptPlan, PlanStage
from solver.domain.plan import Plan
from solver.domain.weights import to_host_s

Row = dict[str, Any]

STAGES: Final = {
    PlanStage.WANTED: "to be made",
    PlanStage.PROPOSED: "proposed",
    PlanStage.APPROVED: "approved, about to begin",
    PlanStage.RUNNING: "running",
    PlanStage.DONE: "done",
    PlanStage.ENDED: "ended early",
    PlanStage.REJECTED: "rejected",
    PlanStage.SUPERSEDED: "superseded",
}
_MS_PER_S: Final = 1000


def stage_of(kept: KeptPlan) -> str:
    """Return where a plan is on its way, in words."""
    if kept.document.get("wanted", {}).get("paused") and kept.stage is PlanStage.RUNNING:
        return "running, paused"
    return STAGES.get(kept.stage, kept.stage.value)


def summary(kept: KeptPlan) -> str:
    """Return in one sentence what a plan is worth."""
    count = len(plan_of(kept).steps)
    moves = "1 move" if count == 1 else f"{count:,} moves"
    expected = kept.document.get("expected")
    if kept.stage is PlanStage.WANTED:
        return "It is still to be made."
    if not count:
        return str(kept.document.get("reason") or "Nothing is worth moving.")
    if expected:
        return (
            f"{moves} would avoid {expected['saved_host_s']:,.1f} host-seconds of shortfall within "
            f"{expected['minutes']:g} minutes."
        )
    return f"{moves} would save {kept.document.get('benefit_host_s', 0):,.1f} host-seconds."


def step_rows(kept: KeptPlan) -> list[Row]:
    """Return a row for each step, in the order of their start."""
    decided = step_decisions(kept)
    told = (kept.document.get("progress") or {}).get("steps", ())
    sentences = _sentences(kept)
    return [
        _row(i, step, decided.get(i, ""), told[i] if i < len(told) else {}, sentences)
        for i, step in enumerate(plan_of(kept).steps)
    ]


def length_s(plan: Plan) -> float:
    """Return when the last step of a plan ends, from its begin."""
    return max((step.end_ms for step in plan.steps), default=0) / _MS_PER_S


def _row(
    i: int, step: Any, decided: str, told: Mapping[str, Any], sentences: Mapping[str, str]
) -> Row:
    cost = step.cost
    terms = (cost.utilisation, cost.transfer, cost.downtime, cost.latency)
    return {
        "id": str(i),
        "step": i,
        "vm": str(step.vm_id),
        "source": str(step.source_id or ""),
        "destination": str(step.destination_id),
        "start_s": step.start_ms / _MS_PER_S,
        "duration_s": (step.end_ms - step.start_ms) / _MS_PER_S,
        "bandwidth": step.bandwidth_mib_per_s,
        "cost": round(to_host_s(sum(terms)), 3),
        "state": told.get("state") or decided or "planned",
        "percent": round(100 * told.get("fraction", 0)),
        "why": sentences.get(str(step.vm_id), step.reason),
    }


def _sentences(kept: KeptPlan) -> dict[str, str]:
    result = kept.document.get("result") or {}
    return {item["vm_id"]: item["sentence"] for item in result.get("explanations", ())}
