"""Larger results that are replaced as a whole."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, and_, select

from service.store.revisions import where
from service.store.tables import BLOBS


class SqlBlobs:
    """``base.Blobs`` in a table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, cluster_id: str, name: str) -> tuple[datetime, bytes] | None:
        """Return when it was made and its bytes."""
        query = select(BLOBS.c.made_at, BLOBS.c.data).where(where(BLOBS, _key(cluster_id, name)))
        row = self._connection.execute(query).one_or_none()
        return None if row is None else (row.made_at, bytes(row.data))

    def made_at(self, cluster_id: str, name: str) -> datetime | None:
        """Return when it was made, without reading it."""
        query = select(BLOBS.c.made_at).where(where(BLOBS, _key(cluster_id, name)))
        found: datetime | None = self._connection.execute(query).scalar_one_or_none()
        return found

    def put(self, cluster_id: str, name: str, made_at: datetime, data: bytes) -> None:
        """Write it, over one of the same name."""
        self.delete(cluster_id, name)
        new = BLOBS.insert().values(**_key(cluster_id, name), made_at=made_at, data=data)
        self._connection.execute(new)

    def delete(self, cluster_id: str, name: str) -> None:
        """Remove it, if it is there."""
        self._connection.execute(BLOBS.delete().where(where(BLOBS, _key(cluster_id, name))))

    def delete_of(self, cluster_id: str) -> None:
        """Remove all of a cluster."""
        self._connection.execute(BLOBS.delete().where(BLOBS.c.cluster_id == cluster_id))

    def forget(self, prefix: str, made_before: datetime) -> int:
        """Remove those of every cluster whose name begins so, made before an instant."""
        old = and_(BLOBS.c.name.startswith(prefix, autoescape=True), BLOBS.c.made_at < made_before)
        return self._connection.execute(BLOBS.delete().where(old)).rowcount


def _key(cluster_id: str, name: str) -> dict[str, str]:
    return {"cluster_id": cluster_id, "name": name}
