"""A lower bound host by host: what is overloaded bears it, or is left at the price of moves.

Whatever becomes of the others, each VM of a host either stays or is gone, which costs at least its
cheapest place elsewhere; what arrives only adds load. So a host costs at least what the cheapest
choice of VMs to shed leaves it with: a covering problem, of which the linear relaxation is solved.
A column counts for no more than it lacks of being covered (coefficient reduction [1]_), without
which a fraction of a large VM would do.

The bound is not the relaxation's value, which is rounded, but what its dual prices prove in whole
numbers: with any prices between nothing and those of the columns, every VM by itself stays or goes.

References
----------
.. [1] Crowder, Johnson and Padberg (1983). Solving large-scale zero-one linear programming
   problems. Operations Research 31. DOI 10.1287/opre.31.5.803
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from solver.bounds.relaxed import least_excess, least_places
from solver.domain.score import UNLIMITED
from solver.domain.weights import UNITS_PER_HOST_S
from solver.problem import NOWHERE, BoolArray, IntArray, Problem

WORK_PER_HOST: Final = 2e-3
WORK_PER_CELL: Final = 1e-6
"""Deterministic seconds charged for a host, and for each of its VMs in each of its columns."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cover:
    """One host's choice of what to shed.

    Parameters
    ----------
    stay, leave
        What each VM costs at least if it stays, and if it goes; shape ``(n,)``. VMs that have to
        stay cost the same either way, and cover nothing.
    lack, price
        By how much each column is above its threshold if all stay, positive, and what a unit of
        that costs; shape ``(m,)``.
    covered
        How much of the lack of each column each VM takes away, shape ``(m, n)``.
    """

    stay: IntArray
    leave: IntArray
    lack: IntArray
    price: IntArray
    covered: IntArray

    @property
    def unloaded(self) -> int:
        """What the VMs cost at least if no load counted."""
        return int(np.minimum(self.stay, self.leave).sum())

    def prices(self) -> IntArray | None:
        """Return dual prices of the linear relaxation, shape ``(m,)``; ``None`` if it fails."""
        num_columns, num_vms = self.covered.shape
        share = self.covered / self.lack[:, None]
        answer = linprog(
            np.concatenate([self.leave - self.stay, self.price * self.lack]) / UNITS_PER_HOST_S,
            A_ub=-sparse.hstack([sparse.csr_array(share), sparse.eye_array(num_columns)]),
            b_ub=-np.ones(num_columns),
            bounds=[(0, 1)] * num_vms + [(0, None)] * num_columns,
            method="highs-ds",
        )
        if not answer.success:
            return None
        dual = -answer.ineqlin.marginals * UNITS_PER_HOST_S / self.lack
        prices: IntArray = np.clip(np.floor(dual).astype(np.int64), 0, self.price)
        return prices

    def bound(self, prices: IntArray) -> int:
        """Return what no choice costs less than, proven by prices of at most the columns' own."""
        best = np.minimum(self.stay, self.leave - prices @ self.covered)
        return int(best.sum()) + int((prices * self.lack).sum())


def shedding_bound(
    problem: Problem,
    *,
    over: Callable[[], bool] = lambda: False,
    spend: Callable[[float], None] = lambda work: None,
) -> int:
    """Return a total that no allowed placement is below.

    Near the optimum where hosts are short of something while others have room. Says nothing of
    room that is short everywhere; :func:`~solver.bounds.relaxed.relaxed_bound` does.

    Parameters
    ----------
    over
        Asked before each host, the worst first; once true, the others count as if they had no load.
    spend
        Told of work done, in deterministic seconds.
    """
    bound = least_places(problem) + least_excess(problem)
    # What counts below zero could be brought in to cool a host down.
    usable: BoolArray = np.all(problem.future.demand >= 0, axis=0)
    for h in _overloaded(problem, usable):
        if over():
            break
        cover = cover_of(problem, h, usable)
        spend(WORK_PER_HOST + WORK_PER_CELL * cover.covered.size)
        prices = cover.prices()
        if prices is not None:
            bound += max(0, cover.bound(prices) - cover.unloaded)
    return bound


def cover_of(problem: Problem, h: int, usable: BoolArray) -> Cover:
    """Return what a host that runs something may shed.

    Parameters
    ----------
    usable
        Columns that are looked at: of those in which no VM needs less than nothing, ``(C,)``.
    """
    home = np.flatnonzero(problem.start == h)
    costs = problem.place_prices(home) + problem.move_rows(home)
    elsewhere = problem.allowed_hosts(home)
    elsewhere[:, h] = False
    stay = costs[:, h]
    leave = costs.min(axis=1, initial=UNLIMITED, where=elsewhere)
    fixed = ~elsewhere.any(axis=1)
    demand = problem.future.demand[home][:, usable]
    threshold = problem.future.threshold[h, usable]
    lacks, prices, covers = [], [], []
    for b, price in enumerate(problem.future.prices[:, usable]):
        in_bands = np.where((problem.band[home] >= b)[:, None], demand, 0)
        lack = in_bands.sum(axis=0) - threshold
        short = (lack > 0) & (price > 0)
        lacks.append(lack[short])
        prices.append(price[short])
        covers.append(in_bands[:, short].T)
    lack, covered = np.concatenate(lacks), np.concatenate(covers)
    covered = np.where(fixed, 0, np.minimum(covered, lack[:, None]))
    return Cover(
        stay=stay,
        leave=np.where(fixed, stay, leave),
        lack=lack,
        price=np.concatenate(prices),
        covered=covered,
    )


def _overloaded(problem: Problem, usable: BoolArray) -> list[int]:
    """Return the hosts with a column above its threshold at the start, the dearest first."""
    columns = problem.future
    threshold = columns.threshold[:, usable]
    load = np.zeros(threshold.shape, dtype=np.int64)
    cost = np.zeros(problem.num_hosts)
    for b in reversed(range(problem.num_bands)):
        vms = np.flatnonzero((problem.band == b) & (problem.start != NOWHERE))
        runs_on = sparse.csr_array(
            (np.ones(len(vms), dtype=np.int64), (problem.start[vms], np.arange(len(vms)))),
            shape=(problem.num_hosts, len(vms)),
        )
        load += runs_on @ columns.demand[vms][:, usable]
        cost += np.maximum(0, load - threshold) @ columns.prices[b, usable].astype(np.float64)
    found = np.flatnonzero(cost)
    order: list[int] = found[np.argsort(-cost[found], kind="stable")].tolist()
    return order
