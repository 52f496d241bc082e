"""What is left of a cluster when its settings are gone: the one list of the tables it stands in."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from service.store import bins, series
from service.store.series import Subject
from service.store.tables import (
    BLOBS,
    DUE_BINS,
    JOURNAL,
    MINUTES,
    MONITORED_HOSTS,
    PLANS,
    RECENT_BINS,
    SERIES,
    SNAPSHOTS,
    STREAMS,
)

_OF_TELEMETRY: Final = (SERIES, RECENT_BINS, DUE_BINS, MINUTES, MONITORED_HOSTS, STREAMS)


class SqlRemains:
    """``base.Remains`` in the tables of all."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def delete_of(self, cluster_id: str) -> None:
        """Remove snapshot, plans, journal, blobs and telemetry of a cluster."""
        for table in (SNAPSHOTS, PLANS, JOURNAL, BLOBS):
            of_cluster = table.c.cluster_id == cluster_id
            self._connection.execute(table.delete().where(of_cluster))
        forget_telemetry(self._connection, cluster_id)


def forget_telemetry(connection: Connection, cluster_id: str) -> None:
    """Remove all that monitors told of a cluster."""
    for subject in Subject:
        found = series.find(connection, cluster_id, subject)
        bins.forget_series(connection, [each.number for each in found])
    for table in _OF_TELEMETRY:
        connection.execute(table.delete().where(table.c.cluster_id == cluster_id))
