"""What the next keeper of a cluster must know: kept in the store with every change of a plan."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Final

from executor.calibration import calibrate
from executor.report import MeasuredMove
from service.calibration_file import MAX_MOVES
from service.cooldown import Cooldowns
from service.store.base import Transaction
from solver.domain.migration import DEFAULT_MIGRATION, MigrationParameters

MEMORY: Final = "memory"
"""Name of the blob."""
LONGEST_WINDOW: Final = timedelta(days=7)
"""Moves that are older are in no window of a limit."""


@dataclass(slots=True, kw_only=True)
class Memory:
    """What is carried from one plan to the next.

    Attributes
    ----------
    last_run_at, last_trigger, last_outcome
        When it was planned last, what for, and what came of it.
    was_acting
        Whether the last plan was balancing (hysteresis).
    closed
        Hosts that were in maintenance then.
    drained_at
        When it was last planned to empty them.
    retry_at, tries
        When to plan anew after a plan that has not done all, and how often that was done.
    moved_at
        When VMs arrived lately, for limits by window.
    measured
        What moves took.
    """

    last_run_at: datetime | None = None
    last_trigger: str = ""
    last_outcome: str = ""
    was_acting: bool = False
    closed: frozenset[str] = frozenset()
    drained_at: datetime | None = None
    retry_at: datetime | None = None
    tries: int = 0
    moved_at: list[datetime] = field(default_factory=list)
    measured: list[MeasuredMove] = field(default_factory=list)
    cooldowns: Cooldowns = field(default_factory=Cooldowns)

    def moves_since(self, since: datetime) -> int:
        """Return how many VMs arrived since an instant."""
        return sum(at >= since for at in self.moved_at)

    def add_measured(self, moves: Iterable[MeasuredMove]) -> None:
        """Learn what moves took; the oldest are forgotten."""
        self.measured = [*self.measured, *moves][-MAX_MOVES:]

    def migration(self) -> MigrationParameters:
        """Return the estimator that fits what moves took best."""
        return calibrate(self.measured, DEFAULT_MIGRATION).parameters


def read_memory(tx: Transaction, cluster_id: str) -> Memory:
    """Return what is remembered of a cluster; nothing, before the first keeper."""
    kept = tx.blobs.get(cluster_id, MEMORY)
    if kept is None:
        return Memory()
    document = json.loads(kept[1])
    cooldowns = Cooldowns()
    cooldowns.restore(document["cooldowns"])
    return Memory(
        last_run_at=_instant(document["last_run_at"]),
        last_trigger=document["last_trigger"],
        last_outcome=document["last_outcome"],
        was_acting=document["was_acting"],
        closed=frozenset(document["closed"]),
        drained_at=_instant(document["drained_at"]),
        retry_at=_instant(document["retry_at"]),
        tries=document["tries"],
        moved_at=[datetime.fromisoformat(at) for at in document["moved_at"]],
        measured=[MeasuredMove(**move) for move in document["measured"]],
        cooldowns=cooldowns,
    )


def write_memory(tx: Transaction, cluster_id: str, now: datetime, memory: Memory) -> None:
    """Keep what is remembered of a cluster."""
    memory.moved_at = [at for at in memory.moved_at if now - at <= LONGEST_WINDOW]
    document = {
        "last_run_at": _text(memory.last_run_at),
        "last_trigger": memory.last_trigger,
        "last_outcome": memory.last_outcome,
        "was_acting": memory.was_acting,
        "closed": sorted(memory.closed),
        "drained_at": _text(memory.drained_at),
        "retry_at": _text(memory.retry_at),
        "tries": memory.tries,
        "moved_at": [at.isoformat() for at in memory.moved_at],
        "measured": [asdict(move) for move in memory.measured],
        "cooldowns": memory.cooldowns.to_document(),
    }
    tx.blobs.put(cluster_id, MEMORY, now, json.dumps(document).encode())


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
