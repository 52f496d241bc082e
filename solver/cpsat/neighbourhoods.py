"""Large-neighbourhood search: a few hosts at a time are decided anew with all their VMs.

Either where the VMs on these hosts are among them, or where those that start there are at all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from solver.cpsat.joint import optimise_jointly
from solver.cpsat.judge import moved_vms, outlay, total_of
from solver.cpsat.sources import MOST_CHOICES, relief_scope
from solver.cpsat.variables import Scope
from solver.problem import NOWHERE, IntArray, Problem

SIZES: Final = (2, 3, 3, 4)
"""Hosts of a neighbourhood, one of these at random."""

RELIEF: Final = 0.6
"""How often a neighbourhood is the VMs that start on some hosts, wherever there is room for them,
and not all VMs on some hosts among these."""

WORK_PER_NEIGHBOURHOOD: Final = 0.15
"""Deterministic seconds for one."""

PATIENCE_PER_HOST: Final = 4
"""Neighbourhoods in a row that bring nothing, by host, after which it ends."""

LOOKS: Final = 8
"""How often a neighbourhood looks at the whole placement. On large clusters with many scenarios
that takes seconds in all, and none is begun that could not be ended in time."""

OVERHEAD: Final = 0.03
OVERHEAD_BY_COLUMN: Final = 4e-5
"""Deterministic seconds charged for building and judging one: a part for it, one for a column."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Improvement:
    """A placement, its total, and the deterministic seconds it took."""

    hosts: IntArray
    total: int
    work: float


def improve_by_neighbourhoods(
    problem: Problem,
    hosts: IntArray,
    *,
    limit_s: float,
    work_limit: float = math.inf,
    seed: int = 0,
    cancel: Callable[[], bool] = lambda: False,
    on_better: Callable[[IntArray, int], None] = lambda hosts, total: None,
) -> Improvement:
    """Return the best placement found from one that keeps what is allowed.

    Ends by itself when no neighbourhood has helped for long. Deterministic for a seed and a work
    limit that ends before the wall limit does.

    Parameters
    ----------
    limit_s, work_limit
        Wall and deterministic seconds.
    cancel
        Asked all the time; once true, the best so far is returned.
    on_better
        Told of every better placement and its total.
    """
    begun_s = time.monotonic()
    deadline_s = begun_s + limit_s
    rng = np.random.default_rng(seed)
    binding = np.zeros(problem.future.prices.shape, dtype=np.bool_)
    total, work, stale = total_of(problem, hosts), 0.0, 0
    slowest_s = LOOKS * (time.monotonic() - begun_s)
    overhead = OVERHEAD + OVERHEAD_BY_COLUMN * problem.future.demand.shape[1]
    interest = outlay(problem, hosts, both_ends=True)
    # One that could only be built, with no work left to solve it, is not begun.
    while work + overhead < work_limit and stale < PATIENCE_PER_HOST * problem.num_hosts:
        begun_s = time.monotonic()
        left_s = deadline_s - begun_s
        if left_s <= slowest_s or cancel():
            break
        stale += 1
        work += overhead
        if rng.random() < RELIEF:
            scope = relief_scope(problem, hosts, rng)
        else:
            scope = _scope(problem, hosts, _linked(problem, hosts, interest, rng), rng)
        if not scope.vms.size:
            continue
        answer = optimise_jointly(
            problem,
            scope,
            binding,
            limit_s=left_s,
            work_limit=min(WORK_PER_NEIGHBOURHOOD, work_limit - work),
            seed=int(rng.integers(2**31)),
            presolve=False,
            cancel=cancel,
        )
        work += answer.work
        if answer.total < total:
            hosts, total, stale = answer.hosts, answer.total, 0
            interest = outlay(problem, hosts, both_ends=True)
            on_better(hosts, total)
        slowest_s = max(slowest_s, time.monotonic() - begun_s)
    return Improvement(hosts=hosts, total=total, work=work)


def _linked(
    problem: Problem, hosts: IntArray, interest: IntArray, rng: np.random.Generator
) -> IntArray:
    """Draw hosts: one by interest, then some that VMs went to or came from, then any."""
    size = min(int(rng.choice(SIZES)), problem.num_hosts)
    likely = interest / max(1, int(interest.sum())) + 0.2 / problem.num_hosts
    first = int(rng.choice(problem.num_hosts, p=likely / likely.sum()))
    moved = moved_vms(problem, hosts)
    out, into = problem.start[moved], hosts[moved]
    partners = np.setdiff1d(np.concatenate([into[out == first], out[into == first]]), [first])
    # Some of each: partners alone would try the same exchanges again and again.
    partners = rng.permutation(partners)[: int(rng.integers(0, size))]
    others = np.setdiff1d(np.arange(problem.num_hosts), [*partners, first])
    drawn = [first, *partners, *rng.permutation(others)]
    return np.sort(np.array(drawn[:size], dtype=np.int64))


def _scope(problem: Problem, hosts: IntArray, inside: IntArray, rng: np.random.Generator) -> Scope:
    """Return the scope of the VMs on some hosts, and of some that are to be started, there."""
    there = np.zeros(problem.num_hosts, dtype=np.bool_)
    there[inside] = True
    asked = np.flatnonzero(np.isin(hosts, inside) | (hosts == NOWHERE))
    destinations = problem.allowed_hosts(asked) & there
    free = np.flatnonzero(destinations.sum(axis=1) > (hosts[asked] != NOWHERE))
    most = MOST_CHOICES // len(inside)
    if len(free) > most:
        # VMs that have moved come first.
        away = hosts[asked[free]] != problem.start[asked[free]]
        ranked = np.argsort(rng.random(len(free)) - away, kind="stable")
        free = np.sort(free[ranked[:most]])
    return Scope(base=hosts, vms=asked[free], destinations=destinations[free])
