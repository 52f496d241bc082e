"""The joint model of a scope with the columns that bind, and more as its answers go above them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from solver.cpsat.judge import over_thresholds, total_of
from solver.cpsat.model import optimise
from solver.cpsat.variables import Scope
from solver.problem import BoolArray, Columns, IntArray, Problem


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JointAnswer:
    """What was found in a scope.

    Parameters
    ----------
    hosts
        The best placement, shape ``(V,)``; the scope's base if none is better.
    total
        Its total.
    bound
        Total that no placement of the scope is below; ``None`` when nothing is known.
    work
        Deterministic seconds used.
    """

    hosts: IntArray
    total: int
    bound: int | None
    work: float


def optimise_jointly(
    problem: Problem,
    scope: Scope,
    binding: BoolArray,
    *,
    limit_s: float,
    work_limit: float,
    seed: int,
    presolve: bool = True,
    cancel: Callable[[], bool],
) -> JointAnswer:
    """Return the best placement found in a scope, everything outside it left where it is.

    Of a problem's many columns few ever bind. The model has those that did before; what an answer
    goes above is added, until the answer is as good as the model says or the limits end.

    Parameters
    ----------
    binding
        Columns by band that bound before, shape ``(B, C)``; those that bind now are added to it.
    presolve
        See ``new_solver``.
    """
    end_s = time.monotonic() + limit_s
    work, bound = 0.0, None
    best, best_total = scope.base, total_of(problem, scope.base)
    # What the base goes above binds: without it the first answer would be a wild one.
    binding |= above(problem, scope.base)
    while True:
        relaxed = replace(problem, future=only(problem.future, binding))
        outcome = optimise(
            relaxed,
            scope,
            limit_s=end_s - time.monotonic(),
            work_limit=work_limit - work,
            seed=seed,
            presolve=presolve,
            cancel=cancel,
        )
        work += outcome.work
        if outcome.hosts is None:
            break
        total = total_of(problem, outcome.hosts)
        if total < best_total:
            best, best_total = outcome.hosts, total
        if outcome.gap is not None:
            proven = total_of(relaxed, outcome.hosts) - outcome.gap
            bound = proven if bound is None else max(bound, proven)
        new = above(problem, outcome.hosts) & ~binding
        proven_best = bound is not None and bound >= best_total
        if not new.any() or proven_best or work >= work_limit or time.monotonic() >= end_s:
            break
        binding |= new
    return JointAnswer(hosts=best, total=best_total, bound=bound, work=work)


def above(problem: Problem, hosts: IntArray) -> BoolArray:
    """Return which columns some host pays for in which bands, shape ``(B, C)``."""
    found = np.zeros(problem.future.prices.shape, dtype=np.bool_)
    for b, over in over_thresholds(problem, problem.future, hosts):
        found[b] = (over > 0).any(axis=0) & (problem.future.prices[b] > 0)
    return found


def only(columns: Columns, binding: BoolArray) -> Columns:
    """Return columns in which only some are priced, by band."""
    prices = columns.prices * binding
    kept = np.flatnonzero(prices.any(axis=0))
    return Columns(
        demand=columns.demand[:, kept], threshold=columns.threshold[:, kept], prices=prices[:, kept]
    )
