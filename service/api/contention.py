"""How contended hosts are now and in the next hour, by the latest forecast."""

from __future__ import annotations

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.api.asking import Path
from service.api.latest import answer_kept
from service.api.operations import operation
from service.api.services import Services
from service.runtime.kept import CONTENTION
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
        return answer_kept(services, path.cluster_id, CONTENTION)

    return api
