"""Marks that tell whether what is known of a cluster has changed.

A mark is a random word in an item of the cluster, written anew by every change in its transaction.
It is equal only where all that it stands for is equal, in every process and every store, so that
what was decoded can be kept under it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from service.store.base import Item, Kind, Transaction

Part = Literal["snapshot", "policies"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What is known of a cluster, as words that change with it.

    Parameters
    ----------
    observed_at
        Of the snapshot; it changes even where somebody forgot to write the mark.
    """

    observed_at: datetime | None
    snapshot: str
    policies: str


def read_mark(tx: Transaction, cluster_id: str) -> Mark:
    """Return the mark of a cluster; to be read before what is kept under it."""
    found = tx.items.find(Kind.INVENTORY, cluster_id, [cluster_id]).get(cluster_id)
    words = {} if found is None else found.document
    return Mark(
        snapshot=words.get("snapshot", ""),
        policies=words.get("policies", ""),
        observed_at=tx.snapshots.observed_at(cluster_id),
    )


@contextmanager
def changing(tx: Transaction, cluster_id: str, part: Part, now: datetime) -> Iterator[None]:
    """Mark a change of a cluster when the block ends; until then it reads what stood before."""
    yield
    _write_mark(tx, cluster_id, part, now)


def _write_mark(tx: Transaction, cluster_id: str, part: Part, now: datetime) -> None:
    found = tx.items.find(Kind.INVENTORY, cluster_id, [cluster_id]).get(cluster_id)
    words = {} if found is None else found.document
    item = Item(
        kind=Kind.INVENTORY,
        cluster_id=cluster_id,
        id=cluster_id,
        document={**words, part: secrets.token_hex(16)},
        changed_at=now,
    )
    tx.items.put(item, expected_revision=None)
