"""What time it is in a cluster: real time, but where a simulated one lives by a clock of its own.

All that is told of such a cluster is told by its own clock: when it was seen, what was measured,
when plans were made and moves ended. What people did, the audit log above all, is told in real time
everywhere. The clock never goes back, whatever becomes of its speed, since what was seen later
would otherwise be refused as older.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from service.store.base import Transaction

CLOCK: Final = "own-clock"
"""Name of the blob in which the clock of a cluster is kept, so that every process has the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterClock:
    """A clock that runs at another speed than real time.

    Parameters
    ----------
    real_at, own_at
        An instant by real time, and the same one by this clock.
    speed
        Times real time.
    """

    real_at: datetime
    own_at: datetime
    speed: float

    def own(self, real_at: datetime) -> datetime:
        """Return what time it is by this clock at a real instant."""
        return self.own_at + (real_at - self.real_at) * self.speed

    def real(self, own_at: datetime) -> datetime:
        """Return when it is so late by this clock."""
        return self.real_at + (own_at - self.own_at) / self.speed


def clock_of(tx: Transaction, cluster_id: str) -> ClusterClock | None:
    """Return the clock of a cluster; ``None`` where it lives in real time."""
    kept = tx.blobs.get(cluster_id, CLOCK)
    if kept is None:
        return None
    document = json.loads(kept[1])
    return ClusterClock(
        real_at=datetime.fromisoformat(document["real_at"]),
        own_at=datetime.fromisoformat(document["own_at"]),
        speed=document["speed"],
    )


def present(tx: Transaction, cluster_id: str, now: datetime) -> datetime:
    """Return what time it is in a cluster when it is ``now`` in real time."""
    clock = clock_of(tx, cluster_id)
    return now if clock is None else clock.own(now)


def set_pace(tx: Transaction, cluster_id: str, speed: float, now: datetime) -> ClusterClock | None:
    """Let a cluster live at a speed from now on; return its clock, ``None`` for real time.

    It goes on from where it is: one that is ahead of real time stays so.
    """
    clock = clock_of(tx, cluster_id)
    if (clock is None and speed == 1.0) or (clock is not None and clock.speed == speed):
        return clock
    own_at = now if clock is None else clock.own(now)
    clock = ClusterClock(real_at=now, own_at=own_at, speed=speed)
    document = {"real_at": now.isoformat(), "own_at": own_at.isoformat(), "speed": speed}
    tx.blobs.put(cluster_id, CLOCK, now, json.dumps(document).encode())
    return clock
