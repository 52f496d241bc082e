"""The store on SQLite or PostgreSQL: puts the parts together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, text

from executor.journal import Journal
from executor.lease import FileLease, Lease
from service.store import backup, schema
from service.store.answers import SqlAnswers
from service.store.audit import SqlAudit
from service.store.base import Transaction
from service.store.blobs import SqlBlobs
from service.store.credentials import SqlAttempts, SqlCredentials
from service.store.engine import Database
from service.store.errors import StoreError
from service.store.items import SqlItems
from service.store.jobs import SqlJobs
from service.store.journal import SqlJournal
from service.store.lease import RowLease
from service.store.plans import SqlPlans
from service.store.remains import SqlRemains
from service.store.snapshots import SqlSnapshots
from service.store.telemetry import SqlTelemetry


def _utc_now() -> datetime:
    return datetime.now(UTC)


def open_store(url: str, *, now: Callable[[], datetime] = _utc_now) -> SqlStore:
    """Return the store of a database; one that holds nothing yet is made.

    Parameters
    ----------
    url
        ``sqlite:///path`` or ``postgresql+psycopg://user@host/database``.
    now
        The clock by which telemetry is of the future.

    Raises
    ------
    InvalidInputError
        If the URL is of no database that the store knows.
    StoreError
        If the database cannot be used, or is of another version.
    """
    database = open_database(url)
    try:
        schema.prepare(database)
    except BaseException:
        database.close()
        raise
    return SqlStore(database, now)


def open_database(url: str) -> Database:
    """Return a database whose schema may be of any version.

    Raises
    ------
    StoreError
        If it cannot be reached, or keeps texts in another encoding.
    """
    database = Database(url)
    try:
        if database.is_sqlite:
            _make_private(database.path)
        else:
            _require_utf8(database)
    except BaseException:
        database.close()
        raise
    return database


def _make_private(path: Path) -> None:
    """See to it that a new file is its owner's alone: it holds secrets' hashes."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(f"store {str(path)!r} cannot be opened: {error.strerror}") from error


def _require_utf8(database: Database) -> None:
    with database.reading() as connection:
        found = connection.scalar(text("SHOW server_encoding"))
    if found != "UTF8":
        raise StoreError(f"store {database.shown_url}: expected encoding UTF8, got {found}")


def _on(connection: Connection) -> Transaction:
    """Return the tables as of a connection's transaction."""
    return Transaction(
        items=SqlItems(connection),
        snapshots=SqlSnapshots(connection),
        plans=SqlPlans(connection),
        jobs=SqlJobs(connection),
        credentials=SqlCredentials(connection),
        attempts=SqlAttempts(connection),
        audit=SqlAudit(connection),
        answers=SqlAnswers(connection),
        blobs=SqlBlobs(connection),
        remains=SqlRemains(connection),
    )


class SqlStore:
    """``base.Store`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._telemetry = SqlTelemetry(database, now)

    @property
    def telemetry(self) -> SqlTelemetry:
        """Readings of hosts and VMs."""
        return self._telemetry

    @contextmanager
    def begin(self, *, read_only: bool = False) -> Iterator[Transaction]:
        """Return a transaction."""
        opened = self._database.reading if read_only else self._database.writing
        with opened() as connection:
            yield _on(connection)

    @contextmanager
    def asking(self) -> Iterator[Transaction]:
        """Return what answers questions that do not have to fit together."""
        with self._database.asking() as connection:
            yield _on(connection)

    def journal(self, cluster_id: str, lease: Lease | None = None) -> Journal:
        """Return the executor's journal of a cluster."""
        return SqlJournal(self._database, cluster_id, lease)

    def lease(self, name: str, *, ttl_s: float) -> Lease:
        """Return a lease among all replicas."""
        if not self._database.is_sqlite:
            return RowLease(self._database, name, ttl_s=ttl_s)
        path = self._database.path
        return FileLease(path.with_name(f"{path.name}.{quote(name, safe='')}.lease"), ttl_s=ttl_s)

    def check(self) -> None:
        """Return if the database answers and its schema is this version's."""
        with self._database.reading() as connection:
            schema.require_current(schema.version_of(connection))

    def size_bytes(self) -> int:
        """Return how much the database takes."""
        if self._database.is_sqlite:
            beside = self._database.path.with_name(self._database.path.name + "-wal")
            files = (self._database.path, beside)
            return sum(path.stat().st_size for path in files if path.exists())
        with self._database.reading() as connection:
            size = text("SELECT pg_database_size(current_database())")
            return int(connection.execute(size).scalar_one())

    def back_up(self, path: Path) -> None:
        """Write a whole, consistent copy to a new file while the service goes on."""
        backup.back_up(self._database, path)

    def close(self) -> None:
        """Close every connection."""
        self._database.close()
