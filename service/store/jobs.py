"""Work that takes longer than a request."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, tuple_

from service.store.base import Job, JobStage
from service.store.errors import NotFoundError
from service.store.revisions import write
from service.store.tables import JOBS


class SqlJobs:
    """``base.Jobs`` in a table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, job_id: str) -> Job:
        """Return a job."""
        row = self._connection.execute(select(JOBS).where(JOBS.c.id == job_id)).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no job {job_id!r}")
        return _job(row)

    def page(self, *, asked_by: str | None = None, before: str = "", limit: int) -> list[Job]:
        """Return up to ``limit`` jobs, the newest first."""
        query = select(JOBS)
        if asked_by is not None:
            query = query.where(JOBS.c.asked_by == asked_by)
        if before:
            position = select(JOBS.c.asked_at, JOBS.c.id).where(JOBS.c.id == before)
            query = query.where(tuple_(JOBS.c.asked_at, JOBS.c.id) < position.scalar_subquery())
        query = query.order_by(JOBS.c.asked_at.desc(), JOBS.c.id.desc()).limit(limit)
        return [_job(row) for row in self._connection.execute(query)]

    def unfinished(self) -> list[Job]:
        """Return all jobs that have not ended, the oldest first."""
        query = select(JOBS).where(JOBS.c.ended_at.is_(None)).order_by(JOBS.c.asked_at, JOBS.c.id)
        return [_job(row) for row in self._connection.execute(query)]

    def put(self, job: Job, *, expected_revision: int | None) -> Job:
        """Write a job and return it with its new revision."""
        names = (column.name for column in JOBS.columns)
        values = {name: getattr(job, name) for name in names if name not in ("id", "revision")}
        revision = write(
            self._connection,
            JOBS,
            {"id": job.id},
            {**values, "stage": job.stage.value},
            expected=expected_revision,
            what=f"job {job.id!r}",
        )
        return replace(job, revision=revision)

    def forget(self, ended_before: datetime) -> int:
        """Remove jobs that ended before an instant."""
        return self._connection.execute(
            JOBS.delete().where(JOBS.c.ended_at < ended_before)
        ).rowcount


def _job(row: Row[Any]) -> Job:
    return Job(**{**row._mapping, "stage": JobStage(row.stage)})
