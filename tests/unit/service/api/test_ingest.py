"""Telemetry over HTTP: what is taken, what never will be, and what has to wait on the host."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from executor.monitor.wire import encode
from service.app import App
from service.security import tokens
from service.security.principal import Role
from service.store.base import Store
from service.store.sql import open_store
from tests.answers import document, problem
from tests.inventories import ADMIN, fill
from tests.telemetry import host_minute, vm_minute
from tests.unit.service.api.conftest import NOW

INGEST = "/api/v1/ingest/c1"

Agent = Callable[..., FlaskClient]


@pytest.fixture
def store(database: Path) -> Iterator[Store]:
    """A store with the small cluster in it."""
    opened: Any = open_store(f"sqlite:///{database}", now=lambda: NOW)
    yield fill(opened)
    opened.close()


@pytest.fixture
def agent_of(app: App, store: Store) -> Agent:
    """Return the client of a host's monitor."""

    def make(host_id: str = "h1", cluster_id: str = "c1") -> FlaskClient:
        wanted = tokens.NewToken(
            name=f"{cluster_id}-{host_id}",
            role=Role.AGENT,
            cluster_id=cluster_id,
            host_id=host_id,
        )
        with store.begin() as tx:
            _, secret = tokens.create(tx, ADMIN, wanted, NOW)
        client = app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
        return client

    return make


@pytest.fixture
def agent(agent_of: Agent) -> FlaskClient:
    """The monitor of ``h1``."""
    return agent_of()


def minute(number: int, **changed: Any) -> dict[str, Any]:
    """Return the record of a minute."""
    at = NOW - timedelta(hours=1) + timedelta(minutes=number)
    record = host_minute("h1", at, vm_minute("v1", 100.0 * number))
    return {**json.loads(encode(record)), **changed}


def batch(*numbers: int, **changed: Any) -> dict[str, Any]:
    """Return a batch of minutes, each with its number."""
    records = [{"seq": number, "minute": minute(number)} for number in numbers]
    return {"schema": 1, "host": "h1", "stream": "s1", "records": records, **changed}


def deliver(client: FlaskClient, body: dict[str, Any], path: str = INGEST) -> TestResponse:
    """Post a batch as a monitor does."""
    return client.post(
        path,
        data=gzip.compress(json.dumps(body).encode()),
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
    )


def kept(store: Store) -> list[datetime]:
    """Return the minutes that are kept, in their order."""
    found = store.telemetry.records("c1", NOW - timedelta(days=1), NOW)
    return sorted(record.minute_at for record in found)


def test_minutes_are_kept_once(agent: FlaskClient, store: Store) -> None:
    """A batch that comes again, in part or whole, is answered and dropped."""
    assert document(deliver(agent, batch(1, 2, 3))) == {"accepted_through": 3}
    assert document(deliver(agent, batch(2, 3, 4))) == {"accepted_through": 4}
    assert document(deliver(agent, batch(1))) == {"accepted_through": 4}
    assert len(kept(store)) == 4
    assert store.telemetry.last_seen("c1") == {"h1": kept(store)[-1]}


def test_numbers_are_of_a_stream(agent: FlaskClient, store: Store) -> None:
    """Another life of the monitor begins anew."""
    deliver(agent, batch(5))
    assert document(deliver(agent, batch(1, stream="s2"))) == {"accepted_through": 1}
    assert len(kept(store)) == 2


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"host": None}, "records[1].minute.host"),
        ({"minute_at": "yesterday"}, "records[1].minute.minute_at"),
        ({"num_samples": -1}, "records[1].minute.num_samples"),
        ({"host_id": "h2"}, "records[1].minute.host_id"),
        ({"vms": [{"vm_id": "v1"}]}, "records[1].minute.vms[0].name"),
    ],
)
def test_a_record_that_never_will_be_taken_is_named(
    agent: FlaskClient, store: Store, wrong: dict[str, Any], path: str
) -> None:
    """By its number, so that the monitor gives it up, and by the wrong field."""
    records = [{"seq": 1, "minute": minute(1)}, {"seq": 2, "minute": minute(2, **wrong)}]
    answer = deliver(agent, batch(records=records))
    assert answer.status_code == 422
    told = problem(answer)
    assert told["refused_seq"] == 2
    assert told["errors"][0]["path"] == path
    assert kept(store) == []


def test_a_record_of_the_future_is_named(agent: FlaskClient, store: Store) -> None:
    """What the store refuses is told in the same way; what stands before it is kept."""
    late = minute(2, minute_at=(NOW + timedelta(hours=1)).isoformat())
    records = [{"seq": 1, "minute": minute(1)}, {"seq": 2, "minute": late}]
    answer = deliver(agent, batch(records=records))
    assert (answer.status_code, problem(answer)["refused_seq"]) == (422, 2)
    assert "future" in problem(answer)["detail"]
    assert document(deliver(agent, batch(1))) == {"accepted_through": 1}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (batch(1, schema=3), 415),
        (batch(records=[{"seq": 1, "minute": minute(1, schema=9)}]), 415),
        (batch(host="h2"), 403),
        (batch(stream=""), 422),
        (batch(2, 1), 422),
        (batch(0), 422),
        ({"schema": 1}, 422),
        (batch(records=[{"seq": n, "minute": {}} for n in range(1, 1002)]), 413),
        (batch(1, stream="s" * 5 * 2**20), 413),
    ],
)
def test_what_says_nothing_of_a_record_refuses_none(
    agent: FlaskClient, store: Store, body: dict[str, Any], status: int
) -> None:
    """The records wait on the host: for a newer service, another token, a smaller batch."""
    answer = deliver(agent, body)
    assert answer.status_code == status
    assert "refused_seq" not in problem(answer)
    assert kept(store) == []


def test_a_later_version_may_say_more(agent: FlaskClient) -> None:
    """Fields that are not known are ignored, in batch and record."""
    records = [{"seq": 1, "minute": minute(1, schema=2, colour="red"), "mood": "good"}]
    answer = deliver(agent, batch(records=records, schema=2, sent_at="now", dropped=3))
    assert document(answer) == {"accepted_through": 1}


def test_a_monitor_delivers_for_its_cluster_alone(agent_of: Agent, agent: FlaskClient) -> None:
    """The token says which it is; a cluster that is gone has no telemetry."""
    assert deliver(agent, batch(1), "/api/v1/ingest/c2").status_code == 403
    other = agent_of("h1", "c2")
    assert deliver(other, batch(1), "/api/v1/ingest/c2").status_code == 404


def test_only_monitors_deliver(admin: FlaskClient) -> None:
    """Not even an admin makes telemetry up."""
    assert deliver(admin, batch(1)).status_code == 403


def test_a_store_that_is_away_asks_for_patience(
    agent: FlaskClient, database: Path, store: Store
) -> None:
    """503 with Retry-After: nothing is lost, the monitor comes again."""
    assert deliver(agent, batch(1)).status_code == 200
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE minutes RENAME TO elsewhere")
    answer = deliver(agent, batch(2))
    assert answer.status_code == 503
    assert problem(answer)["type"].endswith("store")
    assert int(answer.headers["Retry-After"]) > 0
