"""Plans: listed, made now, approved, held, ended, step by step if wanted; what they were worth."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.api import paging
from service.api.answering import answer
from service.api.asking import Path, Query, principal
from service.api.idempotency import once
from service.api.names import path_of
from service.api.operations import operation
from service.api.services import Services
from service.plans import wishes
from service.plans.acting import why_not
from service.plans.document import AnyPlan, num_steps, step_decisions
from service.runtime.observing import SPANS, scorecard
from service.security.principal import Principal
from service.store.base import KeptPlan, Kind, PlanStage, Transaction
from solver.schema import Id, Strict

PREFIX: Final = "/api/v1"
SCORED_PLANS: Final = 1_000
"""Latest plans that a scorecard is of."""

Stage = Literal[
    "wanted", "proposed", "approved", "running", "done", "ended", "rejected", "superseded"
]


class StepView(BaseModel):
    """One step: what is planned, what was decided, how far it is."""

    position: int
    kind: str
    vm_id: str
    source_id: str | None
    destination_id: str
    start_ms: int
    end_ms: int
    parking: bool
    reason: str
    decision: str | None
    state: str | None = Field(description="none before the plan has begun")
    state_reason: str
    fraction: float
    started_at: str | None
    ended_at: str | None
    downtime_ms: int | None
    transferred_mib: int | None


class PlanSummary(BaseModel):
    """A plan in a list."""

    id: str
    cluster_id: str
    made_at: str
    stage: Stage
    trigger: str
    reason: str
    num_steps: int
    expected: dict[str, Any] | None = Field(
        description="shortfall of the next hour without and with it, in host-seconds"
    )
    benefit_host_s: float | None


class PlanView(PlanSummary):
    """A plan with all that belongs to it."""

    automation: str | None
    forecaster: str | None
    asked_by: str | None
    objections: list[str] = Field(description="what is wrong with the telemetry it is made of")
    not_carried_out: str = Field(
        description="why it cannot be approved, and what to change; empty if it can, or is over"
    )
    decision: dict[str, Any] | None
    stepwise: bool
    wanted: dict[str, Any]
    state: str | None = Field(description="as the executor has it; none before it has begun")
    state_reason: str
    steps: list[StepView]
    result: dict[str, Any] | None = Field(description="as a solve answers, without placement")
    loads: list[dict[str, Any]] = Field(
        description="predicted peaks of the hosts it touches, as fractions of what is usable"
    )
    observed: dict[str, Any] = Field(description="what was then observed, by span")


class PlanPage(BaseModel):
    """A page of plans, the newest first."""

    items: list[PlanSummary]
    next: str | None


class ScorecardView(BaseModel):
    """What plans were worth, by the demand that was then observed."""

    span: Literal["5m", "1h", "24h"]
    not_run: dict[str, Any] = Field(description="what plans nobody ran would have saved")
    run: dict[str, Any] = Field(description="what plans that ran have saved")


class PlansPath(Path):
    """Names a cluster."""

    cluster_id: Id


class PlanPath(PlansPath):
    """Names a plan."""

    plan_id: Id


class StepPath(PlanPath):
    """Names a step by its position, from 0."""

    step: Annotated[int, Field(ge=0, le=100_000)]


class PlansQuery(paging.PageQuery):
    """Which plans."""

    stage: Stage | None = Field(default=None, description="only those at this stage")


class ScoreQuery(Query):
    """Over which span."""

    span: Literal["5m", "1h", "24h"] = "1h"


class WishBody(Strict):
    """Why something is wanted."""

    reason: Annotated[str, Field(max_length=1_000)] = ""


class AbortBody(WishBody):
    """How a plan is to end."""

    cancel_running: bool = Field(
        default=True, description="cancel what is under way, rather than let it finish"
    )


def blueprint(services: Services) -> APIBlueprint:
    """Return the views of plans."""
    tag = Tag(name="plans", description="what to move, and what came of it")
    api = APIBlueprint("plans", __name__, abp_tags=[tag])
    _reading(api, services)
    _deciding(api, services)
    return api


def _reading(api: APIBlueprint, services: Services) -> None:
    @api.get("/clusters/<cluster_id>/plans", responses={200: PlanPage})
    @operation("plans.list")
    def list_plans(path: PlansPath, query: PlansQuery) -> Response:
        """List plans, the newest first."""
        before = paging.start(query)
        stages = None if query.stage is None else [PlanStage(query.stage)]
        with services.store.begin(read_only=True) as tx:
            tx.items.get(Kind.CLUSTER, "", path.cluster_id)
            found = tx.plans.heads(
                path.cluster_id, stages=stages, before=before, limit=query.limit + 1
            )
        return answer(paging.page(found, query, key=lambda plan: plan.id, show=_listed))

    @api.get("/clusters/<cluster_id>/plans/<plan_id>", responses={200: PlanView})
    @operation("plans.show")
    def show_plan(path: PlanPath) -> Response:
        """Show a plan: its steps and how far they are, reasons, scores, what was observed."""
        with services.store.begin(read_only=True) as tx:
            kept = tx.plans.get(path.cluster_id, path.plan_id)
            return answer(shown(tx, kept), revision=kept.revision)

    @api.get("/clusters/<cluster_id>/scorecard", responses={200: ScorecardView})
    @operation("plans.scorecard")
    def show_scorecard(path: PlansPath, query: ScoreQuery) -> Response:
        """Tell what the latest plans have saved, or would have."""
        assert query.span in SPANS
        with services.store.begin(read_only=True) as tx:
            tx.items.get(Kind.CLUSTER, "", path.cluster_id)
            found = tx.plans.heads(path.cluster_id, limit=SCORED_PLANS)
        return answer(scorecard(found, span=query.span))


def _deciding(api: APIBlueprint, services: Services) -> None:
    @api.post("/clusters/<cluster_id>/plans", responses={202: PlanView})
    @operation("plans.make", keyed=True)
    def make_plan(path: PlansPath, body: WishBody) -> Response:
        """Ask for a plan to be made now; it is `wanted` until it is there."""

        return _wished(
            services,
            lambda tx, who, now: wishes.request_plan(
                tx, who, path.cluster_id, now=now, reason=body.reason
            ),
            location=lambda kept: (
                f"{PREFIX}{path_of('clusters', path.cluster_id, 'plans', kept.id)}"
            ),
        )

    @api.post("/clusters/<cluster_id>/plans/<plan_id>/approve", responses={202: PlanView})
    @operation("plans.approve", keyed=True)
    def approve_plan(path: PlanPath, body: WishBody) -> Response:
        """Let a proposed plan be carried out; refused where plans are recommendations."""
        return _wished(
            services,
            lambda tx, who, now: wishes.approve(
                tx, who, path.cluster_id, path.plan_id, now=now, reason=body.reason
            ),
        )

    @api.post("/clusters/<cluster_id>/plans/<plan_id>/reject", responses={202: PlanView})
    @operation("plans.reject", keyed=True)
    def reject_plan(path: PlanPath, body: WishBody) -> Response:
        """Decide that a plan is not carried out."""
        return _wished(
            services,
            lambda tx, who, now: wishes.reject(
                tx, who, path.cluster_id, path.plan_id, now=now, reason=body.reason
            ),
        )

    @api.post("/clusters/<cluster_id>/plans/<plan_id>/pause", responses={202: PlanView})
    @operation("plans.pause", keyed=True)
    def pause_plan(path: PlanPath, body: WishBody) -> Response:
        """Begin no further step; what is under way goes on."""
        return _wished(
            services,
            lambda tx, who, now: wishes.pause(
                tx, who, path.cluster_id, path.plan_id, now=now, reason=body.reason
            ),
        )

    @api.post("/clusters/<cluster_id>/plans/<plan_id>/resume", responses={202: PlanView})
    @operation("plans.resume", keyed=True)
    def resume_plan(path: PlanPath, body: WishBody) -> Response:
        """Go on with a paused plan."""
        return _wished(
            services,
            lambda tx, who, now: wishes.resume(
                tx, who, path.cluster_id, path.plan_id, now=now, reason=body.reason
            ),
        )

    @api.post("/clusters/<cluster_id>/plans/<plan_id>/abort", responses={202: PlanView})
    @operation("plans.abort", keyed=True)
    def abort_plan(path: PlanPath, body: AbortBody) -> Response:
        """End a plan: nothing more is begun."""

        return _wished(
            services,
            lambda tx, who, now: wishes.abort(
                tx,
                who,
                path.cluster_id,
                path.plan_id,
                now=now,
                reason=body.reason,
                cancel_running=body.cancel_running,
            ),
        )

    @api.post(
        "/clusters/<cluster_id>/plans/<plan_id>/steps/<step>/approve",
        responses={202: PlanView},
    )
    @operation("plans.approve_step", keyed=True)
    def approve_step(path: StepPath, body: WishBody) -> Response:
        """Let one step be made; the others then wait for their own approval."""
        return _wished(
            services,
            lambda tx, who, now: wishes.approve_step(
                tx, who, path.cluster_id, path.plan_id, path.step, now=now, reason=body.reason
            ),
        )

    @api.post("/clusters/<cluster_id>/plans/<plan_id>/steps/<step>/skip", responses={202: PlanView})
    @operation("plans.skip_step", keyed=True)
    def skip_step(path: StepPath, body: WishBody) -> Response:
        """Leave out one step that has not begun."""
        return _wished(
            services,
            lambda tx, who, now: wishes.skip_step(
                tx, who, path.cluster_id, path.plan_id, path.step, now=now, reason=body.reason
            ),
        )


def _wished(
    services: Services,
    wish: Callable[[Transaction, Principal, datetime], KeptPlan],
    *,
    location: Callable[[KeptPlan], str] | None = None,
) -> Response:
    """Write down what is wanted of a plan, and answer with the plan."""

    def act(tx: Transaction) -> Response:
        kept = wish(tx, principal(), services.now())
        where = None if location is None else location(kept)
        return answer(shown(tx, kept), status=202, revision=kept.revision, location=where)

    return once(services, act)


def shown(tx: Transaction, kept: KeptPlan) -> dict[str, Any]:
    """Return a plan as it is answered."""
    document = kept.document
    proposed = kept.stage is PlanStage.PROPOSED
    progress = document.get("progress") or {}
    return _listed(kept) | {
        "automation": document.get("automation"),
        "forecaster": document.get("forecaster"),
        "asked_by": document.get("asked_by"),
        "objections": document.get("objections", []),
        "not_carried_out": why_not(tx, kept.cluster_id) if proposed else "",
        "decision": document.get("decision"),
        "stepwise": bool(document.get("stepwise")),
        "wanted": document.get("wanted", {}),
        "state": progress.get("state"),
        "state_reason": progress.get("reason", ""),
        "steps": _steps(kept, progress),
        "result": document.get("result"),
        "loads": document.get("loads", []),
        "observed": document.get("observed", {}),
    }


def _listed(kept: AnyPlan) -> dict[str, Any]:
    document = kept.document
    return {
        "id": kept.id,
        "cluster_id": kept.cluster_id,
        "made_at": kept.made_at.isoformat(),
        "stage": kept.stage.value,
        "trigger": kept.trigger,
        "reason": document.get("reason", ""),
        "num_steps": num_steps(kept),
        "expected": document.get("expected"),
        "benefit_host_s": document.get("benefit_host_s"),
    }


def _planned(kept: KeptPlan) -> list[dict[str, Any]]:
    result = kept.document.get("result")
    steps: list[dict[str, Any]] = [] if result is None else result["plan"]["steps"]
    return steps


def _steps(kept: KeptPlan, progress: dict[str, Any]) -> list[dict[str, Any]]:
    decided = step_decisions(kept)
    entries = progress.get("steps") or [{}] * len(_planned(kept))
    reasons = {
        item["vm_id"]: item["sentence"]
        for item in (kept.document.get("result") or {}).get("explanations", ())
    }
    copied = ("kind", "vm_id", "source_id", "destination_id", "start_ms", "end_ms", "parking")
    return [
        {name: step[name] for name in copied}
        | {
            "position": position,
            "reason": reasons.get(step["vm_id"]) or step["reason"],
            "decision": decided.get(position),
            "state": entry.get("state"),
            "state_reason": entry.get("reason", ""),
            "fraction": entry.get("fraction", 0.0),
            "started_at": entry.get("started_at"),
            "ended_at": entry.get("ended_at"),
            "downtime_ms": entry.get("downtime_ms"),
            "transferred_mib": entry.get("transferred_mib"),
        }
        for position, (step, entry) in enumerate(zip(_planned(kept), entries, strict=True))
    ]
