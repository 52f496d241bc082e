"""Telemetry on SQLite or PostgreSQL: puts its parts together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Table, func, select, text

from executor.monitor.sample import MinuteRecord
from forecast.history import STEP_SECONDS, History
from service.store import histories, minutes, rollup
from service.store.base import Peaks, Received, Retention
from service.store.engine import Database
from service.store.histories import Window
from service.store.remains import forget_telemetry
from service.store.series import Subject
from service.store.tables import DAYS, HOURS, MINUTES, RECENT_BINS
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.units import HostId, VmId

_TABLES: tuple[Table, ...] = (MINUTES, RECENT_BINS, DAYS, HOURS)


class SqlTelemetry:
    """``base.Telemetry`` in tables."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    def receive(
        self,
        cluster_id: str,
        host_id: HostId,
        *,
        stream: str,
        records: Sequence[tuple[int, MinuteRecord]],
    ) -> Received:
        """Keep records of one host, each once."""
        return minutes.receive(
            self._database, cluster_id, host_id, stream=stream, records=records, now=self._now()
        )

    def records(
        self, cluster_id: str, start_at: datetime, end_at: datetime
    ) -> Iterator[MinuteRecord]:
        """Return the records of a window as they were delivered."""
        with self._database.reading() as connection:
            yield from minutes.records(connection, cluster_id, start_at, end_at)

    def history(
        self,
        cluster_id: str,
        start_at: datetime,
        end_at: datetime,
        *,
        vm_ids: Iterable[VmId] | None = None,
        step_seconds: int = STEP_SECONDS,
    ) -> History:
        """Return the VMs' bins of a window."""
        window = Window.of(start_at, end_at, step_seconds)
        with self._database.reading() as connection:
            return histories.read(connection, cluster_id, Subject.VM, window, vm_ids).history

    def peaks(
        self,
        cluster_id: str,
        start_at: datetime,
        end_at: datetime,
        *,
        vm_ids: Iterable[VmId] | None = None,
        step_seconds: int = STEP_SECONDS,
    ) -> Peaks:
        """Return the VMs' bins of a window with their p95 and maxima."""
        window = Window.of(start_at, end_at, step_seconds)
        with self._database.reading() as connection:
            return histories.read(
                connection, cluster_id, Subject.VM, window, vm_ids, means_only=False
            )

    def put_history(self, cluster_id: str, history: History) -> None:
        """Keep bins from elsewhere, a transaction for each day."""
        for day in histories.days_of(history):
            with self._database.writing() as connection:
                histories.put_day(connection, cluster_id, history, day)

    def host_history(
        self,
        cluster_id: str,
        start_at: datetime,
        end_at: datetime,
        *,
        step_seconds: int = STEP_SECONDS,
    ) -> Mapping[HostId, History]:
        """Return what the monitors saw of the hosts themselves, by host."""
        window = Window.of(start_at, end_at, step_seconds)
        try:
            with self._database.reading() as connection:
                found = histories.read(connection, cluster_id, Subject.HOST, window, None).history
        except NotEnoughHistoryError:
            return {}
        return {HostId(host): found.select([row]) for row, host in enumerate(found.vm_ids)}

    def last_seen(self, cluster_id: str) -> Mapping[HostId, datetime]:
        """Return the start of the latest minute of each host that ever delivered."""
        with self._database.reading() as connection:
            return minutes.last_seen(connection, cluster_id)

    def tidy(self, now: datetime, retention: Retention) -> None:
        """Roll up what is due and remove what is too old."""
        rollup.tidy(self._database, now, retention)

    def forget(self, cluster_id: str) -> None:
        """Remove all of a cluster."""
        with self._database.writing() as connection:
            forget_telemetry(connection, cluster_id)

    def size_bytes(self) -> int:
        """Return about how much of the store telemetry takes."""
        total = 0
        with self._database.reading() as connection:
            for table in _TABLES:
                if self._database.is_sqlite:
                    total += connection.scalar(select(func.sum(func.length(table.c.data)))) or 0
                else:
                    size = text(f"SELECT pg_total_relation_size('{table.name}')")
                    total += int(connection.execute(size).scalar_one())
        return total
