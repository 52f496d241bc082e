"""What becomes of telemetry with time: minutes to bins, days, hours, and nothing.

Every piece of work is a transaction of its own, so that others wait for none of them long, and
whatever ends the process leaves the rest for the next time.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from sqlalchemy import Connection, delete, select

from forecast.history import STEP_SECONDS
from service.monitored import Bins, bins_of
from service.store import bins, minutes, series
from service.store.accepting import PAST
from service.store.base import Retention
from service.store.bins import BINS_PER_DAY, DAYS_PER_PERIOD
from service.store.engine import Database
from service.store.packing import Block, sheets_of_minute
from service.store.series import Series, Subject
from service.store.tables import DUE_BINS

ROLL_UP_DELAY: Final = timedelta(seconds=75)
"""After the end of a bin: its last minute is delivered some seconds after it ended."""
CLOSE_DELAY: Final = timedelta(hours=2)
"""After the end of a day: by then most that comes late has come."""
SERIES_KEPT: Final = timedelta(days=4)
"""A VM that was heard of first since then may not have a day that is over yet."""
_SERIES_AT_ONCE: Final = 500
_LAST_BIN: Final = 2**40
_TURN_S: Final = 0.2
"""How long others wait for one piece of work that could be shorter."""


def tidy(database: Database, now: datetime, retention: Retention) -> None:
    """Roll up what is due and remove what is too old."""
    _roll_up(database, now - ROLL_UP_DELAY)
    _close_days(database, now - CLOSE_DELAY)
    _down_sample(database, now - retention.bins)
    with database.reading() as connection:
        clusters = minutes.clusters(connection)
    for cluster_id in clusters:
        with database.writing() as connection:
            minutes.forget(connection, cluster_id, now - retention.minutes)
    with database.writing() as connection:
        minutes.forget_streams(connection, now - PAST)
        bins.forget_hours(connection, _day(now - retention.hours) // DAYS_PER_PERIOD)
        _forget_series(connection, _bin(now - SERIES_KEPT))


def _forget_series(connection: Connection, before_bin: int) -> None:
    """Remove what is known of VMs and hosts of which no reading is kept any more."""
    idle = series.without_days(connection, before_bin, _SERIES_AT_ONCE)
    for cluster_id, of_block in idle.items():
        for block, numbers in of_block.items():
            recent = bins.recent(connection, cluster_id, [block], 0, _LAST_BIN)
            heard = {number for _, content in recent for number in content.numbers.tolist()}
            series.delete(connection, sorted(numbers - heard))


def _bin(at: datetime) -> int:
    return int(at.timestamp()) // STEP_SECONDS


def _day(at: datetime) -> int:
    return _bin(at) // BINS_PER_DAY


def _roll_up(database: Database, before: datetime) -> None:
    with database.reading() as connection:
        query = select(DUE_BINS).where(DUE_BINS.c.bin < _bin(before)).order_by(DUE_BINS.c.bin)
        due = connection.execute(query).all()
    for cluster_id, number, arrivals in due:
        with database.reading() as connection:
            packed = minutes.packed_of_bin(connection, cluster_id, number)
        sheets = [sheets_of_minute(data) for data in packed]
        of_vms = bins_of(vms for vms, _ in sheets)
        of_hosts = bins_of(host for _, host in sheets)
        with database.writing() as connection:
            if _done(connection, cluster_id, number, arrivals):
                _keep(connection, cluster_id, Subject.VM, of_vms)
                _keep(connection, cluster_id, Subject.HOST, of_hosts)


def _done(connection: Connection, cluster_id: str, number: int, arrivals: int) -> bool:
    """Take a bin off the list, unless more has come for it meanwhile: then it is due again."""
    as_seen = (
        DUE_BINS.c.cluster_id == cluster_id,
        DUE_BINS.c.bin == number,
        DUE_BINS.c.arrivals == arrivals,
    )
    return bool(connection.execute(delete(DUE_BINS).where(*as_seen)).rowcount)


def _keep(connection: Connection, cluster_id: str, subject: Subject, found: Bins | None) -> None:
    """Write one bin of all that was seen in it."""
    if found is None:
        return
    seen = [
        Series(
            number=0,
            id=vm_id,
            vcpus=int(found.vcpus[position]),
            memory_size_mib=int(found.memory_size_mib[position]),
            app_type=None,
            first_bin=found.first,
        )
        for position, vm_id in enumerate(found.ids)
    ]
    numbers = np.array(series.ensure(connection, cluster_id, subject, seen), dtype=np.int32)
    block_of = np.array([series.block_of(subject, int(number)) for number in numbers])
    order = np.argsort(numbers)
    blocks = {}
    for block in np.unique(block_of):
        there = order[block_of[order] == block]
        blocks[int(block)] = Block(
            numbers=numbers[there],
            state=found.state[there, 0],
            figures=found.figures[:, :, there, 0],
        )
    bins.put_recent(connection, cluster_id, found.first, blocks)


def _close_days(database: Database, before: datetime) -> None:
    with database.reading() as connection:
        over = bins.recent_days(connection, _day(before) * BINS_PER_DAY)
    while over:
        with database.writing() as connection:
            end_s = time.monotonic() + _TURN_S
            while over and time.monotonic() < end_s:
                bins.close_day(connection, *over.pop())


def _down_sample(database: Database, before: datetime) -> None:
    while True:
        with database.writing() as connection:
            found = bins.old_days(connection, _day(before), _SERIES_AT_ONCE)
            if not found:
                return
            first_day = found[0][0]
            of_day = [number for day, number in found if day == first_day]
            bins.down_sample(connection, first_day, of_day)
