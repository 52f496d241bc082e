"""Jobs: their rows tell how far they are and how they ended, whichever process looks."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.security.principal import Principal, Role
from service.solving import jobs
from service.solving.errors import OverloadedError
from service.solving.jobs import ENDED, KEPT, LOST_AFTER, JobRunner
from service.solving.pool import PoolSettings, SolverPool
from service.solving.work import Progress, Work
from service.store.base import Job, JobStage
from service.store.errors import NotFoundError
from service.store.sql import SqlStore, open_store
from tests.pool_work import Dies, Echo, Refuses, UntilCancelled

SOON_S = 60.0
EVE = Principal(name="eve", role=Role.VIEWER)
BOB = Principal(name="bob", role=Role.VIEWER)
ADMIN = Principal(name="root", role=Role.ADMIN)


class SetClock:
    """A clock that goes only where it is told."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 2, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the instant it shows."""
        return self.at


@pytest.fixture(scope="module")
def pool() -> Iterator[SolverPool]:
    """One worker, and room for one piece of work to wait."""
    pool = SolverPool(PoolSettings(max_waiting=1))
    pool.start()
    yield pool
    pool.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """An empty store."""
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield store
    store.close()


@pytest.fixture
def clock() -> SetClock:
    """A clock that stands."""
    return SetClock()


@pytest.fixture
def runner(store: SqlStore, pool: SolverPool, clock: SetClock) -> JobRunner:
    """A runner that looks when it is told to."""
    return JobRunner(store, pool, name="one", now=clock)


def start(runner: JobRunner, work: Work) -> Job:
    """Take work on for Eve."""
    return runner.start(EVE, "solve", work, {"limit_s": 1})


def row(store: SqlStore, job_id: str) -> Job:
    """Return a job as it stands."""
    with store.begin() as tx:
        return tx.jobs.get(job_id)


def looked_until(runner: JobRunner, store: SqlStore, job_id: str, *stages: JobStage) -> Job:
    """Let the runner look until a job is at one of the stages."""
    ends_s = time.monotonic() + SOON_S
    while (job := row(store, job_id)).stage not in stages and time.monotonic() < ends_s:
        time.sleep(0.01)
        runner.look()
    assert job.stage in stages, job
    return job


def test_a_job_ends_with_its_result(runner: JobRunner, store: SqlStore) -> None:
    """From queued to done, with what was asked and what came of it."""
    job = start(runner, Echo(number=5))
    assert (job.stage, job.asked_by, job.request) == (JobStage.QUEUED, "eve", {"limit_s": 1})
    done = looked_until(runner, store, job.id, *ENDED)
    assert done.stage is JobStage.DONE
    assert done.result is not None
    assert done.result["number"] == 5
    assert done.ended_at is not None


def test_progress_stands_in_the_row(runner: JobRunner, store: SqlStore) -> None:
    """While it runs, the row tells the best so far; cancelled, it keeps what was found."""
    job = start(runner, UntilCancelled())
    looked_until(runner, store, job.id, JobStage.RUNNING)
    ends_s = time.monotonic() + SOON_S
    while (row(store, job.id).progress or {}).get("best") != 1 and time.monotonic() < ends_s:
        time.sleep(0.01)
        runner.look()
    assert (row(store, job.id).progress or {})["engine"] == "waiting"
    with store.begin() as tx:
        jobs.cancel(tx, EVE, job.id, datetime.now(UTC))
    ended = looked_until(runner, store, job.id, *ENDED)
    assert (ended.stage, ended.result) == (JobStage.CANCELLED, {"cancelled": True})


def test_cancelling_is_in_the_audit_log(runner: JobRunner, store: SqlStore) -> None:
    """Who cancelled what is written with the change; doing it twice changes nothing more."""
    job = start(runner, UntilCancelled())
    with store.begin() as tx:
        jobs.cancel(tx, ADMIN, job.id, datetime.now(UTC))
    with store.begin() as tx:
        again = jobs.cancel(tx, ADMIN, job.id, datetime.now(UTC))
        entries = tx.audit.page(limit=10)
    looked_until(runner, store, job.id, *ENDED)
    assert again.stage is JobStage.CANCELLING
    assert [(e.actor, e.action, e.subject) for e in entries] == [
        ("root", "jobs.cancel", f"jobs/{job.id}")
    ]


def test_wrong_input_fails_the_job_with_its_place(runner: JobRunner, store: SqlStore) -> None:
    """What a worker refuses is told as problem details."""
    ended = looked_until(runner, store, start(runner, Refuses()).id, *ENDED)
    assert ended.stage is JobStage.FAILED
    assert ended.problem is not None
    assert ended.problem["errors"] == [
        {"path": "history.demand", "message": "expected a better one"}
    ]


