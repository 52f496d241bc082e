"""All that leaves a host, chosen anew at once.

What relieves a host at least cost may be one large VM or five small ones, and a host may have to
give VMs away before it can take a large one. No chain of changes of one or two VMs leads there:
each costs more than what it begins with. So most of what left goes home, others leave one by one
as long as that pays, what is no longer needed returns, and then it is judged what came of it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from solver.problem import IntArray, Problem
from solver.search.away import Asked, Away, move, one_away, put
from solver.search.deltas import FORBIDDEN, relocation_delta, removal_change
from solver.search.destinations import better_of
from solver.search.draws import Draws, below, unit
from solver.search.facts import Facts
from solver.search.live import TOTAL, Live, move_price
from solver.search.native import inner
from solver.search.record import LOGGED

MAKE_ROOM: Final = 0.5
"""How often a VM leaves first for any host, which then may have to be relieved itself."""

KEPT: Final = 0.5
"""Most of the VMs that left a host that stay away, as a share of them."""

RIVALS: Final = 3
"""VMs of which the one leaves that relieves its host most for what its move costs."""

PLACES: Final = 16
"""Hosts drawn for it, of which it takes the best."""

FAILS: Final = 4
"""VMs in vain after which no more leave."""

MOST_STEPS: Final = 100
"""Most VMs that leave a host at once."""


def longest_of(problem: Problem, asked: Asked) -> int:
    """Return how many moves a proposal makes at most, those that it takes back included."""
    tied = max(map(len, problem.clumps), default=0)
    # Of a host, all VMs go home, some leave, and all return; of another one likewise.
    return 2 * (2 * int(np.diff(asked.home_begin).max(initial=0)) + MOST_STEPS) + tied


@inner
def renew(
    facts: Facts,
    live: Live,
    asked: Asked,
    away: Away,
    random: Draws,
    limit: int,
    log: IntArray,
    tally: IntArray,
) -> None:
    """Choose anew which VMs leave a host: most of those that left go home, others leave instead."""
    home = facts.start[one_away(away, random)]
    before, mark = live.tally[TOTAL], tally[LOGGED]
    kept = KEPT * unit(random)
    for i in range(asked.home_begin[home], asked.home_begin[home + 1]):
        v = asked.home_vm[i]
        some = live.hosts[v] != home and asked.clump_of[v] < 0 and unit(random) >= kept
        if some and relocation_delta(facts, live, v, home) < FORBIDDEN:
            move(facts, live, away, log, tally, v, home)
    forced = -1
    if unit(random) < MAKE_ROOM:
        forced = _forced(facts, live, asked, away, random, home, log, tally)
    _leave(facts, live, asked, away, random, home, forced, log, tally)
    if forced >= 0:
        other = live.hosts[forced]
        _leave(facts, live, asked, away, random, other, forced, log, tally)
        _return(facts, live, asked, away, other, log, tally)
    _return(facts, live, asked, away, home, log, tally)
    if live.tally[TOTAL] - before > limit:
        while tally[LOGGED] > mark:
            tally[LOGGED] -= 1
            put(facts, live, away, log[tally[LOGGED], 0], log[tally[LOGGED], 1])


@inner
def _forced(
    facts: Facts,
    live: Live,
    asked: Asked,
    away: Away,
    random: Draws,
    home: int,
    log: IntArray,
    tally: IntArray,
) -> int:
    """Let a VM leave for any host, which may become short by it; that VM, ``-1`` for none."""
    if live.num_on[home] == 0:
        return -1
    v, _ = _best_to_leave(facts, live, asked, random, home, -1)
    h = below(random, len(live.first))
    if v < 0 or h == home or relocation_delta(facts, live, v, h) >= FORBIDDEN:
        return -1
    move(facts, live, away, log, tally, v, h)
    return v


@inner
def _leave(
    facts: Facts,
    live: Live,
    asked: Asked,
    away: Away,
    random: Draws,
    h: int,
    spared: int,
    log: IntArray,
    tally: IntArray,
) -> None:
    """Let VMs leave a host, all but one, as long as that pays."""
    fails, most = 0, tally[LOGGED] + MOST_STEPS
    while fails < FAILS and tally[LOGGED] < most and live.num_on[h] > 0:
        if not _one_leaves(facts, live, asked, away, random, h, spared, log, tally):
            fails += 1


@inner
def _return(
    facts: Facts, live: Live, asked: Asked, away: Away, home: int, log: IntArray, tally: IntArray
) -> None:
    """Let those that left a host, and are no longer needed to have left, go home."""
    for i in range(asked.home_begin[home], asked.home_begin[home + 1]):
        v = asked.home_vm[i]
        if live.hosts[v] != home and relocation_delta(facts, live, v, home) < 0:
            move(facts, live, away, log, tally, v, home)


@inner
def _best_to_leave(
    facts: Facts, live: Live, asked: Asked, random: Draws, h: int, spared: int
) -> tuple[int, int]:
    """Return of a few VMs on a host the one that relieves it most for its price, and by how much.

    Those that have come to it hardly cost more elsewhere. ``-1`` for none; never the VM spared.
    """
    best, most, worth = -1, 0, 0.0
    for _ in range(RIVALS):
        v = live.first[h]
        for _ in range(below(random, live.num_on[h])):
            v = live.following[v]
        if v != spared and facts.movable[v] and asked.clump_of[v] < 0:
            relief = -removal_change(facts, live, v, h)
            mine = float(relief) / float(1 + max(0, facts.by_rate[v, 0] - live.paid[v]))
            if mine > worth:
                best, most, worth = v, relief, mine
    return best, most


@inner
def _one_leaves(
    facts: Facts,
    live: Live,
    asked: Asked,
    away: Away,
    random: Draws,
    a: int,
    spared: int,
    log: IntArray,
    tally: IntArray,
) -> bool:
    """Let a VM leave that relieves its host for little, for the best of some hosts; if it pays."""
    v, relief = _best_to_leave(facts, live, asked, random, a, spared)
    if v < 0:
        return False
    change, where = 0, -1
    least = -relief - live.paid[v] - asked.most_saved[v]
    for _ in range(PLACES):
        h = below(random, len(live.first))
        if h != a:
            price = least + move_price(facts, v, h)
            change, where = better_of(facts, live, v, a, h, -relief, price, change, where)
    if where < 0:
        return False
    move(facts, live, away, log, tally, v, where)
    return True
