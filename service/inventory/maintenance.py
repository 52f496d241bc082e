"""Maintenance of hosts: to be emptied, to stay empty, to return."""

from __future__ import annotations

from datetime import datetime

from service.inventory.effective import look_at_snapshot
from service.inventory.marks import changing
from service.inventory.policies import Maintenance
from service.security.auditing import put_item
from service.security.principal import Principal
from service.store.base import Item, Kind, Transaction
from service.store.errors import NotFoundError
from solver.domain.units import HostId


def set_maintenance(
    tx: Transaction,
    principal: Principal,
    cluster_id: str,
    host_id: HostId,
    wanted: Maintenance | None,
    *,
    expected_revision: int | None,
    now: datetime,
) -> Item:
    """Put a host into maintenance, or take it out with ``None``; return what is kept of it.

    Emptying it is the business of the next plan.

    Raises
    ------
    NotFoundError
        If there is no such cluster or host.
    ConflictError
        If it stands at another revision.
    """
    with changing(tx, cluster_id, "policies", now, vm_ids=()):
        seen = look_at_snapshot(tx, cluster_id)
        found = tx.items.find(Kind.HOST_POLICY, cluster_id, [host_id])
        if host_id not in seen.host_ids and host_id not in found:
            raise NotFoundError(f"there is no host {host_id!r} in cluster {cluster_id!r}")
        item = Item(
            kind=Kind.HOST_POLICY,
            cluster_id=cluster_id,
            id=host_id,
            document={"maintenance": False} if wanted is None else wanted.to_document(),
            changed_at=now,
        )
        subject = f"hosts/{host_id}"
        return put_item(
            tx, principal, "maintenance.set", subject, item, expected_revision=expected_revision
        )
