"""Which VM to park next: the cheapest that is in somebody's way and has a place to go."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from solver.domain.units import VmId
from solver.sequencing.parking import Spot
from solver.sequencing.state import Move


class _Entry(NamedTuple):
    """A candidate in a queue; the one that may be cheapest compares lowest."""

    least_cost: float
    rank: int


class Blockers:
    """Candidates for parking, the cheapest first.

    A candidate that helps nobody at once is not looked at again before something changes on its
    host, so that a plan with thousands of parked VMs looks at each a few times only.

    Parameters
    ----------
    moves
        Migrations that may be parked on the way.
    least_costs
        For each of them a lower bound on what parking it costs.
    """

    def __init__(self, moves: Sequence[Move], least_costs: Sequence[float]) -> None:
        self._moves = moves
        self._costs = least_costs
        self._on: dict[int, list[int]] = defaultdict(list)
        for i, move in enumerate(moves):
            assert move.source is not None, "only migrations are parked"
            self._on[move.source].append(i)
        self._at_once = [_Entry(cost, i) for i, cost in enumerate(least_costs)]
        heapq.heapify(self._at_once)
        self._in_at_once = [True] * len(moves)
        self._later = list(self._at_once)
        self._gone: set[VmId] = set()

    def changed(self, hosts: Iterable[int]) -> None:
        """Have the VMs on some hosts looked at again."""
        for host in hosts:
            for i in self._on.get(host, ()):
                if not self._in_at_once[i]:
                    self._in_at_once[i] = True
                    heapq.heappush(self._at_once, _Entry(self._costs[i], i))

    def remove(self, vm_id: VmId) -> None:
        """Forget a VM: it has left its host."""
        self._gone.add(vm_id)

    def cheapest(
        self,
        helps_at_once: Callable[[Move], bool],
        helps: Callable[[Move], bool],
        spot: Callable[[Move], Spot | None],
    ) -> tuple[Spot, Move] | None:
        """Return whom to park and where, if anyone.

        Those whose leaving lets another VM in at once come before those that only make a gap
        smaller.

        Parameters
        ----------
        helps
            Once false it stays so.
        spot
            Best place to park a VM now.
        """
        found, dropped = self._search(self._at_once, helps_at_once, spot)
        for i in dropped:
            self._in_at_once[i] = False
        if found is None:
            found, _ = self._search(self._later, helps, spot)
        return found

    def _search(
        self,
        queue: list[_Entry],
        helps: Callable[[Move], bool],
        spot: Callable[[Move], Spot | None],
    ) -> tuple[tuple[Spot, Move] | None, list[int]]:
        """Return the cheapest of a queue, and those that were dropped from it."""
        best: tuple[Spot, Move] | None = None
        kept: list[_Entry] = []
        dropped: list[int] = []
        while queue and (best is None or queue[0].least_cost < best[0].cost):
            entry = heapq.heappop(queue)
            move = self._moves[entry.rank]
            if move.vm.id in self._gone or not helps(move):
                dropped.append(entry.rank)
                continue
            kept.append(entry)
            place = spot(move)
            if place is not None and (best is None or place < best[0]):
                best = place, move
        for entry in kept:
            heapq.heappush(queue, entry)
        return best, dropped
