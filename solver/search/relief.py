"""Simulated annealing over what relieves hosts: which VMs leave, and where they fit.

Most VMs of a cluster stay where they are, and what an answer costs is mostly its moves. So the
proposals are about the few that have moved, and those beside them at their starts: one of these
leaves in place of one that goes home; two that have moved trade places; one that has moved goes
elsewhere or home; one more leaves. VMs that hard affinity ties together move together.

The temperature is a part of what a move costs: hot enough at first that some more VMs are away than
need be, so that the least set is not the one that greedy began with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from solver.problem import IntArray, Problem
from solver.search.away import (
    Asked,
    Away,
    asked_of,
    away_of,
    move,
    one_away,
    one_of,
    one_of_home,
)
from solver.search.destinations import fit_together, try_together
from solver.search.draws import Draws, below, draws_of, unit
from solver.search.effort import MOST_AT_ONCE, Effort, turns
from solver.search.facts import Facts
from solver.search.live import Live, move_price
from solver.search.native import inner, kernel
from solver.search.record import LOGGED, Record, keep_best
from solver.search.renewal import longest_of, renew
from solver.search.state import State
from solver.search.taking import take_exchange, take_relocation
from solver.search.threes import at_once, by_two, two_by

EFFORT: Final = Effort(proposal=6e-7, column=1.5e-9)

HOTTEST: Final = 1.5
COLDEST: Final = 0.004
"""Temperatures at first and at last, as parts of what a move costs."""

REPLACE: Final = 0.22
"""Share of proposals in which a VM goes home and another leaves for where it was."""

REPLACE_ELSEWHERE: Final = 0.34
"""Up to here, the other one leaves for any host. Shares add up from one to the next."""

TRADE: Final = 0.44
"""Up to here, two VMs that have moved trade places."""

BY_TWO: Final = 0.56
"""Up to here, a VM goes home, and two others leave."""

TWO_BY: Final = 0.66
"""Up to here, two VMs that come from the same host go home, and another one leaves."""

PUSH: Final = 0.72
"""Up to here, a VM leaves for where another one is that has moved, and that one goes elsewhere."""

ELSEWHERE: Final = 0.90
"""Up to here, a VM that has moved goes to any host, or home."""

LEAVE: Final = 0.98
"""Up to here, a VM of a host that was to be relieved goes anywhere; beyond, any VM does."""

HOMEWARD: Final = 0.3
"""How often a VM that has moved and is to go elsewhere goes home."""

RENEW: Final = 0.008
"""Share of proposals in which all is chosen anew that leaves a host; each takes as long as a
hundred others."""


def relieve(
    problem: Problem,
    hosts: IntArray,
    *,
    limit_s: float,
    work_limit: float = math.inf,
    seed: int = 0,
    hottest: float = HOTTEST,
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
        First temperature, as a part of what a move costs.
    cancel
        Asked many times a second; once true, the best so far is returned.
    on_better
        Told placements and totals that are better than all before, at most some dozens a second.
    """
    limited = turns(EFFORT.of(problem), limit_s=limit_s, work_limit=work_limit, cancel=cancel)
    state = State(problem, hosts)
    asked = asked_of(problem, hosts)
    if not asked.movable.size:
        return hosts.copy()
    away = away_of(problem, hosts)
    random = draws_of(seed)
    longest = longest_of(problem, asked)
    record = Record(hosts, state.total, 2 * MOST_AT_ONCE + longest)
    price = _price_of_a_move(state, asked, away)
    for turn in limited:
        _anneal(
            *state.for_kernels,
            asked,
            away,
            random,
            price * hottest * (COLDEST / hottest) ** turn.used,
            turn.proposals,
            longest,
            record.log,
            record.tally,
        )
        if record.learn(state.hosts):
            on_better(record.best, record.total)
    return record.best


def _price_of_a_move(state: State, asked: Asked, away: Away) -> float:
    """Return what a move costs, in the middle of those made, or of those that may be made."""
    moved = away.vms[: away.number[0]]
    prices = state.live.paid[moved]
    if not len(moved):
        prices = state.problem.move_costs.by_rate[asked.leaving].min(axis=1, initial=2**62)
    return max(1.0, float(np.median(prices)))


