"""Entries of the audit log about what somebody asked for, and items written together with theirs.

The subject of an entry is the path of what was changed below its cluster, such as ``vms/v1`` or
``plans/p1/steps/3``; for what is of no cluster, below the service, such as ``users/anna``. It is
empty for the cluster itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from service.store.base import AuditEntry, Item, Kind, Transaction


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
    subject
        Path of what was changed below its cluster.
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


def put_item(
    tx: Transaction,
    asker: Asker,
    action: str,
    subject: str,
    item: Item,
    *,
    expected_revision: int | None,
) -> Item:
    """Write an item, with an entry of the document before and after; return it as it is kept.

    :raises ConflictError: if it stands at another revision
    """
    now = item.changed_at
    assert now is not None
    before = tx.items.find(item.kind, item.cluster_id, [item.id]).get(item.id)
    kept = tx.items.put(replace(item, changed_by=asker.name), expected_revision=expected_revision)
    told = entry(
        asker,
        action,
        item.id if item.kind is Kind.CLUSTER else item.cluster_id,
        subject,
        now,
        before=None if before is None else before.document,
        after=kept.document,
    )
    tx.audit.append(told)
    return kept
