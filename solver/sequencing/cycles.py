"""The order of moves: which can follow which, and what has to be parked on the way.

Time plays no part here: moves are made one after another in thought, which is the most room that
any schedule can have. Where moves wait for each other in a circle, one VM of it is moved twice: it
is parked on a host outside the circle or on another one of it, whichever is cheaper, and goes on
from there. Each VM is parked at most once, and VMs that the target leaves where they are stay: none
steps aside for others and back. Where no order is found, VMs are cut off.

Finding an order is NP-hard already without parking, so this is a search by rules with a few
restarts: moves that can hurt nobody first, then those that others wait for. Where that leaves
something to be desired in a small knot of moves, the knot is handed to ``exhaust``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass

from solver.domain.cluster import Cluster
from solver.domain.migration import MigrationParameters
from solver.domain.units import VmId
from solver.sequencing.admission import RestingRules
from solver.sequencing.attempt import Attempt, Pass, Policy
from solver.sequencing.exhaust import MAX_KNOTS, MAX_MOVES, MAX_STATES, Exhaustive, knots
from solver.sequencing.parking import ParkingLot
from solver.sequencing.state import Leg, Move, Occupancy

MAX_RESTARTS = 16
"""Restarts that cut off one affinity group each; after them all that are torn go at once."""

MAX_MOVES_TRIED = 20_000
"""Moves tried over all attempts, about two seconds; a larger plan gets one attempt."""

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
    resting: RestingRules,
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
        VMs of the target that were refused before; rules that bind at rest count them as staying.
    """
    if not moves:
        return Order(legs=(), cut_off={})
    attempts = _Attempts(start, ParkingLot(cluster, start, moves, parameters))
    cut_off: dict[VmId, str] = {}
    never_parked: set[VmId] = set()
    restart = 0
    while True:
        left = [move for move in moves if move.vm.id not in cut_off]
        best = attempts.best(left, frozenset(never_parked))
        stranded = best.stuck.keys() & best.parked.keys()
        if stranded:
            never_parked |= {m.vm.id for m in moves} if attempts.are_used_up else stranded
            continue
        extra = resting.closure(staying | cut_off.keys() | best.stuck.keys())
        torn = [m for m in left if m.vm.id not in best.stuck and m.vm.id in extra]
        if not torn:
            return Order(legs=tuple(best.legs), cut_off=cut_off | best.stuck)
        restart += 1
        all_of_them = restart > MAX_RESTARTS or attempts.are_used_up
        for move in _least_urgent_group(left, torn, all_of_them=all_of_them):
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


class _Attempts:
    """Attempts at one target, as many as a plan of its size may cost."""

    def __init__(self, start: Occupancy, parking: ParkingLot) -> None:
        self._start = start
        self._parking = parking
        self._moves_left = MAX_MOVES_TRIED

    @property
    def are_used_up(self) -> bool:
        """Whether no attempts beyond the necessary ones should be made."""
        return self._moves_left <= 0

    def best(self, moves: Sequence[Move], never_parked: frozenset[VmId]) -> Attempt:
        """Return the best of a plain attempt and, where that is not perfect, of some others.

        The others favour what got stuck or had to be parked, and park less.
        """

        def better(best: Attempt, policy: Policy) -> Attempt:
            if self._moves_left < len(moves):
                return best
            return min(best, self._make(moves, policy), key=lambda attempt: attempt.rank)

        best = self._make(moves, Policy(never_parked=never_parked))
        first = frozenset(best.stuck.keys() | best.parked.keys())
        if first:
            best = better(best, Policy(first=first, never_parked=never_parked))
        if best.stuck:
            best = better(best, Policy(first=first, park_early=True, never_parked=never_parked))
        if best.stuck and best.parked:
            best = better(best, Policy(never_parked=never_parked | best.parked.keys()))
        if len(best.parked) <= MAX_UNPARKED:
            for vm_id in sorted(best.parked):
                best = better(best, Policy(first=first, never_parked=never_parked | {vm_id}))
        return _with_knots_untied(self._start, moves, self._parking, best)

    def _make(self, moves: Sequence[Move], policy: Policy) -> Attempt:
        self._moves_left -= len(moves)
        return Pass(self._start, moves, self._parking, policy).run()


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
        if not state.admits(leg.move.vm, leg.source, leg.destination):
            return False
        state.begin(leg.move.vm, leg.source, leg.destination)
        if leg.source is not None:
            state.end(leg.move.vm, leg.source, leg.destination)
    return True
