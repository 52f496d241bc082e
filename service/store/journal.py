"""The executor's journal as rows: each record is written under the lease in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Final

from sqlalchemy import Connection, func, select

from executor.errors import JournalError
from executor.lease import Lease
from executor.records import Record, decode, encode
from service.store.engine import Database
from service.store.errors import StoreError
from service.store.lease import RowLease
from service.store.tables import JOURNAL

_AT_ONCE: Final = 500
"""Numbers in one statement: databases bound the number of parameters."""


def forget_journal(connection: Connection, cluster_id: str, plan_ids: Set[str]) -> None:
    """Remove the records of plans that are over; lines that cannot be read stay."""
    query = select(JOURNAL.c.number, JOURNAL.c.line).where(JOURNAL.c.cluster_id == cluster_id)
    numbers = []
    for row in connection.execute(query):
        with suppress(JournalError):
            if decode(row.line).plan_id in plan_ids:
                numbers.append(row.number)
    for first in range(0, len(numbers), _AT_ONCE):
        some = JOURNAL.c.number.in_(numbers[first : first + _AT_ONCE])
        connection.execute(JOURNAL.delete().where(JOURNAL.c.cluster_id == cluster_id, some))


class SqlJournal:
    """``executor.journal.Journal`` of one cluster in a table.

    Parameters
    ----------
    lease
        Whoever holds it may read and write the journal, and nobody else.
    """

    def __init__(self, database: Database, cluster_id: str, lease: Lease | None) -> None:
        self._database = database
        self._cluster_id = cluster_id
        self._lease = lease

    def append(self, record: Record) -> None:
        """Write a record; it is durable on return."""
        line = encode(record)
        with self._turn(), self._told("written"), self._database.writing() as connection:
            self._require_lease(connection)
            last = connection.scalar(
                select(func.max(JOURNAL.c.number)).where(self._is_of_cluster())
            )
            number = (last or 0) + 1
            values = {"cluster_id": self._cluster_id, "number": number, "line": line}
            connection.execute(JOURNAL.insert().values(**values))

    def read(self) -> tuple[Record, ...]:
        """Return every record in the order written."""
        query = select(JOURNAL.c.number, JOURNAL.c.line).where(self._is_of_cluster())
        with self._turn(), self._told("read"), self._database.writing() as connection:
            self._require_lease(connection)
            rows = connection.execute(query.order_by(JOURNAL.c.number)).all()
        return tuple(self._record(row.number, row.line) for row in rows)

    def _turn(self) -> Any:
        return nullcontext() if self._lease is None else self._lease.guard()

    def _require_lease(self, connection: Connection) -> None:
        """See in the transaction itself that the lease is held still."""
        if isinstance(self._lease, RowLease):
            self._lease.require_own(connection)

    def _is_of_cluster(self) -> Any:
        return JOURNAL.c.cluster_id == self._cluster_id

    def _record(self, number: int, line: str) -> Record:
        try:
            return decode(line)
        except JournalError as error:
            raise JournalError(
                f"journal of cluster {self._cluster_id!r}, record {number}: {error}"
            ) from error

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            raise JournalError(
                f"journal of cluster {self._cluster_id!r} cannot be {what}: {error}"
            ) from error
