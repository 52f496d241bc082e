"""Which few hosts are worth deciding anew together.

Where cost is concentrated now or was at the start, and where moves have linked hosts: most of what
is still to be saved lies in having moved the wrong VMs between them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from solver.problem import NOWHERE, Problem
from solver.search.state import State

IntArray = npt.NDArray[np.int64]


def linked_hosts(state: State, weights: IntArray, size: int, rng: np.random.Generator) -> IntArray:
    """Draw hosts: one by weight, then those that gave it VMs or took some, then any.

    Parameters
    ----------
    weights
        How likely each host is to be drawn first, shape ``(H,)``; non-negative.
    size
        How many to draw; at most the number of hosts are.

    Returns
    -------
    numpy.ndarray
        Sorted positions of different hosts.
    """
    problem = state.problem
    size = min(size, problem.num_hosts)
    likely = weights / max(1, weights.sum()) + 1.0 / (50 * problem.num_hosts)
    first = int(rng.choice(problem.num_hosts, p=likely / likely.sum()))
    moved = np.flatnonzero((state.hosts != problem.start) & (problem.start != NOWHERE))
    out, into = problem.start[moved], state.hosts[moved]
    partners = np.union1d(into[out == first], out[into == first])
    others = np.setdiff1d(np.arange(problem.num_hosts), [*partners, first])
    drawn = [first, *rng.permutation(partners), *rng.permutation(others)]
    return np.sort(np.array(drawn[:size], dtype=np.int64))


def interest(problem: Problem, state: State) -> IntArray:
    """Return what each host costs now and cost at the start, shape ``(H,)``."""
    start = State(problem, problem.start)
    found: IntArray = state.burden + start.burden
    return found
