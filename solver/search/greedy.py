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
from solver.search.deltas import removal_change
from solver.search.destinations import (
    Rooms,
    best_host,
    best_host_together,
    glance_at,
    least_of_rest,
    rank_rooms,
    rooms_of,
)
from solver.search.facts import Facts
from solver.search.live import Live, relocate
from solver.search.native import inlined, inner, making, making_kernel, plain
from solver.search.state import State

TURNS_AT_ONCE: Final = 64
"""Hosts that are asked for a move between two looks at the clock."""

CLOCK: Final = 0
ROUND: Final = 1
WAITED: Final = 2


class Notes(NamedTuple):
    """What greedy remembers between moves.

    Parameters
    ----------
    changed
        When each host last changed, ``0`` for never; shape ``(H,)``.
    given_up
        When each host was last found to have no move that pays, ``-1`` for never; shape ``(H,)``.
    clock
        Moves made, when this round began, and when VMs that wait were last tried.
    waiting
        VMs to be started, the dearest to leave waiting first.
    clump_of
        Clump of each VM, ``-1`` for none.
    """

    changed: IntArray
    given_up: IntArray
    clock: IntArray
    waiting: IntArray
    clump_of: IntArray


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
    moved; until no such host has a move that is worth its cost. Of very many hosts alike in their
    links, only the roomiest are looked at, see ``destinations``. A host without a move is asked
    again only about destinations that have changed since. Deterministic; never worse than
    ``hosts``; keeps what ``problem`` allows if ``hosts`` does.

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
    rooms = rooms_of(state)
    while not out_of_time():
        if not _descend(*state.for_kernels, notes, rooms, threshold, TURNS_AT_ONCE):
            break
        rank_rooms(state, rooms)


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
    )


@making_kernel
def _descend(
    facts: Facts, live: Live, notes: Notes, rooms: Rooms, threshold: int, turns: int
) -> bool:
    """Ask up to so many hosts for a move, and make it; return whether there may be more."""
    clock = notes.clock
    broken = np.zeros(len(live.burden), dtype=np.int64)
    seen = np.zeros(len(live.burden), dtype=np.int64)
    everywhere = np.zeros(0, dtype=np.int64)
    for _ in range(turns):
        if clock[WAITED] < clock[ROUND]:
            # Whatever has moved since may have made room.
            clock[WAITED] = clock[ROUND]
            _start_waiting(facts, live, notes, rooms)
        source = _worst_source(facts, live, notes, threshold, broken, seen)
        if source == NOWHERE:
            if clock[CLOCK] == clock[ROUND]:
                return False
            # A host given up on may find room now that others were relieved.
            clock[ROUND] = clock[CLOCK]
            continue
        since = notes.given_up[source]
        asked = everywhere
        if since >= 0 and notes.changed[source] <= since:
            # Nothing here has changed: only what has elsewhere can make a difference.
            asked = _changed_since(notes, since)
            if not len(asked):
                notes.given_up[source] = clock[CLOCK]
                continue
        delta, v, h = _best_single(facts, live, rooms, asked, source)
        delta, clump, h = _best_together(facts, live, notes, rooms, asked, source, delta, h)
        if clump >= 0:
            for i in range(facts.clump_begin[clump], facts.clump_begin[clump + 1]):
                _move(facts, live, notes, rooms, facts.clump_vm[i], h)
        elif delta < 0:
            _move(facts, live, notes, rooms, v, h)
        else:
            notes.given_up[source] = clock[CLOCK]
    return True


@inner
def _move(facts: Facts, live: Live, notes: Notes, rooms: Rooms, v: int, h: int) -> None:
    notes.clock[CLOCK] += 1
    a = live.hosts[v]
    relocate(facts, live, v, h)
    notes.changed[h] = notes.clock[CLOCK]
    glance_at(facts, live, rooms, h)
    if a != NOWHERE:
        notes.changed[a] = notes.clock[CLOCK]
        glance_at(facts, live, rooms, a)


@making
def _changed_since(notes: Notes, since: int) -> IntArray:
    """Return the hosts that have changed after an instant."""
    return np.flatnonzero(notes.changed > since)


@making
def _start_waiting(facts: Facts, live: Live, notes: Notes, rooms: Rooms) -> None:
    """Start each VM that waits on its best host, if any pays."""
    nowhere = plain(NOWHERE)
    everywhere = np.zeros(0, dtype=np.int64)
    for v in notes.waiting:
        if live.hosts[v] != NOWHERE:
            continue
        clump = notes.clump_of[v]
        if clump >= 0 and _all_on(facts, live, clump, nowhere):
            delta, h = best_host_together(facts, live, rooms, everywhere, clump, nowhere, plain(0))
            if delta < 0:
                for i in range(facts.clump_begin[clump], facts.clump_begin[clump + 1]):
                    _move(facts, live, notes, rooms, facts.clump_vm[i], h)
                continue
        delta, h = best_host(facts, live, rooms, everywhere, v, nowhere, plain(0), plain(0))
        if delta < 0:
            _move(facts, live, notes, rooms, v, h)


@inner
def _worst_source(
    facts: Facts,
    live: Live,
    notes: Notes,
    threshold: int,
    broken: IntArray,
    seen: IntArray,
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
    facts: Facts, live: Live, rooms: Rooms, asked: IntArray, source: int
) -> tuple[int, int, int]:
    """Return the best delta of one VM leaving a host, the VM, and where it goes.

    VMs that leaving would relieve most come first: what they find spares most others a look.
    """
    count = live.num_on[source]
    vms = np.empty(count, dtype=np.int64)
    leaving = np.empty(count, dtype=np.int64)
    least = np.empty(count, dtype=np.int64)
    v = live.first[source]
    for i in range(count):
        vms[i] = v
        leaving[i] = removal_change(facts, live, v, source)
        least[i] = leaving[i] + least_of_rest(facts, live, v, source)
        v = live.following[v]
    best, leaver, where = plain(0), plain(-1), plain(NOWHERE)
    for i in np.argsort(least):
        # Of VMs that are equally good it is the first.
        most = best + 1 if vms[i] < leaver else best
        if least[i] >= most:
            continue
        delta, h = best_host(facts, live, rooms, asked, vms[i], source, leaving[i], most)
        if delta < most:
            best, leaver, where = delta, vms[i], h
    return best, leaver, where


@inlined
def _all_on(facts: Facts, live: Live, clump: int, h: int) -> bool:
    for i in range(facts.clump_begin[clump], facts.clump_begin[clump + 1]):
        if live.hosts[facts.clump_vm[i]] != h:
            return False
    return True


@making
def _best_together(
    facts: Facts,
    live: Live,
    notes: Notes,
    rooms: Rooms,
    asked: IntArray,
    source: int,
    best: int,
    where: int,
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
            # Of clumps that are equally good it is the first.
            most = best + 1 if clump < leaver else best
            delta, h = best_host_together(facts, live, rooms, asked, clump, source, most)
            if delta < most:
                best, leaver, where = delta, clump, h
    return best, leaver, where
