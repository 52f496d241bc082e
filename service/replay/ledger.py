"""What opponents that move one VM at a time keep count of: loads, reservations and permissions.

Opponents know reservations, rules, maintenance and what cannot be migrated, so that comparisons
are about foresight and joint choice, not about care.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from solver.domain.check import check_moves, check_placement, new_or_worse
from solver.domain.cluster import Cluster, HostState, reserved_amounts
from solver.domain.score import UNLIMITED, capacity_array, host_loads, host_positions
from solver.domain.units import HostId, VmId

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


class Ledger:
    """Loads and reservations of one snapshot, updated move by move.

    Parameters
    ----------
    demand
        What each VM is taken to need, shape ``(num_vms, num_resources)``, in the cluster's order.

    Attributes
    ----------
    placement
        Where every VM is after the moves so far.
    host_of
        The same by position, -1 for none, shape ``(num_vms,)``.
    demand, load, capacity
        Of the VMs and of the hosts, shapes ``(num_vms, num_resources)`` and
        ``(num_hosts, num_resources)``.
    movable
        Which VMs may be migrated at all, shape ``(num_vms,)``.
    """

    def __init__(self, cluster: Cluster, demand: IntArray) -> None:
        self.cluster = cluster
        self.demand = demand
        self.placement: dict[VmId, HostId | None] = dict(cluster.placement)
        self.host_of = host_positions(cluster, cluster.placement)
        self.capacity = capacity_array(cluster)
        self.load = host_loads(demand, self.host_of, len(cluster.hosts))
        self._reserved = np.zeros_like(self.load)
        for v, h in enumerate(self.host_of):
            if h >= 0:
                self._reserved[h] += reserved_amounts(cluster.vms[v], cluster.hosts[h])
        now = cluster.observed_at
        self.movable = np.array(
            [
                vm.migratable
                and vm.host_id is not None
                and (vm.not_before_at is None or vm.not_before_at <= now)
                and cluster.hosts[self.host_of[v]].state is not HostState.UNREACHABLE
                for v, vm in enumerate(cluster.vms)
            ],
            dtype=bool,
        )
        self._accepting = np.array([host.state is HostState.UP for host in cluster.hosts])
        self._before = check_placement(cluster, cluster.placement)

    def guests(self, host: int) -> npt.NDArray[np.intp]:
        """Return the VMs of a host that may be migrated, by position."""
        return np.flatnonzero((self.host_of == host) & self.movable)

    def fractions(self, load: IntArray) -> FloatArray:
        """Return use of each resource as a fraction of capacity; ``load`` is of all hosts."""
        fractions: FloatArray = np.where(
            self.capacity == UNLIMITED, 0.0, load / np.maximum(self.capacity, 1)
        )
        return fractions

    def use(self, load: IntArray) -> FloatArray:
        """Return the largest use of any resource, shape ``(num_hosts,)``."""
        largest: FloatArray = self.fractions(load).max(axis=-1)
        return largest

    def with_room(self, vm: int) -> npt.NDArray[np.intp]:
        """Return the other hosts that take VMs and have enough unreserved, by position."""
        hosts = self.cluster.hosts
        reserved = np.array([reserved_amounts(self.cluster.vms[vm], host) for host in hosts])
        room = (self._reserved + reserved <= self.capacity).all(axis=1) & self._accepting
        room[self.host_of[vm]] = False
        return np.flatnonzero(room)

    def permits(self, vm: int, host: int) -> bool:
        """Whether rules and budgets allow a move, after those so far."""
        if not self.cluster.rules and self.cluster.budget.max_moves_per_host is None:
            return True
        wanted = self._placement_after(vm, host)
        return not check_moves(self.cluster, wanted) and not new_or_worse(
            self._before, check_placement(self.cluster, wanted)
        )

    def move(self, vm: int, host: int) -> None:
        """Carry out a move."""
        source, moved = self.host_of[vm], self.cluster.vms[vm]
        self.placement = self._placement_after(vm, host)
        self.load[source] -= self.demand[vm]
        self.load[host] += self.demand[vm]
        self._reserved[source] -= reserved_amounts(moved, self.cluster.hosts[source])
        self._reserved[host] += reserved_amounts(moved, self.cluster.hosts[host])
        self.host_of[vm] = host

    def move_first(self, candidates: Iterable[tuple[int, int]]) -> bool:
        """Carry out the first permitted move of a VM to a host; ``False`` if none is."""
        for vm, host in candidates:
            if self.permits(vm, host):
                self.move(vm, host)
                return True
        return False

    def _placement_after(self, vm: int, host: int) -> dict[VmId, HostId | None]:
        return {**self.placement, self.cluster.vms[vm].id: self.cluster.hosts[host].id}


def relieve_worst(
    scores: Callable[[], npt.NDArray[np.floating | np.integer]],
    relieve: Callable[[int], bool],
    *,
    threshold: float,
    max_moves: int,
) -> None:
    """Take one VM after another off whichever host is worst, until none is above a threshold.

    Parameters
    ----------
    scores
        Returns the present score of every host, in an array of its own.
    relieve
        Makes a move off a host, and tells whether it could; a host that it could not help is left
        alone from then on.
    """
    hopeless: set[int] = set()
    for _ in range(max_moves):
        score = scores()
        score[list(hopeless)] = 0
        worst = int(score.argmax())
        if score[worst] <= threshold:
            break
        if not relieve(worst):
            hopeless.add(worst)
