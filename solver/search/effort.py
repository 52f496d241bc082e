"""How far a random search may go: so many proposals at once, until time or its own work is over.

Work is counted in deterministic seconds, about what a proposal takes on one core: a part for the
proposal, and a part for every column that is looked at. Hundreds of scenarios make a proposal ten
times as dear, and a limit of work has to mean about the same whatever the problem.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from solver.problem import Problem

MOST_AT_ONCE: Final = 20_000
"""Most proposals between two looks at the clock."""

WORK_AT_ONCE: Final = 0.012
"""Deterministic seconds between two looks at the clock."""


class Effort(NamedTuple):
    """What one proposal takes, in deterministic seconds."""

    proposal: float
    column: float

    def of(self, problem: Problem) -> float:
        """Return what a proposal takes on a problem."""
        return self.proposal + self.column * problem.future.demand.shape[1]


class Turn(NamedTuple):
    """Some proposals to make.

    Parameters
    ----------
    used
        Share of the limit that is used when they begin: of work if there is a limit of work, so
        that an answer depends on it and the seed alone; of time otherwise.
    """

    used: float
    proposals: int


def turns(
    effort: float,
    *,
    limit_s: float,
    work_limit: float = math.inf,
    cancel: Callable[[], bool] = lambda: False,
) -> Iterator[Turn]:
    """Return turns until time, which begins now, or work is over, or somebody cancels.

    Parameters
    ----------
    effort
        Deterministic seconds of a proposal.
    limit_s, work_limit
        Wall and deterministic seconds.
    cancel
        Asked before each turn.
    """
    begun_s = time.monotonic()
    at_once = max(1, min(MOST_AT_ONCE, int(WORK_AT_ONCE / effort)))

    def take_turns() -> Iterator[Turn]:
        work = 0.0
        while not cancel():
            used, proposals = (time.monotonic() - begun_s) / limit_s, at_once
            if used < 1.0 and math.isfinite(work_limit):
                used = work / work_limit
                proposals = min(at_once, max(1, math.ceil((work_limit - work) / effort)))
            if used >= 1.0:
                return
            yield Turn(used, proposals)
            work += proposals * effort

    return take_turns()
