"""Where a VM can be parked on its way, and what that costs.

Which VM has to be parked, and when, is decided in ``cycles``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice

from solver.domain.cluster import VM, Cluster, HostState, Overcommit
from solver.domain.migration import MigrationParameters, estimate
from solver.domain.units import HostId
from solver.domain.weights import Weights
from solver.sequencing.admission import HostRules
from solver.sequencing.room import Room
from solver.sequencing.state import Move, Occupancy
from solver.sequencing.timed import narrowest_link

MAX_PRICED_HOSTS = 16
"""Parking hosts priced per VM; on a large cluster the first that fit are as good as any."""

MAX_FAR_SPOTS = 3
"""Hosts without part in a knot of moves that are tried for parking a VM of it."""

_OMEGA = Weights().omega


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Spot:
    """A host to park a VM on; the better spot compares lower.

    Parameters
    ----------
    in_the_way
        Whether the VM takes room there that others are going to need.
    soft_rules_broken
        Soft pins and bans it breaks there.
    cost
        MiB sent more than by going straight, weighted by priority as migration cost is.
    host
        Position in the cluster.
    """

    in_the_way: bool
    soft_rules_broken: int
    cost: float
    host: int


@dataclass(slots=True)
class ParkingBudget:
    """Moves the budget leaves for parking, which counts by step; ``None`` for no limit."""

    total: int | None
    per_host: int | None
    used: Counter[int]

    def allows(self, host: int) -> bool:
        """Whether one more VM may be parked on a host: it comes and it leaves again."""
        if self.total is not None and self.total < 1:
            return False
        return self.per_host is None or self.used[host] + 2 <= self.per_host

    def copy(self) -> ParkingBudget:
        """Return an independent copy."""
        return ParkingBudget(self.total, self.per_host, Counter(self.used))

    def spend(self, host: int) -> None:
        """Count one VM parked on a host."""
        self.used[host] += 2
        if self.total is not None:
            self.total -= 1


class ParkingLot:
    """Hosts that may take a VM for a while."""

    def __init__(
        self,
        cluster: Cluster,
        start: Occupancy,
        moves: Sequence[Move],
        parameters: MigrationParameters,
    ) -> None:
        self._cluster = cluster
        self._start = start
        self._start_room: Room | None = None
        self._rules = HostRules(cluster)
        self._parameters = parameters
        self._sent: dict[tuple[int, int, int], int] = {}
        self._up = [h for h, host in enumerate(cluster.hosts) if host.state is HostState.UP]
        fastest = max(host.migration_bandwidth_mib_per_s for host in cluster.hosts)
        sent = estimate(
            [move.vm.memory_footprint_mib for move in moves],
            [move.vm.dirty_mib_per_s for move in moves],
            fastest,
            parameters,
        ).transferred_mib
        self._least = {
            move.vm.id: _OMEGA(move.vm.priority) * int(mib)
            for move, mib in zip(moves, sent, strict=True)
        }

    def host_id(self, host: int) -> HostId:
        """Return the id of the host at a position."""
        return self._cluster.hosts[host].id

    def least_cost(self, vm: VM) -> float:
        """Return a lower bound on the cost of parking a VM anywhere."""
        return self._least[vm.id]

    def budget_left(self, moves: Sequence[Move]) -> ParkingBudget:
        """Return what the planned moves leave of the budget."""
        budget = self._cluster.budget
        migrations = [move for move in moves if move.source is not None]
        used: Counter[int] = Counter()
        for move in migrations:
            used.update(h for h in (move.source, move.destination) if h is not None)
        total = None if budget.max_moves is None else budget.max_moves - len(migrations)
        return ParkingBudget(total, budget.max_moves_per_host, used)

    def room(self, state: Occupancy, demanded: Mapping[int, Sequence[int]]) -> Room:
        """Return the room on all hosts that may take a VM."""
        hosts = self._cluster.hosts
        kinds: dict[Overcommit, int] = {}
        room = Room(self._up, [kinds.setdefault(hosts[h].overcommit, len(kinds)) for h in self._up])
        room.update(self._up, state, demanded)
        return room

    def best_spot(
        self, state: Occupancy, move: Move, room: Room, budget: ParkingBudget
    ) -> Spot | None:
        """Return the best host to park a VM on right now, or ``None``.

        Every hard rule holds there, broken starts being no excuse: nobody asked for this host.
        """
        for clear in (True, False):
            spots = [
                Spot(
                    in_the_way=not clear,
                    soft_rules_broken=self._rules.num_soft_broken(move.vm, self.host_id(h)),
                    cost=self._cost(move, h),
                    host=h,
                )
                for h in islice(
                    (
                        h
                        for h in room.fitting(state, move.vm, clear=clear)
                        if self._may_park(state, move, h) and budget.allows(h)
                    ),
                    MAX_PRICED_HOSTS,
                )
            ]
            if spots:
                return min(spots)
        return None

    def _may_park(self, state: Occupancy, move: Move, host: int) -> bool:
        return (
            host not in (move.source, move.destination)
            and state.admits(move.vm, move.source, host)
            and self._rules.fits(move.vm, self.host_id(host))
        )

    def spots(self, move: Move, hosts: Set[int]) -> list[tuple[float, int]]:
        """Return cost and position of hosts a VM may be parked on, the cheapest first.

        All other VMs are where they start.

        Parameters
        ----------
        hosts
            Hosts to return whether there is room now or not, as long as the rules allow; of all
            others the cheapest few with room.
        """
        if move.source is None:
            return []
        near = [
            (self._cost(move, h), h)
            for h in sorted(hosts)
            if h not in (move.source, move.destination)
            and self._cluster.hosts[h].state is HostState.UP
            and self._rules.fits(move.vm, self.host_id(h))
        ]
        if self._start_room is None:
            self._start_room = self.room(self._start, {})
        far = [
            (self._cost(move, h), h)
            for h in islice(
                (
                    h
                    for h in self._start_room.fitting(self._start, move.vm, clear=False)
                    if h not in hosts and self._may_park(self._start, move, h)
                ),
                MAX_PRICED_HOSTS,
            )
        ]
        return sorted(near + sorted(far)[:MAX_FAR_SPOTS])

    def _cost(self, move: Move, host: int) -> float:
        assert move.source is not None, "only migrations are parked"
        there = self._sent_mib(move.vm, move.source, host)
        on = self._sent_mib(move.vm, host, move.destination)
        straight = self._sent_mib(move.vm, move.source, move.destination)
        return _OMEGA(move.vm.priority) * (there + max(0, on - straight))

    def _sent_mib(self, vm: VM, source: int, destination: int) -> int:
        bandwidth = narrowest_link(self._cluster, source, destination)
        key = (vm.memory_footprint_mib, vm.dirty_mib_per_s, bandwidth)
        sent = self._sent.get(key)
        if sent is None:
            sent = self._sent[key] = int(estimate(*key, self._parameters).transferred_mib)
        return sent
