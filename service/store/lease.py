"""A lease among replicas: a row of PostgreSQL, by the clock of PostgreSQL.

The row says whose the lease is and until when; an advisory lock of the holder's session is held
inside ``guard``, and nobody changes the row without that lock. A session ends with its process, or
some ten seconds after its machine has gone silent, and the lock with it. A process that stands
still *inside* keeps others out for as long as it stands: no replica can end a process of another
machine, so the error names the session, and an operator decides.

On SQLite all processes are of one machine, and ``executor.lease.FileLease`` is the lease.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import SQLAlchemyError

from executor.errors import LeaseError, LeaseHeldError, LeaseLostError
from service.store.columns import EPOCH, from_microseconds
from service.store.engine import Database, process_name
from service.store.errors import StoreError
from service.store.tables import LEASES
from solver.domain.errors import InvalidInputError

_LOCK_POLL_S: Final = 0.02
_LOOK_PATIENCE_S: Final = 1.0
"""How long one who wants the lease waits for whoever is inside: it comes again anyway."""
_LOCK_SPACE: Final = 0x6C656173
"""First half of the keys of all leases' advisory locks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holding:
    """A row of the table; ``holder`` is empty once it was released."""

    holder: str = ""
    description: str = ""
    token: int = 0
    expires_at: datetime = EPOCH


def database_now(connection: Connection) -> datetime:
    """Return what time it is by the database, now and not when the transaction began."""
    seconds = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    return from_microseconds(int(connection.execute(text(seconds)).scalar_one()))


