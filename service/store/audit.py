"""The log of changes: added to and read, never changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from service.store.base import AuditEntry
from service.store.tables import AUDIT

_LARGEST: Final = 2**63 - 1


class SqlAudit:
    """``base.Audit`` in a table; numbers have no gaps, since writers come one after the other."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, *entries: AuditEntry) -> None:
        """Add entries."""
        if not entries:
            return
        last = self._connection.scalar(select(func.max(AUDIT.c.number))) or 0
        names = [column.name for column in AUDIT.columns if column.name != "number"]
        rows = [
            {"number": number, **{name: getattr(entry, name) for name in names}}
            for number, entry in enumerate(entries, start=last + 1)
        ]
        self._connection.execute(AUDIT.insert(), rows)

    def page(
        self,
        *,
        cluster_ids: Iterable[str] | None = None,
        subject_prefix: str = "",
        actor: str = "",
        action_prefix: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
        limit: int,
    ) -> list[AuditEntry]:
        """Return up to ``limit`` entries, the newest first."""
        query = select(AUDIT)
        if cluster_ids is not None:
            query = query.where(AUDIT.c.cluster_id.in_(list(cluster_ids)))
        for column, prefix in (
            (AUDIT.c.subject, subject_prefix),
            (AUDIT.c.action, action_prefix),
        ):
            if prefix:
                query = query.where(func.substr(column, 1, len(prefix)) == prefix)
        if actor:
            query = query.where(AUDIT.c.actor == actor)
        if since is not None:
            query = query.where(AUDIT.c.at >= since)
        if until is not None:
            query = query.where(AUDIT.c.at < until)
        if before is not None:
            query = query.where(AUDIT.c.number < min(before, _LARGEST))
        query = query.order_by(AUDIT.c.number.desc()).limit(limit)
        return [AuditEntry(**row._mapping) for row in self._connection.execute(query)]
