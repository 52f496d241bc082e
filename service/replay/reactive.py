"""A fair threshold balancer, as found in today's platforms: it acts on current load alone.

When a host's present use of a resource is above the threshold, VMs leave it, one at a time, for
the least used host, as long as that one stays below the target with them, or at least clearly less
used than the source is now: a balancer that gave up whenever the whole cluster is busy would be no
fair opponent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.replay.ledger import IntArray, Ledger, relieve_worst
from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId, VmId


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactiveParams:
    """Settings of the threshold balancer.

    The defaults are the best of a grid on 2 and 3 September 2013 of the Bitbrains fastStorage trace
    (``python -m benchmarks.reactive_grid``): whoever acts before anything is short moves VMs
    onto hosts that are so themselves soon after.

    Parameters
    ----------
    threshold_fraction
        Use of any resource above which a host sheds VMs.
    target_fraction
        Use up to which a destination may always be filled.
    least_relief_fraction
        Beyond the target, how much less used than the source the destination must end.
    max_moves
        Moves per plan at most.
    """

    threshold_fraction: float = 1.0
    target_fraction: float = 0.9
    least_relief_fraction: float = 0.05
    max_moves: int = 40

    def __post_init__(self) -> None:
        for name in ("threshold_fraction", "target_fraction", "least_relief_fraction"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise InvalidInputError(f"expected (0, 1], got {value}", path=name)


def rebalance(
    cluster: Cluster, demand: IntArray, params: ReactiveParams
) -> dict[VmId, HostId | None]:
    """Return the placement the balancer wants.

    Parameters
    ----------
    demand
        Present demand, shape ``(num_vms, num_resources)``, in the cluster's order of VMs.

    Returns
    -------
    dict
        Host of every VM; equal to the cluster's placement when no host is above the threshold or
        nothing fits elsewhere.
    """
    return _Balancer(cluster, demand, params).run()


class _Balancer:
    """Sheds from the hottest host until none is above the threshold or nothing fits."""

    def __init__(self, cluster: Cluster, demand: IntArray, params: ReactiveParams) -> None:
        self._params = params
        self._ledger = Ledger(cluster, demand)

    def run(self) -> dict[VmId, HostId | None]:
        ledger = self._ledger
        relieve_worst(
            lambda: ledger.use(ledger.load),
            self._shed_one,
            threshold=self._params.threshold_fraction,
            max_moves=self._params.max_moves,
        )
        return ledger.placement

    def _shed_one(self, source: int) -> bool:
        """Move the smallest VM that brings the host below, else the one that relieves most."""
        ledger = self._ledger
        resource = int(ledger.fractions(ledger.load)[source].argmax())
        allowed = self._params.threshold_fraction * ledger.capacity[source, resource]
        surplus = ledger.load[source, resource] - allowed
        guests = ledger.guests(source)
        guests = guests[ledger.demand[guests, resource] > 0]
        enough = ledger.demand[guests, resource] >= surplus
        memory = np.array([ledger.cluster.vms[v].memory_footprint_mib for v in guests])
        relief = np.where(enough, 0, -ledger.demand[guests, resource])
        order = np.lexsort((memory, relief, ~enough))
        return any(self._place_elsewhere(int(v), source) for v in guests[order])

    def _place_elsewhere(self, vm: int, source: int) -> bool:
        ledger = self._ledger
        use_after = ledger.use(ledger.load + ledger.demand[vm])
        use_now = float(ledger.use(ledger.load)[source])
        allowed = max(self._params.target_fraction, use_now - self._params.least_relief_fraction)
        room = ledger.with_room(vm)
        room = room[use_after[room] <= allowed]
        order = np.argsort(use_after[room], kind="stable")
        return ledger.move_first((vm, int(host)) for host in room[order])
