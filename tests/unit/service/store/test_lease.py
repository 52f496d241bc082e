"""Leases and journals of the store: by the database's clock, session and transaction."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, text

from executor.errors import JournalError, LeaseError, LeaseHeldError, LeaseLostError
from executor.records import PlanBegun
from service.store.columns import EPOCH
from service.store.engine import Database
from service.store.lease import RowLease
from service.store.sql import SqlStore, open_store
from tests.builders import NOW
from tests.executor_builders import make_plan, migrate
from tests.postgresql import PostgreSQL

TTL_S = 30.0


def record(plan_id: str) -> PlanBegun:
    """Return a record of the journal."""
    return PlanBegun(plan_id=plan_id, at=NOW, plan=make_plan(migrate("v1", "h1", "h2")))


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:
    """An empty store of each kind."""
    store = open_store(store_url)
    yield store
    store.close()


@pytest.fixture
def database(postgresql_server: PostgreSQL) -> Iterator[Database]:
    """A store on PostgreSQL, from below."""
    url = postgresql_server.new_database()
    open_store(url).close()
    database = Database(url)
    yield database
    database.close()


def test_stores_of_one_database_compete_for_a_lease(store: SqlStore, store_url: str) -> None:
    """By name: of two names each has its holder."""
    other = open_store(store_url)
    first = store.lease("leader", ttl_s=TTL_S)
    assert first.acquire() == 1
    with pytest.raises(LeaseHeldError, match="held"):
        other.lease("leader", ttl_s=TTL_S).acquire()
    other.lease("another/one", ttl_s=TTL_S).acquire()
    first.release()
    assert other.lease("leader", ttl_s=TTL_S).acquire() == 2
    other.close()


def test_a_lease_lasts_by_the_databases_clock(database: Database) -> None:
    """Until a real half second has passed there."""
    first = RowLease(database, "leader", ttl_s=0.5)
    second = RowLease(database, "leader", ttl_s=TTL_S)
    first.acquire()
    with pytest.raises(LeaseHeldError):
        second.acquire()
    with database.reading() as connection:
        connection.execute(text("SELECT pg_sleep(0.6)"))
    assert second.acquire() == 2


HOLD = """
import sys
from service.store.engine import Database
from service.store.lease import RowLease
lease = RowLease(Database(sys.argv[1]), "leader", ttl_s=float(sys.argv[2]))
lease.acquire()
with lease.guard():
    print("inside", flush=True)
    sys.stdin.read()
"""


def test_a_holder_that_is_killed_inside_is_not_inside(database: Database) -> None:
    """While it lives nobody comes in, and the error names it; after kill -9 the next one does."""
    url = database.url.render_as_string(hide_password=False)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, url, "0.2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "inside\n"
        later = EPOCH + timedelta(days=365 * 200)
        lease = RowLease(database, "leader", ttl_s=TTL_S, now=lambda _: later)
        os.kill(holder.pid, signal.SIGSTOP)
        with pytest.raises(LeaseHeldError, match=rf"in use by foreswap {holder.pid}@.*session"):
            lease.acquire()
    finally:
        holder.kill()
        holder.wait()
    assert lease.acquire() == 2


def test_a_session_that_is_ended_inside_does_not_write_the_journal(database: Database) -> None:
    """The guard's lock went with the session; the row in the journal's transaction tells."""
    url = database.url.render_as_string(hide_password=False)
    now = EPOCH

    def clock(_: Connection) -> datetime:
        return now

    first, second = (RowLease(database, "leader", ttl_s=TTL_S, now=clock) for _ in range(2))
    store = open_store(url)
    journal = store.journal("c1", first)
    first.acquire()
    with first.guard():
        journal.append(record("p1"))
        ask = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        with database.reading() as connection:
            connection.execute(text(ask))
        now += timedelta(seconds=TTL_S)
        second.acquire()
        with pytest.raises(LeaseLostError, match="was lost"):
            journal.append(record("p2"))
    assert store.journal("c1", second).read() == (record("p1"),)
    store.close()


def test_a_database_that_is_gone_is_an_error_of_the_lease(database: Database) -> None:
    """Which says what was done: nothing."""
    nowhere = Database("postgresql+psycopg://x@/y?host=/nowhere")
    with pytest.raises(LeaseError, match="'leader' cannot be read"):
        RowLease(nowhere, "leader", ttl_s=TTL_S).acquire()


def test_journals_of_clusters_are_apart(store: SqlStore) -> None:
    """Each keeps its order."""
    one, two = store.journal("c1"), store.journal("c2")
    for plan_id in ("b", "a"):
        one.append(record(plan_id))
        two.append(record(plan_id * 2))
    assert one.read() == (record("b"), record("a"))
    assert two.read() == (record("bb"), record("aa"))


def test_a_journal_under_a_lease_is_the_holders_alone(store: SqlStore, store_url: str) -> None:
    """Who never had the lease, or lost it, neither writes nor reads."""
    other = open_store(store_url)
    mine, others = store.lease("leader", ttl_s=TTL_S), other.lease("leader", ttl_s=TTL_S)
    first, second = store.journal("c1", mine), other.journal("c1", others)
    mine.acquire()
    first.append(record("p1"))
    with pytest.raises(LeaseLostError):
        second.append(record("p2"))
    mine.release()
    others.acquire()
    second.append(record("p3"))
    for lost in (lambda: first.append(record("p4")), first.read):
        with pytest.raises(LeaseLostError):
            lost()
    assert second.read() == (record("p1"), record("p3"))
    other.close()


def test_a_damaged_record_is_told_by_its_number(store: SqlStore, store_url: str) -> None:
    """It was written whole: whatever changed it was no crash."""
    journal = store.journal("c1")
    for plan_id in ("a", "b"):
        journal.append(record(plan_id))
    database = Database(store_url)
    with database.writing() as connection:
        connection.execute(text("UPDATE journal SET line = 'x' || line WHERE number = 2"))
    database.close()
    with pytest.raises(JournalError, match="'c1', record 2: expected checksum"):
        journal.read()


def test_a_journal_that_cannot_be_written_says_so(store: SqlStore, store_url: str) -> None:
    """As an error of the journal, whatever the database's own is."""
    database = Database(store_url)
    with database.writing() as connection:
        connection.execute(text("DROP TABLE journal"))
    database.close()
    with pytest.raises(JournalError, match="'c1' cannot be written: store "):
        store.journal("c1").append(record("a"))
