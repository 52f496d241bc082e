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
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from solver.problem import NOWHERE, IntArray, Problem
from solver.search.deltas import (
    FORBIDDEN,
    allowed,
    beyond_limits,
    fits,
    insertion_change,
    relocation_delta,
    removal_change,
    trade_change,
    trade_fits,
)
from solver.search.destinations import fit_together, try_together
from solver.search.draws import Draws, below, draws_of, unit
from solver.search.facts import Facts
from solver.search.live import TOTAL, Live, migrates, move_price, relocate
from solver.search.native import inlined, inner, kernel
from solver.search.proposals import (
    chain_within,
    most_relief,
    most_saved_of,
    relocation_within,
    swap_within,
)
from solver.search.record import LOGGED, Record, keep_best
from solver.search.state import State

PROPOSALS_AT_ONCE: Final = 20_000
"""Proposals between two looks at the clock: some hundredths of a second."""

WORK_PER_PROPOSAL: Final = 6e-7
"""Deterministic seconds for one proposal; about what it takes on one core."""

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


MOST_MOVES: Final = 3
"""Most VMs that a proposal moves, but for those that are tied together."""


RENEW: Final = 0.008
"""Share of proposals in which all is chosen anew that leaves a host; each takes as long as a
hundred others."""

MAKE_ROOM: Final = 0.5
"""How often one of these leaves for a host that then may have to be relieved itself."""

KEPT: Final = 0.5
"""Most of the VMs that left such a host that stay away, as a share of them."""

RIVALS: Final = 3
"""VMs of which the one leaves that relieves its host most for what its move costs."""

PLACES: Final = 16
"""Hosts drawn for it, of which it takes the best."""

FAILS: Final = 4
"""VMs in vain after which no more leave."""

MOST_STEPS: Final = 100
"""Most VMs that leave a host at once."""


class Asked(NamedTuple):
    """The VMs that are asked to move.

    Parameters
    ----------
    leaving
        Those on hosts that cost something at the start, and those to be started.
    movable
        All that run and may be elsewhere.
    home_begin, home_vm
        Movable VMs by the host they start on: ``home_vm[home_begin[h]:home_begin[h + 1]]``.
    clump_of
        Clump of each VM, ``-1`` for none, shape ``(V,)``.
    most_saved
        No less than what a VM's relocation can save besides loads, shape ``(V,)``.
    moves
        Room to write VMs down that move at once, with their hosts, shape ``(3, 2)``.
    """

    leaving: IntArray
    movable: IntArray
    home_begin: IntArray
    home_vm: IntArray
    clump_of: IntArray
    most_saved: IntArray
    moves: IntArray


class Away(NamedTuple):
    """The VMs that have migrated, kept so that one can be drawn.

    Parameters
    ----------
    vms
        The first ``number[0]`` of them.
    position
        Where each VM is among them, shape ``(V,)``.
    """

    vms: IntArray
    position: IntArray
    number: IntArray


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
    begun_s = time.monotonic()
    state = State(problem, hosts)
    asked = _asked(problem, hosts)
    if not asked.movable.size:
        return hosts.copy()
    away = _away(problem, hosts)
    random = draws_of(seed)
    longest = _longest(problem, asked)
    record = Record(hosts, state.total, 2 * PROPOSALS_AT_ONCE + longest)
    price = _price_of_a_move(state, asked, away)
    work = 0.0
    while not cancel():
        used = (time.monotonic() - begun_s) / limit_s
        if used < 1.0 and math.isfinite(work_limit):
            used = work / work_limit
        if used >= 1.0:
            break
        _anneal(
            *state.for_kernels,
            asked,
            away,
            random,
            price * hottest * (COLDEST / hottest) ** used,
            PROPOSALS_AT_ONCE,
            longest,
            record.log,
            record.tally,
        )
        work += PROPOSALS_AT_ONCE * WORK_PER_PROPOSAL
        if record.learn(state.hosts):
            on_better(record.best, record.total)
    return record.best


def _asked(problem: Problem, hosts: IntArray) -> Asked:
    begin = State(problem, problem.start)
    costly = begin.burden + begin.overfull > 0
    movable = np.flatnonzero((problem.num_choices() > 1) & (hosts != NOWHERE))
    start = problem.start[movable]
    leaving = movable[(start == NOWHERE) | costly[start]]
    at_home = movable[start != NOWHERE]
    by_home = at_home[np.argsort(problem.start[at_home], kind="stable")]
    clump_of = np.full(problem.num_vms, -1, dtype=np.int64)
    for i, clump in enumerate(problem.clumps):
        clump_of[list(clump)] = i
    return Asked(
        leaving=leaving if leaving.size else movable,
        movable=movable,
        home_begin=np.searchsorted(problem.start[by_home], np.arange(problem.num_hosts + 1)),
        home_vm=by_home,
        clump_of=clump_of,
        most_saved=most_saved_of(problem),
        moves=np.zeros((MOST_MOVES, 2), dtype=np.int64),
    )


