"""Simulated annealing over a compiled problem: worse is taken for a while, to get to better.

Four proposals, each looked at exactly and taken if it costs less than a random threshold that
falls with the temperature: a VM goes to another host; two VMs change places; a VM goes to a host
and another one leaves it for a third, most often for where it started. The last matters where room
is short: what left its start may still hold resources there, so a stranger that goes home makes
room twice. These two VMs are alike in what they need: once a placement is good, others hardly ever
fit. Last, a VM that is away goes home, and one that is there makes room, most often by going where
it came from. The colder it gets, the more of the proposals are of this kind: loads are settled
then, and what is left to save is moves that were not needed.
What is refused is refused early: first what fits nowhere, then by loads, rules last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from solver.problem import NOWHERE, IntArray, Problem
from solver.search.deltas import insertion_change, removal_change
from solver.search.draws import Draws, below, draws_of, unit
from solver.search.effort import MOST_AT_ONCE, Effort, turns
from solver.search.facts import Facts
from solver.search.kin import kin_of
from solver.search.live import Live, migrates
from solver.search.native import kernel
from solver.search.proposals import (
    chain_within,
    most_saved_of,
    relocation_within,
    swap_within,
)
from solver.search.record import Record, keep_best, noted
from solver.search.state import State

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

HOMECOMING_SWAP: Final = 0.9
"""How often who makes room for who comes home goes where that came from."""

TRIES: Final = 4
"""Most VMs drawn to find one that is away."""

DEPTH: Final = 32
"""Most VMs of a host to choose from who makes room: those that came last, so most are away."""

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
        Share of the limit at which it is cold. The less, the longer for what differs least: for
        clusters of many thousand VMs that are all to be placed anew.
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
    """Return what a relocation costs or saves on average, at least one."""
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
    homecoming
        Share of the proposals that a VM goes home.
    log
        See ``Record``, and so ``tally``.
    """
    num_hosts = len(live.first)
    for _ in range(proposals):
        limit = int(-temperature * np.log(unit(random)))
        at = below(random, len(movable))
        goes_home = unit(random) < homecoming
        if goes_home:
            for _ in range(TRIES):
                if migrates(facts, movable[at], live.hosts[movable[at]]):
                    break
                at = below(random, len(movable))
        v = movable[at]
        a = live.hosts[v]
        kind = unit(random)
        if goes_home and migrates(facts, v, a) and live.first[facts.start[v]] >= 0:
            b = facts.start[v]
            w = live.first[b]
            for _ in range(below(random, min(live.num_on[b], DEPTH))):
                w = live.following[w]
            swaps = kind < HOMECOMING_SWAP
        elif kind < SWAP + CHAIN:
            w = kin[at, below(random, kin.shape[1])]
            b = live.hosts[w]
            if a == b:
                continue
            swaps = kind < SWAP
        else:
            h = facts.start[v]
            if h in (NOWHERE, a) or unit(random) >= HOMEWARD_ALONE:
                h = below(random, num_hosts)
            limit -= dearer_away * (migrates(facts, v, h) - migrates(facts, v, a))
            if h != a and relocation_within(facts, live, most_saved, v, a, h, limit):
                noted(facts, live, log, tally, v, h)
                keep_best(live, tally)
            continue
        c = a
        if not swaps:
            c = facts.start[w]
            if c in (NOWHERE, b) or unit(random) >= HOMEWARD:
                c = below(random, num_hosts)
            if c == b:
                continue
        limit -= dearer_away * (migrates(facts, v, b) - migrates(facts, v, a))
        limit -= dearer_away * (migrates(facts, w, c) - migrates(facts, w, b))
        if c == a:
            if swap_within(facts, live, most_saved, v, w, a, b, limit):
                noted(facts, live, log, tally, v, b)
                noted(facts, live, log, tally, w, a)
        elif chain_within(facts, live, most_saved, v, w, a, b, c, limit):
            noted(facts, live, log, tally, w, c)
            noted(facts, live, log, tally, v, b)
        keep_best(live, tally)
