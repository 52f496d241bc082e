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
from solver.search.facts import Facts
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
        Asked before each host; once true, the state is left as it is.
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
    tried = np.zeros(len(state.burden), dtype=np.bool_)
    while not out_of_time():
        burden = np.where(tried, 0, state.burden)
        a = int(burden.argmax())
        if not burden[a]:
            break
        delta, v, w, looked = _best_exchange(*state.for_kernels, a)
        spend(looked * effort)
        if delta >= 0:
            tried[a] = True
            continue
        b = int(state.hosts[w])
        state.apply(v, b)
        state.apply(w, a)
        tried[b] = False
        improved = True
    return improved


@kernel
def _best_exchange(facts: Facts, live: Live, a: int) -> tuple[int, int, int, int]:
    """Return the best exchange of a VM on host ``a`` with one elsewhere, and how many there are."""
    best, first, second, looked = 0, -1, -1, 0
    v = live.first[a]
    while v >= 0:
        if facts.movable[v]:
            for w in range(len(live.hosts)):
                if facts.movable[w] and live.hosts[w] != a and live.hosts[w] != NOWHERE:
                    looked += 1
                    delta = swap_delta(facts, live, v, w)
                    if delta < best:
                        best, first, second = delta, v, w
        v = live.following[v]
    return best, first, second, looked
