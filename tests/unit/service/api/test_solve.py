"""Solving over HTTP: answers at once, jobs, events, and what is refused."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.api.results import ResultBody
from service.api.services import Services
from service.app import App, create_app
from service.security.principal import Principal, Role
from service.solving.desk import Desk, DeskSettings
from service.solving.pool import PoolSettings, SolverPool
from service.solving.work import Progress
from service.store.base import Store
from solver.instances import cluster_to_document
from tests.answers import document, problem
from tests.builders import make_cluster, make_host, make_vm
from tests.pool_work import UntilCancelled
from tests.unit.service.api.conftest import Ask

SOLVE, JOBS = "/api/v1/solve", "/api/v1/jobs"
SOON_S = 60.0
EVE = Principal(name="eve", role=Role.OPERATOR)


@pytest.fixture(scope="module")
def pool() -> Iterator[SolverPool]:
    """One worker."""
    pool = SolverPool(PoolSettings(max_waiting=2))
    pool.start()
    yield pool
    pool.close()


@pytest.fixture
def desk(pool: SolverPool, store: Store) -> Iterator[Desk]:
    """Takes work on, two requests waiting at most, and one stream."""
    settings = DeskSettings(max_direct=1, max_streams=1, direct_vms=8, direct_limit_s=2.0)
    desk = Desk(pool, store, name="test", now=lambda: datetime.now(UTC), settings=settings)
    desk.open()
    yield desk
    desk.close()


@pytest.fixture
def app(services: Services, desk: Desk) -> App:
    """The application, with workers."""
    return create_app(replace(services, desk=desk))


def request_of(*, num_vms: int = 4, **more: Any) -> dict[str, Any]:
    """Return a request about two hosts, all VMs on the first."""
    hosts = [make_host("h1", cores=8), make_host("h2", cores=8)]
    cluster = make_cluster(hosts, [make_vm(f"v{i}", "h1", cores=4) for i in range(num_vms)])
    return {"cluster": cluster_to_document(cluster), "options": {"limit_s": 0.2}, **more}


def ended(client: FlaskClient, location: str) -> dict[str, Any]:
    """Return a job once it has ended."""
    ends_s = time.monotonic() + SOON_S
    while time.monotonic() < ends_s:
        job = document(client.get(location))
        if job["ended_at"] is not None:
            return job
        time.sleep(0.02)
    raise AssertionError("the job did not end")


def test_a_small_request_is_answered_at_once(admin: FlaskClient) -> None:
    """The answer is a result document, of the form that is published."""
    answer = admin.post(SOLVE, json=request_of())
    assert answer.status_code == 200
    result = ResultBody.model_validate_json(answer.data)
    assert result.status in ("optimal", "feasible")
    assert len(result.plan.steps) == 2
    assert result.before.host_s.total > result.after.host_s.total


def test_a_job_is_made_where_it_was_asked_for(admin: FlaskClient) -> None:
    """202 with the place of a job, whose result is what would have been answered at once."""
    answer = admin.post(SOLVE, json=request_of(), headers={"Prefer": "respond-async, wait=5"})
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert document(answer)["request"]["num_vms"] == 4
    job = ended(admin, answer.headers["Location"])
    assert job["stage"] == "done"
    assert job["result"]["foreswap"] == "result"


def test_a_large_request_becomes_a_job(admin: FlaskClient) -> None:
    """Whether by the number of its VMs or by its limit."""
    many = admin.post(SOLVE, json=request_of(num_vms=9))
    long = admin.post(SOLVE, json=request_of(options={"limit_s": 3.0, "engine": "greedy"}))
    assert [many.status_code, long.status_code] == [202, 202]
    for answer in (many, long):
        assert ended(admin, answer.headers["Location"])["stage"] == "done"


def test_the_same_key_acts_once(admin: FlaskClient) -> None:
    """A request that is repeated gets the first one's job; another one with its key is refused."""
    headers = {"Prefer": "respond-async", "Idempotency-Key": "k1"}
    first = admin.post(SOLVE, json=request_of(), headers=headers)
    again = admin.post(SOLVE, json=request_of(), headers=headers)
    assert again.headers["Location"] == first.headers["Location"]
    assert admin.post(SOLVE, json=request_of(usage={}), headers=headers).status_code == 422
    ended(admin, first.headers["Location"])


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"options": {"limit_s": 0}}, "options.limit_s"),
        ({"options": {"limit_s": 301}}, "options.limit_s"),
        ({"options": {"weights": {"contention": -1}}}, "options.weights.contention"),
        ({"usage": {"nobody": {}}}, "usage"),
        ({"scenarios": None, "guess": 1}, "guess"),
    ],
)
def test_a_slip_names_its_place(admin: FlaskClient, more: dict[str, Any], path: str) -> None:
    """Whether the server or a worker finds it, the answer is 422 with the path."""
    answer = admin.post(SOLVE, json=request_of(**more))
    assert answer.status_code == 422
    assert problem(answer)["errors"][0]["path"] == path


