"""Taking back moves that do not pay.

An engine that looks at many VMs at once may leave moves behind that another move made useless.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from solver.problem import NOWHERE, Problem
from solver.search.state import State

IntArray = npt.NDArray[np.int64]


def prune(problem: Problem, hosts: IntArray) -> IntArray:
    """Return ``hosts`` without the moves whose removal costs nothing.

    One move is taken back at a time, the most useless first, as long as what is allowed stays
    kept and the total does not rise: on a tie the VM stays at home.
    """
    state = State(problem, hosts)
    while True:
        moved = np.flatnonzero((state.hosts != problem.start) & (problem.start != NOWHERE))
        changes = [
            (int(state.relocations(moved[i : i + 1])[0, problem.start[v]]), v)
            for i, v in enumerate(moved.tolist())
        ]
        change, v = min(changes, default=(1, -1))
        if change > 0:
            return state.hosts
        state.apply(v, int(problem.start[v]))
