"""Local search beyond single moves: two VMs change places, then single moves again.

Starts where greedy is stuck. Every step is checked exactly before it is taken, so the total only
falls. Deterministic; its work is counted in elements looked at, not in seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from solver.search.greedy import descend
from solver.search.state import State

WORK_PER_ELEMENT: Final = 8e-9
"""Deterministic seconds for one element of a comparison; about what it takes on one core."""

WORK_PER_PAIR: Final = 8e-4
"""Deterministic seconds for comparing two hosts at all."""

CHECKED: Final = 4
"""Exchanges per pair of hosts that are checked exactly; the rest are only estimated."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Two VMs that change places, and what that changes in the total."""

    first: int
    second: int
    delta: int


def improve_by_exchange(
    state: State, *, out_of_time: Callable[[], bool], spend: Callable[[float], None]
) -> None:
    """Move a state to where neither an exchange of two VMs nor a single move saves anything.

    Parameters
    ----------
    out_of_time
        Asked before each pair of hosts; once true, the state is left as it is.
    spend
        Told the work done, in deterministic seconds.
    """
    # What a pair of hosts has to offer holds until one of the two changes.
    known: dict[tuple[int, int], tuple[int, int, Exchange | None]] = {}
    while not out_of_time():
        descend(state, out_of_time=out_of_time)
        if not _exchange_all(state, known, out_of_time, spend):
            return


def _exchange_all(
    state: State,
    known: dict[tuple[int, int], tuple[int, int, Exchange | None]],
    out_of_time: Callable[[], bool],
    spend: Callable[[float], None],
) -> bool:
    """Take the best exchange of the worst host that has one, until none has; say if any did."""
    improved = False
    while True:
        scores = state.burden
        best: Exchange | None = None
        for a in np.argsort(-scores, kind="stable").tolist():
            for b in np.argsort(scores, kind="stable").tolist():
                if a == b:
                    continue
                if out_of_time():
                    break
                found = _between(state, min(a, b), max(a, b), known, spend)
                if found is not None and (best is None or found.delta < best.delta):
                    best = found
            if best is not None:
                break
        if best is None:
            return improved
        first, second = int(state.hosts[best.first]), int(state.hosts[best.second])
        state.apply(best.first, second)
        state.apply(best.second, first)
        improved = True


def _between(
    state: State,
    a: int,
    b: int,
    known: dict[tuple[int, int], tuple[int, int, Exchange | None]],
    spend: Callable[[float], None],
) -> Exchange | None:
    """Return the best exchange between two hosts, ``None`` when none saves."""
    versions = int(state.loads.version[a]), int(state.loads.version[b])
    seen = known.get((a, b))
    if seen is not None and seen[:2] == versions:
        return seen[2]
    effort = state.loads.effort
    best = _search_between(state, a, b)
    spend(WORK_PER_PAIR + (state.loads.effort - effort) * WORK_PER_ELEMENT)
    known[a, b] = (*versions, best)
    return best


def _search_between(state: State, a: int, b: int) -> Exchange | None:
    there = np.flatnonzero(state.hosts == a)
    here = np.flatnonzero(state.hosts == b)
    there, here = (
        there[state.problem.allowed_hosts(there)[:, b]],
        here[state.problem.allowed_hosts(here)[:, a]],
    )
    if not there.size or not here.size:
        return None
    estimates = state.exchanges(there, here)
    best: Exchange | None = None
    order = np.argsort(estimates, axis=None, kind="stable")[:CHECKED]
    for i, j in zip(*np.unravel_index(order, estimates.shape), strict=True):
        if estimates[i, j] >= (best.delta if best is not None else 0):
            break
        first, second = int(there[i]), int(here[j])
        delta = state.what_if([(first, b), (second, a)])
        if delta < (best.delta if best is not None else 0):
            best = Exchange(first, second, delta)
    return best
