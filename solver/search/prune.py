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

    One move, or the moves of VMs tied together by hard affinity, is taken back at a time, the most
    useless first, as long as what is allowed stays kept and the total does not rise: on a tie the
    VM stays at home.
    """
    state = State(problem, hosts)
    while True:
        away = (state.hosts != problem.start) & (problem.start != NOWHERE)
        tied = [tuple(v for v in clump if away[v]) for clump in problem.clumps]
        parts = [*((v,) for v in np.flatnonzero(away).tolist()), *(c for c in tied if len(c) > 1)]
        ways_home = [[(v, int(problem.start[v])) for v in part] for part in parts]
        changes = [(state.what_if(way), i) for i, way in enumerate(ways_home)]
        change, i = min(changes, default=(1, -1))
        if change > 0:
            return state.hosts
        for v, home in ways_home[i]:
            state.apply(v, home)
