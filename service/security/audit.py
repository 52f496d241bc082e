"""Which entries of the log of changes somebody may see.

Admins see all of it. Everybody else sees what belongs to clusters within reach, since entries of
the service itself tell of users, tokens and where people come from; owners see what was done to VMs
that are theirs now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from service.security.principal import Principal, Role
from service.store.base import AuditEntry, Kind, Transaction

VMS: Final = "vms/"
"""How subjects begin that are of a VM; its id follows."""

_BATCH: Final = 500
_MAX_BATCHES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries somebody asks for.

    Parameters
    ----------
    cluster_id, actor
        Of the entries; empty for any.
    action, subject
        How their actions and subjects begin.
    since, until
        From and before an instant.
    """

    cluster_id: str = ""
    subject: str = ""
    actor: str = ""
    action: str = ""
    since: datetime | None = None
    until: datetime | None = None


def page(
    tx: Transaction, principal: Principal, wanted: Wanted, *, before: int | None, limit: int
) -> tuple[list[AuditEntry], int | None]:
    """Return up to ``limit`` entries, the newest first, and the number before which to go on.

    Where little of much may be seen, fewer are returned than there are: the search ends after ten
    thousand entries. ``None`` if there are no more.
    """
    found: list[AuditEntry] = []
    for _ in range(_MAX_BATCHES):
        batch = _batch(tx, principal, wanted, before)
        seen = _visible(tx, principal, batch)
        for entry in batch:
            if len(found) == limit:
                return found, before
            before = entry.number
            if entry.number in seen:
                found.append(entry)
        if len(batch) < _BATCH:
            return found, None
    return found, before


def _batch(
    tx: Transaction, principal: Principal, wanted: Wanted, before: int | None
) -> list[AuditEntry]:
    clusters = {one for one in (principal.cluster_id, wanted.cluster_id) if one}
    if len(clusters) > 1:
        return []
    return tx.audit.page(
        cluster_ids=clusters or None,
        subject_prefix=wanted.subject,
        actor=wanted.actor,
        action_prefix=wanted.action,
        since=wanted.since,
        until=wanted.until,
        before=before,
        limit=_BATCH,
    )


def _visible(tx: Transaction, principal: Principal, batch: Iterable[AuditEntry]) -> set[int]:
    """Return the numbers of the entries that somebody may see."""
    if principal.role is Role.ADMIN:
        return {entry.number for entry in batch}
    of_clusters = [entry for entry in batch if entry.cluster_id]
    if principal.role is not Role.OWNER:
        return {entry.number for entry in of_clusters}
    own = _own_vms(tx, principal, of_clusters)
    return {entry.number for entry in of_clusters if (entry.cluster_id, entry.subject) in own}


def _own_vms(
    tx: Transaction, principal: Principal, entries: Iterable[AuditEntry]
) -> set[tuple[str, str]]:
    """Return cluster and subject of those VMs of the entries that are the owner's."""
    named: dict[str, set[str]] = {}
    for entry in entries:
        if entry.subject.startswith(VMS) and len(entry.subject) > len(VMS):
            named.setdefault(entry.cluster_id, set()).add(entry.subject.removeprefix(VMS))
    return {
        (cluster_id, VMS + vm_id)
        for cluster_id, vm_ids in named.items()
        for vm_id, policy in tx.items.find(Kind.VM_POLICY, cluster_id, vm_ids).items()
        if policy.document.get("owner") == principal.owner
    }
