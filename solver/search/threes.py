"""Three VMs of one host at once: two leave for one that goes home, or one for two."""

from __future__ import annotations

import numpy as np

from solver.problem import IntArray
from solver.search.away import MOST_MOVES, Asked, Away, move, one_away, one_of_home
from solver.search.deltas import (
    allowed,
    beyond_limits,
    fits,
    insertion_up_to,
    trade_change,
    trade_fits,
)
from solver.search.draws import Draws, below, unit
from solver.search.facts import Facts
from solver.search.live import TOTAL, Live, move_price, relocate
from solver.search.native import inlined, inner
from solver.search.proposals import most_relief


@inner
def by_two(facts: Facts, live: Live, asked: Asked, away: Away, random: Draws) -> bool:
    """Write down that a VM goes home and two others from there leave; whether there are any."""
    moves, w = asked.moves, one_away(away, random)
    other = one_away(away, random)
    if live.paid[other] > live.paid[w]:
        # The dearer a move is, the more likely two others are cheaper.
        w = other
    home = facts.start[w]
    v, u = one_of_home(asked, home, random), one_of_home(asked, home, random)
    if u == v or live.hosts[v] != home or live.hosts[u] != home:
        return False
    moves[0, 0], moves[0, 1] = w, home
    moves[1, 0], moves[1, 1] = v, _vacated(live, w, random)
    moves[2, 0], moves[2, 1] = u, below(random, len(live.first))
    return True


@inner
def two_by(facts: Facts, live: Live, asked: Asked, away: Away, random: Draws) -> bool:
    """Write down that two VMs go home and another one from there leaves; whether there are any."""
    moves, w = asked.moves, one_away(away, random)
    home = facts.start[w]
    v, u = one_of_home(asked, home, random), one_of_home(asked, home, random)
    if live.hosts[v] != home:
        u, v = v, u
    if live.hosts[v] != home or live.hosts[u] == home or u == w:
        return False
    moves[0, 0], moves[0, 1] = w, home
    moves[1, 0], moves[1, 1] = u, home
    moves[2, 0], moves[2, 1] = v, _vacated(live, w, random)
    return True


@inlined
def _vacated(live: Live, w: int, random: Draws) -> int:
    """Return the host of VM ``w``, which is about to leave it, or as likely any host."""
    if unit(random) < 0.5:
        return live.hosts[w]
    return below(random, len(live.first))


@inner
def at_once(
    facts: Facts,
    live: Live,
    asked: Asked,
    away: Away,
    limit: int,
    log: IntArray,
    tally: IntArray,
) -> None:
    """Make the moves that are written down, or none: those that go home come first."""
    moves, before = asked.moves, live.tally[TOTAL]
    if not _hopeful(facts, live, asked, limit):
        return
    made, good = 0, True
    for i in range(len(moves)):
        v, h = moves[i, 0], moves[i, 1]
        good = live.hosts[v] != h and allowed(facts, v, h) and fits(facts, live, v, h)
        if not good:
            break
        moves[i, 1] = live.hosts[v]
        relocate(facts, live, v, h)
        made = i + 1
    good = good and live.tally[TOTAL] - before <= limit
    for i in range(made):
        v, a = moves[i, 0], moves[i, 1]
        good = good and not beyond_limits(facts, live, v, a, live.hosts[v])
    for i in range(made - 1, -1, -1):
        v, h = moves[i, 0], live.hosts[moves[i, 0]]
        relocate(facts, live, v, moves[i, 1])
        moves[i, 1] = h
    if good:
        for i in range(len(moves)):
            move(facts, live, away, log, tally, moves[i, 0], moves[i, 1])


@inner
def _hopeful(facts: Facts, live: Live, asked: Asked, limit: int) -> bool:
    """Whether the moves written down may cost no more than a limit: nearly always exact."""
    moves = asked.moves
    w, home = moves[0, 0], moves[0, 1]
    least = -most_relief(live, live.hosts[w]) - most_relief(live, home)
    for i in range(MOST_MOVES):
        v, h = moves[i, 0], moves[i, 1]
        least += move_price(facts, v, h) - live.paid[v] - asked.most_saved[v]
        if i > 0 and h == home:
            least -= most_relief(live, live.hosts[v])
    if least > limit:
        return False
    for i in range(1, MOST_MOVES):
        v, h = moves[i, 0], moves[i, 1]
        if h == home:
            continue
        if not allowed(facts, v, h):
            return False
        if h == live.hosts[w]:
            if not trade_fits(facts, live, v, w, h):
                return False
            least += most_relief(live, h) + trade_change(facts, live, v, w, h)
        else:
            if not fits(facts, live, v, h):
                return False
            least += insertion_up_to(facts, live, v, h, limit - least)
        if least > limit:
            return False
    least += live.burden[home] + _change_at_home(facts, live, moves, home)
    return least <= limit


@inlined
def _change_at_home(facts: Facts, live: Live, moves: IntArray, home: int) -> int:
    """Return the change of a host's burden when the first VM comes, and others come or go."""
    w, v, u = moves[0, 0], moves[1, 0], moves[2, 0]
    come_v, come_u = 2 * int(moves[1, 1] == home) - 1, 2 * int(moves[2, 1] == home) - 1
    change = 0
    for i in range(live.highest.shape[2]):
        peak = facts.peak[w, i]
        peak += max(0, come_v) * facts.peak[v, i] + max(0, come_u) * facts.peak[u, i]
        for b in range(len(facts.prices)):
            if live.highest[home, b, i] + peak <= 0 and live.highest[home, b, i] <= 0:
                break
            over, prices = live.over[home, b], facts.prices[b]
            one, other = int(facts.band[w] >= b), come_v * int(facts.band[v] >= b)
            third = come_u * int(facts.band[u] >= b)
            for c in range(np.uint64(facts.run_begin[i]), np.uint64(facts.run_begin[i + 1])):
                then = over[c] + one * facts.demand[w, c]
                then += other * facts.demand[v, c] + third * facts.demand[u, c]
                change += (max(0, then) - max(0, over[c])) * prices[c]
    return change