@kernel
def _anneal(
    facts: Facts,
    live: Live,
    asked: Asked,
    away: Away,
    random: Draws,
    temperature: float,
    proposals: int,
    longest: int,
    log: IntArray,
    tally: IntArray,
) -> None:
    """Make so many proposals, or fewer if the log is full.

    Parameters
    ----------
    longest
        Most moves of one proposal.
    log, tally
        See ``Record``.
    """
    for _ in range(proposals):
        if tally[LOGGED] + longest >= len(log):
            break
        limit = int(-temperature * np.log(unit(random)))
        kind = unit(random)
        if away.number[0] > 0 and unit(random) < RENEW:
            renew(facts, live, asked, away, random, limit, log, tally)
        elif kind < TRADE and away.number[0] > 0:
            if kind < REPLACE:
                _replace(facts, live, asked, away, random, limit, log, tally)
            elif kind < REPLACE_ELSEWHERE:
                _replace_elsewhere(facts, live, asked, away, random, limit, log, tally)
            else:
                v, w = one_away(away, random), one_away(away, random)
                a = live.hosts[v]
                take_exchange(facts, live, asked.most_saved, away, v, w, a, limit, log, tally)
        elif kind < TWO_BY and away.number[0] > 0:
            if kind < BY_TWO:
                some = by_two(facts, live, asked, away, random)
            else:
                some = two_by(facts, live, asked, away, random)
            if some:
                at_once(facts, live, asked, away, limit, log, tally)
        elif kind < PUSH and away.number[0] > 0:
            _push(facts, live, asked, away, random, limit, log, tally)
        else:
            _single(facts, live, asked, away, random, kind, limit, log, tally)
        keep_best(live, tally)


@inner
def _replace(
    facts: Facts,
    live: Live,
    asked: Asked,
    away: Away,
    random: Draws,
    limit: int,
    log: IntArray,
    tally: IntArray,
) -> None:
    """A VM goes home, and another one that is at home there leaves for where it was."""
    w = one_away(away, random)
    v = one_of_home(asked, facts.start[w], random)
    a = live.hosts[v]
    if a == facts.start[w]:
        take_exchange(facts, live, asked.most_saved, away, v, w, a, limit, log, tally)


@inner
def _replace_elsewhere(
    facts: Facts,
    live: Live,
    asked: Asked,
    away: Away,
    random: Draws,
    limit: int,
    log: IntArray,
    tally: IntArray,
) -> None:
    """A VM goes home, and another one that is at home there leaves for any host."""
    w = one_away(away, random)
    v = one_of_home(asked, facts.start[w], random)
    c = below(random, len(live.first))
    if live.hosts[v] == facts.start[w] and c != live.hosts[w]:
        take_exchange(facts, live, asked.most_saved, away, w, v, c, limit, log, tally)


@inner
def _push(
    facts: Facts,
    live: Live,
    asked: Asked,
    away: Away,
    random: Draws,
    limit: int,
    log: IntArray,
    tally: IntArray,
) -> None:
    """A VM leaves for where another one is that has moved, and that one goes to any host."""
    v, w = one_of(asked.leaving, random), one_away(away, random)
    c = below(random, len(live.first))
    take_exchange(facts, live, asked.most_saved, away, v, w, c, limit, log, tally)


@inner
def _single(
    facts: Facts,
    live: Live,
    asked: Asked,
    away: Away,
    random: Draws,
    kind: float,
    limit: int,
    log: IntArray,
    tally: IntArray,
) -> None:
    """One VM, or those tied to it, goes to a host or home."""
    h = below(random, len(live.first))
    if kind < ELSEWHERE and away.number[0] > 0:
        v = one_away(away, random)
        if unit(random) < HOMEWARD:
            h = facts.start[v]
    elif kind < LEAVE:
        v = one_of(asked.leaving, random)
    else:
        v = one_of(asked.movable, random)
    a, clump = live.hosts[v], asked.clump_of[v]
    if h == a:
        return
    if clump >= 0:
        _together(facts, live, asked, away, clump, a, h, limit, log, tally)
    else:
        take_relocation(facts, live, asked.most_saved, away, v, h, limit, log, tally)


@inner
def _together(
    facts: Facts,
    live: Live,
    asked: Asked,
    away: Away,
    clump: int,
    a: int,
    h: int,
    limit: int,
    log: IntArray,
    tally: IntArray,
) -> None:
    """VMs that are tied together go from one host to another, those of them that are there."""
    vms = facts.clump_vm[facts.clump_begin[clump] : facts.clump_begin[clump + 1]]
    least = -live.burden[a] - live.overfull[a]
    for v in vms:
        if live.hosts[v] != a:
            return
        least += move_price(facts, v, h) - live.paid[v] - asked.most_saved[v]
    if least > limit or not fit_together(facts, live, vms, h):
        return
    if try_together(facts, live, vms, a, h) <= limit:
        for v in vms:
            move(facts, live, away, log, tally, v, h)
