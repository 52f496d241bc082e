"""The database itself: connections, what a transaction is, and errors told in the store's words.

Writing transactions come one after the other on either database: SQLite knows no other way, and on
PostgreSQL a lock of the transaction makes it so. So a writer never meets a row that changed under
its eyes, nor a deadlock. Readers see one instant and wait for nobody.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError, StatementError
from sqlalchemy.pool import ConnectionPoolEntry

from service.store.errors import StoreError
from solver.domain.errors import ForeswapError, InvalidInputError

BUSY_S: Final = 15.0
"""How long a writer waits for the one before it: no transaction of the service lasts a second."""
STOPPED_S: Final = 10
"""A writer that stands still within a transaction for longer is ended by PostgreSQL: others wait
for it."""
READER_STOPPED_S: Final = 300
"""Nobody waits for a reader, but PostgreSQL cannot clean up behind it."""
CONNECT_S: Final = 5
KEPT_OPEN: Final = 64
"""Connections to SQLite. More, up to one for each thread that answers, are closed after use."""

POSTGRESQL: Final = "postgresql"
SQLITE: Final = "sqlite"

_WRITES: Final = "foreswap_writes"
_ALONE: Final = "foreswap_alone"
_LOG_BYTES: Final = 64 * 2**20
"""To which SQLite's write-ahead log is cut back after it had to grow."""
_WRITER_LOCK: Final = 0x666F7265_73776170
"""Key of the advisory lock of PostgreSQL that a writing transaction holds."""

_TAKE_TURN: Final = text(
    f"SELECT set_config('idle_in_transaction_session_timeout', '{STOPPED_S}s', true),"
    f" pg_advisory_xact_lock({_WRITER_LOCK})"
)


class Database:
    """One database and its connections.

    Parameters
    ----------
    url
        ``sqlite:///path`` or ``postgresql+psycopg://…``.

    Raises
    ------
    InvalidInputError
        If the URL is of neither.
    StoreError
        If the driver of PostgreSQL is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = parse_url(url)
        self.shown_url = self.url.render_as_string(hide_password=True)
        self.is_sqlite = self.url.get_backend_name() == SQLITE
        self.engine = _sqlite(self.url) if self.is_sqlite else _postgresql(self.url)
        # SQLite's own waiting is a lottery; threads of this process queue here instead.
        self._turn = threading.Lock()
        self._thread = threading.local()

    @property
    def path(self) -> Path:
        """File of an SQLite database."""
        return Path(self.url.database or "")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Return a connection that sees one instant and cannot write."""
        options: dict[str, Any] = {}
        if not self.is_sqlite:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._connection(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def asking(self) -> Iterator[Connection]:
        """Return a connection of which each statement may see an instant of its own."""
        if not self.is_sqlite:
            with self.reading() as connection:
                yield connection
            return
        # To begin and to end a transaction takes SQLite as long as a small question.
        with self._connection(**{_ALONE: True}) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Return a connection that is the only one to write, until the block ends."""
        if getattr(self._thread, "writes", False):
            raise RuntimeError("a transaction of this thread is open already; it would wait for it")
        options = {_WRITES: True}
        with self._in_turn(), self._connection(**options) as connection, connection.begin():
            if not self.is_sqlite:
                connection.execute(_TAKE_TURN)
            yield connection

    @contextmanager
    def _connection(self, **options: Any) -> Iterator[Connection]:
        with self.told(), self.engine.connect() as connection:
            yield connection.execution_options(**options)

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=BUSY_S):
            raise StoreError(f"store {self.shown_url}: another writer took more than {BUSY_S:g} s")
        self._thread.writes = True
        try:
            yield
        finally:
            self._thread.writes = False
            self._turn.release()

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell what the database says as an error of the store."""
        try:
            yield
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, StatementError) else None
            if isinstance(cause, ForeswapError):
                raise cause from error
            raise StoreError(f"store {self.shown_url}: {_first_line(cause or error)}") from error

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def parse_url(url: str) -> URL:
    """Return a database's URL.

    Raises
    ------
    InvalidInputError
        If it is of no database that the store knows.
    """
    expected = "expected sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE"
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidInputError(f"{expected}, got another form", path="store.url") from error
    shown = parsed.render_as_string(hide_password=True)
    if parsed.drivername in ("postgresql", "postgresql+psycopg") and parsed.database:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername != SQLITE or parsed.database in (None, "", ":memory:"):
        raise InvalidInputError(f"{expected}, got {shown!r}", path="store.url")
    return parsed


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        # Opening another takes longer than what most requests ask.
        pool_size=KEPT_OPEN,
        max_overflow=-1,
        pool_use_lifo=True,
        connect_args={"timeout": BUSY_S, "check_same_thread": False},
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, entry: ConnectionPoolEntry) -> None:
    """Let the store begin transactions itself, and lose nothing that was acknowledged."""
    connection.isolation_level = None
    pragmas = {
        "journal_mode": "WAL",
        "synchronous": "FULL",
        "foreign_keys": "ON",
        "journal_size_limit": _LOG_BYTES,
    }
    for name, value in pragmas.items():
        connection.execute(f"PRAGMA {name} = {value}")


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    writes = options.get(_WRITES, False)
    # Kept by the connection: nearly all transactions read, and find it set.
    if connection.info.get(_WRITES) is not writes:
        connection.exec_driver_sql(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")
        connection.info[_WRITES] = writes
    if _ALONE not in options:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: URL) -> Engine:
    try:
        engine = create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=10,
            max_overflow=20,
            connect_args={"connect_timeout": CONNECT_S, "application_name": process_name()},
        )
    except (ImportError, NoSuchModuleError) as error:
        raise StoreError(f"PostgreSQL needs the extra foreswap[postgresql]: {error}") from error
    event.listen(engine, "connect", _set_up_postgresql)
    return engine


def _set_up_postgresql(connection: Any, entry: ConnectionPoolEntry) -> None:
    """See to it that a process that is dead or stands still does not hold up the others."""
    settings = {
        "lock_timeout": f"{BUSY_S:g}s",
        "idle_in_transaction_session_timeout": f"{READER_STOPPED_S}s",
        "tcp_keepalives_idle": "4",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
        "synchronous_commit": "on",
    }
    connection.execute("; ".join(f"SET {name} = '{value}'" for name, value in settings.items()))
    connection.commit()


def process_name() -> str:
    """Return what tells an operator whose a session is."""
    return f"foreswap {os.getpid()}@{socket.gethostname()}"[:63]


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
