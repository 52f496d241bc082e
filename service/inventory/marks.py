"""Marks that tell whether what is known of a cluster has changed.

A mark is a random word in an item of the cluster, written anew by every change in its transaction.
It is equal only where all that it stands for is equal, in every process and every store, so that
what was decoded can be kept under it. Beside it stand the VMs whose policies the latest changes
were of, so that whoever knows an earlier state has to read those alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from service.store.base import Item, Kind, Transaction

Part = Literal["snapshot", "policies"]

MAX_EDITS: Final = 32
MAX_EDITED: Final = 500
"""Changes of policies that are remembered, and the VMs of all of them; before that all is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change of policies.

    Parameters
    ----------
    since
        The word before it; the word after it is the next one's, or the mark's.
    """

    since: str
    vm_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What is known of a cluster, as words that change with it.

    Parameters
    ----------
    snapshot
        Empty as long as nothing was seen.
    policies
        Empty as long as nothing was wanted.
    """

    snapshot: str = ""
    policies: str = ""
    edits: tuple[Edit, ...] = field(default=(), compare=False, repr=False)

    def edited_since(self, earlier: Mark) -> frozenset[str] | None:
        """Return the VMs whose policies may have changed since; ``None`` if nobody remembers."""
        if earlier.policies == self.policies:
            return frozenset()
        for i, edit in enumerate(self.edits):
            if edit.since == earlier.policies:
                return frozenset(vm_id for later in self.edits[i:] for vm_id in later.vm_ids)
        return None


def read_mark(tx: Transaction, cluster_id: str) -> Mark:
    """Return the mark of a cluster; to be read before what is kept under it."""
    found = tx.items.find(Kind.INVENTORY, cluster_id, [cluster_id]).get(cluster_id)
    words = {} if found is None else found.document
    return Mark(
        snapshot=words.get("snapshot") or _unmarked(tx, cluster_id),
        policies=words.get("policies", ""),
        edits=tuple(
            Edit(since=since, vm_ids=tuple(vm_ids)) for since, vm_ids in words.get("edits", ())
        ),
    )


def _unmarked(tx: Transaction, cluster_id: str) -> str:
    """Return what tells a snapshot from others that was kept before there were marks."""
    seen_at = tx.snapshots.observed_at(cluster_id)
    return "" if seen_at is None else seen_at.isoformat()


@contextmanager
def changing(
    tx: Transaction,
    cluster_id: str,
    part: Part,
    now: datetime,
    *,
    vm_ids: Collection[str] | None = None,
) -> Iterator[None]:
    """Mark a change of a cluster when the block ends; until then it reads what stood before.

    Parameters
    ----------
    vm_ids
        Of a change of policies, all VMs whose policies it may change; ``None`` for any.
    """
    yield
    found = tx.items.find(Kind.INVENTORY, cluster_id, [cluster_id]).get(cluster_id)
    words = {} if found is None else dict(found.document)
    if part == "policies":
        words["edits"] = _remembered(words, vm_ids)
    item = Item(
        kind=Kind.INVENTORY,
        cluster_id=cluster_id,
        id=cluster_id,
        document={**words, part: secrets.token_hex(16)},
        changed_at=now,
    )
    tx.items.put(item, expected_revision=None)


def _remembered(words: dict[str, Any], vm_ids: Collection[str] | None) -> list[Any]:
    """Return the latest changes, this one included, as they are kept."""
    if vm_ids is None:
        return []
    edits = [*words.get("edits", ()), [words.get("policies", ""), list(vm_ids)]][-MAX_EDITS:]
    while edits and sum(len(edited) for _, edited in edits) > MAX_EDITED:
        del edits[0]
    return edits
