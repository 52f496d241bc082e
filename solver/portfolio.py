"""Which engine runs, on what, for how long: an anytime answer that greedy never beats.

Every answer is compared by its total, so that no engine can make things worse than greedy or than
doing nothing. The size of the problem decides what runs; an operator never needs to know.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from solver.cpsat.model import optimise
from solver.cpsat.variables import Scope
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
    start = Answer(
        hosts=problem.start, total=State(problem, problem.start).total, bound=None, engine="none"
    )
    if engine is Engine.CPSAT:
        return _improve(problem, start, allowance, seed=seed)
    quick = greedy(problem, problem.start, threshold=threshold, out_of_time=allowance.late)
    best = _better(problem, start, quick, "greedy")
    if engine is Engine.GREEDY:
        return best
    return _improve(problem, best, allowance, seed=seed)


def _improve(problem: Problem, best: Answer, allowance: Allowance, *, seed: int) -> Answer:
    """Return a better answer by CP-SAT, proven where everything was decided at once."""
    scope = Scope.everything(problem, best.hosts)
    if not scope.vms.size:
        return replace(best, bound=best.total)
    outcome = optimise(
        problem,
        scope,
        limit_s=allowance.left_s,
        work_limit=allowance.left_work,
        seed=seed,
    )
    allowance.spend(outcome.work)
    if outcome.hosts is None:
        return best
    best = _better(problem, best, outcome.hosts, "cpsat")
    return replace(best, bound=best.total) if outcome.proven else best


def _better(problem: Problem, best: Answer, hosts: IntArray, engine: str) -> Answer:
    """Return the better of an answer and a new placement, whose useless moves are taken back."""
    pruned = prune(problem, hosts)
    total = State(problem, pruned).total
    if total >= best.total:
        return best
    return Answer(hosts=pruned, total=total, bound=best.bound, engine=engine)
