"""One way through the moves of a plan: make what can be made, park what blocks, see who is left.

Time plays no part here: moves are made one after another in thought, which is the most room that
any schedule can have. Which attempts are worth making is decided in ``cycles``.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from solver.domain.units import VmId
from solver.sequencing.blockers import Blockers
from solver.sequencing.parking import ParkingLot, Spot
from solver.sequencing.room import Room
from solver.sequencing.state import NUM_SLOTS, Leg, Move, Occupancy


@dataclass(slots=True, kw_only=True)
class Attempt:
    """An order that was tried, and what it came to.

    Parameters
    ----------
    legs
        In an order in which each fits once those before it are done.
    parked
        Cost of parking, by VM parked on the way.
    stuck
        Why, by VM that does not reach its destination.
    lost_urgency
        Of those VMs together.
    """

    legs: list[Leg] = field(default_factory=list)
    parked: dict[VmId, float] = field(default_factory=dict)
    stuck: dict[VmId, str] = field(default_factory=dict)
    lost_urgency: int = 0

    def fail(self, move: Move, reason: str) -> None:
        """Note that a VM does not reach its destination."""
        self.stuck[move.vm.id] = reason
        self.lost_urgency += max(0, move.urgency)

    @property
    def rank(self) -> tuple[int, int, float]:
        """Better attempts rank lower: least urgency lost, fewest VMs lost, cheapest parking."""
        return self.lost_urgency, len(self.stuck), sum(self.parked.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How one attempt is made."""

    first: frozenset[VmId] = frozenset()
    """VMs that go before all others as soon as they can."""
    park_early: bool = False
    """Whether those are parked rather than kept waiting for others."""
    never_parked: frozenset[VmId] = frozenset()


