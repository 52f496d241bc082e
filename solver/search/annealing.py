"""Simulated annealing over a compiled problem: worse is taken for a while, to get to better.

Three proposals, each looked at exactly and taken if it costs less than a random threshold that
falls with the temperature: a VM goes to another host; two VMs change places; a VM goes to a host
and another one leaves it for a third, most often for where it started. The last matters where room
is short: what left its start may still hold resources there, so a stranger that goes home makes
room twice. The two VMs are always alike in what they need: once a placement is good, others hardly
ever fit. What is refused is refused early: first what fits nowhere, then by loads, rules last.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from solver.problem import NOWHERE, IntArray, Problem
from solver.search.deltas import (
    FORBIDDEN,
    allowed,
    counts_change,
    fits,
    insertion_change,
    pair_counts,
    removal_change,
    swap_counts,
    trade_change,
    trade_fits,
)
from solver.search.facts import Facts
from solver.search.kin import kin_of
from solver.search.live import TOTAL, Live, migrates, relocate
from solver.search.native import inlined, inner, kernel
from solver.search.state import State

PROPOSALS_AT_ONCE: Final = 20_000
"""Proposals between two looks at the clock: some hundredths of a second."""

WORK_PER_PROPOSAL: Final = 3e-7
"""Deterministic seconds for one proposal; about what it takes on one core."""

HOTTEST: Final = 0.1
COLD: Final = 2e-3
FROZEN: Final = 1e-7
"""Temperatures at the start, when most of the limit is used, and at the end, as parts of what a
relocation costs or saves on average."""

FREEZING: Final = 0.95
"""The share of the limit at which it is cold, and freezes in the rest."""

SAMPLES: Final = 4096

SWAP: Final = 0.4
CHAIN: Final = 0.4
"""Shares of the proposals; the others are relocations."""

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

BEST: Final = 0
LOGGED: Final = 1
IMPROVED: Final = 2


def improve(
    problem: Problem,
    hosts: IntArray,
    *,
    limit_s: float,
    work_limit: float = math.inf,
    seed: int = 0,
    hottest: float = HOTTEST,
    homesick: float = HOMESICK,
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
    cancel
        Asked many times a second; once true, the best so far is returned.
    on_better
        Told placements and totals that are better than all before, at most some dozens a second.
    """
    begun_s = time.monotonic()
    state = State(problem, hosts)
    movable = np.flatnonzero((problem.num_choices() > 1) & (hosts != NOWHERE))
    if not movable.size:
        return hosts.copy()
    random = np.array([(2 * seed + 1) * 0x9E3779B97F4A7C15 % 2**64], dtype=np.uint64)
    most_saved = _most_saved(problem)
    kin = kin_of(problem, movable)
    tally = np.array([state.total, 0, 0], dtype=np.int64)
    log = np.empty((2 * PROPOSALS_AT_ONCE, 2), dtype=np.int64)
    best = hosts.copy()
    if not problem.held.any():
        homesick = 0.0
    scale = _scale(*state.for_kernels, movable, random, SAMPLES)
    work = 0.0
    while not cancel():
        used = (time.monotonic() - begun_s) / limit_s
        if used >= 1.0:
            break
        if math.isfinite(work_limit):
            used = work / work_limit
            if used >= 1.0:
                break
        temperature = scale * _heat(hottest, used)
        _anneal(
            *state.for_kernels,
            movable,
            kin,
            most_saved,
            random,
            temperature,
            int(homesick * temperature),
            PROPOSALS_AT_ONCE,
            log,
            tally,
        )
        work += PROPOSALS_AT_ONCE * WORK_PER_PROPOSAL
        if tally[IMPROVED]:
            best[:] = state.hosts
            for v, h in log[: tally[LOGGED]][::-1].tolist():
                best[v] = h
            on_better(best, int(tally[BEST]))
    return best


def _heat(hottest: float, used: float) -> float:
    """Return the temperature when a share of the limit is used; falls geometrically."""
    if used < FREEZING:
        return hottest * float((COLD / hottest) ** (used / FREEZING))
    return COLD * float((FROZEN / COLD) ** ((used - FREEZING) / (1.0 - FREEZING)))


def _most_saved(problem: Problem) -> IntArray:
    """Return, by VM, no less than what its relocation can save besides loads, shape ``(V,)``."""
    saved = np.full(problem.num_vms, problem.disruption_price, dtype=np.int64)
    for rule in problem.group_rules:
        if rule.price:
            saved[rule.vms] += 2 * rule.price
            saved[rule.others] += 2 * rule.price
    saved += problem.places.price_rows.max(axis=1, initial=0)[problem.places.price_class]
    return saved


