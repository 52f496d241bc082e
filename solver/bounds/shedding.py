"""A lower bound host by host: what is overloaded bears it, or is left at the price of moves.

Whatever becomes of the others, each VM of a host either stays or is gone, which costs at least its
cheapest place elsewhere; what arrives only adds load. So a host costs at least what the cheapest
choice of VMs to shed leaves it with: a covering problem with a row for each column above its
threshold, of which the linear relaxation is solved. Of each row a VM covers no more than is lacked
there (coefficient reduction [1]_); else a fraction of a large VM would do.

The bound is not the relaxation's value, which is rounded, but what its dual prices prove in whole
numbers: with any prices between nothing and those of the columns, every VM by itself stays or goes.

References
----------
.. [1] Crowder, Johnson and Padberg (1983). Solving large-scale zero-one linear programming
   problems. Operations Research 31. DOI 10.1287/opre.31.5.803
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from solver.bounds.relaxed import VMS_AT_ONCE, least_excess, least_places
from solver.domain.score import UNLIMITED
from solver.domain.weights import UNITS_PER_HOST_S
from solver.limit import Allowance
from solver.problem import BoolArray, IntArray, Problem

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

    def prices(self, limit_s: float = math.inf) -> IntArray | None:
        """Return dual prices of the linear relaxation, shape ``(m,)``.

        ``None`` if it is not solved within so many wall seconds.
        """
        num_columns, num_vms = self.covered.shape
        share = self.covered / self.lack[:, None]
        answer = linprog(
            np.concatenate([self.leave - self.stay, self.price * self.lack]) / UNITS_PER_HOST_S,
            A_ub=-sparse.hstack([sparse.csr_array(share), sparse.eye_array(num_columns)]),
            b_ub=-np.ones(num_columns),
            bounds=[(0, 1)] * num_vms + [(0, None)] * num_columns,
            method="highs-ds",
            options={} if math.isinf(limit_s) else {"time_limit": limit_s},
        )
        if not answer.success:
            return None
        dual = -answer.ineqlin.marginals * UNITS_PER_HOST_S / self.lack
        prices: IntArray = np.clip(np.rint(dual).astype(np.int64), 0, self.price)
        return prices

    def bound(self, prices: IntArray) -> int:
        """Return what no choice costs less than, proven by prices of at most the columns' own."""
        best = np.minimum(self.stay, self.leave - prices @ self.covered)
        return int(best.sum()) + int((prices * self.lack).sum())


def shedding_bound(
    problem: Problem,
    burden: IntArray,
    *,
    allowance: Allowance | None = None,
    cancel: Callable[[], bool] = lambda: False,
) -> int:
    """Return a total that no allowed placement is below.

    Near the optimum where hosts are short of something while others have room. Says nothing of
    room that is short everywhere; :func:`~solver.bounds.relaxed.relaxed_bound` does.

    Parameters
    ----------
    burden
        What each host costs at the start, shape ``(H,)``: the dearest are looked at first, those
        that cost nothing not at all.
    allowance
        Time and work that it may take; hosts for which there is none left count as if they had no
        load. Without, all are looked at.
    cancel
        Asked before each host; once true, what is known is returned.
    """
    allowance = allowance or Allowance(math.inf)
    bound = least_places(problem) + least_excess(problem)
    # What counts below zero could be brought in to cool a host down.
    usable: BoolArray = problem.future.demand.min(axis=0, initial=0) >= 0
    for h in np.argsort(-burden, kind="stable")[: np.count_nonzero(burden > 0)].tolist():
        if allowance.over() or cancel():
            break
        cover = cover_of(problem, h, usable)
        allowance.spend(WORK_PER_HOST + WORK_PER_CELL * cover.covered.size)
        prices = cover.prices(allowance.left_s) if cover.lack.size else None
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
    stay, leave = _cheapest(problem, home, h)
    fixed = leave == UNLIMITED
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


def _cheapest(problem: Problem, home: IntArray, h: int) -> tuple[IntArray, IntArray]:
    """Return what the VMs of a host cost if they stay, and at least if they go.

    ``UNLIMITED`` for those that may be nowhere else.
    """
    stay, leave = np.zeros(len(home), dtype=np.int64), np.zeros(len(home), dtype=np.int64)
    for begin in range(0, len(home), VMS_AT_ONCE):
        some = slice(begin, begin + VMS_AT_ONCE)
        costs = problem.place_prices(home[some]) + problem.move_rows(home[some])
        elsewhere = problem.allowed_hosts(home[some])
        elsewhere[:, h] = False
        stay[some] = costs[:, h]
        leave[some] = costs.min(axis=1, initial=UNLIMITED, where=elsewhere)
    return stay, leave