def test_a_cluster_that_is_wrong_names_its_place(admin: FlaskClient) -> None:
    """The path leads from the top of the request into the cluster document."""
    request = request_of()
    request["cluster"]["vms"][2]["host_id"] = "h9"
    answer = admin.post(SOLVE, json=request)
    assert problem(answer)["errors"][0]["path"] == "cluster.vms[2].host_id"


def test_too_many_that_wait_are_refused(admin: FlaskClient, pool: SolverPool) -> None:
    """Who would wait too long is told at once when to come again."""
    begun: queue.Queue[Progress] = queue.Queue()
    running = pool.submit(UntilCancelled(), on_progress=begun.put)
    begun.get(timeout=SOON_S)
    waiting = [pool.submit(UntilCancelled()) for _ in range(2)]
    answer = admin.post(SOLVE, json=request_of())
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    problem(answer)
    for ticket in (*waiting, running):
        pool.cancel(ticket)


def test_without_workers_solving_is_not_possible(services: Services, client_of: Ask) -> None:
    """The rest of the API works; solving says that it does not."""
    client = create_app(services).test_client()
    client.environ_base.update(client_of(Role.ADMIN).environ_base)
    assert client.post(SOLVE, json=request_of()).status_code == 503


def test_a_job_is_cancelled(admin: FlaskClient, desk: Desk) -> None:
    """It ends with what it has, and says so."""
    job = desk.begin(EVE, "solve", UntilCancelled(limit_s=60.0), {})
    answer = admin.post(f"{JOBS}/{job.id}/cancel")
    assert answer.status_code == 202
    assert document(answer)["stage"] == "cancelling"
    ending = ended(admin, f"{JOBS}/{job.id}")
    assert ending["stage"] == "cancelled"


def test_jobs_are_listed_the_newest_first(admin: FlaskClient, client_of: Ask, desk: Desk) -> None:
    """In pages, without results; a viewer sees their own alone."""
    made = [admin.post(SOLVE, json=request_of(), headers={"Prefer": "respond-async"})]
    ended(admin, made[0].headers["Location"])
    made.append(admin.post(SOLVE, json=request_of(), headers={"Prefer": "respond-async"}))
    ended(admin, made[1].headers["Location"])
    first = document(admin.get(f"{JOBS}?limit=1"))
    second = document(admin.get(f"{JOBS}?limit=1&after={first['next']}"))
    listed = [page["items"][0] for page in (first, second)]
    assert [f"{JOBS}/{job['id']}" for job in listed] == [a.headers["Location"] for a in made[::-1]]
    assert [job["result"] for job in listed] == [None, None]
    viewer = client_of(Role.VIEWER)
    assert document(viewer.get(JOBS))["items"] == []
    assert viewer.get(made[0].headers["Location"]).status_code == 404


def events_of(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return id, name and data of each event."""
    found = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((lines["id"], lines["event"], json.loads(lines["data"])))
    return found


def test_events_follow_a_job_to_its_end(admin: FlaskClient) -> None:
    """Every change is told, the last one as the end; who has seen it is told nothing more."""
    made = admin.post(SOLVE, json=request_of(), headers={"Prefer": "respond-async"})
    location = made.headers["Location"]
    answer = admin.get(f"{location}/events", buffered=True)
    assert answer.mimetype == "text/event-stream"
    events = events_of(answer.get_data(as_text=True))
    assert [name for _, name, _ in events[:-1]] == ["progress"] * (len(events) - 1)
    last_id, name, job = events[-1]
    assert (name, job["stage"], job["result"]) == ("end", "done", None)
    again = admin.get(f"{location}/events", headers={"Last-Event-ID": last_id})
    assert again.status_code == 204
    earlier = admin.get(f"{location}/events", headers={"Last-Event-ID": "1"}, buffered=True)
    assert [event[0] for event in events_of(earlier.get_data(as_text=True))] == [last_id]


def test_streams_are_bounded_and_given_back(admin: FlaskClient, desk: Desk) -> None:
    """Beyond the bound a stream is refused; one that was closed makes room."""
    made = admin.post(SOLVE, json=request_of(), headers={"Prefer": "respond-async"})
    events = f"{made.headers['Location']}/events"
    with desk.stream():
        refused = admin.get(events)
        assert refused.status_code == 503
        problem(refused)
    for _ in range(2):
        assert admin.get(events, buffered=True).status_code == 200
    ended(admin, made.headers["Location"])
