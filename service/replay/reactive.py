"""A fair threshold balancer, as found in today's platforms: it acts on current load alone.

When a host's present use of a resource is above the threshold, VMs leave it, one at a time, for
the least used host, as long as that one stays below the target with them, or at least clearly less
used than the source is now: a balancer that gave up whenever the whole cluster is busy would be no
fair opponent. It knows reservations, rules, maintenance and what cannot be migrated, so that the
comparison is about foresight and joint choice, not about care.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solver.domain.check import check_moves, check_placement, new_or_worse
from solver.domain.cluster import Cluster, HostState, reserved_amounts
from solver.domain.errors import InvalidInputError
from solver.domain.score import UNLIMITED, capacity_array
from solver.domain.units import NUM_RESOURCES, HostId, VmId

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactiveParams:
    """Settings of the threshold balancer.

    The defaults were chosen from a grid on the two days before the standard replay's window
    (``python -m benchmarks.reactive_grid``); of settings nearly alike there, the one that does
    better in the window was kept, in the opponent's favour.

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

    threshold_fraction: float = 0.95
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
    """Loads and reservations of one snapshot, updated move by move."""

    def __init__(self, cluster: Cluster, demand: IntArray, params: ReactiveParams) -> None:
        self._cluster = cluster
        self._params = params
        self._demand = demand
        self._placement = dict(cluster.placement)
        self._before = check_placement(cluster, cluster.placement)
        position = {host.id: h for h, host in enumerate(cluster.hosts)}
        self._host_of = np.array(
            [-1 if vm.host_id is None else position[vm.host_id] for vm in cluster.vms]
        )
        self._capacity = capacity_array(cluster)
        self._load = np.zeros((len(cluster.hosts), NUM_RESOURCES), dtype=np.int64)
        self._reserved = np.zeros_like(self._load)
        for v, vm in enumerate(cluster.vms):
            h = self._host_of[v]
            if h >= 0:
                self._load[h] += demand[v]
                self._reserved[h] += reserved_amounts(vm, cluster.hosts[h])
        now = cluster.observed_at
        self._movable = np.array(
            [
                vm.migratable
                and vm.host_id is not None
                and (vm.not_before_at is None or vm.not_before_at <= now)
                and cluster.hosts[self._host_of[v]].state is not HostState.UNREACHABLE
                for v, vm in enumerate(cluster.vms)
            ],
            dtype=bool,
        )
        self._accepting = np.array([host.state is HostState.UP for host in cluster.hosts])

    def run(self) -> dict[VmId, HostId | None]:
        hopeless: set[int] = set()
        for _ in range(self._params.max_moves):
            use = self._use(self._load, self._capacity)
            use[list(hopeless)] = 0.0
            hottest = int(use.argmax())
            if use[hottest] <= self._params.threshold_fraction:
                break
            if not self._shed_one(hottest):
                hopeless.add(hottest)
        return self._placement

    def _shed_one(self, source: int) -> bool:
        """Move the smallest VM that brings the host below, else the one that relieves most."""
        resource = int(self._fractions(self._load[source], self._capacity[source]).argmax())
        allowed = self._params.threshold_fraction * self._capacity[source, resource]
        surplus = self._load[source, resource] - allowed
        guests = np.flatnonzero((self._host_of == source) & self._movable)
        guests = guests[self._demand[guests, resource] > 0]
        enough = self._demand[guests, resource] >= surplus
        memory = np.array([self._cluster.vms[v].memory_footprint_mib for v in guests])
        order = np.lexsort((memory, np.where(enough, 0, -self._demand[guests, resource]), ~enough))
        return any(self._place_elsewhere(int(v), source) for v in guests[order])

    def _place_elsewhere(self, v: int, source: int) -> bool:
        vm = self._cluster.vms[v]
        use_after = self._use(self._load + self._demand[v], self._capacity)
        use_now = self._use(self._load[source], self._capacity[source])
        allowed = max(
            self._params.target_fraction, float(use_now) - self._params.least_relief_fraction
        )
        for h in np.argsort(use_after, kind="stable"):
            if use_after[h] > allowed:
                return False
            host = self._cluster.hosts[h]
            reserved = np.array(reserved_amounts(vm, host))
            if (
                h == source
                or not self._accepting[h]
                or (self._reserved[h] + reserved > self._capacity[h]).any()
            ):
                continue
            wanted = {**self._placement, vm.id: host.id}
            if not self._permitted(wanted):
                continue
            self._placement = wanted
            self._load[source] -= self._demand[v]
            self._load[h] += self._demand[v]
            self._reserved[source] -= reserved_amounts(vm, self._cluster.hosts[source])
            self._reserved[h] += reserved
            self._host_of[v] = h
            return True
        return False

    def _permitted(self, wanted: dict[VmId, HostId | None]) -> bool:
        if not self._cluster.rules and self._cluster.budget.max_moves_per_host is None:
            return True
        return not check_moves(self._cluster, wanted) and not new_or_worse(
            self._before, check_placement(self._cluster, wanted)
        )

    def _use(self, load: IntArray, capacity: IntArray) -> FloatArray:
        largest: FloatArray = self._fractions(load, capacity).max(axis=-1)
        return largest

    def _fractions(self, load: IntArray, capacity: IntArray) -> FloatArray:
        fractions: FloatArray = np.where(capacity == UNLIMITED, 0.0, load / np.maximum(capacity, 1))
        return fractions
