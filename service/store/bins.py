"""Bins as they are kept: recent ones by time, days that are over by VM, hours of long ago.

A bin of all VMs is a few rows, so writing one every five minutes costs little; four weeks of one
VM are 28 rows, so reading them costs little too. Once a day rows of the one kind become rows of the
other. What stands in recent bins is newer than what stands in days.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from sqlalchemy import ColumnElement, Connection, Table, and_, select

from forecast.history import STEP_SECONDS, BinState
from service.store.packing import (
    Block,
    Chunk,
    empty_chunk,
    pack_block,
    pack_chunk,
    unpack_block,
    unpack_chunk,
)
from service.store.series import HOST_BLOCK
from service.store.tables import DAYS, HOURS, RECENT_BINS

BINS_PER_DAY: Final = 86_400 // STEP_SECONDS
BINS_PER_HOUR: Final = 3600 // STEP_SECONDS
HOURS_PER_DAY: Final = 24
DAYS_PER_PERIOD: Final = 28
HOURS_PER_PERIOD: Final = HOURS_PER_DAY * DAYS_PER_PERIOD
_AT_ONCE: Final = 500


# Recent bins -----------------------------------------------------------------------------------


def put_recent(
    connection: Connection, cluster_id: str, number: int, blocks: Mapping[int, Block]
) -> None:
    """Write some blocks of one bin, over what stands there."""
    rows = [
        {"cluster_id": cluster_id, "block": block, "bin": number, "data": pack_block(content)}
        for block, content in sorted(blocks.items())
    ]
    before = _of_blocks(cluster_id, sorted(blocks), number, number + 1)
    connection.execute(RECENT_BINS.delete().where(before))
    if rows:
        connection.execute(RECENT_BINS.insert(), rows)


def recent(
    connection: Connection, cluster_id: str, blocks: Sequence[int], first: int, end: int
) -> Iterator[tuple[int, Block]]:
    """Return the number and content of recent bins ``first`` to ``end - 1``."""
    query = select(RECENT_BINS.c.bin, RECENT_BINS.c.data)
    query = query.where(_of_blocks(cluster_id, blocks, first, end))
    for row in connection.execute(query):
        yield row.bin, unpack_block(bytes(row.data))


def recent_days(connection: Connection, before_bin: int) -> list[tuple[str, int, int]]:
    """Return cluster, block and day of all recent bins of before a bin."""
    columns = (RECENT_BINS.c.cluster_id, RECENT_BINS.c.block, RECENT_BINS.c.bin)
    rows = connection.execute(select(*columns).where(RECENT_BINS.c.bin < before_bin))
    return sorted({(row.cluster_id, row.block, row.bin // BINS_PER_DAY) for row in rows})


def recent_blocks(connection: Connection, cluster_id: str, day: int) -> list[int]:
    """Return the blocks of VMs and hosts that have recent bins of a day."""
    first = day * BINS_PER_DAY
    blocks = range(HOST_BLOCK + 1)
    there = _of_blocks(cluster_id, blocks, first, first + BINS_PER_DAY)
    return sorted(connection.scalars(select(RECENT_BINS.c.block).where(there).distinct()))


def close_day(connection: Connection, cluster_id: str, block: int, day: int) -> None:
    """Make rows of days out of a block's recent bins of one day."""
    first = day * BINS_PER_DAY
    chunks: defaultdict[int, Chunk] = defaultdict(lambda: empty_chunk(BINS_PER_DAY))
    for number, content in recent(connection, cluster_id, [block], first, first + BINS_PER_DAY):
        for position, series in enumerate(content.numbers.tolist()):
            chunk = chunks[series]
            chunk.state[number - first] = content.state[position]
            chunk.figures[:, :, number - first] = content.figures[:, :, position]
    put_days(connection, day, chunks)
    of_day = _of_blocks(cluster_id, [block], first, first + BINS_PER_DAY)
    connection.execute(RECENT_BINS.delete().where(of_day))


def _of_blocks(cluster_id: str, blocks: Sequence[int], first: int, end: int) -> ColumnElement[bool]:
    return and_(
        RECENT_BINS.c.cluster_id == cluster_id,
        RECENT_BINS.c.block.in_(blocks),
        RECENT_BINS.c.bin >= first,
        RECENT_BINS.c.bin < end,
    )


# Days and hours --------------------------------------------------------------------------------


def put_days(connection: Connection, day: int, chunks: Mapping[int, Chunk]) -> None:
    """Lay some series' bins of a day over what stands there."""
    _lay_over(connection, DAYS, day, BINS_PER_DAY, chunks)


def days(
    connection: Connection,
    series: Sequence[int],
    first_day: int,
    end_day: int,
    *,
    means_only: bool = True,
) -> Iterator[tuple[int, int, Chunk]]:
    """Return series, day and bins of days ``first_day`` to ``end_day - 1``."""
    for number, day, data in _rows(connection, DAYS, series, first_day, end_day):
        yield number, day, unpack_chunk(data, BINS_PER_DAY, means_only=means_only)


