"""How contended hosts are now and in the next hour, by the latest forecast."""

from __future__ import annotations

import json

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.api.answering import answer
from service.api.asking import Path
from service.api.operations import operation
from service.api.services import Services
from service.runtime.kept import CONTENTION
from service.store.base import Kind
from service.store.errors import NotFoundError
from solver.schema import Id


class HostContentionView(BaseModel):
    """One host; costs are host-seconds of shortfall, weighted by priority."""

    host_id: str
    current_host_s: float
    predicted_host_s: float
    score_host_s: float
    overload_probability: float = Field(description="that any resource is short within the hour")
    used: dict[str, int] = Field(description="present demand by resource")


class ContentionView(BaseModel):
    """All hosts, the most contended first."""

    at: str
    forecaster: str
    hosts: list[HostContentionView]
    total_host_s: float


class ContentionPath(Path):
    """Names a cluster."""

    cluster_id: Id


def blueprint(services: Services) -> APIBlueprint:
    """Return the view of contention."""
    tag = Tag(name="contention", description="which hosts are or will be short")
    api = APIBlueprint("contention", __name__, abp_tags=[tag])

    @api.get("/clusters/<cluster_id>/contention", responses={200: ContentionView})
    @operation("contention.show")
    def show_contention(path: ContentionPath) -> Response:
        """Show how contended each host is, worst first."""
        with services.store.begin(read_only=True) as tx:
            tx.items.get(Kind.CLUSTER, "", path.cluster_id)
            kept = tx.blobs.get(path.cluster_id, CONTENTION)
        if kept is None:
            raise NotFoundError(f"cluster {path.cluster_id!r}: there is no forecast yet")
        return answer(json.loads(kept[1]))

    return api