class Pass:
    """One pass: make what can be made, park what blocks, and see who is left."""

    def __init__(
        self, start: Occupancy, moves: Sequence[Move], parking: ParkingLot, policy: Policy
    ) -> None:
        self._state = start.copy()
        self._parking = parking
        self._policy = policy
        self._budget = parking.budget_left(moves)
        self._attempt = Attempt()
        self._changed: set[int] = set()  # Hosts, since a VM was last parked.
        self._waiting: dict[VmId, Move] = {move.vm.id: move for move in moves}
        self._rank = {move.vm.id: i for i, move in enumerate(moves)}
        self._at: dict[VmId, int | None] = {move.vm.id: move.source for move in moves}
        self._incoming: dict[int, dict[VmId, Move]] = defaultdict(dict)
        self._demanded: dict[int, list[int]] = defaultdict(lambda: [0] * NUM_SLOTS)
        for move in moves:
            self._incoming[move.destination][move.vm.id] = move
            self._demand(move, 1)
        parkable = sorted(
            (m for m in moves if m.source is not None and m.vm.id not in policy.never_parked),
            key=lambda m: (parking.least_cost(m.vm), self._rank[m.vm.id]),
        )
        self._blockers = self._candidates(parkable)
        self._favoured = self._candidates(m for m in parkable if m.vm.id in policy.first)
        self._room: Room | None = None
        self._tried_early = False
        self._open: list[tuple[tuple[bool, bool, bool, int], VmId]] = []
        for move in moves:
            self._push(move)

    def run(self) -> Attempt:
        """Return the legs made and what stays stuck."""
        while self._waiting:
            move = self._next()
            early = move is not None and self._favoured_wait(move)
            if (move is None or early) and self._park(favoured_only=early):
                if move is not None:
                    self._push(move)
            elif move is None:
                break
            else:
                self._tried_early = early
                self._make(move)
        for move in self._waiting.values():
            self._attempt.fail(move, self._why_stuck(move))
        return self._attempt

    def _favoured_wait(self, move: Move) -> bool:
        """Whether favoured VMs wait while another's turn has come, and parking may help them."""
        first = self._policy.first
        return (
            self._policy.park_early
            and not self._tried_early
            and move.vm.id not in first
            and any(vm_id in self._waiting for vm_id in first)
        )

    def _demand(self, move: Move, sign: int) -> None:
        self._changed.add(move.destination)
        demanded = self._demanded[move.destination]
        for r, amount in self._state.needs(move.vm, move.destination):
            demanded[r] += sign * amount

    def _key(self, move: Move) -> tuple[bool, bool, bool, int]:
        """Return the order of trial: the favoured, the harmless, the awaited, the urgent."""
        awaited = move.source is not None and self._contested(move.source)
        return (
            move.vm.id not in self._policy.first,
            self._contested(move.destination),
            not awaited,
            self._rank[move.vm.id],
        )

    def _contested(self, host: int) -> bool:
        """Whether a host lacks the room for all that is still to come."""
        if host not in self._demanded:
            return False
        load, allowed = self._state.load(host), self._state.allowed(host)
        return any(
            amount and load[r] + amount > allowed[r]
            for r, amount in enumerate(self._demanded[host])
        )

    def _push(self, move: Move) -> None:
        heapq.heappush(self._open, (self._key(move), move.vm.id))

    def _next(self) -> Move | None:
        """Return the best move that fits now."""
        while self._open:
            key, vm_id = heapq.heappop(self._open)
            move = self._waiting.get(vm_id)
            if move is None or not self._admits(move):
                continue  # Looked at again when something leaves its destination.
            if self._key(move) > key:
                self._push(move)
                continue
            return move
        return None

    def _make(self, move: Move) -> None:
        """Make the move, or the second leg of it."""
        del self._waiting[move.vm.id]
        del self._incoming[move.destination][move.vm.id]
        self._demand(move, -1)
        self._step(
            Leg(
                move=move,
                source=self._at[move.vm.id],
                destination=move.destination,
                urgency=move.urgency,
                returning=move.vm.id in self._attempt.parked,
            )
        )

    def _step(self, leg: Leg) -> None:
        vm = leg.move.vm
        self._state.begin(vm, leg.source, leg.destination)
        self._at[vm.id] = leg.destination
        self._attempt.legs.append(leg)
        self._changed.add(leg.destination)
        for candidates in (self._blockers, self._favoured):
            candidates.remove(vm.id)
        if leg.source is not None:
            self._changed.add(leg.source)
            self._state.end(vm, leg.source, leg.destination)
            for waiting in self._incoming.get(leg.source, {}).values():
                self._push(waiting)
        for vm_id in self._state.released(vm):
            if vm_id in self._waiting:
                self._push(self._waiting[vm_id])

    def _candidates(self, moves: Iterable[Move]) -> Blockers:
        some = list(moves)
        return Blockers(some, [self._parking.least_cost(move.vm) for move in some])

    def _park(self, *, favoured_only: bool) -> bool:
        """Park the VM that is cheapest to park and in somebody's way; say whether there was one."""
        if self._room is None:
            self._room = self._parking.room(self._state, self._demanded)
        room, state = self._room, self._state
        room.update(self._changed, state, self._demanded)
        for candidates in (self._blockers, self._favoured):
            candidates.changed(self._changed)
        self._changed.clear()
        largest = room.largest()

        def spot(move: Move) -> Spot | None:
            if not room.may_fit(state, move.vm, largest):
                return None
            return self._parking.best_spot(state, move, room, self._budget)

        found = (self._favoured if favoured_only else self._blockers).cheapest(
            self._lets_somebody_in, lambda move: bool(self._blocked_behind(move)), spot
        )
        if found is not None:
            self._send_to_park(found[1], found[0])
        return found is not None

    def _send_to_park(self, move: Move, spot: Spot) -> None:
        """Park a VM, as urgently as the most urgent of those that wait for it."""
        waiting = [other.urgency for other in self._blocked_behind(move)]
        self._attempt.parked[move.vm.id] = spot.cost
        self._budget.spend(spot.host)
        self._step(
            Leg(
                move=move,
                source=move.source,
                destination=spot.host,
                urgency=max([move.urgency, *waiting]),
                parking=True,
            )
        )
        self._push(move)

    def _blocked_behind(self, move: Move) -> Collection[Move]:
        """Return the moves that wait to enter the host this one has not left yet."""
        assert move.source is not None, "only migrations are parked"
        return self._incoming[move.source].values() if move.source in self._incoming else ()

    def _lets_somebody_in(self, move: Move) -> bool:
        assert move.source is not None, "only migrations are parked"
        self._state.take(move.vm, move.source)
        admitted = any(self._admits(waiting) for waiting in self._blocked_behind(move))
        self._state.put(move.vm, move.source)
        return admitted

    def _admits(self, move: Move) -> bool:
        return self._state.admits(move.vm, self._at[move.vm.id], move.destination)

    def _why_stuck(self, move: Move) -> str:
        obstacles = list(self._state.obstacles(move.vm, self._at[move.vm.id], move.destination))
        return (
            f"it reaches host {self._parking.host_id(move.destination)!r} in no order found, "
            f"and parking does not help: {', '.join(obstacles)}"
        )