def test_a_dead_worker_fails_the_job(runner: JobRunner, store: SqlStore) -> None:
    """The reason names what ended the worker."""
    ended = looked_until(runner, store, start(runner, Dies()).id, *ENDED)
    assert ended.problem is not None
    assert "SIGKILL" in ended.problem["detail"]


def test_an_overloaded_pool_leaves_no_job(
    runner: JobRunner, store: SqlStore, pool: SolverPool
) -> None:
    """What was not taken on is not in the store either."""
    begun: queue.Queue[Progress] = queue.Queue()
    running = pool.submit(UntilCancelled(), on_progress=begun.put)
    begun.get(timeout=SOON_S)
    waiting = pool.submit(Echo())
    with pytest.raises(OverloadedError):
        start(runner, Echo())
    with store.begin() as tx:
        assert tx.jobs.page(limit=10) == []
    pool.cancel(running)
    waiting.result(SOON_S)


def test_jobs_of_a_process_that_ended_are_failed(
    store: SqlStore, pool: SolverPool, clock: SetClock
) -> None:
    """Another replica marks what nobody has looked after for a while, and nothing younger."""
    lost = Job(
        id="lost", kind="solve", asked_by="eve", asked_at=clock(), stage=JobStage.RUNNING,
        request={}, progress={"seen_at": clock().isoformat()}, worker="gone",
    )  # fmt: skip
    young = replace(lost, id="young", progress={"seen_at": (clock() + LOST_AFTER / 2).isoformat()})
    with store.begin() as tx:
        tx.jobs.put(lost, expected_revision=0)
        tx.jobs.put(young, expected_revision=0)
    clock.at += LOST_AFTER + timedelta(seconds=1)
    JobRunner(store, pool, name="two", now=clock).tidy()
    assert row(store, "lost").stage is JobStage.FAILED
    assert row(store, "lost").problem is not None
    assert row(store, "young").stage is JobStage.RUNNING


def test_a_job_that_runs_here_is_never_lost(
    runner: JobRunner, store: SqlStore, clock: SetClock
) -> None:
    """A process that was slow to write does not fail its own jobs; it tells that it lives."""
    job = start(runner, UntilCancelled())
    clock.at += 2 * LOST_AFTER
    runner.tidy()
    assert row(store, job.id).stage is not JobStage.FAILED
    runner.look()
    assert (row(store, job.id).progress or {})["seen_at"] == clock().isoformat()
    with store.begin() as tx:
        jobs.cancel(tx, EVE, job.id, clock())
    looked_until(runner, store, job.id, *ENDED)


def test_results_are_kept_for_a_day(runner: JobRunner, store: SqlStore, clock: SetClock) -> None:
    """After that they are gone."""
    job = start(runner, Echo())
    looked_until(runner, store, job.id, *ENDED)
    clock.at += KEPT
    runner.tidy()
    assert row(store, job.id).stage is JobStage.DONE
    clock.at += timedelta(seconds=1)
    runner.tidy()
    with pytest.raises(NotFoundError):
        row(store, job.id)


def test_a_job_is_seen_by_who_asked_and_who_looks_after_all(
    runner: JobRunner, store: SqlStore
) -> None:
    """To others it is as if it did not exist."""
    job = start(runner, Echo())
    looked_until(runner, store, job.id, *ENDED)
    with store.begin() as tx:
        assert jobs.see(tx, EVE, job.id).id == job.id
        assert jobs.see(tx, ADMIN, job.id).id == job.id
        with pytest.raises(NotFoundError):
            jobs.see(tx, BOB, job.id)


def test_a_name_that_comes_again_sees_nothing_of_other_clusters(
    runner: JobRunner, store: SqlStore
) -> None:
    """A token bound to one cluster once read what its namesake had asked of another."""
    job = runner.start(EVE, "whatif", Echo(), {}, cluster_id="c1")
    mine = runner.start(EVE, "whatif", Echo(), {}, cluster_id="c2")
    looked_until(runner, store, mine.id, *ENDED)
    bound = replace(EVE, cluster_id="c2")
    with store.begin() as tx:
        with pytest.raises(NotFoundError):
            jobs.see(tx, bound, job.id)
        assert [one.id for one in jobs.page(tx, bound, before="", limit=1)] == [mine.id]
        assert len(jobs.page(tx, EVE, before="", limit=9)) == 2


def test_the_runner_looks_by_itself(store: SqlStore, pool: SolverPool) -> None:
    """Opened, it writes the end without being told to."""
    runner = JobRunner(store, pool, name="three", now=lambda: datetime.now(UTC), look_s=0.05)
    runner.open()
    job = start(runner, Echo())

    def is_done() -> bool:
        return row(store, job.id).stage is JobStage.DONE

    assert eventually(is_done)
    runner.close()


def eventually(holds: Callable[[], bool]) -> bool:
    """Return whether something came to hold within the time."""
    ends_s = time.monotonic() + SOON_S
    while not holds() and time.monotonic() < ends_s:
        time.sleep(0.01)
    return holds()