def old_days(connection: Connection, before_day: int, limit: int) -> list[tuple[int, int]]:
    """Return day and series of up to ``limit`` rows of before a day, the oldest first."""
    query = select(DAYS.c.day, DAYS.c.series).where(DAYS.c.day < before_day)
    rows = connection.execute(query.order_by(DAYS.c.day, DAYS.c.series).limit(limit))
    return [(row.day, row.series) for row in rows]


def down_sample(connection: Connection, day: int, series: Sequence[int]) -> None:
    """Make hours out of some series' bins of one day, which are removed."""
    period, first = day // DAYS_PER_PERIOD, day % DAYS_PER_PERIOD * HOURS_PER_DAY
    chunks = {}
    for number, _, chunk in days(connection, series, day, day + 1, means_only=False):
        of_period = empty_chunk(HOURS_PER_PERIOD)
        hourly = hours_of(chunk)
        of_period.state[first : first + HOURS_PER_DAY] = hourly.state
        of_period.figures[:, :, first : first + HOURS_PER_DAY] = hourly.figures
        chunks[number] = of_period
    _lay_over(connection, HOURS, period, HOURS_PER_PERIOD, chunks)
    for some in _pieces(series):
        connection.execute(DAYS.delete().where(DAYS.c.day == day, DAYS.c.series.in_(some)))


def hours(
    connection: Connection,
    series: Sequence[int],
    first_period: int,
    end_period: int,
    *,
    means_only: bool = True,
) -> Iterator[tuple[int, int, Chunk]]:
    """Return series, period and hours of periods ``first_period`` to ``end_period - 1``."""
    for number, period, data in _rows(connection, HOURS, series, first_period, end_period):
        yield number, period, unpack_chunk(data, HOURS_PER_PERIOD, means_only=means_only)


def forget_series(connection: Connection, series: Sequence[int]) -> None:
    """Remove days and hours of some series."""
    for some in _pieces(series):
        for table in (DAYS, HOURS):
            connection.execute(table.delete().where(table.c.series.in_(some)))


def forget_hours(connection: Connection, before_period: int) -> None:
    """Remove hours of before a period."""
    connection.execute(HOURS.delete().where(HOURS.c.period < before_period))


def hours_of(chunk: Chunk) -> Chunk:
    """Return bins as hours: means of means and of p95, the largest of maxima.

    An hour is measured if any of its bins is, else off, missing or absent, in this order.
    """
    state = chunk.state.reshape(-1, BINS_PER_HOUR)
    figures = chunk.figures.reshape(*chunk.figures.shape[:2], -1, BINS_PER_HOUR)
    known = ~np.isnan(figures)
    num_known = known.sum(axis=3)
    with np.errstate(invalid="ignore"):
        means = np.where(known, figures, 0).sum(axis=3) / num_known
    largest = np.where(known, figures, -np.inf).max(axis=3)
    hourly = np.where(num_known > 0, means, np.nan).astype(np.float32)
    hourly[2:] = np.where(num_known > 0, largest, np.nan)[2:]
    return Chunk(state=_hourly_states(state), figures=hourly)


def _hourly_states(state: Any) -> Any:
    """Return the best known state of each row."""
    found = np.full(len(state), BinState.ABSENT, dtype=np.uint8)
    ranks = (BinState.MISSING, BinState.OFF, BinState.INTERPOLATED, BinState.MEASURED)
    for each in ranks:
        found[(state == each).any(axis=1)] = each
    return found


def _lay_over(
    connection: Connection, table: Table, unit: int, num_bins: int, chunks: Mapping[int, Chunk]
) -> None:
    """Write chunks of one unit of time over those that stand, where they know anything."""
    column = table.c[list(table.primary_key)[1].name]
    for some in _pieces(sorted(chunks)):
        merged = {number: chunks[number] for number in some}
        for number, _, data in _rows(connection, table, some, unit, unit + 1):
            merged[number] = unpack_chunk(data, num_bins).overlaid(merged[number])
        connection.execute(table.delete().where(column == unit, table.c.series.in_(some)))
        rows = [
            {"series": number, column.name: unit, "data": pack_chunk(chunk)}
            for number, chunk in merged.items()
        ]
        connection.execute(table.insert(), rows)


def _rows(
    connection: Connection, table: Table, series: Sequence[int], first: int, end: int
) -> Iterator[tuple[int, int, bytes]]:
    column = table.c[list(table.primary_key)[1].name]
    for some in _pieces(series):
        query = select(table.c.series, column, table.c.data).where(
            table.c.series.in_(some), column >= first, column < end
        )
        for number, unit, data in connection.execute(query):
            yield number, unit, bytes(data)


def _pieces(series: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(series), _AT_ONCE):
        yield series[first : first + _AT_ONCE]
