"""A balancer that evens out present load, as classic cluster managers do.

While the hottest host is more than a target above the mean, the move off it is made that lowers
the sum of squared uses most. It knows nothing of the future and asks not whether anybody suffers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from service.replay.ledger import FloatArray, IntArray, Ledger, relieve_worst
from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId, VmId


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadParams:
    """Settings of the evening-out balancer.

    Parameters
    ----------
    target_fraction
        How far above the mean use a host may be.
    max_moves
        Moves per plan at most.
    """

    target_fraction: float = 0.3
    max_moves: int = 40

    def __post_init__(self) -> None:
        if not 0 < self.target_fraction <= 1:
            raise InvalidInputError(
                f"expected (0, 1], got {self.target_fraction}", path="target_fraction"
            )


def even_out(cluster: Cluster, demand: IntArray, params: SpreadParams) -> dict[VmId, HostId | None]:
    """Return the placement the balancer wants.

    Parameters
    ----------
    demand
        Present demand, shape ``(num_vms, num_resources)``, in the cluster's order of VMs.
    """
    ledger = Ledger(cluster, demand)

    def above_mean() -> FloatArray:
        use = ledger.use(ledger.load)
        return np.asarray(use - use.mean())

    relieve_worst(
        above_mean,
        partial(_move_best, ledger),
        threshold=params.target_fraction,
        max_moves=params.max_moves,
    )
    return ledger.placement


def _move_best(ledger: Ledger, source: int) -> bool:
    """Make the permitted move off a host that evens out most; ``False`` if none does."""
    use = ledger.use(ledger.load)
    found: list[tuple[float, int, int]] = []
    for vm in ledger.guests(source):
        without = ledger.use(ledger.load - ledger.demand[vm])[source]
        with_it = ledger.use(ledger.load + ledger.demand[vm])
        for host in ledger.with_room(int(vm)):
            change = without**2 + with_it[host] ** 2 - use[source] ** 2 - use[host] ** 2
            if change < -1e-9:
                found.append((float(change), int(vm), int(host)))
    return ledger.move_first((vm, host) for _, vm, host in sorted(found))