class RowLease:
    """A lease in a row of PostgreSQL.

    Parameters
    ----------
    name
        Of what it is the right to do.
    ttl_s
        How long the lease lasts without being renewed.
    now
        The clock; for tests.

    Raises
    ------
    InvalidInputError
        If ``ttl_s`` is not positive.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        ttl_s: float,
        now: Callable[[Connection], datetime] = database_now,
    ) -> None:
        if not ttl_s > 0:
            raise InvalidInputError(f"expected more than 0, got {ttl_s}", path="ttl_s")
        self._database = database
        self._name = name
        self._ttl = timedelta(seconds=ttl_s)
        self._now = now
        self._holder = str(uuid.uuid4())
        self._pid = os.getpid()
        self._token: int | None = None
        # Threads of one process take turns; one thread may nest.
        self._turn = threading.RLock()
        self._inside = False

    @property
    def token(self) -> int | None:
        """The fencing token; ``None`` unless it is held, as far as this process knows."""
        return self._token

    @property
    def renew_interval_s(self) -> float:
        """A third of its life: two renewals may come late."""
        return self._ttl.total_seconds() / 3

    def acquire(self) -> int:
        """Become the holder and return the token."""
        with self._turn, self._session() as session:
            # Looking does not disturb the holder; whether it is still so is seen under the lock.
            self._require_free(session, self._read(session))
            with self._locked(session, min(_LOOK_PATIENCE_S, self.renew_interval_s)):
                holding = self._read(session)
                if not self._is_own(holding):
                    self._require_free(session, holding)
                    holding = replace(holding, holder=self._holder, token=holding.token + 1)
                self._write(session, self._renewed(session, holding))
                self._token = holding.token
                return holding.token

    def renew(self) -> None:
        """Stay the holder for another while."""
        with self.guard():
            pass

    def release(self) -> None:
        """Let others have it at once."""
        with (
            self._turn,
            self._session() as session,
            self._locked(session, self.renew_interval_s),
        ):
            holding = self._read(session)
            if self._is_own(holding):
                self._write(session, replace(holding, holder=""))
            self._token = None

    @contextmanager
    def guard(self) -> Iterator[int]:
        """Return a context within which nobody else acts nor becomes the holder."""
        with self._turn:
            token = self._require_token()
            if self._inside:
                yield token
                return
            with self._session() as session, self._locked(session, self.renew_interval_s):
                self._enter(session)
                self._inside = True
                try:
                    yield token
                finally:
                    self._inside = False

    def require_own(self, connection: Connection) -> None:
        """Return if the lease is held, as seen in a transaction of the caller's.

        It stays so until that transaction ends: the row is locked.

        Raises
        ------
        LeaseLostError
            If it is not held.
        """
        holding = self._read(connection, locking=True)
        if not self._is_own(holding):
            self._token = None
            raise self._lost(holding)

    def _enter(self, session: Connection) -> None:
        holding = self._read(session)
        if not self._is_own(holding):
            self._token = None
            raise self._lost(holding)
        self._write(session, self._renewed(session, holding))

    def _require_token(self) -> int:
        if self._token is None:
            raise LeaseLostError(f"lease {self._name!r} is not held by this process")
        return self._token

    def _lost(self, holding: _Holding) -> LeaseLostError:
        return LeaseLostError(
            f"lease {self._name!r} was lost: expected token of this process, "
            f"got {holding.token}, {_whose(holding)}"
        )

    # Whose it is ----------------------------------------------------------------------------

    def _is_own(self, holding: _Holding) -> bool:
        """Whether it is this object's, and not inherited by a fork."""
        mine = holding.holder == self._holder and holding.token == self._token
        return mine and self._pid == os.getpid()

    def _require_free(self, session: Connection, holding: _Holding) -> None:
        if holding.holder in ("", self._holder) or self._now(session) >= holding.expires_at:
            return
        raise LeaseHeldError(f"lease {self._name!r} is held: {_whose(holding)}")

    def _renewed(self, session: Connection, holding: _Holding) -> _Holding:
        return replace(
            holding, description=process_name(), expires_at=self._now(session) + self._ttl
        )

    # The session and its lock ---------------------------------------------------------------

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        """Return a connection of its own, each statement a transaction."""
        try:
            connection = self._database.engine.connect()
        except SQLAlchemyError as error:
            raise self._failed(error) from error
        with connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def _locked(self, session: Connection, patience_s: float) -> Iterator[None]:
        give_up_at_s = time.monotonic() + patience_s
        while not self._ask(session, "SELECT pg_try_advisory_lock(:space, :key)"):
            if time.monotonic() >= give_up_at_s:
                raise LeaseHeldError(f"lease {self._name!r} is in use{self._by(session)}")
            time.sleep(_LOCK_POLL_S)
        try:
            yield
        finally:
            # If this fails the session has ended, and the lock with it.
            with suppress(LeaseError):
                self._ask(session, "SELECT pg_advisory_unlock(:space, :key)")

    def _by(self, session: Connection) -> str:
        """Tell which session holds the lock."""
        found = self._ask(
            session,
            "SELECT min(application_name || ' (session ' || pid || ')') FROM pg_locks"
            " JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted"
            " AND classid::bigint = :space AND objid::bigint = :key",
        )
        return f" by {found}" if found else ""

    def _ask(self, session: Connection, question: str) -> Any:
        key = zlib.crc32(self._name.encode("utf-8", "replace")) & 0x7FFFFFFF
        statement = text(question).bindparams(space=_LOCK_SPACE, key=key)
        return self._told(session, lambda: session.execute(statement).scalar())

    # The row --------------------------------------------------------------------------------

    def _read(self, connection: Connection, *, locking: bool = False) -> _Holding:
        columns = (LEASES.c.holder, LEASES.c.description, LEASES.c.token, LEASES.c.expires_at)
        query = select(*columns).where(LEASES.c.name == self._name)
        if locking:
            query = query.with_for_update(read=True)
        row = self._told(connection, lambda: connection.execute(query).one_or_none())
        return _Holding() if row is None else _Holding(**row._mapping)

    def _write(self, session: Connection, holding: _Holding) -> None:
        values = {
            "holder": holding.holder,
            "description": holding.description,
            "token": holding.token,
            "expires_at": holding.expires_at,
        }
        change = LEASES.update().where(LEASES.c.name == self._name).values(**values)
        if self._told(session, lambda: session.execute(change).rowcount):
            return
        new = LEASES.insert().values(name=self._name, **values)
        self._told(session, lambda: session.execute(new))

    def _told(self, session: Connection, call: Callable[[], _Result]) -> _Result:
        try:
            return call()
        except SQLAlchemyError as error:
            # A session of which nobody knows what it holds is ended.
            with suppress(SQLAlchemyError):
                session.invalidate()
            raise self._failed(error) from error

    def _failed(self, error: SQLAlchemyError) -> LeaseError:
        try:
            with self._database.told():
                raise error
        except StoreError as told:
            return LeaseError(f"lease {self._name!r} cannot be read or written: {told}")


_Result = TypeVar("_Result")


def _whose(holding: _Holding) -> str:
    return holding.description if holding.holder else "released"
