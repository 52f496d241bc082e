"""Where a VM, or VMs that must stay together, would best go, without asking every host.

Hosts are walked by classes of links, the nearest class first, in each the roomiest first. A class
is left as soon as what the move there costs leaves nothing to be won, or when many hosts in a row
brought nothing better; most others are passed at a glance, see ``Rooms``. Among up to ``PATIENCE``
hosts of a class the answer is exact, but for what is ``SLIGHT``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from solver.problem import NOWHERE, FloatArray, IntArray
from solver.search.deltas import (
    FORBIDDEN,
    allowed,
    beyond_limits,
    counts_change,
    fits,
    insertion_up_to,
    may_enter,
    removal_change,
)
from solver.search.facts import Facts, facts_of
from solver.search.live import (
    DEPENDENCE,
    OCCUPANCY,
    TOTAL,
    Live,
    link_price,
    move_price,
    place_price,
    relocate,
)
from solver.search.native import inlined, inner, kernel, making
from solver.search.state import State

PATIENCE: Final = 128
"""Hosts in a row that bring nothing better before the rest of their class is left alone."""

PIECE: Final = 8
"""Most columns that are taken together at a glance."""

SLIGHT: Final = 1e-9
"""Share of a cost below which no host is looked for that is better by it."""

CLUMP_TRIALS: Final = 8
"""Hosts on which VMs that must stay together are tried, the most promising first."""


class Rooms(NamedTuple):
    """How much room hosts have, in short.

    Parameters
    ----------
    roomiest
        Hosts by class of links, in each those first that had most room when this was written.
    class_begin
        Where the hosts of each class begin in ``roomiest``, and the end of the last.
    piece_begin
        Where pieces begin: few columns in a row under one threshold; and the end of the last.
    glance
        Two numbers for each piece of a host, in the lowest band: what load and threshold are apart,
        priced and added; and of that what is above. The first plus a VM's demand is what the second
        is at least once the VM is there, shortfall being convex. Shape ``(2, H + 1, pieces)``; the
        last row is room to work in.
    """

    roomiest: IntArray
    class_begin: IntArray
    piece_begin: IntArray
    glance: FloatArray


def rooms_of(state: State) -> Rooms:
    """Return how much room the hosts of a state have."""
    link_class = state.problem.move_costs.link_class
    piece_begin = _pieces(facts_of(state.problem))
    rooms = Rooms(
        roomiest=np.zeros_like(link_class),
        class_begin=np.searchsorted(
            np.sort(link_class), np.arange(len(state.problem.move_costs.rate_of) + 1)
        ),
        piece_begin=piece_begin,
        glance=np.zeros((2, len(link_class) + 1, len(piece_begin) - 1)),
    )
    _look(*state.for_kernels, rooms)
    rank_rooms(state, rooms)
    return rooms


def rank_rooms(state: State, rooms: Rooms) -> None:
    """Put the hosts of each class that have most room now first."""
    facts = facts_of(state.problem)
    threshold = np.maximum(1, facts.threshold[:, facts.run_begin[:-1]])
    fill = (state.live.highest[:, 0] / threshold).max(axis=1, initial=-1.0)
    rooms.roomiest[:] = np.lexsort((fill, facts.link_class))


def _pieces(facts: Facts) -> IntArray:
    columns = facts.threshold.shape[1]
    begins = [0]
    for c in range(1, columns):
        alike = bool((facts.threshold[:, c] == facts.threshold[:, c - 1]).all())
        if not alike or c - begins[-1] == PIECE:
            begins.append(c)
    return np.array([*begins, columns] if columns else [0], dtype=np.int64)


@kernel
def _look(facts: Facts, live: Live, rooms: Rooms) -> None:
    """Write down how all hosts are loaded, see ``Rooms``."""
    for h in range(len(live.burden)):
        glance_at(facts, live, rooms, h)


@inner
def best_host(
    facts: Facts,
    live: Live,
    rooms: Rooms,
    asked: IntArray,
    v: int,
    source: int,
    leaving: int,
    best: int,
) -> tuple[int, int]:
    """Return the best delta of one VM's relocation below ``best``, and its host or ``NOWHERE``.

    Of hosts that are equally good it is a near one with much room.

    Parameters
    ----------
    asked
        Hosts that are asked, if not all are; empty for all.
    leaving
        What the VM leaving its host changes there.
    """
    where = NOWHERE
    if not facts.movable[v]:
        return best, where
    least = leaving + least_of_rest(facts, live, v, source)
    floor = least + facts.least_price[facts.price_class[v]]
    if floor >= best:
        return best, where
    _weigh_demand(facts, rooms, v, 0.0)
    for h in asked:
        if h != source and floor + _least_insertion(facts, rooms, h) < best:
            best, where = better_of(facts, live, v, source, h, leaving, least, best, where)
    if len(asked):
        return best, where
    home = facts.start[v]
    own = -1
    if home != NOWHERE:
        own = facts.link_class[home]
        if home != source:
            best, where = better_of(facts, live, v, source, home, leaving, least, best, where)
    most = _patience(facts, live, v, source)
    # Near hosts first: they are the cheapest, and what is found there spares looking elsewhere.
    for turn in range(-1, len(facts.rate_of)):
        j = own if turn < 0 else turn
        if j < 0 or (turn >= 0 and j == own):
            continue
        price = floor if home == NOWHERE else floor + link_price(facts, v, own, j)
        patience = most
        for i in range(rooms.class_begin[j], rooms.class_begin[j + 1]):
            if price >= best or patience == 0:
                break
            h = rooms.roomiest[i]
            if h in (source, home) or not may_enter(facts, live, v, h):
                continue
            patience -= 1
            if price + _least_insertion(facts, rooms, h) < best:
                before = best
                best, where = better_of(facts, live, v, source, h, leaving, least, best, where)
                if best < before:
                    patience = most
    return best, where


@inlined
def _patience(facts: Facts, live: Live, v: int, source: int) -> int:
    """Return on how many hosts of a class VM ``v`` is tried in vain.

    On all of them to mend what is broken, and where rules want hosts on which others are: that may
    be a single host, and not a roomy one.
    """
    if place_price(facts, v, source) > facts.least_price[facts.price_class[v]]:
        return len(live.burden)
    for i in range(facts.vm_rule_begin[v], facts.vm_rule_begin[v + 1]):
        rule = facts.vm_rule[i]
        if live.amounts[rule] > 0 or facts.rule_count[rule] in (OCCUPANCY, DEPENDENCE):
            return len(live.burden)
    return PATIENCE


@kernel
def glance_at(facts: Facts, live: Live, rooms: Rooms, h: int) -> None:
    """Write down how a host is loaded, see ``Rooms``."""
    for i in range(rooms.glance.shape[2]):
        apart, above = 0.0, 0.0
        for c in range(rooms.piece_begin[i], rooms.piece_begin[i + 1]):
            priced = float(live.over[h, 0, c]) * float(facts.prices[0, c])
            apart += priced
            above += max(0.0, priced)
        rooms.glance[0, h, i] = apart
        rooms.glance[1, h, i] = above


@inlined
def _weigh_demand(facts: Facts, rooms: Rooms, v: int, others: float) -> None:
    """Write down what a VM needs, priced, in the last row of the glance.

    Parameters
    ----------
    others
        1 to add to what is written there, 0 to begin anew.
    """
    for i in range(rooms.glance.shape[2]):
        priced = others * rooms.glance[0, -1, i]
        for c in range(rooms.piece_begin[i], rooms.piece_begin[i + 1]):
            priced += float(facts.demand[v, c]) * float(facts.prices[0, c])
        rooms.glance[0, -1, i] = priced


@inlined
def _least_insertion(facts: Facts, rooms: Rooms, h: int) -> int:
    """Return what the VMs whose demand was weighed last cost at least on host ``h``."""
    if facts.signed:
        return 0
    apart, above, demand = rooms.glance[0, h], rooms.glance[1, h], rooms.glance[0, -1]
    least = 0.0
    for i in range(len(apart)):
        least += max(0.0, apart[i] + demand[i] - above[i])
    return int(least * (1.0 + SLIGHT))


@inlined
def least_of_rest(facts: Facts, live: Live, v: int, source: int) -> int:
    """Return a change that VM ``v`` leaving a host is not below, besides that of the loads there.

    The VM's next place and the move there come on top.
    """
    least = -live.paid[v] - place_price(facts, v, source)
    if live.paid[v] > 0:
        least -= facts.disruption_price
    for i in range(facts.vm_rule_begin[v], facts.vm_rule_begin[v + 1]):
        rule = facts.vm_rule[i]
        least -= facts.rule_price[rule] * min(live.amounts[rule], 2)
    return least


@inner
def better_of(
    facts: Facts,
    live: Live,
    v: int,
    source: int,
    h: int,
    leaving: int,
    least: int,
    best: int,
    where: int,
) -> tuple[int, int]:
    """Return the better of what is known and of VM ``v`` going to host ``h``.

    What the move costs is looked at before what it would do to the host.

    Parameters
    ----------
    leaving
        What the VM leaving its host ``source`` changes there.
    least
        No more than the change, but for the price of the place.
    """
    if least + place_price(facts, v, h) >= best:
        return best, where
    if not (allowed(facts, v, h) and fits(facts, live, v, h)):
        return best, where
    delta = counts_change(facts, live, v, source, h)
    if delta >= FORBIDDEN or leaving + delta >= best:
        return best, where
    delta += leaving
    delta += insertion_up_to(facts, live, v, h, best - delta)
    if delta >= best:
        return best, where
    return delta, h


@making
def best_host_together(
    facts: Facts, live: Live, rooms: Rooms, asked: IntArray, clump: int, source: int, best: int
) -> tuple[int, int]:
    """Return the best delta of a clump's relocation below ``best``, and its host or ``NOWHERE``.

    Hosts are ranked by what the VMs would cost there one by one, and the first few are tried. A
    host that cannot be better even if leaving relieved as much as all VMs alone do, is not.

    Parameters
    ----------
    asked
        Hosts that are asked, if not all are; empty for all.
    """
    vms = facts.clump_vm[facts.clump_begin[clump] : facts.clump_begin[clump + 1]]
    least = _least_together(facts, live, vms, source)
    if least >= best:
        return best, NOWHERE
    for i in range(len(vms)):
        _weigh_demand(facts, rooms, vms[i], float(min(i, 1)))
    costs = np.full(CLUMP_TRIALS, FORBIDDEN, dtype=np.int64)
    hosts = np.full(CLUMP_TRIALS, NOWHERE, dtype=np.int64)
    if len(asked):
        for h in asked:
            some = h != source and least + _least_insertion(facts, rooms, h) < best
            if some and fit_together(facts, live, vms, h):
                _rank(facts, live, vms, h, costs, hosts)
    else:
        _rank_all(facts, live, rooms, vms, source, best - least, costs, hosts)
    where = NOWHERE
    for i in range(len(hosts)):
        h = hosts[i]
        if h == NOWHERE:
            break
        if least + costs[i] >= best and not facts.may_be_overfull[h]:
            continue
        delta = try_together(facts, live, vms, source, h)
        if delta < best:
            best, where = delta, h
    return best, where


@inner
def _least_together(facts: Facts, live: Live, vms: IntArray, source: int) -> int:
    """Return a change that VMs leaving a host together is not below.

    Shortfall is convex: what they relieve together is at most the sum of what each relieves alone.
    """
    if source == NOWHERE or facts.signed or live.overfull[source] > 0:
        return -(FORBIDDEN >> 1)
    least = 0
    for v in vms:
        least += removal_change(facts, live, v, source) + least_of_rest(facts, live, v, source)
    return least


@inner
def _rank_all(
    facts: Facts,
    live: Live,
    rooms: Rooms,
    vms: IntArray,
    source: int,
    most: int,
    costs: IntArray,
    hosts: IntArray,
) -> None:
    """Rank all hosts that may be among the first, and where going costs less than ``most``."""
    last = len(costs) - 1
    for i in range(len(vms)):
        home = facts.start[vms[i]]
        known = home in (NOWHERE, source) or _starts_on(facts, vms[:i], home)
        if not known and fit_together(facts, live, vms, home):
            _rank(facts, live, vms, home, costs, hosts)
    longest = PATIENCE
    for v in vms:
        longest = max(longest, _patience(facts, live, v, source))
    own = -1 if source == NOWHERE else facts.link_class[source]
    for turn in range(-1, len(facts.rate_of)):
        j = own if turn < 0 else turn
        if j < 0 or (turn >= 0 and j == own):
            continue
        price = 0
        for v in vms:
            price += facts.least_price[facts.price_class[v]]
            if facts.start[v] != NOWHERE:
                price += link_price(facts, v, facts.link_class[facts.start[v]], j)
        patience = longest
        for i in range(rooms.class_begin[j], rooms.class_begin[j + 1]):
            if price >= costs[last] or price >= most or patience == 0:
                break
            h = rooms.roomiest[i]
            if h != source and not _starts_on(facts, vms, h) and fit_together(facts, live, vms, h):
                patience -= 1
                if price + _least_insertion(facts, rooms, h) >= most:
                    continue
                if _rank(facts, live, vms, h, costs, hosts):
                    patience = longest


@inlined
def _starts_on(facts: Facts, vms: IntArray, h: int) -> bool:
    found = False
    for v in vms:
        found = found or facts.start[v] == h
    return found


@inner
def _rank(
    facts: Facts, live: Live, vms: IntArray, h: int, costs: IntArray, hosts: IntArray
) -> bool:
    """Write host ``h`` down where it belongs among the cheapest, if it does; say so."""
    last = len(costs) - 1
    cost = 0
    for v in vms:
        cost += place_price(facts, v, h) + move_price(facts, v, h)
    if cost >= costs[last]:
        return False
    for v in vms:
        cost += insertion_up_to(facts, live, v, h, costs[last] - cost)
    if cost >= costs[last]:
        return False
    i = last
    while i > 0 and costs[i - 1] > cost:
        costs[i] = costs[i - 1]
        hosts[i] = hosts[i - 1]
        i -= 1
    costs[i] = cost
    hosts[i] = h
    return True


@inner
def fit_together(facts: Facts, live: Live, vms: IntArray, h: int) -> bool:
    """Whether places and capacities allow VMs to come to host ``h`` together."""
    for v in vms:
        if not allowed(facts, v, h):
            return False
    for r in range(live.used.shape[1]):
        used = live.used[h, r]
        for v in vms:
            if not (facts.held[r] and facts.start[v] == h):
                used += facts.reserved[facts.host_class[h], v, r]
        if used > facts.reserved_limit[h, r]:
            return False
    return True


@inner
def try_together(facts: Facts, live: Live, vms: IntArray, source: int, h: int) -> int:
    """Relocate VMs, look, and put them back."""
    before = live.tally[TOTAL]
    for v in vms:
        relocate(facts, live, v, h)
    delta = live.tally[TOTAL] - before
    for v in vms:
        if beyond_limits(facts, live, v, source, h):
            delta = FORBIDDEN
    for v in vms[::-1]:
        relocate(facts, live, v, source)
    return delta
