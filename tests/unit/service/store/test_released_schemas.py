"""A store of every released version of the schema is brought to this one, with all it holds.

``released/`` keeps each version's tables and what ``tests.filled_store`` put into them, as SQL.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from service.store import schema
from service.store.backup import restore
from service.store.base import Kind
from service.store.engine import Database
from service.store.sql import SqlStore, open_store
from solver.domain.units import Resource
from tests.filled_store import START
from tests.postgresql import USER, PostgreSQL

RELEASED = Path(__file__).parent / "released"
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def load_sqlite(version: str, path: Path) -> str:
    """Make a database of a version and return its URL."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((RELEASED / f"{version}.sqlite.sql").read_text())
    return f"sqlite:///{path}"


def load_postgresql(version: str, server: PostgreSQL) -> str:
    """Make a database of a version and return its URL."""
    url = server.new_database()
    name = url.partition("@/")[2].partition("?")[0]
    statements = (RELEASED / f"{version}.postgresql.sql").read_text()
    with psycopg.connect(host=str(server.folder), user=USER, dbname=name) as connection:
        connection.execute(statements.encode())
    return url


def require_all(store: SqlStore) -> None:
    """Fail unless the store holds what was put into it."""
    store.check()
    with store.begin(read_only=True) as tx:
        assert tx.items.get(Kind.RULE, "c1", "ü").document == {"n": 1, "t": "ä\0"}
        assert tx.snapshots.get("c1") is not None
        assert tx.plans.get("c1", "p1").document == {"steps": [1]}
        assert [each.id for each in tx.jobs.page(limit=9)] == ["j1"]
        assert tx.credentials.find("token", "d") is not None
        assert tx.attempts.count("e", START) == 1
        assert [each.number for each in tx.audit.page(limit=9)] == [1]
        assert tx.blobs.get("c1", "model") == (START.replace(microsecond=1), bytes(range(256)))
    assert len(store.journal("c1").read()) == 1
    hourly = store.telemetry.history("c1", START, START + HOUR, step_seconds=3600)
    assert hourly.readings[Resource.CPU].tolist() == [[250.0]]
    found = store.telemetry.history("c1", START, START + HOUR)
    assert found.readings[Resource.CPU, 0, 1:3].tolist() == [200.0, 300.0]
    assert len(list(store.telemetry.records("c1", START, START + HOUR))) == 4


@pytest.mark.parametrize("version", schema.versions())
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_store_of_each_version_is_upgraded(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, version: str
) -> None:
    """On either database; opened before, it is refused unless it is current."""
    if kind == "sqlite":
        url = load_sqlite(version, tmp_path / "store.db")
    else:
        url = load_postgresql(version, request.getfixturevalue("postgresql_server"))
    with closing(Database(url)) as database:
        assert schema.upgrade(database) == (version, schema.versions()[-1])
    with closing(open_store(url)) as store:
        require_all(store)


@pytest.mark.parametrize("version", schema.versions())
def test_a_copy_of_each_version_is_restored(tmp_path: Path, store_url: str, version: str) -> None:
    """Into either database, and upgraded on the way."""
    load_sqlite(version, tmp_path / "copy")
    url = store_url.replace("store.db", "restored.db")
    with closing(Database(url)) as database:
        assert restore(tmp_path / "copy", database) == version
    with closing(open_store(url)) as store:
        require_all(store)
