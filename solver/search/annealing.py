"""Simulated annealing over a compiled problem: worse is taken for a while, to get to better.

Four proposals, each looked at exactly and taken if it costs less than a random threshold that
falls with the temperature: a VM goes to another host; two VMs change places; a VM goes to a host
and another one leaves it for a third, most often for where it started; a VM that is away goes home,
and one that is there, away itself if there is one, makes room by going where the first comes from.

The third matters where room is short: what left its start may still hold resources there, so a
stranger that goes home makes room twice. VMs of the second and the third are alike in what they
need: once a placement is good, others hardly ever fit. The fourth is made more often the colder it
gets: loads are settled then, and what is left to save is moves that were not needed.

What is refused is refused early: first what fits nowhere, then by loads, rules last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from solver.problem import NOWHERE, IntArray, Problem
from solver.search.away import Away, away_of, one_away
from solver.search.deltas import insertion_change, removal_change
from solver.search.draws import Draws, below, draws_of, unit
from solver.search.effort import MOST_AT_ONCE, Effort, turns
from solver.search.facts import Facts
from solver.search.kin import kin_of
from solver.search.live import Live, migrates
from solver.search.native import inner, kernel
from solver.search.proposals import most_saved_of
from solver.search.record import Record, keep_best
from solver.search.state import State
from solver.search.taking import take_exchange, take_relocation

EFFORT: Final = Effort(proposal=2e-7, column=2e-10)

HOTTEST: Final = 0.1
COLD: Final = 2e-3
FROZEN: Final = 1e-7
"""Temperatures at the start, when most of the limit is used, and at the end, as parts of what a
relocation costs or saves on average."""

FREEZING: Final = 0.8
"""The share of the limit at which it is cold, and freezes in the rest: what differs least between
placements is decided last, and on large clusters that is most of what is left."""

HOMECOMING: Final = 0.6
"""The share of proposals to go home once it is cold; it rises from none at the start, evenly."""

HOME_ALONE: Final = 0.15
"""How often nobody makes room for who goes home."""

HOME_SWAP: Final = 0.9
"""How often who makes room goes where that one comes from."""

DEPTH: Final = 32
"""Most VMs of a host that are passed over, and then looked at, to find one that is away itself."""

SAMPLES: Final = 4096

SWAP: Final = 0.4
CHAIN: Final = 0.4
"""Shares of the proposals not to go home; the others are relocations."""

HOMEWARD: Final = 0.95
"""How often the second VM of a chain goes to where it started."""

HOMEWARD_ALONE: Final = 0.3
"""How often a relocation is homeward."""

HOMESICK: Final = 4.0
"""How dear it is to be away from the start, see ``improve``.

