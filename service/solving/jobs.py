"""Work that takes longer than a request: kept in the store, watched here, cancelled from anywhere.

The row of a job is all that replicas share. The process that runs a job writes its progress and its
end, and looks there whether anyone wants it cancelled. It also writes when it last did so: a job
that nobody has looked after for a while was left by a process that has ended, and any replica marks
it as failed.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol

from service.security.auditing import entry
from service.security.principal import Principal, Role
from service.solving.errors import WorkCancelledError
from service.solving.pool import SolverPool, Ticket
from service.solving.work import Progress, Work
from service.store.base import Job, JobStage, Transaction
from service.store.errors import NotFoundError, StoreError
from solver.domain.errors import ForeswapError, InvalidInputError

LOG: Final = logging.getLogger(__name__)

LOOK_S: Final = 0.5
"""Between looks at what runs here: how late progress and cancelling are at most."""

SIGN_OF_LIFE: Final = timedelta(seconds=10)
LOST_AFTER: Final = timedelta(seconds=60)
"""Without a sign of life for so long, the process of a job has ended; clocks of replicas differ."""

TIDY_EVERY: Final = timedelta(seconds=30)
KEPT: Final = timedelta(days=1)
"""How long a job can be read after its end."""

ENDED: Final = frozenset({JobStage.DONE, JobStage.FAILED, JobStage.CANCELLED})


class Transactions(Protocol):
    """What of a store jobs need."""

    def begin(self) -> AbstractContextManager[Transaction]:
        """Return a transaction."""


class _Latest:
    """The progress told last, from whichever thread."""

    def __init__(self) -> None:
        self.progress: Progress | None = None

    def note(self, progress: Progress) -> None:
        """Take it down."""
        self.progress = progress


@dataclass(slots=True, kw_only=True)
class _Watched:
    """A job that runs here, and what of it stands in the store."""

    ticket: Ticket
    latest: _Latest
    written: tuple[Progress | None, bool] = (None, False)
    written_at: datetime


class JobRunner:
    """Runs jobs in the pool and keeps their rows.

    Parameters
    ----------
    name
        Of this process among all replicas, for ever.
    """

    def __init__(
        self,
        store: Transactions,
        pool: SolverPool,
        *,
        name: str,
        now: Callable[[], datetime],
        look_s: float = LOOK_S,
    ) -> None:
        self._store, self._pool, self._name, self._now = store, pool, name, now
        self._look_s = look_s
        self._watched: dict[str, _Watched] = {}
        self._lock = threading.Lock()
        self._nudged = threading.Event()
        self._closing = threading.Event()
        self._tidied_at: datetime | None = None
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def open(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """Write how the jobs of this process ended; after the pool is closed."""
        self._closing.set()
        self._nudged.set()
        if self._thread.is_alive():
            self._thread.join(10.0)

    def start(
        self,
        principal: Principal,
        kind: str,
        work: Work,
        request: Mapping[str, Any],
        *,
        cluster_id: str = "",
    ) -> Job:
        """Take work on as a job.

        Parameters
        ----------
        request
            What is remembered of what was asked.

        Raises
        ------
        OverloadedError
            If as much is waiting as may; there is no job then.
        """
        job_id = f"job-{secrets.token_hex(8)}"
        now = self._now()
        job = Job(
            id=job_id,
            kind=kind,
            asked_by=principal.name,
            asked_at=now,
            stage=JobStage.QUEUED,
            request=dict(request),
            cluster_id=cluster_id,
            progress=_progress_document(None, now),
            worker=self._name,
        )
        latest = _Latest()
        ticket = self._pool.submit(work, on_progress=latest.note)
        try:
            with self._store.begin() as tx:
                job = tx.jobs.put(job, expected_revision=0)
        except BaseException:
            self._pool.cancel(ticket)
            raise
        with self._lock:
            self._watched[job_id] = _Watched(ticket=ticket, latest=latest, written_at=now)
        ticket.future.add_done_callback(lambda future: self._nudged.set())
        return job

    def nudge(self) -> None:
        """Look at once: a job was cancelled."""
        self._nudged.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            self.look()
            self._nudged.wait(self._look_s)
            self._nudged.clear()
        self.look()

    def look(self) -> None:
        """Write what there is to write of every job that runs here, and tidy now and then."""
        with self._lock:
            watched = dict(self._watched)
        for job_id, job in watched.items():
            self._guarded(partial(self._look_at, job_id, job))
        if self._tidied_at is None or self._now() - self._tidied_at >= TIDY_EVERY:
            self._tidied_at = self._now()
            self._guarded(self.tidy)

    def tidy(self) -> None:
        """Mark jobs as failed whose process has ended, and forget old ones."""
        now = self._now()
        with self._store.begin() as tx:
            for job in tx.jobs.unfinished():
                if self._is_lost(job, now):
                    tx.jobs.put(
                        replace(job, stage=JobStage.FAILED, ended_at=now, problem=LOST_PROBLEM),
                        expected_revision=job.revision,
                    )
            tx.jobs.forget(now - KEPT)

    def _is_lost(self, job: Job, now: datetime) -> bool:
        with self._lock:
            if job.id in self._watched:
                return False
        seen = (job.progress or {}).get("seen_at")
        seen_at = job.asked_at if seen is None else datetime.fromisoformat(str(seen))
        return now - seen_at > LOST_AFTER

    def _guarded(self, act: Callable[[], None]) -> None:
        """Do it, and try again at the next look where the store cannot be used now."""
        try:
            act()
        except StoreError as error:
            LOG.warning("jobs: %s", error)
        except Exception:
            # One job that nobody can write must not keep the others from being looked after.
            LOG.exception("jobs: an unexpected error")

    def _look_at(self, job_id: str, watched: _Watched) -> None:
        future = watched.ticket.future
        if future.done():
            self._write_end(job_id, watched.ticket)
            with self._lock:
                del self._watched[job_id]
            return
        now = self._now()
        with self._store.begin() as tx:
            job = tx.jobs.get(job_id)
            if job.stage is JobStage.CANCELLING and not watched.ticket.cancelled:
                self._pool.cancel(watched.ticket)
            state = (watched.latest.progress, watched.ticket.begun)
            if state == watched.written and now - watched.written_at < SIGN_OF_LIFE:
                return
            begun = job.stage is JobStage.QUEUED and watched.ticket.begun
            tx.jobs.put(
                replace(
                    job,
                    stage=JobStage.RUNNING if begun else job.stage,
                    progress=_progress_document(state[0], now),
                ),
                expected_revision=job.revision,
            )
        watched.written, watched.written_at = state, now

    def _write_end(self, job_id: str, ticket: Ticket) -> None:
        now = self._now()
        error = ticket.future.exception()
        with self._store.begin() as tx:
            try:
                job = tx.jobs.get(job_id)
            except NotFoundError:
                return  # Forgotten: it ended long ago as far as anyone else could tell.
            if job.stage in ENDED:
                return
            if error is None:
                stage = JobStage.CANCELLED if ticket.cancelled else JobStage.DONE
                job = replace(job, stage=stage, result=json.loads(ticket.result(0)))
            elif isinstance(error, WorkCancelledError):
                job = replace(job, stage=JobStage.CANCELLED)
            else:
                job = replace(job, stage=JobStage.FAILED, problem=problem_of(error))
            tx.jobs.put(replace(job, ended_at=now), expected_revision=job.revision)


LOST_PROBLEM: Final = {
    "type": "urn:foreswap:problem:worker",
    "title": "Not finished",
    "detail": "the process that ran the job has ended; ask again",
}


def problem_of(error: BaseException) -> dict[str, Any]:
    """Return why a job failed, in the form of problem details; codes are of no use here."""
    invalid = isinstance(error, InvalidInputError)
    told: dict[str, Any] = {
        "type": f"urn:foreswap:problem:{'invalid' if invalid else 'worker'}",
        "title": "Not valid" if invalid else "Not finished",
        "detail": str(error) if isinstance(error, ForeswapError) else type(error).__name__,
    }
    if isinstance(error, InvalidInputError):
        message = str(error).removeprefix(f"{error.path}: ")
        told["errors"] = [{"path": error.path, "message": message}]
    return told


def see(tx: Transaction, principal: Principal, job_id: str) -> Job:
    """Return a job to whoever asked for it, or looks after all.

    Raises
    ------
    NotFoundError
        If there is none, or it is somebody else's: that it exists is theirs to know.
    """
    job = tx.jobs.get(job_id)
    if not _sees(principal, job):
        raise NotFoundError(f"there is no job {job_id!r}")
    return job


def page(tx: Transaction, principal: Principal, *, before: str, limit: int) -> list[Job]:
    """Return up to ``limit`` jobs that somebody sees, the newest first, from behind ``before``."""
    asked_by = None if sees_all(principal) else principal.name
    found: list[Job] = []
    while len(found) < limit:
        some = tx.jobs.page(asked_by=asked_by, before=before, limit=limit)
        found += [job for job in some if _sees(principal, job)]
        if len(some) < limit:
            break
        before = some[-1].id
    return found[:limit]


def _sees(principal: Principal, job: Job) -> bool:
    # A name may come again: what another token of it asked of other clusters is not this one's.
    within_reach = not job.cluster_id or principal.reaches(job.cluster_id)
    return sees_all(principal) or (job.asked_by == principal.name and within_reach)


def sees_all(principal: Principal) -> bool:
    """Whether somebody may see everyone's jobs."""
    return principal.role in (Role.OPERATOR, Role.ADMIN) and not principal.cluster_id


def cancel(tx: Transaction, principal: Principal, job_id: str, now: datetime) -> Job:
    """Ask for a job's end; what it has found until then becomes its result.

    A job that has ended, or is ending, stays as it is.

    Raises
    ------
    NotFoundError
        As :func:`see` does.
    """
    job = see(tx, principal, job_id)
    if job.stage in ENDED or job.stage is JobStage.CANCELLING:
        return job
    kept = tx.jobs.put(replace(job, stage=JobStage.CANCELLING), expected_revision=job.revision)
    tx.audit.append(
        entry(
            principal,
            "jobs.cancel",
            job.cluster_id,
            f"jobs/{job_id}",
            now,
            before={"stage": job.stage.value},
            after={"stage": kept.stage.value},
        )
    )
    return kept


def _progress_document(progress: Progress | None, now: datetime) -> dict[str, Any]:
    told = {} if progress is None else asdict(progress)
    return told | {"seen_at": now.isoformat()}
