"""The schedule of a cluster: when and how far it is balanced by itself, and what is going on."""

from __future__ import annotations

import json
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.api.answering import answer
from service.api.asking import Path, principal
from service.api.etags import expected_revision
from service.api.operations import operation
from service.api.services import Services
from service.plans.schedule import ScheduleModel
from service.plans.wishes import put_schedule
from service.runtime.kept import RUNTIME
from service.store.base import Item, Kind, Transaction
from solver.schema import Id


class StatusView(BaseModel):
    """What the leader last told of a cluster."""

    seen_at: str | None
    forecast_at: str | None
    forecaster: str
    objections: list[str] = Field(description="why nothing is done on the present telemetry")
    error: str = Field(description="what keeps the cluster from being seen")
    last_run_at: str | None
    last_trigger: str
    last_outcome: str
    next_run_at: str | None
    blackout_until: str | None
    retry_at: str | None
    emptying: list[str] = Field(description="hosts in maintenance that are not empty yet")


class ScheduleView(BaseModel):
    """A schedule, and how it stands."""

    schedule: ScheduleModel
    is_default: bool = Field(description="nobody has set one")
    status: StatusView | None = Field(description="none before a leader has looked")


class SchedulePath(Path):
    """Names a cluster."""

    cluster_id: Id


def blueprint(services: Services) -> APIBlueprint:
    """Return the views of schedules."""
    tag = Tag(name="schedule", description="when and how far clusters are balanced by themselves")
    api = APIBlueprint("schedule", __name__, abp_tags=[tag])

    @api.get("/clusters/<cluster_id>/schedule", responses={200: ScheduleView})
    @operation("schedule.show")
    def show_schedule(path: SchedulePath) -> Response:
        """Show the schedule, when it is planned next, and what holds it back."""
        with services.store.begin(read_only=True) as tx:
            tx.items.get(Kind.CLUSTER, "", path.cluster_id)
            item = tx.items.find(Kind.SCHEDULE, path.cluster_id, [path.cluster_id])
            return _answered(tx, path.cluster_id, item.get(path.cluster_id))

    @api.put("/clusters/<cluster_id>/schedule", responses={200: ScheduleView, 201: ScheduleView})
    @operation("schedule.put", revisioned=True)
    def put(path: SchedulePath, body: ScheduleModel) -> Response:
        """Set the schedule as a whole."""
        with services.store.begin() as tx:
            item = put_schedule(
                tx,
                principal(),
                path.cluster_id,
                body.model_dump(exclude_unset=True),
                expected_revision=expected_revision(),
                now=services.now(),
            )
            return _answered(tx, path.cluster_id, item, status=201 if item.revision == 1 else 200)

    return api


def _answered(tx: Transaction, cluster_id: str, item: Item | None, status: int = 200) -> Response:
    kept = tx.blobs.get(cluster_id, RUNTIME)
    told: dict[str, Any] | None = None if kept is None else json.loads(kept[1])
    model = ScheduleModel.model_validate({} if item is None else dict(item.document))
    body = {"schedule": model.model_dump(), "is_default": item is None, "status": told}
    return answer(body, status=status, revision=0 if item is None else item.revision)