There are as many ways to be away as there are hosts, so while it is hot nearly all VMs would be
away, and each holds room twice: none is left for the large ones, which then stay where they are.
Near the logarithm of the number of hosts the two balance; as it gets cold, the bias vanishes.
"""


def improve(
    problem: Problem,
    hosts: IntArray,
    *,
    limit_s: float,
    work_limit: float = math.inf,
    seed: int = 0,
    hottest: float = HOTTEST,
    homesick: float = HOMESICK,
    freezing: float = FREEZING,
    cancel: Callable[[], bool] = lambda: False,
    on_better: Callable[[IntArray, int], None] = lambda _hosts, _total: None,
) -> IntArray:
    """Return the best placement found, never worse than the one it starts from.

    The temperature falls with the share of the limit that is used: of work if there is a limit of
    work, so that the answer depends on it and the seed alone; of time otherwise.

    Parameters
    ----------
    hosts
        Host of every VM to start from, shape ``(V,)``; VMs that run nowhere are left alone.
    limit_s
        Wall seconds from now.
    work_limit
        Deterministic seconds.
    hottest
        First temperature, as a part of what a relocation costs or saves on average. The default
        keeps much of a good start; with 1, the start hardly matters.
    homesick
        How many temperatures a VM away from its start counts as dearer, if it holds room there too:
        the more, the fewer VMs move, and the more room is left for large ones.
    freezing
        Share of the limit that is used when it is cold, above 0 and at most 1. The less, the more
        time for what differs least: for many thousand VMs that are all to be placed anew.
    cancel
        Asked many times a second; once true, the best so far is returned.
    on_better
        Told placements and totals that are better than all before, at most some dozens a second.
    """
    limited = turns(EFFORT.of(problem), limit_s=limit_s, work_limit=work_limit, cancel=cancel)
    state = State(problem, hosts)
    movable = np.flatnonzero((problem.num_choices() > 1) & (hosts != NOWHERE))
    if not movable.size:
        return hosts.copy()
    random = draws_of(seed)
    most_saved = most_saved_of(problem)
    kin = kin_of(problem, movable)
    away = away_of(problem, hosts)
    record = Record(hosts, state.total, 2 * MOST_AT_ONCE)
    if not problem.held.any():
        homesick = 0.0
    scale = _scale(*state.for_kernels, movable, random, SAMPLES)
    for turn in limited:
        temperature = scale * _heat(hottest, freezing, turn.used)
        _anneal(
            *state.for_kernels,
            movable,
            kin,
            most_saved,
            away,
            random,
            temperature,
            int(homesick * temperature),
            HOMECOMING * min(1.0, turn.used / freezing),
            turn.proposals,
            record.log,
            record.tally,
        )
        if record.learn(state.hosts):
            on_better(record.best, record.total)
    return record.best


def _heat(hottest: float, freezing: float, used: float) -> float:
    """Return the temperature when a share of the limit is used; falls geometrically."""
    if used < freezing:
        return hottest * float((COLD / hottest) ** (used / freezing))
    return COLD * float((FROZEN / COLD) ** ((used - freezing) / (1.0 - freezing)))


@kernel
def _scale(facts: Facts, live: Live, movable: IntArray, random: Draws, samples: int) -> float:
    """Return what a relocation costs or saves on average, more than nothing."""
    total, count = 1.0, 1
    for _ in range(samples):
        v = movable[below(random, len(movable))]
        h = below(random, len(live.first))
        total += abs(removal_change(facts, live, v, live.hosts[v]))
        total += abs(insertion_change(facts, live, v, h))
        count += 2
    return total / count


@kernel
def _anneal(
    facts: Facts,
    live: Live,
    movable: IntArray,
    kin: IntArray,
    most_saved: IntArray,
    away: Away,
    random: Draws,
    temperature: float,
    dearer_away: int,
    homecoming: float,
    proposals: int,
    log: IntArray,
    tally: IntArray,
) -> None:
    """Make so many proposals.

    Parameters
    ----------
    movable, kin
        VMs to propose, shape ``(n,)``, and those each may change places with, shape ``(n, k)``.
    dearer_away
        What a VM away from its start is thought to cost more.
    away
        See ``Away``.
    homecoming
        Share of the proposals, if any VM is away, that one goes home.
    log
        See ``Record``, and so ``tally``.
    """
    num_hosts = len(live.first)
    for _ in range(proposals):
        limit = int(-temperature * np.log(unit(random)))
        kind = unit(random)
        goes_home = away.number[0] > 0 and unit(random) < homecoming
        if goes_home:
            v = one_away(away, random)
            h, alone = facts.start[v], kind >= 1.0 - HOME_ALONE
        else:
            at = below(random, len(movable))
            v, h, alone = movable[at], NOWHERE, kind >= SWAP + CHAIN
        a = live.hosts[v]
        if alone:
            if not goes_home:
                h = facts.start[v]
                if h in (NOWHERE, a) or unit(random) >= HOMEWARD_ALONE:
                    h = below(random, num_hosts)
            limit -= dearer_away * (migrates(facts, v, h) - migrates(facts, v, a))
            take_relocation(facts, live, most_saved, away, v, h, limit, log, tally)
            keep_best(live, tally)
            continue
        if goes_home:
            w = _who_makes_room(facts, live, random, h)
            swaps = kind < HOME_SWAP * (1.0 - HOME_ALONE)
        else:
            w = kin[at, below(random, kin.shape[1])]
            swaps = kind < SWAP
        if w < 0 or live.hosts[w] == a:
            continue
        b, c = live.hosts[w], a
        if not swaps:
            c = facts.start[w]
            if c in (NOWHERE, b) or unit(random) >= HOMEWARD:
                c = below(random, num_hosts)
            if c == b:
                continue
        limit -= dearer_away * (migrates(facts, v, b) - migrates(facts, v, a))
        limit -= dearer_away * (migrates(facts, w, c) - migrates(facts, w, b))
        take_exchange(facts, live, most_saved, away, v, w, c, limit, log, tally)
        keep_best(live, tally)


@inner
def _who_makes_room(facts: Facts, live: Live, random: Draws, h: int) -> int:
    """Return a VM of a host, one that is away if there is one near a random place in its list.

    Nobody, -1, if the host is empty.
    """
    w = live.first[h]
    if w < 0:
        return -1
    for _ in range(below(random, min(live.num_on[h], DEPTH))):
        w = live.following[w]
    for _ in range(DEPTH):
        if migrates(facts, w, h) or live.following[w] < 0:
            break
        w = live.following[w]
    return int(w)
