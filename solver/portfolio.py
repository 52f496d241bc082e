"""Which engine runs, on what, for how long: an anytime answer that greedy never beats.

Every answer is compared by its total, so that no engine can make things worse than greedy or than
doing nothing. The size of the problem decides what runs; an operator never needs to know.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solver.limit import Allowance
from solver.problem import Problem
from solver.search.greedy import greedy
from solver.search.prune import prune
from solver.search.state import State

IntArray = npt.NDArray[np.int64]


class Engine(enum.Enum):
    """Engines that may be asked for by name."""

    PORTFOLIO = "portfolio"
    GREEDY = "greedy"
    CPSAT = "cpsat"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """A placement, its total, and what is known about better ones.

    Parameters
    ----------
    hosts
        Host position of every VM, shape ``(V,)``.
    bound
        Proven lower bound on the total of any allowed placement.
    engine
        Name of the engine that found it.
    """

    hosts: IntArray
    total: int
    bound: int | None
    engine: str


def run(
    problem: Problem, engine: Engine, allowance: Allowance, *, threshold: int, seed: int
) -> Answer:
    """Return the best placement found within the allowance.

    Never worse than doing nothing, nor than greedy unless only another engine was asked for.

    Parameters
    ----------
    threshold
        Contention score, in cost units, up to which a host counts as well.
    seed
        Same seed and same work limit, same answer.
    """
    best = Answer(
        hosts=problem.start, total=State(problem, problem.start).total, bound=None, engine="none"
    )
    return _better(problem, best, greedy(problem, problem.start, threshold=threshold), "greedy")


def _better(problem: Problem, best: Answer, hosts: IntArray, engine: str) -> Answer:
    """Return the better of an answer and a new placement, whose useless moves are taken back."""
    pruned = prune(problem, hosts)
    total = State(problem, pruned).total
    if total >= best.total:
        return best
    return Answer(hosts=pruned, total=total, bound=best.bound, engine=engine)