@inlined
def _number(random: npt.NDArray[np.uint64]) -> np.uint64:
    """Return 32 random bits (xorshift64*)."""
    x = random[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    random[0] = x
    return (x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(32)


@inlined
def _below(random: npt.NDArray[np.uint64], bound: int) -> int:
    """Return a random number below a bound."""
    return int(np.int64((_number(random) * np.uint64(bound)) >> np.uint64(32)))


@inlined
def _unit(random: npt.NDArray[np.uint64]) -> float:
    """Return a random number between 0 and 1, neither included."""
    return (np.float64(_number(random)) + 0.5) * 2.0**-32


@kernel
def _scale(
    facts: Facts, live: Live, movable: IntArray, random: npt.NDArray[np.uint64], samples: int
) -> float:
    """Return what a relocation costs or saves on average, at least one."""
    total, count = 1.0, 1
    for _ in range(samples):
        v = movable[_below(random, len(movable))]
        h = _below(random, len(live.first))
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
    random: npt.NDArray[np.uint64],
    temperature: float,
    dearer_away: int,
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
    log
        Where VMs came from that have moved since the best placement, ``tally[LOGGED]`` rows.
    """
    tally[LOGGED] = 0
    tally[IMPROVED] = 0
    num_hosts = len(live.first)
    for _ in range(proposals):
        limit = int(-temperature * np.log(_unit(random)))
        at = _below(random, len(movable))
        v = movable[at]
        a = live.hosts[v]
        kind = _unit(random)
        if kind >= SWAP + CHAIN:
            h = facts.start[v]
            if h in (NOWHERE, a) or _unit(random) >= HOMEWARD_ALONE:
                h = _below(random, num_hosts)
            limit -= dearer_away * (migrates(facts, v, h) - migrates(facts, v, a))
            if h != a and _relocation(facts, live, most_saved, v, a, h, limit):
                _noted(facts, live, log, tally, v, h)
        else:
            w = kin[at, _below(random, kin.shape[1])]
            b = live.hosts[w]
            if a == b:
                continue
            c = a
            if kind >= SWAP:
                c = facts.start[w]
                if c in (NOWHERE, b) or _unit(random) >= HOMEWARD:
                    c = _below(random, num_hosts)
                if c == b:
                    continue
            limit -= dearer_away * (migrates(facts, v, b) - migrates(facts, v, a))
            limit -= dearer_away * (migrates(facts, w, c) - migrates(facts, w, b))
            if c == a:
                if _swap(facts, live, most_saved, v, w, a, b, limit):
                    _noted(facts, live, log, tally, v, b)
                    _noted(facts, live, log, tally, w, a)
            elif _chain(facts, live, most_saved, v, w, a, b, c, limit):
                _noted(facts, live, log, tally, w, c)
                _noted(facts, live, log, tally, v, b)
        if live.tally[TOTAL] < tally[BEST]:
            tally[BEST] = live.tally[TOTAL]
            tally[LOGGED] = 0
            tally[IMPROVED] = 1


@inner
def _noted(facts: Facts, live: Live, log: IntArray, tally: IntArray, v: int, h: int) -> None:
    """Relocate a VM and note where it came from."""
    _note(log, tally, v, live.hosts[v])
    relocate(facts, live, v, h)


@inlined
def _note(log: IntArray, tally: IntArray, v: int, h: int) -> None:
    log[tally[LOGGED], 0] = v
    log[tally[LOGGED], 1] = h
    tally[LOGGED] += 1


@inlined
def _least_price(facts: Facts, live: Live, most_saved: IntArray, v: int, h: int) -> int:
    """Return no more than what VM ``v`` going to host ``h`` costs, loads aside, from its link."""
    least = -most_saved[v] - live.paid[v]
    if migrates(facts, v, h):
        i, j = facts.link_class[facts.start[v]], facts.link_class[h]
        least += facts.by_rate[v, facts.rate_of[i, j]]
    return least


@inlined
def _most_relief(live: Live, h: int) -> int:
    """Return no less than what VMs leaving host ``h`` can save in load and excess."""
    return live.burden[h] + live.overfull[h]


@inner
def _relocation(
    facts: Facts, live: Live, most_saved: IntArray, v: int, a: int, h: int, limit: int
) -> bool:
    """Whether VM ``v`` may go from host ``a`` to host ``h`` at a cost within the limit."""
    if _least_price(facts, live, most_saved, v, h) - _most_relief(live, a) > limit:
        return False
    if not (allowed(facts, v, h) and fits(facts, live, v, h)):
        return False
    change = removal_change(facts, live, v, a) + insertion_change(facts, live, v, h)
    if change - most_saved[v] - live.paid[v] > limit:
        return False
    counts = counts_change(facts, live, v, a, h)
    return counts < FORBIDDEN and change + counts <= limit


@inner
def _swap(
    facts: Facts, live: Live, most_saved: IntArray, v: int, w: int, a: int, b: int, limit: int
) -> bool:
    """Whether two VMs may change places at a cost within the limit."""
    least = _least_price(facts, live, most_saved, v, b) - _most_relief(live, a)
    least += _least_price(facts, live, most_saved, w, a) - _most_relief(live, b)
    if least > limit:
        return False
    if not (allowed(facts, v, b) and allowed(facts, w, a)):
        return False
    if not (trade_fits(facts, live, v, w, b) and trade_fits(facts, live, w, v, a)):
        return False
    change = trade_change(facts, live, v, w, b) + trade_change(facts, live, w, v, a)
    saved = most_saved[v] + live.paid[v] + most_saved[w] + live.paid[w]
    if change - saved > limit:
        return False
    counts = swap_counts(facts, live, v, w, a, b)
    return counts < FORBIDDEN and change + counts <= limit


@inner
def _chain(
    facts: Facts,
    live: Live,
    most_saved: IntArray,
    v: int,
    w: int,
    a: int,
    b: int,
    c: int,
    limit: int,
) -> bool:
    """Whether VM ``w`` may go from host ``b`` to ``c`` and ``v`` from ``a`` to ``b``."""
    least = _least_price(facts, live, most_saved, v, b) - _most_relief(live, a)
    least += _least_price(facts, live, most_saved, w, c) - _most_relief(live, b)
    if least > limit:
        return False
    if not (allowed(facts, v, b) and allowed(facts, w, c)):
        return False
    if not (fits(facts, live, w, c) and trade_fits(facts, live, v, w, b)):
        return False
    change = (
        removal_change(facts, live, v, a)
        + trade_change(facts, live, v, w, b)
        + insertion_change(facts, live, w, c)
    )
    saved = most_saved[v] + live.paid[v] + most_saved[w] + live.paid[w]
    if change - saved > limit:
        return False
    counts = pair_counts(facts, live, v, a, b, w, b, c)
    return counts < FORBIDDEN and change + counts <= limit
