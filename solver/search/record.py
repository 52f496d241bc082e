"""The best placement that a random search has passed, found again from where VMs came from.

Kernels go on from the best placement to others. To copy it each time would cost more than the
search; so they note each VM that moves after it, with the host it came from, and these moves taken
back lead to it again.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from solver.problem import IntArray
from solver.search.live import TOTAL, Live
from solver.search.native import inlined

BEST: Final = 0
LOGGED: Final = 1
IMPROVED: Final = 2


class Record:
    """The best placement and its total.

    Parameters
    ----------
    hosts
        A placement, shape ``(V,)``; copied.
    total
        Its total.
    longest
        Most moves that kernels make between two calls of ``learn``.
    """

    def __init__(self, hosts: IntArray, total: int, longest: int) -> None:
        self.best = hosts.copy()
        """Host of every VM in the best placement, shape ``(V,)``."""
        self.log = np.empty((longest, 2), dtype=np.int64)
        """VMs that have moved since the best placement, and whence, ``tally[LOGGED]`` rows."""
        self.tally = np.array([total, 0, 0], dtype=np.int64)
        """The best total, moves since then, and whether it is new since ``begin``."""

    @property
    def total(self) -> int:
        """Total of the best placement."""
        return int(self.tally[BEST])

    def learn(self, hosts: IntArray) -> bool:
        """Take a better placement over, if kernels have passed one; begin anew; say whether.

        Parameters
        ----------
        hosts
            The placement that kernels have come to, shape ``(V,)``.
        """
        improved = bool(self.tally[IMPROVED])
        if improved:
            self.best[:] = hosts
            for v, h in self.log[: self.tally[LOGGED]][::-1].tolist():
                self.best[v] = h
        self.tally[LOGGED] = 0
        self.tally[IMPROVED] = 0
        return improved


@inlined
def note(live: Live, log: IntArray, tally: IntArray, v: int) -> None:
    """Note where a VM is that is about to leave."""
    log[tally[LOGGED], 0] = v
    log[tally[LOGGED], 1] = live.hosts[v]
    tally[LOGGED] += 1


@inlined
def keep_best(live: Live, tally: IntArray) -> None:
    """Take the present placement for the best one if it is better."""
    if live.tally[TOTAL] < tally[BEST]:
        tally[BEST] = live.tally[TOTAL]
        tally[LOGGED] = 0
        tally[IMPROVED] = 1
