"""Records of monitors: each kept once, as it was delivered, until it is rolled up and old."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, func, select

from executor.monitor.sample import MinuteRecord
from forecast.history import STEP_SECONDS
from service.store.accepting import objection
from service.store.base import Received
from service.store.engine import Database
from service.store.packing import pack_minute, unpack_minute
from service.store.revisions import where
from service.store.tables import DUE_BINS, MINUTES, MONITORED_HOSTS, STREAMS
from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId

MINUTES_PER_BIN: Final = STEP_SECONDS // 60
_LARGEST_SEQ: Final = 2**62

Records = Sequence[tuple[int, MinuteRecord]]


def minute_of(at: datetime) -> int:
    """Return the number of the minute that contains an instant, from 1970 on."""
    return int(at.timestamp()) // 60


def receive(
    database: Database,
    cluster_id: str,
    host_id: HostId,
    *,
    stream: str,
    records: Records,
    now: datetime,
) -> Received:
    """Keep records of one host, each once; durable on return.

    Raises
    ------
    InvalidInputError
        If they do not come in rising order, from 1 on.
    """
    _require_order(records)
    key = {"cluster_id": cluster_id, "host_id": host_id, "stream": stream}
    with database.reading() as connection:
        through = _accepted_through(connection, key)
    new, refused, reason = _sorted_out(records, host_id, through, now)
    # The work of packing is done before the others have to wait.
    packed = [(seq, record.minute_at, pack_minute(record)) for seq, record in new]
    if packed:
        with database.writing() as connection:
            through = _keep(connection, key, packed, now)
    return Received(accepted_through=through, refused_seq=refused, reason=reason)


def _require_order(records: Records) -> None:
    before = 0
    for seq, _ in records:
        if not before < seq <= _LARGEST_SEQ:
            raise InvalidInputError(
                f"expected a number above {before}, got {seq}", path="records.seq"
            )
        before = seq


def _sorted_out(
    records: Records, host_id: HostId, through: int, now: datetime
) -> tuple[Records, int | None, str]:
    """Return what is new, up to the first record that is refused, and why that one is."""
    new: list[tuple[int, MinuteRecord]] = []
    for seq, record in records:
        if seq <= through:
            continue
        if reason := objection(record, host_id, now):
            return new, seq, reason
        new.append((seq, record))
    return new, None, ""


def _accepted_through(connection: Connection, key: dict[str, Any]) -> int:
    query = select(STREAMS.c.accepted_through).where(where(STREAMS, key))
    return connection.scalar(query) or 0


def _keep(
    connection: Connection,
    key: dict[str, Any],
    packed: Sequence[tuple[int, datetime, bytes]],
    now: datetime,
) -> int:
    """Write what nobody has written meanwhile and return up to where it is there."""
    before = _accepted_through(connection, key)
    rows = [
        {**key, "minute": minute_of(at), "seq": seq, "data": data}
        for seq, at, data in packed
        if seq > before
    ]
    if not rows:
        return before
    connection.execute(MINUTES.insert(), rows)
    minutes = [int(row["minute"]) for row in rows]
    _mark_due(connection, key["cluster_id"], {each // MINUTES_PER_BIN for each in minutes})
    through = packed[-1][0]
    heard = {"accepted_through": through, "heard_at": now}
    _put(connection, STREAMS, key, heard)
    _note_host(connection, key, max(at for _, at, _ in packed))
    return through


def _put(connection: Connection, table: Any, key: dict[str, Any], values: dict[str, Any]) -> None:
    change = table.update().where(where(table, key)).values(**values)
    if not connection.execute(change).rowcount:
        connection.execute(table.insert().values(**key, **values))


def _mark_due(connection: Connection, cluster_id: str, bins: set[int]) -> None:
    for number in sorted(bins):
        key = {"cluster_id": cluster_id, "bin": number}
        _put_next(connection, key)


def _put_next(connection: Connection, key: dict[str, Any]) -> None:
    again = DUE_BINS.update().where(where(DUE_BINS, key)).values(arrivals=DUE_BINS.c.arrivals + 1)
    if not connection.execute(again).rowcount:
        connection.execute(DUE_BINS.insert().values(**key, arrivals=1))


def _note_host(connection: Connection, key: dict[str, Any], at: datetime) -> None:
    of_host = {"cluster_id": key["cluster_id"], "host_id": key["host_id"]}
    query = select(MONITORED_HOSTS.c.last_minute_at).where(where(MONITORED_HOSTS, of_host))
    before = connection.scalar(query)
    if before is None or before < at:
        _put(connection, MONITORED_HOSTS, of_host, {"last_minute_at": at})


def last_seen(connection: Connection, cluster_id: str) -> dict[HostId, datetime]:
    """Return the start of the latest minute of each host that ever delivered."""
    query = select(MONITORED_HOSTS.c.host_id, MONITORED_HOSTS.c.last_minute_at)
    rows = connection.execute(query.where(MONITORED_HOSTS.c.cluster_id == cluster_id))
    return {HostId(row.host_id): row.last_minute_at for row in rows}


def packed_of_bin(connection: Connection, cluster_id: str, number: int) -> list[bytes]:
    """Return all records of a bin."""
    first = number * MINUTES_PER_BIN
    query = select(MINUTES.c.data).where(_between(cluster_id, first, first + MINUTES_PER_BIN))
    return [bytes(data) for data in connection.scalars(query)]


def records(
    connection: Connection, cluster_id: str, start_at: datetime, end_at: datetime
) -> Iterator[MinuteRecord]:
    """Return the records of a window in the order of their minutes."""
    query = select(MINUTES.c.data).where(
        _between(cluster_id, minute_of(start_at), minute_of(end_at))
    )
    query = query.order_by(MINUTES.c.minute, MINUTES.c.host_id, MINUTES.c.seq)
    for data in connection.scalars(query):
        yield unpack_minute(bytes(data))


def _between(cluster_id: str, first: int, end: int) -> ColumnElement[bool]:
    return and_(
        MINUTES.c.cluster_id == cluster_id, MINUTES.c.minute >= first, MINUTES.c.minute < end
    )


def clusters(connection: Connection) -> list[str]:
    """Return the clusters that ever delivered."""
    return list(connection.scalars(select(MONITORED_HOSTS.c.cluster_id).distinct()))


def forget(connection: Connection, cluster_id: str, before: datetime) -> None:
    """Remove records of before an instant that are rolled up."""
    due = select(func.min(DUE_BINS.c.bin)).where(DUE_BINS.c.cluster_id == cluster_id)
    first_due = connection.scalar(due)
    end = minute_of(before)
    if first_due is not None:
        end = min(end, first_due * MINUTES_PER_BIN)
    old = and_(MINUTES.c.cluster_id == cluster_id, MINUTES.c.minute < end)
    connection.execute(MINUTES.delete().where(old))


def forget_streams(connection: Connection, before: datetime) -> None:
    """Forget streams that were heard last before an instant."""
    connection.execute(STREAMS.delete().where(STREAMS.c.heard_at < before))
