"""What operators want of plans, and of the schedule: written down with its audit entry, not done.

Each is a function on a transaction. The leader takes up what is wanted within a second or two,
whichever replica was asked; what was acknowledged is not lost with the process that took it.
``now`` is real time, in which the audit log is written; plans tell by the clock of their cluster.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from service.errors import WrongStateError
from service.plans.acting import require_acting
from service.plans.document import (
    decision,
    num_steps,
    step_decisions,
    wanted_document,
    with_entry,
)
from service.plans.schedule import schedule_from_document
from service.present import present
from service.security.auditing import Asker, entry, put_item
from service.store.base import (
    Item,
    KeptPlan,
    Kind,
    PlanStage,
    Transaction,
)
from solver.domain.errors import InvalidInputError

ACTIVE: Final = (PlanStage.APPROVED, PlanStage.RUNNING)


def plan_id(made_at: datetime) -> str:
    """Return a new id: ids in the order of their letters are in the order of time."""
    return f"{made_at:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def request_plan(
    tx: Transaction, asker: Asker, cluster_id: str, *, now: datetime, reason: str = ""
) -> KeptPlan:
    """Ask for a plan to be made now; return it, still to be made, or one asked for before.

    Raises
    ------
    NotFoundError
        If there is no such cluster.
    WrongStateError
        If a plan is being carried out: never two at once.
    """
    tx.items.get(Kind.CLUSTER, "", cluster_id)
    for kept in tx.plans.page(cluster_id, stages=[PlanStage.WANTED, *ACTIVE], limit=100):
        if kept.stage is PlanStage.WANTED:
            return kept
        raise WrongStateError(
            f"plan {kept.id!r} is {kept.stage.value}: expected none that is to be carried out"
        )
    asked_at = present(tx, cluster_id, now)
    wanted = KeptPlan(
        id=plan_id(asked_at),
        cluster_id=cluster_id,
        made_at=asked_at,
        stage=PlanStage.WANTED,
        trigger="manual",
        document=wanted_document(asked_by=asker.name, reason=reason),
    )
    kept = tx.plans.put(wanted, expected_revision=0)
    _log(tx, asker, "plans.make", kept, now, before=None, reason=reason)
    return kept


def approve(
    tx: Transaction, asker: Asker, cluster_id: str, plan: str, *, now: datetime, reason: str = ""
) -> KeptPlan:
    """Let a proposed plan be carried out, or all that waits in one that goes step by step.

    Raises
    ------
    NotFoundError
        If there is no such plan.
    WrongStateError
        If it is at another stage, or no plan of the cluster is carried out.
    """
    kept = tx.plans.get(cluster_id, plan)
    if kept.stage in ACTIVE and kept.document.get("stepwise"):
        require_acting(tx, cluster_id)
        waiting = set(range(num_steps(kept))) - set(step_decisions(kept))
        return _change(
            tx,
            asker,
            "plans.approve",
            kept,
            now,
            reason,
            steps=_with_steps(kept, waiting, _decision(tx, asker, kept, "approved", now)),
        )
    _require(kept, PlanStage.PROPOSED)
    require_acting(tx, cluster_id)
    return _change(
        tx,
        asker,
        "plans.approve",
        kept,
        now,
        reason,
        stage=PlanStage.APPROVED,
        decision=_decision(tx, asker, kept, "approved", now, reason),
    )


def reject(
    tx: Transaction, asker: Asker, cluster_id: str, plan: str, *, now: datetime, reason: str = ""
) -> KeptPlan:
    """Decide that a plan is not carried out.

    Raises
    ------
    NotFoundError
        If there is no such plan.
    WrongStateError
        If it is at another stage.
    """
    kept = tx.plans.get(cluster_id, plan)
    _require(kept, PlanStage.WANTED, PlanStage.PROPOSED, PlanStage.APPROVED)
    return _change(
        tx,
        asker,
        "plans.reject",
        kept,
        now,
        reason,
        stage=PlanStage.REJECTED,
        decision=_decision(tx, asker, kept, "rejected", now, reason),
    )


def abort(
    tx: Transaction,
    asker: Asker,
    cluster_id: str,
    plan: str,
    *,
    now: datetime,
    reason: str = "",
    cancel_running: bool = True,
) -> KeptPlan:
    """Stop a plan: nothing more is begun, and what is under way is cancelled unless told not to.

    Raises like :func:`reject`.
    """
    kept = tx.plans.get(cluster_id, plan)
    if kept.stage is PlanStage.APPROVED:
        return reject(tx, asker, cluster_id, plan, now=now, reason=reason)
    _require(kept, PlanStage.RUNNING)
    stop = {"by": asker.name, "reason": reason, "cancel_running": cancel_running}
    return _change(
        tx, asker, "plans.abort", kept, now, reason, wanted={**_wanted(kept), "abort": stop}
    )


def pause(
    tx: Transaction, asker: Asker, cluster_id: str, plan: str, *, now: datetime, reason: str = ""
) -> KeptPlan:
    """Begin no further step until it is resumed; raises like :func:`reject`."""
    return _want_paused(tx, asker, "plans.pause", cluster_id, plan, now, reason, paused=True)


def resume(
    tx: Transaction, asker: Asker, cluster_id: str, plan: str, *, now: datetime, reason: str = ""
) -> KeptPlan:
    """Go on with a paused plan; raises like :func:`reject`."""
    return _want_paused(tx, asker, "plans.resume", cluster_id, plan, now, reason, paused=False)


def approve_step(
    tx: Transaction,
    asker: Asker,
    cluster_id: str,
    plan: str,
    step_idx: int,
    *,
    now: datetime,
    reason: str = "",
) -> KeptPlan:
    """Let one step be made. Of a proposed plan the others then wait for their own approval.

    Raises
    ------
    NotFoundError
        If there is no such plan.
    InvalidInputError
        If it has no such step.
    WrongStateError
        If the plan is at another stage, the step was decided on, or no plan of the cluster is
        carried out.
    """
    kept = tx.plans.get(cluster_id, plan)
    if not (kept.stage in ACTIVE and kept.document.get("stepwise")):
        _require(kept, PlanStage.PROPOSED)
    _require_undecided(kept, step_idx)
    require_acting(tx, cluster_id)
    chosen = _decision(tx, asker, kept, "approved", now, reason)
    begun: dict[str, Any] = {"steps": _with_steps(kept, {step_idx}, chosen), "stepwise": True}
    if kept.stage is PlanStage.PROPOSED:
        begun["decision"] = _decision(tx, asker, kept, "approved", now, "step by step")
    stage = PlanStage.APPROVED if kept.stage is PlanStage.PROPOSED else None
    return _change(
        tx, asker, "plans.approve_step", kept, now, reason, stage=stage, step=step_idx, **begun
    )


def skip_step(
    tx: Transaction,
    asker: Asker,
    cluster_id: str,
    plan: str,
    step_idx: int,
    *,
    now: datetime,
    reason: str = "",
) -> KeptPlan:
    """Leave out one step that has not begun; raises like :func:`approve_step`, in any mode."""
    kept = tx.plans.get(cluster_id, plan)
    _require(kept, PlanStage.PROPOSED, *ACTIVE)
    _require_undecided(kept, step_idx, approved_will_do=True)
    left_out = _decision(tx, asker, kept, "skipped", now, reason)
    return _change(
        tx,
        asker,
        "plans.skip_step",
        kept,
        now,
        reason,
        step=step_idx,
        steps=_with_steps(kept, {step_idx}, left_out),
    )


def put_schedule(
    tx: Transaction,
    asker: Asker,
    cluster_id: str,
    document: Mapping[str, Any],
    *,
    expected_revision: int | None,
    now: datetime,
) -> Item:
    """Set when and how far a cluster is balanced by itself.

    Raises
    ------
    NotFoundError
        If there is no such cluster.
    InvalidInputError
        If the document is wrong.
    ConflictError
        If the schedule stands at another revision.
    """
    tx.items.get(Kind.CLUSTER, "", cluster_id)
    schedule_from_document(document)
    item = Item(
        kind=Kind.SCHEDULE,
        cluster_id=cluster_id,
        id=cluster_id,
        document=dict(document),
        changed_at=now,
    )
    return put_item(
        tx, asker, "schedule.put", "schedule", item, expected_revision=expected_revision
    )


def _want_paused(
    tx: Transaction,
    asker: Asker,
    action: str,
    cluster_id: str,
    plan: str,
    now: datetime,
    reason: str,
    *,
    paused: bool,
) -> KeptPlan:
    kept = tx.plans.get(cluster_id, plan)
    _require(kept, *ACTIVE)
    if bool(_wanted(kept).get("paused")) is paused:
        raise WrongStateError(f"plan {kept.id!r} is {'paused already' if paused else 'not paused'}")
    wanted = {**_wanted(kept), "paused": paused, "pause_reason": reason}
    return _change(tx, asker, action, kept, now, reason, wanted=wanted)


def _decision(
    tx: Transaction, asker: Asker, kept: KeptPlan, what: str, now: datetime, reason: str = ""
) -> dict[str, Any]:
    """Return who decided what on a plan, by the clock of its cluster."""
    at = present(tx, kept.cluster_id, now)
    return decision(what, by=asker.name, at=at, reason=reason)


def _wanted(kept: KeptPlan) -> Mapping[str, Any]:
    wanted: Mapping[str, Any] = kept.document.get("wanted", {})
    return wanted


def _with_steps(kept: KeptPlan, chosen: set[int], entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**kept.document.get("steps", {}), **{str(i): entry for i in sorted(chosen)}}


def _require(kept: KeptPlan, *stages: PlanStage) -> None:
    if kept.stage not in stages:
        expected = " or ".join(stage.value for stage in stages)
        raise WrongStateError(f"plan {kept.id!r} is {kept.stage.value}, expected {expected}")


def _require_undecided(kept: KeptPlan, step_idx: int, *, approved_will_do: bool = False) -> None:
    steps = num_steps(kept)
    if not 0 <= step_idx < steps:
        raise InvalidInputError(
            f"plan {kept.id!r}: expected a step of 0 to {steps - 1}, got {step_idx}", path="step"
        )
    decided = step_decisions(kept).get(step_idx)
    if decided is not None and not (approved_will_do and decided == "approved"):
        raise WrongStateError(f"plan {kept.id!r}: step {step_idx} is {decided} already")
    progress = kept.document.get("progress")
    state = progress["steps"][step_idx]["state"] if progress else "waiting"
    if state not in ("unapproved", "waiting", "backing_off"):
        raise WrongStateError(
            f"plan {kept.id!r}: step {step_idx} is {state}, expected one that has not begun"
        )


def _change(
    tx: Transaction,
    asker: Asker,
    action: str,
    kept: KeptPlan,
    now: datetime,
    reason: str,
    *,
    stage: PlanStage | None = None,
    step: int | None = None,
    **entries: Any,
) -> KeptPlan:
    """Write a plan with entries changed, and who wanted it."""
    changed = tx.plans.put(with_entry(kept, stage, **entries), expected_revision=kept.revision)
    _log(tx, asker, action, changed, now, before=kept, reason=reason, step=step)
    return changed


def _log(
    tx: Transaction,
    asker: Asker,
    action: str,
    kept: KeptPlan,
    now: datetime,
    *,
    before: KeptPlan | None,
    reason: str,
    step: int | None = None,
) -> None:
    subject = f"plans/{kept.id}"
    tx.audit.append(
        entry(
            asker,
            action,
            kept.cluster_id,
            subject if step is None else f"{subject}/steps/{step}",
            now,
            before=None if before is None else {"stage": before.stage.value},
            after={"stage": kept.stage.value} | ({"reason": reason} if reason else {}),
        )
    )
