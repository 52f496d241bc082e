"""The monitor's own delivery code against the service, over a real connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from executor.monitor.delivery import Delivery
from executor.monitor.http import HttpSender
from executor.monitor.outbox import Outbox
from executor.monitor.wire import encode
from service.api.services import Services
from service.app import create_app
from service.security import tokens
from service.security.principal import Role
from service.settings import ServerSettings
from service.store.base import Store
from service.store.sql import open_store
from service.web_server import WebServer, listen
from solver.domain.units import HostId
from tests.inventories import ADMIN, fill
from tests.monitoring import START_AT, WoundTime
from tests.telemetry import host_minute, vm_minute

H1 = HostId("h1")


@contextmanager
def serving(store: Store, *, port: int = 0) -> Iterator[int]:
    """Serve a store on this host while the block lasts; yields the port."""
    app = create_app(Services(store=store, now=lambda: START_AT + timedelta(hours=3)))
    settings = ServerSettings(port=port)
    server = WebServer(app, listen(settings), settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.port
    finally:
        server.stop()
        thread.join(30)


def opened(path: Path) -> Any:
    """Return the store of a file."""
    return open_store(f"sqlite:///{path}", now=lambda: START_AT + timedelta(hours=3))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A store with the small cluster and the token of ``h1`` in it; the token is kept beside."""
    path = tmp_path / "store.db"
    store = opened(path)
    fill(store)
    wanted = tokens.NewToken(name="h1", role=Role.AGENT, cluster_id="c1", host_id="h1")
    with store.begin() as tx:
        _, secret = tokens.create(tx, ADMIN, wanted, START_AT)
    store.close()
    token_file = tmp_path / "token"
    token_file.write_text(secret, encoding="ascii")
    token_file.chmod(0o600)
    return path


class Host:
    """A host whose monitor has minutes to deliver."""

    def __init__(self, folder: Path, port: int) -> None:
        self.time = WoundTime()
        self.outbox = Outbox(folder / "outbox", max_bytes=10**7)
        self.token_file = folder / "token"
        url = f"http://127.0.0.1:{port}/api/v1/ingest/c1"
        sender = HttpSender(url, self.token_file)
        self.delivery = Delivery(self.outbox, sender, H1, self.time, random=Random(1))

    def put(self, *numbers: int, host: str = "h1") -> None:
        """Put minutes into the outbox."""
        for number in numbers:
            at = START_AT + timedelta(minutes=number)
            self.outbox.append(encode(host_minute(host, at, vm_minute("v1", 100.0 * number))))

    def deliver(self, *, tries: int = 1) -> None:
        """Post batches, with pauses that are long enough."""
        for _ in range(tries):
            self.delivery.begin()
            self.delivery.settle(wait_s=30)
            self.time.wait(4000)


def minutes(store: Store) -> list[datetime]:
    """Return the minutes that are kept, in the order of time."""
    found = store.telemetry.records("c1", START_AT, START_AT + timedelta(hours=3))
    return sorted(record.minute_at for record in found)


def expected(*numbers: int) -> list[datetime]:
    """Return minutes by their numbers."""
    return [START_AT + timedelta(minutes=number) for number in numbers]


def test_what_is_in_the_outbox_is_in_the_store(database: Path, tmp_path: Path) -> None:
    """More than one batch of it, each record once."""
    store = opened(database)
    with serving(store) as port:
        host = Host(tmp_path, port)
        host.put(*range(125))
        host.deliver(tries=2)
        assert host.outbox.num_records == 0
        assert host.delivery.state.reason == ""
    assert minutes(store) == expected(*range(125))
    store.close()


def test_a_record_that_is_refused_is_given_up_and_the_others_arrive(
    database: Path, tmp_path: Path
) -> None:
    """A record of another host, and one that nobody can read."""
    store = opened(database)
    with serving(store) as port:
        host = Host(tmp_path, port)
        host.put(1, 2)
        host.put(3, host="h2")
        host.put(4)
        host.outbox.append(b'{"schema":1,"host_id":"h1"}')
        host.put(6)
        host.deliver(tries=8)
        assert host.outbox.num_records == 0
        assert host.delivery.state.refused == 2
    assert minutes(store) == expected(1, 2, 4, 6)
    store.close()


def test_a_service_that_was_away_gets_everything(database: Path, tmp_path: Path) -> None:
    """Ended and begun anew on the same store, it knows what it has."""
    store = opened(database)
    with serving(store) as port:
        host = Host(tmp_path, port)
        host.put(1, 2)
        host.deliver()
    store.close()
    host.put(3)
    host.deliver()
    assert host.delivery.state.failures == 1
    again = opened(database)
    with serving(again, port=port):
        host.put(4)
        host.deliver(tries=2)
        assert host.outbox.num_records == 0
    assert minutes(again) == expected(1, 2, 3, 4)
    again.close()


def test_a_revoked_token_keeps_the_records_on_the_host(database: Path, tmp_path: Path) -> None:
    """They arrive with the next one, which the monitor reads by itself."""
    store = opened(database)
    with serving(store) as port:
        with store.begin() as tx:
            tokens.delete(tx, ADMIN, "h1", START_AT)
        host = Host(tmp_path, port)
        host.put(1)
        host.deliver()
        assert "401" in host.delivery.state.reason
        assert host.outbox.num_records == 1
        wanted = tokens.NewToken(name="new", role=Role.AGENT, cluster_id="c1", host_id="h1")
        with store.begin() as tx:
            _, secret = tokens.create(tx, ADMIN, wanted, START_AT)
        host.token_file.write_text(secret, encoding="ascii")
        host.deliver()
        assert host.outbox.num_records == 0
    assert minutes(store) == expected(1)
    store.close()
