"""The reference algorithm: the worst host gives away the VM whose move is worth most, repeatedly.

Decides VM by VM, single moves only: what only an exchange of VMs relieves is beyond it. It takes
milliseconds, needs no library but NumPy, and is the start that every other engine has to beat.
VMs that hard affinity holds together move as one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solver.problem import NOWHERE, Problem
from solver.search.state import State

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Relocation:
    """VMs that go to one host together, and what that changes in the total."""

    vms: tuple[int, ...]
    host: int
    delta: int


def greedy(
    problem: Problem,
    hosts: IntArray,
    *,
    threshold: int = 0,
    out_of_time: Callable[[], bool] = lambda: False,
) -> IntArray:
    """Return a placement reached by single moves, none of which can be bettered by another.

    From the hosts whose contention score exceeds the threshold, and those where something is
    broken, the worst is taken first; of all its VMs and all destinations the pair with the largest
    net gain is moved; until no such host has a move that is worth its cost. Deterministic; never
    worse than ``hosts``; keeps what ``problem`` allows if ``hosts`` does.

    Parameters
    ----------
    hosts
        Where to begin: host position of every VM, shape ``(V,)``; not changed.
    threshold
        Contention score in cost units up to which a host is left alone.
    out_of_time
        Asked before each move; once true, the placement reached is returned.
    """
    state = State(problem, hosts)
    descend(state, threshold=threshold, out_of_time=out_of_time)
    return state.hosts


def descend(
    state: State, *, threshold: int = 0, out_of_time: Callable[[], bool] = lambda: False
) -> None:
    """Move a state to where no single move from a host above the threshold saves anything."""
    hopeless: set[int] = set()
    moved_since_reset = False
    while not out_of_time():
        source = _worst_source(state, threshold, hopeless)
        if source is None:
            # A host given up on may have found room when another one was relieved.
            if not (hopeless and moved_since_reset):
                break
            hopeless.clear()
            moved_since_reset = False
            continue
        best = _best_relocation(state, source)
        if best is None:
            hopeless.add(source)
            continue
        for v in best.vms:
            state.apply(v, best.host)
        moved_since_reset = True


def _worst_source(state: State, threshold: int, hopeless: set[int]) -> int | None:
    """Return the host (or ``NOWHERE``) to take a VM from, ``None`` when all is well.

    What is broken counts with its price, so VMs that run nowhere and hosts to be emptied come
    before what is merely contended.
    """
    waiting = (state.hosts == NOWHERE) & (state.problem.num_choices() > 0)
    if NOWHERE not in hopeless and waiting.any():
        return NOWHERE
    broken = _broken_by_host(state)
    scores = state.scores
    worth = np.where((scores > threshold) | (broken > 0), scores + broken, -1)
    worth[[h for h in hopeless if h != NOWHERE]] = -1
    worst = int(worth.argmax())
    return worst if worth[worst] > 0 else None


def _broken_by_host(state: State) -> IntArray:
    """Return the price of broken rules, hard and soft, and of exceeded capacities per host."""
    problem = state.problem
    placed = np.flatnonzero(state.hosts != NOWHERE)
    broken = state.overfull.copy()
    places = problem.places
    np.add.at(
        broken,
        state.hosts[placed],
        places.price_rows[places.price_class[placed], state.hosts[placed]],
    )
    for rule, amount in zip(problem.group_rules, state.amounts, strict=True):
        if amount:
            where = state.hosts[rule.vms]
            broken[np.unique(where[where != NOWHERE])] += rule.price
    return broken


def _best_relocation(state: State, source: int) -> Relocation | None:
    """Return the move away from ``source`` that saves most, ``None`` when none saves."""
    best = _best_single(state, np.flatnonzero(state.hosts == source))
    for clump in state.problem.clumps:
        if all(state.hosts[v] == source for v in clump):
            together = _best_together(state, clump)
            if together is not None and (best is None or together.delta < best.delta):
                best = together
    return best


def _best_single(state: State, vms: IntArray) -> Relocation | None:
    movable = vms[state.problem.num_choices()[vms] > (state.hosts[vms] != NOWHERE)]
    if not movable.size:
        return None
    delta = state.relocations(movable)
    i, h = divmod(int(delta.argmin()), delta.shape[1])
    if delta[i, h] >= 0:
        return None
    return Relocation((int(movable[i]),), h, int(delta[i, h]))


def _best_together(state: State, clump: tuple[int, ...]) -> Relocation | None:
    """Return the best host for VMs that must stay together."""
    source = int(state.hosts[clump[0]])
    found = [
        Relocation(clump, h, state.what_if([(v, h) for v in clump]))
        for h in np.flatnonzero(state.problem.allowed_hosts(np.array(clump)).all(axis=0)).tolist()
        if h != source
    ]
    best = min(found, key=lambda relocation: relocation.delta, default=None)
    return best if best is not None and best.delta < 0 else None
