"""The order of moves: which can follow which, and what has to be parked on the way.

Time plays no part here: moves are made one after another in thought, which is the most room that
any schedule can have. Where moves wait for each other in a circle, one VM is parked on a third
host, the cheapest way. Where no order is found, VMs are cut off.

Finding an order is NP-hard already without parking, so this is a search by rules with a few
restarts: moves that can hurt nobody first, then those that others wait for. Where that leaves
something to be desired in a small knot of moves, the knot is handed to ``exhaust``.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass

from solver.domain.cluster import VM, Cluster
from solver.domain.migration import MigrationParameters
from solver.domain.units import NUM_RESOURCES, VmId
from solver.sequencing.admission import AffinityRules
from solver.sequencing.exhaust import MAX_KNOTS, MAX_MOVES, MAX_STATES, Exhaustive, knots
from solver.sequencing.parking import ParkingLot, Spot
from solver.sequencing.state import Attempt, Leg, Move, Occupancy

MAX_RESTARTS = 16
"""Restarts that cut off one affinity group each; after them all that are torn go at once."""

MAX_UNPARKED = 4
"""With no more VMs parked than this, each is tried without its parking as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Legs in an order in which each fits once those before it are done.

    Parameters
    ----------
    cut_off
        VMs that stay, with the reason.
    """

    legs: tuple[Leg, ...]
    cut_off: dict[VmId, str]


def find_order(
    cluster: Cluster,
    start: Occupancy,
    moves: Sequence[Move],
    affinity: AffinityRules,
    parameters: MigrationParameters,
    staying: Set[VmId] = frozenset(),
) -> Order:
    """Order moves so that each fits when its turn comes.

    Deterministic. Of the passes tried, the one that loses the least urgency wins, then the one
    that parks most cheaply.

    Parameters
    ----------
    start
        Occupancy of the cluster's placement; left as it is.
    moves
        Most urgent first.
    staying
        VMs of the target that were refused before; affinity counts them as staying.
    """
    if not moves:
        return Order(legs=(), cut_off={})
    parking = ParkingLot(cluster, moves, parameters)
    cut_off: dict[VmId, str] = {}
    never_parked: set[VmId] = set()
    restart = 0
    while True:
        left = [move for move in moves if move.vm.id not in cut_off]
        best = _best_attempt(start, left, parking, frozenset(never_parked))
        stranded = best.stuck.keys() & best.parked.keys()
        if stranded:
            never_parked |= stranded
            continue
        extra = affinity.closure(staying | cut_off.keys() | best.stuck.keys())
        torn = [m for m in left if m.vm.id not in best.stuck and m.vm.id in extra]
        if not torn:
            return Order(legs=tuple(best.legs), cut_off=cut_off | best.stuck)
        restart += 1
        for move in _least_urgent_group(left, torn, all_of_them=restart > MAX_RESTARTS):
            reason = best.stuck.get(move.vm.id) or extra.get(move.vm.id)
            if reason is not None:
                cut_off[move.vm.id] = reason


def _least_urgent_group(
    moves: Sequence[Move], torn: Sequence[Move], *, all_of_them: bool
) -> list[Move]:
    """Return the moves of the torn affinity group that costs least to cut off."""
    units = {move.unit for move in torn}
    if not all_of_them:
        lost: Counter[int] = Counter()
        for move in moves:
            lost[move.unit] += max(0, move.urgency)
        units = {min(units, key=lambda unit: (lost[unit], unit))}
    return [move for move in moves if move.unit in units]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Policy:
    """How one pass is made."""

    first: frozenset[VmId] = frozenset()
    """VMs that go before all others as soon as they can."""
    park_early: bool = False
    """Whether those are parked rather than kept waiting for others."""
    never_parked: frozenset[VmId] = frozenset()


def _best_attempt(
    start: Occupancy, moves: Sequence[Move], parking: ParkingLot, never_parked: frozenset[VmId]
) -> Attempt:
    """Return the best of a plain pass and, where that is not perfect, of some others.

    The others favour what got stuck or had to be parked, and park less.
    """

    def better(best: Attempt, policy: _Policy) -> Attempt:
        again = _Pass(start, moves, parking, policy).run()
        return min(best, again, key=lambda attempt: attempt.rank)

    best = _Pass(start, moves, parking, _Policy(never_parked=never_parked)).run()
    first = frozenset(best.stuck.keys() | best.parked.keys())
    if first:
        best = better(best, _Policy(first=first, never_parked=never_parked))
    if best.stuck:
        best = better(best, _Policy(first=first, park_early=True, never_parked=never_parked))
    if best.stuck and best.parked:
        best = better(best, _Policy(never_parked=never_parked | best.parked.keys()))
    if len(best.parked) <= MAX_UNPARKED:
        for vm_id in sorted(best.parked):
            best = better(best, _Policy(first=first, never_parked=never_parked | {vm_id}))
    return _with_knots_untied(start, moves, parking, best)


def _with_knots_untied(
    start: Occupancy, moves: Sequence[Move], parking: ParkingLot, best: Attempt
) -> Attempt:
    """Return the attempt with its small imperfect knots solved exactly, where that is better."""
    flawed = best.stuck.keys() | best.parked.keys()
    if not flawed:
        return best
    small = [knot for knot in knots(moves, start) if len(knot) <= MAX_MOVES]
    candidates = [knot for knot in small if any(move.vm.id in flawed for move in knot)]
    states_left = MAX_STATES
    for knot in candidates[:MAX_KNOTS]:
        ids = {move.vm.id for move in knot}
        rest = _without(best, moves, ids)
        budget = parking.budget_left(moves)
        for leg in rest.legs:
            if leg.parking:
                budget.spend(leg.destination)
        search = Exhaustive(start, knot, parking, budget, states_left)
        exact = search.run()
        states_left -= search.num_states
        if exact is None:
            break
        joined = Attempt(
            legs=exact.legs + rest.legs,
            parked=exact.parked | rest.parked,
            stuck=exact.stuck | rest.stuck,
            lost_urgency=exact.lost_urgency + rest.lost_urgency,
        )
        # The others may have been parked on hosts of the knot, which are fuller now.
        if joined.rank < best.rank and _fits_throughout(start, joined.legs):
            best = joined
    return best


def _without(attempt: Attempt, moves: Sequence[Move], ids: Set[VmId]) -> Attempt:
    """Return the part of an attempt that does not concern these VMs."""
    rest = Attempt(
        legs=[leg for leg in attempt.legs if leg.move.vm.id not in ids],
        parked={v: cost for v, cost in attempt.parked.items() if v not in ids},
    )
    for move in moves:
        if move.vm.id in attempt.stuck and move.vm.id not in ids:
            rest.fail(move, attempt.stuck[move.vm.id])
    return rest


def _fits_throughout(start: Occupancy, legs: Sequence[Leg]) -> bool:
    """Whether each leg fits once those before it are done."""
    state = start.copy()
    for leg in legs:
        if not state.admits(leg.move.vm, leg.destination):
            return False
        state.enter(leg.move.vm, leg.destination)
        if leg.source is not None:
            state.leave(leg.move.vm, leg.source)
    return True


class _Pass:
    """One pass: make what can be made, park what blocks, and see who is left."""

    def __init__(
        self, start: Occupancy, moves: Sequence[Move], parking: ParkingLot, policy: _Policy
    ) -> None:
        self._state = start.copy()
        self._parking = parking
        self._policy = policy
        self._budget = parking.budget_left(moves)
        self._attempt = Attempt()
        self._waiting: dict[VmId, Move] = {move.vm.id: move for move in moves}
        self._rank = {move.vm.id: i for i, move in enumerate(moves)}
        self._at: dict[VmId, int | None] = {move.vm.id: move.source for move in moves}
        self._incoming: dict[int, dict[VmId, Move]] = defaultdict(dict)
        self._demanded: dict[int, list[int]] = defaultdict(lambda: [0] * NUM_RESOURCES)
        for move in moves:
            self._incoming[move.destination][move.vm.id] = move
            self._demand(move, 1)
        self._parkable = sorted(
            (m for m in moves if m.source is not None and m.vm.id not in policy.never_parked),
            key=lambda m: (parking.least_cost(m.vm), self._rank[m.vm.id]),
        )
        self._smallest = parking.smallest_needs(self._state, self._parkable)
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
        load, allowed = self._state.load[host], self._state.allowed[host]
        return any(
            amount and load[r] + amount > allowed[r]
            for r, amount in enumerate(self._demanded[host])
        )

    def _in_the_way(self, vm: VM, host: int) -> bool:
        """Whether a VM parked on the host takes room that is going to be needed there."""
        if host not in self._demanded:
            return False
        load, allowed = self._state.load[host], self._state.allowed[host]
        demanded = self._demanded[host]
        return any(
            demanded[r] and load[r] + demanded[r] + amount > allowed[r]
            for r, amount in self._state.needs(vm, host)
        )

    def _push(self, move: Move) -> None:
        heapq.heappush(self._open, (self._key(move), move.vm.id))

    def _next(self) -> Move | None:
        """Return the best move that fits now."""
        while self._open:
            key, vm_id = heapq.heappop(self._open)
            move = self._waiting.get(vm_id)
            if move is None or not self._state.admits(move.vm, move.destination):
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
        self._state.enter(vm, leg.destination)
        self._at[vm.id] = leg.destination
        self._attempt.legs.append(leg)
        if leg.source is not None:
            self._state.leave(vm, leg.source)
            for waiting in self._incoming.get(leg.source, {}).values():
                self._push(waiting)
        for rule in self._state.apart_from(vm):
            for vm_id in self._state.members(rule):
                if vm_id in self._waiting:
                    self._push(self._waiting[vm_id])

    def _park(self, *, favoured_only: bool) -> bool:
        """Park the VM that is cheapest to park and in somebody's way; say whether there was one.

        VMs whose departure lets another one in at once come first; then those whose departure
        only makes the gap smaller.
        """
        self._parkable = [
            move
            for move in self._parkable
            if move.vm.id in self._waiting and move.vm.id not in self._attempt.parked
        ]
        hosts = self._parking.roomy(self._state, self._smallest)
        if not hosts:
            return False
        largest_room = self._state.largest_room(hosts)
        for at_once in (True, False):
            chosen: tuple[Spot, Move] | None = None
            for move in self._parkable:
                if chosen is not None and self._parking.least_cost(move.vm) >= chosen[0].cost:
                    break
                if favoured_only and move.vm.id not in self._policy.first:
                    continue
                if (
                    not self._blocked_behind(move)
                    or not self._parking.may_fit(self._state, move.vm, largest_room)
                    or (at_once and not self._lets_somebody_in(move))
                ):
                    continue
                spot = self._parking.best_spot(
                    self._state, move, hosts, self._budget, self._in_the_way
                )
                if spot is not None and (chosen is None or spot < chosen[0]):
                    chosen = spot, move
            if chosen is not None:
                self._send_to_park(chosen[1], chosen[0])
                return True
        return False

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
        self._state.leave(move.vm, move.source)
        admitted = any(
            self._state.admits(waiting.vm, move.source) for waiting in self._blocked_behind(move)
        )
        self._state.enter(move.vm, move.source)
        return admitted

    def _why_stuck(self, move: Move) -> str:
        obstacles = list(self._state.obstacles(move.vm, move.destination))
        return (
            f"it reaches host {self._parking.host_id(move.destination)!r} in no order found, "
            f"and parking does not help: {', '.join(obstacles)}"
        )
