"""Entries of the audit log about what somebody asked for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from service.store.base import AuditEntry


class Asker(Protocol):
    """Who asks, as the audit log names them."""

    @property
    def name(self) -> str:
        """Of the user or token."""

    @property
    def origin(self) -> str:
        """Address the request came from."""


def entry(
    asker: Asker,
    action: str,
    cluster_id: str,
    subject: str,
    now: datetime,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Return the entry of a change to what a path names.

    Parameters
    ----------
    cluster_id
        Empty for what belongs to the whole service.
    """
    return AuditEntry(
        at=now,
        actor=asker.name,
        action=action,
        cluster_id=cluster_id,
        subject=subject,
        before=before,
        after=after,
        origin=asker.origin,
    )
