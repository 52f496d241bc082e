"""Clusters as they were seen last."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Text, bindparam, select, type_coerce

from service.store import long_json
from service.store.base import Snapshot, UnreadSnapshot
from service.store.tables import SNAPSHOTS

_OBSERVED_AT: Final = select(SNAPSHOTS.c.observed_at).where(
    SNAPSHOTS.c.cluster_id == bindparam("of_cluster")
)
"""Made once: making it takes longer than its answer."""


class SqlSnapshots:
    """``base.Snapshots`` in a table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, cluster_id: str) -> Snapshot | None:
        """Return the latest."""
        query = select(SNAPSHOTS).where(SNAPSHOTS.c.cluster_id == cluster_id)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else Snapshot(**row._mapping)

    def unread(self, cluster_id: str) -> UnreadSnapshot | None:
        """Return the latest with its VMs unread."""
        query = select(type_coerce(SNAPSHOTS.c.document, Text))
        text = self._connection.scalar(query.where(SNAPSHOTS.c.cluster_id == cluster_id))
        if text is None:
            return None
        document, vms = long_json.split(text, "vms")
        return UnreadSnapshot(document=document, vms=vms)

    def put(self, snapshot: Snapshot) -> bool:
        """Keep a snapshot, unless a later one is there."""
        of_cluster = SNAPSHOTS.c.cluster_id == snapshot.cluster_id
        stands_at = self.observed_at(snapshot.cluster_id)
        values = {"observed_at": snapshot.observed_at, "document": snapshot.document}
        if stands_at is None:
            new = SNAPSHOTS.insert().values(cluster_id=snapshot.cluster_id, **values)
            self._connection.execute(new)
        elif stands_at <= snapshot.observed_at:
            self._connection.execute(SNAPSHOTS.update().where(of_cluster).values(**values))
        else:
            return False
        return True

    def observed_at(self, cluster_id: str) -> datetime | None:
        """Return when the latest was seen."""
        return self._connection.scalar(_OBSERVED_AT, {"of_cluster": cluster_id})

    def delete(self, cluster_id: str) -> None:
        """Remove the latest of a cluster."""
        self._connection.execute(SNAPSHOTS.delete().where(SNAPSHOTS.c.cluster_id == cluster_id))
