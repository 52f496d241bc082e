"""Small knots of moves, solved exactly: every order and every parking, the cheapest first.

``cycles`` finds orders by rules, which now and then cut off or park more than is needed. Where the
moves that hang together are few, all orders can be tried instead.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from solver.sequencing.attempt import Attempt
from solver.sequencing.parking import ParkingBudget, ParkingLot
from solver.sequencing.state import Leg, Move, Occupancy

MAX_MOVES = 8
"""Largest knot that is tried exhaustively."""

MAX_STATES = 1_500
"""States looked at over all knots of a plan, about a tenth of a second."""

MAX_KNOTS = 32
"""Knots tried per plan, the most urgent first."""

_Positions = tuple[int | None, ...]
_Key = tuple[_Positions, int]
"""Where each VM of the knot is, and a bit set of those that have been parked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trace:
    """How a state was reached the cheapest way."""

    cost: float
    parent: _Key | None
    moved: int


def knots(moves: Sequence[Move], state: Occupancy) -> list[list[Move]]:
    """Return the moves in groups that share no host and no rule.

    Few moves are one knot: one may be parked where another has made room.
    """
    if len(moves) <= MAX_MOVES:
        return [list(moves)]
    parent = list(range(len(moves)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    seen: dict[tuple[str, int], int] = {}
    for i, move in enumerate(moves):
        shared = [("host", h) for h in (move.source, move.destination) if h is not None]
        shared += [("rule", rule) for rule, _ in state.rules_of(move.vm)]
        for thing in shared:
            parent[root(i)] = root(seen.setdefault(thing, i))
    groups: dict[int, list[Move]] = {}
    for i, move in enumerate(moves):
        groups.setdefault(root(i), []).append(move)
    return list(groups.values())


class Exhaustive:
    """Search over the states of one knot, all other VMs staying where they start.

    Parameters
    ----------
    start
        Occupancy of the cluster's placement; left as it is.
    moves
        The knot, at most ``MAX_MOVES``.
    budget
        What is left for parking.
    max_states
        States to look at before giving up.
    """

    def __init__(
        self,
        start: Occupancy,
        moves: Sequence[Move],
        parking: ParkingLot,
        budget: ParkingBudget,
        max_states: int,
    ) -> None:
        self._state = start.copy()
        self._moves = moves
        self._budget = budget
        self._parking = parking
        self._max_states = max_states
        self._goal = tuple(move.destination for move in moves)
        self._start: _Positions = tuple(move.source for move in moves)
        self._at = self._start
        inside = {h for move in moves for h in (move.source, move.destination) if h is not None}
        self._spots = [parking.spots(move, inside) for move in moves]
        self._traces: dict[_Key, _Trace] = {}
        self.num_states = 0

    def run(self) -> Attempt | None:
        """Return the best that can be reached, or ``None`` if the search was given up.

        Best is as for every attempt: least urgency lost, fewest VMs lost, cheapest parking.
        """
        first: _Key = (self._start, 0)
        self._traces[first] = _Trace(cost=0.0, parent=None, moved=-1)
        queue: list[tuple[float, int, int, _Key]] = [(0.0, 0, 0, first)]
        best: tuple[tuple[int, int, float], _Key] | None = None
        pushed = 0
        while queue:
            cost, _, _, key = heapq.heappop(queue)
            if cost > self._traces[key].cost:
                continue
            rank = self._rank(key, cost)
            if rank is not None and (best is None or rank < best[0]):
                best = rank, key
                if key[0] == self._goal:
                    break
            self.num_states += 1
            if self.num_states > self._max_states:
                return None
            for child, extra, i in self._children(key):
                total = cost + extra
                known = self._traces.get(child)
                if known is None or total < known.cost:
                    self._traces[child] = _Trace(cost=total, parent=key, moved=i)
                    pushed += 1
                    arrived = sum(a == g for a, g in zip(child[0], self._goal, strict=True))
                    heapq.heappush(queue, (total, -arrived, pushed, child))
        assert best is not None, "staying is always possible"
        return self._attempt(best[1])

    def _rank(self, key: _Key, cost: float) -> tuple[int, int, float] | None:
        """Return how good it is to stop here; ``None`` where a VM is on a parking host."""
        left = []
        for move, at in zip(self._moves, key[0], strict=True):
            if at == move.destination:
                continue
            if at != move.source:
                return None
            left.append(max(0, move.urgency))
        return sum(left), len(left), cost

    def _children(self, key: _Key) -> list[tuple[_Key, float, int]]:
        """Return what one more step leads to, with its extra cost and the VM moved."""
        positions, parked = key
        self._go_to(positions)
        found: list[tuple[_Key, float, int]] = []
        for i, move in enumerate(self._moves):
            at = positions[i]
            if at == move.destination:
                continue
            if self._state.admits(move.vm, at, move.destination):
                found.append(((_replace(positions, i, move.destination), parked), 0.0, i))
            if at != move.source or parked >> i & 1:
                continue
            for cost, host in self._spots[i]:
                if self._state.admits(move.vm, at, host) and self._affordable(key, host):
                    child = _replace(positions, i, host), parked | 1 << i
                    found.append((child, cost, i))
        return found

    def _affordable(self, key: _Key, host: int) -> bool:
        """Whether the budget allows one more VM to be parked on a host."""
        budget = self._budget
        if budget.total is None and budget.per_host is None:
            return True
        used = budget.copy()
        walk: _Key | None = key
        while walk is not None:
            trace = self._traces[walk]
            if trace.parent is not None and walk[1] != trace.parent[1]:
                spot = walk[0][trace.moved]
                assert spot is not None, "a parked VM is on a host"
                used.spend(spot)
            walk = trace.parent
        return used.allows(host)

    def _go_to(self, positions: _Positions) -> None:
        """Bring the occupancy to a state, by what differs from the one it is in."""
        for move, now, then in zip(self._moves, self._at, positions, strict=True):
            if now != then:
                if now is not None:
                    self._state.take(move.vm, now)
                if then is not None:
                    self._state.put(move.vm, then)
        self._at = positions

    def _attempt(self, key: _Key) -> Attempt:
        """Return the legs that lead to a state."""
        attempt = Attempt()
        path: list[_Key] = []
        walk: _Key | None = key
        while walk is not None:
            path.append(walk)
            walk = self._traces[walk].parent
        path.reverse()
        for before, after in pairwise(path):
            trace = self._traces[after]
            move = self._moves[trace.moved]
            destination = after[0][trace.moved]
            assert destination is not None, "legs lead to hosts"
            parks = after[1] != before[1]
            if parks:
                attempt.parked[move.vm.id] = trace.cost - self._traces[before].cost
            attempt.legs.append(
                Leg(
                    move=move,
                    source=before[0][trace.moved],
                    destination=destination,
                    urgency=max(m.urgency for m in self._moves) if parks else move.urgency,
                    parking=parks,
                    returning=move.vm.id in attempt.parked and not parks,
                )
            )
        self._go_to(key[0])
        for move, at in zip(self._moves, key[0], strict=True):
            if at != move.destination:
                why = ", ".join(self._state.obstacles(move.vm, at, move.destination))
                host_id = self._parking.host_id(move.destination)
                attempt.fail(
                    move,
                    f"it reaches host {host_id!r} in no order, with or without parking"
                    + (f": {why}" if why else ""),
                )
        return attempt


def _replace(positions: _Positions, i: int, host: int) -> _Positions:
    return (*positions[:i], host, *positions[i + 1 :])
