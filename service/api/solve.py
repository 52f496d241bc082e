"""Solving without state: a cluster and its demand in, a plan with its reasons out."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from service.api.answering import answer
from service.api.asking import principal
from service.api.idempotency import once_outside
from service.api.jobs import JobBody, shown
from service.api.operations import operation
from service.api.results import ResultBody
from service.api.services import Services
from service.solving.desk import Desk
from service.solving.errors import WorkerError
from service.solving.request import solve_work, summary
from service.solving.schema import SolveRequest
from service.solving.work import Work

MAX_BODY_MIB = 64


def blueprint(services: Services) -> APIBlueprint:
    """Return the view of solving."""
    api = APIBlueprint(
        "solve", __name__, abp_tags=[Tag(name="solve", description="plans for any cluster")]
    )

    @api.post("/solve", responses={200: ResultBody, 202: JobBody})
    @operation("solve.run", keyed=True, max_body_mib=MAX_BODY_MIB)
    def run_solve(body: SolveRequest) -> Response:
        """Say what to move, in which order and why; nothing is kept and nothing is moved.

        Small requests are answered at once. Large ones, and those with `Prefer: respond-async`,
        are answered 202 with the place of a job.
        """
        desk = desk_of(services)
        work = solve_work(body, now=services.now(), limits=desk.settings.limits)
        is_large = desk.is_large(len(work.cluster.vms), work.limit_s)

        def act() -> Response:
            return respond(desk, "solve", work, summary(work), is_large=is_large)

        # An answer at once leaves nothing behind that must not be there twice.
        return once_outside(services, act) if is_large or prefers_job() else act()

    return api


def desk_of(services: Services) -> Desk:
    """Return where work is taken on.

    Raises
    ------
    WorkerError
        If this process solves nothing.
    """
    if services.desk is None:
        raise WorkerError("this process solves nothing")
    return services.desk


def respond(
    desk: Desk,
    kind: str,
    work: Work,
    told: dict[str, Any],
    *,
    is_large: bool,
    cluster_id: str = "",
) -> Response:
    """Return the answer of work, or the job that will have it."""
    wanted = prefers_job()
    if not (wanted or is_large):
        return Response(desk.answer(work), content_type="application/json")
    job = desk.begin(principal(), kind, work, told, cluster_id=cluster_id)
    response = answer(
        shown(job), status=202, revision=job.revision, location=f"/api/v1/jobs/{job.id}"
    )
    if wanted:
        response.headers["Preference-Applied"] = "respond-async"
    return response


def prefers_job() -> bool:
    """Whether the request has ``Prefer: respond-async``."""
    preferences = ",".join(request.headers.getlist("Prefer")).lower().split(",")
    return "respond-async" in (part.partition(";")[0].strip() for part in preferences)
