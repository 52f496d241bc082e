"""Taking back moves that do not pay.

An engine that looks at many VMs at once may leave moves behind that another move made useless.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from solver.problem import NOWHERE
from solver.search.state import State


def prune(state: State, *, out_of_time: Callable[[], bool] = lambda: False) -> None:
    """Take back the moves of a state whose removal costs nothing.

    One move, or the moves of VMs tied together by hard affinity, is taken back at a time, the most
    useless first, as long as what is allowed stays kept and the total does not rise: on a tie the
    VM stays at home.

    Parameters
    ----------
    out_of_time
        Asked at every move; once true, the rest stays as it is.
    """
    pruned = True
    while pruned:
        pruned = False
        ways_home = _ways_home(state)
        gains: list[tuple[int, int]] = []
        for i, way in enumerate(ways_home):
            if out_of_time():
                return
            gains.append((state.what_if(way), i))
        for change, i in sorted(gains):
            if change > 0 or out_of_time():
                break
            way = ways_home[i]
            # Others may have gone home since: look again.
            if all(state.hosts[v] != home for v, home in way) and state.what_if(way) <= 0:
                for v, home in way:
                    state.apply(v, home)
                pruned = True


def _ways_home(state: State) -> list[list[tuple[int, int]]]:
    """Return the moves that take back each migration, and those of tied VMs together."""
    start = state.problem.start
    away = (state.hosts != start) & (start != NOWHERE)
    tied = [tuple(v for v in clump if away[v]) for clump in state.problem.clumps]
    parts = [*((v,) for v in np.flatnonzero(away).tolist()), *(c for c in tied if len(c) > 1)]
    return [[(v, int(start[v])) for v in part] for part in parts]
