"""The reference algorithm: the worst host gives away the VM whose move is worth most, repeatedly.

Decides VM by VM, single moves only: what only an exchange of VMs relieves is beyond it. It takes
milliseconds, and is the start that every other engine has to beat. VMs that hard affinity holds
together move as one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from solver.problem import NOWHERE, IntArray, Problem
from solver.search.deltas import (
    FORBIDDEN,
    allowed,
    beyond_limits,
    counts_change,
    fits,
    insertion_change,
    removal_change,
)
from solver.search.facts import Facts
from solver.search.live import (
    TOTAL,
    Live,
    link_price,
    move_price,
    place_price,
    relocate,
    rise_price,
    share_with,
)
from solver.search.native import inlined, inner, making, making_kernel, plain
from solver.search.state import State

MOVES_AT_ONCE: Final = 64
"""Moves between two looks at the clock."""

CLUMP_TRIALS: Final = 8
"""Hosts on which VMs that must stay together are tried, the most promising first."""

CLOCK: Final = 0
ROUND: Final = 1
WAITED: Final = 2


class Notes(NamedTuple):
    """What greedy remembers between moves.

    Parameters
    ----------
    changed
        When each host last changed, shape ``(H,)``.
    given_up
        When each host was last found to have no move that pays, ``-1`` for never; shape ``(H,)``.
    clock
        Moves made, when this round began, and when VMs that wait were last tried.
    waiting
        VMs to be started, the dearest to leave waiting first.
    clump_of
        Clump of each VM, ``-1`` for none.
    by_link
        Room for what the links of each class cost a VM.
    """

    changed: IntArray
    given_up: IntArray
    clock: IntArray
    waiting: IntArray
    clump_of: IntArray
    by_link: IntArray


def greedy(
    problem: Problem,
    hosts: IntArray,
    *,
    threshold: int = 0,
    out_of_time: Callable[[], bool] = lambda: False,
) -> IntArray:
    """Return a placement reached by single moves.

    VMs that wait are started first, the dearest to leave waiting before others. Then, from the
    hosts whose contention score exceeds the threshold, and those where something is broken, the
    worst is taken first; of all its VMs and all destinations the pair with the largest net gain is
    moved; until no such host has a move that is worth its cost. A host without one is asked again
    only about destinations that have changed since. Deterministic; never worse than ``hosts``;
    keeps what ``problem`` allows if ``hosts`` does.

    Parameters
    ----------
    hosts
        Where to begin: host position of every VM, shape ``(V,)``; not changed.
    threshold
        Contention score in cost units up to which a host is left alone.
    out_of_time
        Asked every few moves; once true, the placement reached is returned.
    """
    state = State(problem, hosts)
    descend(state, threshold=threshold, out_of_time=out_of_time)
    return state.hosts


def descend(
    state: State, *, threshold: int = 0, out_of_time: Callable[[], bool] = lambda: False
) -> None:
    """Move a state to where no single move from a host above the threshold saves anything."""
    notes = _notes_of(state)
    while not out_of_time():
        if not _descend(*state.for_kernels, notes, threshold, MOVES_AT_ONCE):
            break


def _notes_of(state: State) -> Notes:
    problem = state.problem
    clump_of = np.full(problem.num_vms, -1, dtype=np.int64)
    for i, clump in enumerate(problem.clumps):
        clump_of[list(clump)] = i
    waiting = np.flatnonzero((state.hosts == NOWHERE) & (problem.num_choices() > 0))
    largest = problem.reserved[0][waiting] / np.maximum(1, problem.capacity.max(axis=0))
    size = largest.max(axis=1, initial=0.0)
    order = np.lexsort((waiting, -size, -problem.nowhere_prices[waiting]))
    return Notes(
        changed=np.zeros(problem.num_hosts, dtype=np.int64),
        given_up=np.full(problem.num_hosts, -1, dtype=np.int64),
        clock=np.array([0, 0, -1], dtype=np.int64),
        waiting=np.ascontiguousarray(waiting[order]),
        clump_of=clump_of,
        by_link=np.zeros(len(problem.move_costs.rate_of), dtype=np.int64),
    )


@making_kernel
def _descend(facts: Facts, live: Live, notes: Notes, threshold: int, most_moves: int) -> bool:
    """Make up to so many moves; return whether there may be more."""
    clock = notes.clock
    end = clock[CLOCK] + most_moves
    broken = np.zeros(len(live.burden), dtype=np.int64)
    seen = np.zeros(len(live.burden), dtype=np.int64)
    while clock[CLOCK] < end:
        if clock[WAITED] < clock[ROUND]:
            # Whatever has moved since may have made room.
            clock[WAITED] = clock[ROUND]
            _start_waiting(facts, live, notes)
        source = _worst_source(facts, live, notes, threshold, broken, seen)
        if source == NOWHERE:
            if clock[CLOCK] == clock[ROUND]:
                return False
            # A host given up on may find room now that others were relieved.
            clock[ROUND] = clock[CLOCK]
            continue
        since = notes.given_up[source]
        if notes.changed[source] > since:
            since = -1
        delta, v, h = _best_single(facts, live, notes, source, since)
        delta, clump, h = _best_together(facts, live, notes, source, since, delta, h)
        if clump >= 0:
            for i in range(facts.clump_begin[clump], facts.clump_begin[clump + 1]):
                _move(facts, live, notes, facts.clump_vm[i], h)
        elif delta < 0:
            _move(facts, live, notes, v, h)
        else:
            notes.given_up[source] = clock[CLOCK]
    return True


@inner
def _move(facts: Facts, live: Live, notes: Notes, v: int, h: int) -> None:
    notes.clock[CLOCK] += 1
    if live.hosts[v] != NOWHERE:
        notes.changed[live.hosts[v]] = notes.clock[CLOCK]
    notes.changed[h] = notes.clock[CLOCK]
    relocate(facts, live, v, h)


@making
def _start_waiting(facts: Facts, live: Live, notes: Notes) -> None:
    """Start each VM that waits on its best host, if any pays."""
    nowhere, always = plain(NOWHERE), plain(-1)
    for v in notes.waiting:
        if live.hosts[v] != NOWHERE:
            continue
        clump = notes.clump_of[v]
        if clump >= 0 and _all_on(facts, live, clump, nowhere):
            delta, h = _best_host_together(facts, live, notes, clump, nowhere, always)
            if delta < 0:
                for i in range(facts.clump_begin[clump], facts.clump_begin[clump + 1]):
                    _move(facts, live, notes, facts.clump_vm[i], h)
                continue
        delta, h = _best_host(facts, live, notes, v, nowhere, always, plain(0))
        if delta < 0:
            _move(facts, live, notes, v, h)


@inner
def _worst_source(
    facts: Facts, live: Live, notes: Notes, threshold: int, broken: IntArray, seen: IntArray
) -> int:
    """Return the host to take a VM from, ``NOWHERE`` when all is well.

    What is broken counts with its price, so hosts to be emptied come before what is merely
    contended.

    Parameters
    ----------
    broken, seen
        Room to work in, zero before and after; shape ``(H,)``.
    """
    for rule in range(len(live.amounts)):
        if live.amounts[rule] > 0:
            for i in range(facts.rule_vm_begin[rule], facts.rule_vm_begin[rule + 1]):
                h = live.hosts[facts.rule_vm[i]]
                if h != NOWHERE and seen[h] != rule + 1:
                    seen[h] = rule + 1
                    broken[h] += facts.rule_price[rule]
    worst, most = NOWHERE, 0
    for h in range(len(live.burden)):
        wrong = broken[h] + live.overfull[h] + live.placing[h]
        broken[h] = 0
        seen[h] = 0
        score = live.burden[h] + live.burden_now[h]
        if notes.given_up[h] >= notes.clock[ROUND] or (score <= threshold and wrong == 0):
            continue
        if score + wrong > most:
            worst, most = h, score + wrong
    return worst


@making
def _best_single(
    facts: Facts, live: Live, notes: Notes, source: int, since: int
) -> tuple[int, int, int]:
    """Return the best delta of one VM leaving a host, the VM, and where it goes."""
    vms = np.empty(live.num_on[source], dtype=np.int64)
    v = live.first[source]
    for i in range(len(vms)):
        vms[i] = v
        v = live.following[v]
    for i in range(1, len(vms)):
        v, j = vms[i], i
        while j > 0 and vms[j - 1] > v:
            vms[j] = vms[j - 1]
            j -= 1
        vms[j] = v
    best, leaver, where = plain(0), plain(-1), plain(NOWHERE)
    for v in vms:
        delta, h = _best_host(facts, live, notes, v, source, since, best)
        if delta < best:
            best, leaver, where = delta, v, h
    return best, leaver, where


@inner
def _best_host(
    facts: Facts, live: Live, notes: Notes, v: int, source: int, since: int, best: int
) -> tuple[int, int]:
    """Return the best delta of one VM's relocation below ``best``, and its host.

    Only hosts that changed after ``since`` are asked. What cannot get below ``best`` even if load
    and rules were best is refused by the least that the move costs, before anything else is looked
    at: in a large cluster that is nearly every host.
    """
    where = NOWHERE
    if not facts.movable[v]:
        return best, where
    leaving = 0 if source == NOWHERE else removal_change(facts, live, v, source)
    least = leaving - live.paid[v] - place_price(facts, v, source)
    if live.paid[v] > 0:
        least -= facts.disruption_price
    for i in range(facts.vm_rule_begin[v], facts.vm_rule_begin[v + 1]):
        rule = facts.vm_rule[i]
        least -= facts.rule_price[rule] * min(live.amounts[rule], 2)
    home = facts.start[v]
    by_link = notes.by_link
    _price_links(facts, by_link, v)
    fills = facts.fill_price[v] > 0.0 and facts.load.shape[1] > 0
    for h in range(len(live.burden)):
        if h == source or notes.changed[h] <= since:
            continue
        price = place_price(facts, v, h)
        if home != NOWHERE and h != home:
            price += by_link[facts.link_class[h]]
            if fills:
                price += rise_price(facts, v, share_with(facts, v, h, facts.fullest[h]))
        if least + price >= best or not (allowed(facts, v, h) and fits(facts, live, v, h)):
            continue
        delta = counts_change(facts, live, v, source, h)
        if delta >= FORBIDDEN or leaving + delta >= best:
            continue
        delta += leaving + insertion_change(facts, live, v, h)
        if delta < best:
            best, where = delta, h
    return best, where


@inner
def _price_links(facts: Facts, by_link: IntArray, v: int) -> None:
    """Write down what the links cost VM ``v`` on its way to hosts of each class."""
    home = facts.start[v]
    if home != NOWHERE:
        i = facts.link_class[home]
        for j in range(len(by_link)):
            by_link[j] = link_price(facts, v, i, j)


@inlined
def _all_on(facts: Facts, live: Live, clump: int, h: int) -> bool:
    for i in range(facts.clump_begin[clump], facts.clump_begin[clump + 1]):
        if live.hosts[facts.clump_vm[i]] != h:
            return False
    return True


@making
def _best_together(
    facts: Facts, live: Live, notes: Notes, source: int, since: int, best: int, where: int
) -> tuple[int, int, int]:
    """Return the best delta of a clump leaving a host, the clump or -1, and where to go."""
    leaver = -1
    v = live.first[source]
    clumps = np.empty(live.num_on[source], dtype=np.int64)
    found = 0
    for _ in range(len(clumps)):
        clump = notes.clump_of[v]
        # Each clump once, by its first VM.
        if clump >= 0 and facts.clump_vm[facts.clump_begin[clump]] == v:
            clumps[found] = clump
            found += 1
        v = live.following[v]
    for i in range(found):
        clump = clumps[i]
        if _all_on(facts, live, clump, source):
            delta, h = _best_host_together(facts, live, notes, clump, source, since)
            if delta < best or (delta == best and leaver > clump):
                best, leaver, where = delta, clump, h
    return best, leaver, where


@making
def _best_host_together(
    facts: Facts, live: Live, notes: Notes, clump: int, source: int, since: int
) -> tuple[int, int]:
    """Return the best delta of a clump's relocation, and its host.

    Hosts are ranked by what the VMs would cost there one by one, and the first few are tried.
    """
    vms = facts.clump_vm[facts.clump_begin[clump] : facts.clump_begin[clump + 1]]
    rough = np.full(len(live.burden), FORBIDDEN, dtype=np.int64)
    for h in range(len(rough)):
        if h == source or notes.changed[h] <= since or not _fit_together(facts, live, vms, h):
            continue
        cost = 0
        for v in vms:
            cost += place_price(facts, v, h) + move_price(facts, v, h)
            cost += insertion_change(facts, live, v, h)
        rough[h] = cost
    best, where = 0, NOWHERE
    for _ in range(CLUMP_TRIALS):
        h = int(rough.argmin())
        if rough[h] >= FORBIDDEN:
            break
        rough[h] = FORBIDDEN
        delta = _try_together(facts, live, vms, source, h)
        if delta < best:
            best, where = delta, h
    return best, where


@inner
def _fit_together(facts: Facts, live: Live, vms: IntArray, h: int) -> bool:
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
def _try_together(facts: Facts, live: Live, vms: IntArray, source: int, h: int) -> int:
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
