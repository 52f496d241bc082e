"""Local search beyond single moves: two VMs change places, then single moves again.

Starts where greedy is stuck. Every step is checked exactly before it is taken, so the total only
falls. Deterministic; its work is counted in exchanges looked at, not in seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from solver.problem import NOWHERE
from solver.search.deltas import swap_delta
from solver.search.effort import Effort
from solver.search.facts import Facts, facts_of
from solver.search.greedy import descend
from solver.search.live import Live
from solver.search.native import kernel
from solver.search.state import State

EFFORT: Final = Effort(proposal=2e-7, column=1e-9)
"""For one exchange looked at."""


def improve_by_exchange(
    state: State, *, out_of_time: Callable[[], bool], spend: Callable[[float], None]
) -> None:
    """Move a state to where neither an exchange of two VMs nor a single move saves anything.

    Parameters
    ----------
    out_of_time
        Asked before each VM; once true, the state is left as it is.
    spend
        Told the work done, in deterministic seconds.
    """
    while not out_of_time():
        descend(state, out_of_time=out_of_time)
        if not _exchange_all(state, out_of_time, spend):
            return


def _exchange_all(
    state: State, out_of_time: Callable[[], bool], spend: Callable[[float], None]
) -> bool:
    """Take the best exchange of the worst host that has one, until none has; say if any did."""
    improved, effort = False, EFFORT.of(state.problem)
    movable = facts_of(state.problem).movable
    tried = np.zeros(len(state.burden), dtype=np.bool_)
    while not out_of_time():
        burden = np.where(tried, 0, state.burden)
        a = int(burden.argmax())
        if not burden[a]:
            break
        delta, v, w = 0, -1, -1
        one = int(state.live.first[a])
        while one >= 0 and not out_of_time():
            if movable[one]:
                delta, partner, looked = _best_partner(*state.for_kernels, one, delta)
                spend(looked * effort)
                if partner >= 0:
                    v, w = one, partner
            one = int(state.live.following[one])
        if delta < 0:
            b = int(state.hosts[w])
            state.apply(v, b)
            state.apply(w, a)
            tried[b] = False
            improved = True
        elif one < 0:
            tried[a] = True
    return improved


@kernel
def _best_partner(facts: Facts, live: Live, v: int, best: int) -> tuple[int, int, int]:
    """Return the best exchange of a VM below ``best``, with whom, and how many there are."""
    partner, looked, a = -1, 0, live.hosts[v]
    for w in range(len(live.hosts)):
        if facts.movable[w] and live.hosts[w] != a and live.hosts[w] != NOWHERE:
            looked += 1
            delta = swap_delta(facts, live, v, w)
            if delta < best:
                best, partner = delta, w
    return best, partner, looked
