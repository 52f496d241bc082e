"""Jobs: looked at, followed as a stream of events, cancelled."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any, Final

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.api import paging
from service.api.answering import answer, nothing
from service.api.asking import Path, principal
from service.api.idempotency import once
from service.api.operations import operation
from service.api.services import Services
from service.security.principal import Principal
from service.solving import jobs
from service.solving.desk import Desk
from service.solving.errors import WorkerError
from service.store.base import Job, JobStage, Transaction
from solver.schema import Id

LOOK_S: Final = 0.5
"""Between looks at a job that is followed."""

HEART_BEAT_S: Final = 15.0
"""Silence after which a comment shows that the stream lives, and finds out whether anyone reads."""

LONGEST_STREAM_S: Final = 600.0
"""A stream ends then; whoever reads it comes again with Last-Event-ID."""


class JobBody(BaseModel):
    """Work that takes longer than a request."""

    id: str
    kind: str
    cluster_id: str = Field(description="empty for none")
    asked_by: str
    asked_at: datetime
    stage: JobStage
    request: dict[str, Any] = Field(description="a summary of what was asked")
    progress: dict[str, Any] | None = Field(description="best so far, bound, engine")
    result: dict[str, Any] | None = Field(
        description="what the request would have been answered at once; null until then, and in "
        "lists and events"
    )
    problem: dict[str, Any] | None = Field(description="why it failed")
    ended_at: datetime | None


class JobPage(BaseModel):
    """A page of jobs, the newest first."""

    items: list[JobBody]
    next: str | None


class JobPath(Path):
    """Names a job."""

    job_id: Id


def blueprint(services: Services) -> APIBlueprint:
    """Return the views of jobs."""
    api = APIBlueprint(
        "jobs", __name__, abp_tags=[Tag(name="jobs", description="work that takes a while")]
    )

    @api.get("/jobs", responses={200: JobPage})
    @operation("jobs.list")
    def list_jobs(query: paging.PageQuery) -> Response:
        """List jobs without their results: one's own, or all for those who look after all."""
        before = paging.start(query)
        with services.store.begin(read_only=True) as tx:
            if before:
                jobs.see(tx, principal(), before)
            found = jobs.page(tx, principal(), before=before, limit=query.limit + 1)
        return answer(paging.page(found, query, key=lambda job: job.id, show=_listed))

    @api.get("/jobs/<job_id>", responses={200: JobBody})
    @operation("jobs.show")
    def show_job(path: JobPath) -> Response:
        """Show a job, with its result once it has ended."""
        with services.store.begin(read_only=True) as tx:
            job = jobs.see(tx, principal(), path.job_id)
        return answer(shown(job), revision=job.revision)

    @api.post("/jobs/<job_id>/cancel", responses={202: JobBody})
    @operation("jobs.cancel", keyed=True)
    def cancel_job(path: JobPath) -> Response:
        """Ask for a job's end; what it found until then becomes its result."""

        def act(tx: Transaction) -> Response:
            job = jobs.cancel(tx, principal(), path.job_id, services.now())
            return answer(_listed(job), status=202, revision=job.revision)

        answered = once(services, act)
        if services.desk is not None:
            services.desk.jobs.nudge()
        return answered

    @api.get("/jobs/<job_id>/events", responses={200: _EVENTS, 204: None})
    @operation("jobs.events")
    def follow_job(path: JobPath) -> Response:
        """Follow a job as server-sent events: `progress` with every change, `end` at last."""
        desk = services.desk
        if desk is None:
            raise WorkerError("this process solves nothing")
        asker = principal()
        with services.store.begin(read_only=True) as tx:
            job = jobs.see(tx, asker, path.job_id)
        seen = request.headers.get("Last-Event-ID", "", str)
        if job.stage in jobs.ENDED and seen == str(job.revision):
            return nothing()
        return _stream(services, desk, asker, job.id, seen)

    return api


_EVENTS: Final = {
    "description": "events with the job as JSON, their ids its revisions",
    "content": {
        "text/event-stream": {
            # Of each event.
            "schema": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "event": {"type": "string", "enum": ["progress", "end"]},
                    "data": {"type": "string"},
                },
                "required": ["id", "event", "data"],
            }
        }
    },
}


def shown(job: Job) -> dict[str, Any]:
    """Return a job as it is answered."""
    return {
        "id": job.id,
        "kind": job.kind,
        "cluster_id": job.cluster_id,
        "asked_by": job.asked_by,
        "asked_at": job.asked_at.isoformat(),
        "stage": job.stage.value,
        "request": job.request,
        "progress": job.progress,
        "result": job.result,
        "problem": job.problem,
        "ended_at": None if job.ended_at is None else job.ended_at.isoformat(),
    }


def _listed(job: Job) -> dict[str, Any]:
    return shown(job) | {"result": None}


def _stream(services: Services, desk: Desk, asker: Principal, job_id: str, seen: str) -> Response:
    place = ExitStack()
    place.enter_context(desk.stream())
    events = _events(services, desk, asker, job_id, seen)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = Response(events, content_type="text/event-stream", headers=headers)
    response.call_on_close(place.close)
    return response


def _events(
    services: Services, desk: Desk, asker: Principal, job_id: str, seen: str
) -> Iterator[str]:
    """Yield the job whenever it has changed, until it has ended."""
    began_s = told_s = time.monotonic()
    while time.monotonic() - began_s < LONGEST_STREAM_S:
        with services.store.begin(read_only=True) as tx:
            job = jobs.see(tx, asker, job_id)
        ended = job.stage in jobs.ENDED
        if str(job.revision) != seen:
            seen, told_s = str(job.revision), time.monotonic()
            data = json.dumps(_listed(job))
            yield f"id: {seen}\nevent: {'end' if ended else 'progress'}\ndata: {data}\n\n"
        elif time.monotonic() - told_s >= HEART_BEAT_S:
            told_s = time.monotonic()
            yield ": alive\n\n"
        if ended or desk.ending.wait(LOOK_S):
            return