def _longest(problem: Problem, asked: Asked) -> int:
    """Return how many moves a proposal makes at most, those that it takes back included."""
    tied = max(map(len, problem.clumps), default=0)
    # Of a host, all VMs go home, some leave, and all return; of another one likewise.
    return 2 * (2 * int(np.diff(asked.home_begin).max(initial=0)) + MOST_STEPS) + tied


def _away(problem: Problem, hosts: IntArray) -> Away:
    moved = np.flatnonzero((hosts != problem.start) & (problem.start != NOWHERE))
    away = Away(
        vms=np.zeros(problem.num_vms, dtype=np.int64),
        position=np.full(problem.num_vms, -1, dtype=np.int64),
        number=np.array([len(moved)], dtype=np.int64),
    )
    away.vms[: len(moved)] = moved
    away.position[moved] = np.arange(len(moved))
    return away


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
            _renew(facts, live, asked, away, random, limit, log, tally)
        elif kind < TRADE and away.number[0] > 0:
            if kind < REPLACE:
                _replace(facts, live, asked, away, random, limit, log, tally)
            elif kind < REPLACE_ELSEWHERE:
                _replace_elsewhere(facts, live, asked, away, random, limit, log, tally)
            else:
                v, w = _one_away(away, random), _one_away(away, random)
                _trade(facts, live, asked, away, v, w, limit, log, tally)
        elif kind < TWO_BY and away.number[0] > 0:
            if kind < BY_TWO:
                some = _by_two(facts, live, asked, away, random)
            else:
                some = _two_by(facts, live, asked, away, random)
            if some:
                _at_once(facts, live, asked, away, limit, log, tally)
        elif kind < PUSH and away.number[0] > 0:
            _push(facts, live, asked, away, random, limit, log, tally)
        else:
            _single(facts, live, asked, away, random, kind, limit, log, tally)
        keep_best(live, tally)


@inlined
def _one_of(vms: IntArray, random: Draws) -> int:
    return vms[below(random, len(vms))]


@inlined
def _one_away(away: Away, random: Draws) -> int:
    return away.vms[below(random, away.number[0])]


@inlined
def _one_of_home(asked: Asked, h: int, random: Draws) -> int:
    """Return a movable VM that starts on host ``h``; there is one."""
    begin, end = asked.home_begin[h], asked.home_begin[h + 1]
    return asked.home_vm[begin + below(random, end - begin)]


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
    w = _one_away(away, random)
    v = _one_of_home(asked, facts.start[w], random)
    if live.hosts[v] == facts.start[w]:
        _trade(facts, live, asked, away, v, w, limit, log, tally)


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
    w = _one_away(away, random)
    home, b = facts.start[w], live.hosts[w]
    v = _one_of_home(asked, home, random)
    c = below(random, len(live.first))
    if live.hosts[v] != home or c in (home, b):
        return
    if chain_within(facts, live, asked.most_saved, w, v, b, home, c, limit):
        _move(facts, live, away, log, tally, v, c)
        _move(facts, live, away, log, tally, w, home)


@inner
def _trade(
    facts: Facts,
    live: Live,
    asked: Asked,
    away: Away,
    v: int,
    w: int,
    limit: int,
    log: IntArray,
    tally: IntArray,
) -> None:
    """Two VMs change places."""
    a, b = live.hosts[v], live.hosts[w]
    if a != b and swap_within(facts, live, asked.most_saved, v, w, a, b, limit):
        _move(facts, live, away, log, tally, v, b)
        _move(facts, live, away, log, tally, w, a)


@inner
def _by_two(facts: Facts, live: Live, asked: Asked, away: Away, random: Draws) -> bool:
    """Write down that a VM goes home and two others from there leave; whether there are any."""
    moves, w = asked.moves, _one_away(away, random)
    other = _one_away(away, random)
    if live.paid[other] > live.paid[w]:
        # The dearer a move is, the more likely two others are cheaper.
        w = other
    home = facts.start[w]
    v, u = _one_of_home(asked, home, random), _one_of_home(asked, home, random)
    if u == v or live.hosts[v] != home or live.hosts[u] != home:
        return False
    moves[0, 0], moves[0, 1] = w, home
    moves[1, 0], moves[1, 1] = v, _vacated(live, w, random)
    moves[2, 0], moves[2, 1] = u, below(random, len(live.first))
    return True


