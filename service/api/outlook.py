"""What lies ahead of a cluster as a whole: bands of its hosts, room, and what losing one does."""

from __future__ import annotations

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.api.asking import Path
from service.api.latest import answer_kept
from service.api.operations import operation
from service.api.services import Services
from service.runtime.kept import OUTLOOK
from solver.schema import Id


class PeakView(BaseModel):
    """The largest demand of the next hour at two quantiles, in the resource's unit."""

    p50: float
    p95: float


class HeadroomView(BaseModel):
    """One resource on all hosts that are up, in its unit."""

    capacity: int | None = Field(description="null where some host has no limit")
    promised: int
    expected: float = Field(description="mean of the next hour")
    peak: int = Field(description="most at one step of one future, of all VMs together")


class WorstLossView(BaseModel):
    """The loss that leaves most VMs without a host."""

    host_id: str
    num_left_out: int
    lacks: str = Field(description="what keeps them from every other host")


class SurvivalView(BaseModel):
    """N+1: whether the VMs of any one host fit on the others, everybody else staying."""

    survives: bool | None = Field(description="null where it is not known of every host")
    num_judged: int
    num_fatal: int
    num_unknown: int
    worst: WorstLossView | None


class OutlookView(BaseModel):
    """A cluster as a whole, by the latest forecast."""

    at: str
    hosts: dict[str, dict[str, PeakView]] = Field(description="by host, then by resource")
    headroom: dict[str, HeadroomView] = Field(description="by resource")
    survival: SurvivalView


class OutlookPath(Path):
    """Names a cluster."""

    cluster_id: Id


def blueprint(services: Services) -> APIBlueprint:
    """Return the view of a cluster as a whole."""
    tag = Tag(name="contention", description="which hosts are or will be short")
    api = APIBlueprint("outlook", __name__, abp_tags=[tag])

    @api.get("/clusters/<cluster_id>/outlook", responses={200: OutlookView})
    @operation("outlook.show")
    def show_outlook(path: OutlookPath) -> Response:
        """Show what hosts will need in the next hour, room, and N+1."""
        return answer_kept(services, path.cluster_id, OUTLOOK)

    return api
