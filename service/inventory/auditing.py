"""Entries of the audit log about what belongs to a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from service.security.principal import Principal
from service.store.base import AuditEntry


def entry(
    principal: Principal,
    action: str,
    cluster_id: str,
    subject: str,
    now: datetime,
    *,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> AuditEntry:
    """Return the entry of a change of what a path within the cluster names, such as ``vms/v1``."""
    return AuditEntry(
        at=now,
        actor=principal.name,
        action=action,
        cluster_id=cluster_id,
        subject=subject,
        before=before,
        after=after,
        origin=principal.origin,
    )