@inner
def _two_by(facts: Facts, live: Live, asked: Asked, away: Away, random: Draws) -> bool:
    """Write down that two VMs go home and another one from there leaves; whether there are any."""
    moves, w = asked.moves, _one_away(away, random)
    home = facts.start[w]
    v, u = _one_of_home(asked, home, random), _one_of_home(asked, home, random)
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
def _at_once(
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
            _move(facts, live, away, log, tally, moves[i, 0], moves[i, 1])


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
            least += insertion_change(facts, live, v, h)
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
    v, w = _one_of(asked.leaving, random), _one_away(away, random)
    a, b = live.hosts[v], live.hosts[w]
    c = below(random, len(live.first))
    if b in (a, c):
        return
    if c == a:
        _trade(facts, live, asked, away, v, w, limit, log, tally)
    elif chain_within(facts, live, asked.most_saved, v, w, a, b, c, limit):
        _move(facts, live, away, log, tally, w, c)
        _move(facts, live, away, log, tally, v, b)


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
        v = _one_away(away, random)
        if unit(random) < HOMEWARD:
            h = facts.start[v]
    elif kind < LEAVE:
        v = _one_of(asked.leaving, random)
    else:
        v = _one_of(asked.movable, random)
    a, clump = live.hosts[v], asked.clump_of[v]
    if h == a:
        return
    if clump >= 0:
        _together(facts, live, asked, away, clump, a, h, limit, log, tally)
    elif relocation_within(facts, live, asked.most_saved, v, a, h, limit):
        _move(facts, live, away, log, tally, v, h)


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
            _move(facts, live, away, log, tally, v, h)


@inner
def _renew(
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
    home = facts.start[_one_away(away, random)]
    before, mark = live.tally[TOTAL], tally[LOGGED]
    kept = KEPT * unit(random)
    for i in range(asked.home_begin[home], asked.home_begin[home + 1]):
        v = asked.home_vm[i]
        some = live.hosts[v] != home and asked.clump_of[v] < 0 and unit(random) >= kept
        if some and relocation_delta(facts, live, v, home) < FORBIDDEN:
            _move(facts, live, away, log, tally, v, home)
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
            _put(facts, live, away, log[tally[LOGGED], 0], log[tally[LOGGED], 1])


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
    v, h = _best_to_leave(facts, live, asked, random, home, -1), below(random, len(live.first))
    if v < 0 or h == home or relocation_delta(facts, live, v, h) >= FORBIDDEN:
        return -1
    _move(facts, live, away, log, tally, v, h)
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
            _move(facts, live, away, log, tally, v, home)


@inner
def _best_to_leave(
    facts: Facts, live: Live, asked: Asked, random: Draws, h: int, spared: int
) -> int:
    """Return of a few VMs on a host the one that relieves it most for its price.

    Those that have come to it hardly cost more elsewhere. ``-1`` for none; never the VM spared.
    """
    best, worth = -1, 0.0
    for _ in range(RIVALS):
        v = live.first[h]
        for _ in range(below(random, live.num_on[h])):
            v = live.following[v]
        if v != spared and facts.movable[v] and asked.clump_of[v] < 0:
            relief = -removal_change(facts, live, v, h)
            mine = float(relief) / float(1 + max(0, facts.by_rate[v, 0] - live.paid[v]))
            if mine > worth:
                best, worth = v, mine
    return best


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
    v = _best_to_leave(facts, live, asked, random, a, spared)
    if v < 0:
        return False
    change, where = 0, -1
    for _ in range(PLACES):
        h = below(random, len(live.first))
        if h != a and move_price(facts, v, h) - live.paid[v] - live.burden[a] < change:
            delta = relocation_delta(facts, live, v, h)
            if delta < change:
                change, where = delta, h
    if where < 0:
        return False
    _move(facts, live, away, log, tally, v, where)
    return True


@inner
def _move(
    facts: Facts, live: Live, away: Away, log: IntArray, tally: IntArray, v: int, h: int
) -> None:
    """Relocate a VM, note it, and keep who is away."""
    log[tally[LOGGED], 0] = v
    log[tally[LOGGED], 1] = live.hosts[v]
    tally[LOGGED] += 1
    _put(facts, live, away, v, h)


@inner
def _put(facts: Facts, live: Live, away: Away, v: int, h: int) -> None:
    """Relocate a VM and keep who is away."""
    before, after = migrates(facts, v, live.hosts[v]), migrates(facts, v, h)
    relocate(facts, live, v, h)
    number, vms, position = away.number, away.vms, away.position
    if after > before:
        position[v] = number[0]
        vms[number[0]] = v
        number[0] += 1
    elif before > after:
        number[0] -= 1
        last = vms[number[0]]
        vms[position[v]] = last
        position[last] = position[v]
