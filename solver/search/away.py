"""Who is asked to move for relief, and who has moved, to be drawn from by kernels."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from solver.problem import NOWHERE, IntArray, Problem
from solver.search.draws import Draws, below
from solver.search.facts import Facts
from solver.search.live import Live, migrates, relocate
from solver.search.native import inlined, inner
from solver.search.proposals import most_saved_of
from solver.search.record import note
from solver.search.state import State

MOST_MOVES: Final = 3
"""Most VMs that a proposal moves, but for those that are tied together."""


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


def asked_of(problem: Problem, hosts: IntArray) -> Asked:
    """Return who may move of those that run in a placement, shape ``(V,)``."""
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


def away_of(problem: Problem, hosts: IntArray) -> Away:
    """Return who has migrated in a placement, shape ``(V,)``."""
    runs = (hosts != NOWHERE) & (problem.start != NOWHERE)
    moved = np.flatnonzero(runs & (hosts != problem.start))
    away = Away(
        vms=np.zeros(problem.num_vms, dtype=np.int64),
        position=np.full(problem.num_vms, -1, dtype=np.int64),
        number=np.array([len(moved)], dtype=np.int64),
    )
    away.vms[: len(moved)] = moved
    away.position[moved] = np.arange(len(moved))
    return away


@inlined
def one_of(vms: IntArray, random: Draws) -> int:
    """Return one of some VMs."""
    return vms[below(random, len(vms))]


@inlined
def one_away(away: Away, random: Draws) -> int:
    """Return a VM that has migrated; there is one."""
    return away.vms[below(random, away.number[0])]


@inlined
def one_of_home(asked: Asked, h: int, random: Draws) -> int:
    """Return a movable VM that starts on host ``h``; there is one."""
    begin, end = asked.home_begin[h], asked.home_begin[h + 1]
    return asked.home_vm[begin + below(random, end - begin)]


@inner
def move(
    facts: Facts, live: Live, away: Away, log: IntArray, tally: IntArray, v: int, h: int
) -> None:
    """Relocate a VM, note it, and keep who is away."""
    note(live, log, tally, v)
    put(facts, live, away, v, h)


@inner
def put(facts: Facts, live: Live, away: Away, v: int, h: int) -> None:
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
