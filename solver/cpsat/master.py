"""The linear program over patterns: what each VM's place is worth, from the patterns known.

A pattern is a host with all the VMs on it. The program chooses patterns so that every VM is on one
host, at least cost; its dual prices say what it is worth to take a VM in, and what a host gains by
that leads to better patterns. Prices from few patterns jump about, so they are held near the best
ones known: leaving a narrow band costs a little, leaving a wider one is impossible [1]_.

References
----------
.. [1] du Merle, Villeneuve, Desrosiers and Hansen (1999). Stabilized column generation. Discrete
   Mathematics 194. DOI 10.1016/S0012-365X(98)00213-1
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
from ortools.linear_solver import pywraplp

from solver.domain.weights import UNITS_PER_HOST_S
from solver.problem import NOWHERE, BoolArray, FloatArray, IntArray, Problem

NARROW_BAND: Final = 0.25
"""Width of the narrow band in widths of the wider one."""

NARROW_AMOUNT: Final = 0.3
"""How much of a VM may be placed at the price of the narrow band: the slope beyond it."""

SMALLEST_SHARE: Final = 1e-6
"""Share of a pattern below which it is not used: what the simplex takes for zero."""

LARGEST_PRICE: Final = 2.0**53
"""Prices are kept where floating point tells whole units apart."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pattern:
    """A host with all the VMs on it.

    Parameters
    ----------
    cost
        What the host pays, and what its VMs pay for being there, in cost units.
    """

    host: int
    vms: IntArray
    cost: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prices:
    """Dual prices, whole cost units.

    Parameters
    ----------
    places
        What taking a VM in is worth, shape ``(V,)``; zero for VMs that are not decided.
    groups
        What the move of a VM costs its application group, shape ``(groups,)``; non-negative, in
        all at most the price of disruption.
    move
        What a move costs beside that because moves are limited; non-negative.
    """

    places: IntArray
    groups: IntArray
    move: int

    def of_move(self, problem: Problem) -> IntArray:
        """Return what the move of each VM costs beside its own cost, shape ``(V,)``."""
        costs = np.full(problem.num_vms, self.move)
        grouped = np.flatnonzero(problem.app_group >= 0)
        costs[grouped] += self.groups[problem.app_group[grouped]]
        costs[problem.start == NOWHERE] = 0
        return costs


class Master:
    """The program, to which patterns are added.

    Parameters
    ----------
    problem
        What is minimised.
    movable
        Which VMs are decided, shape ``(V,)``.
    """

    def __init__(self, problem: Problem, movable: BoolArray) -> None:
        self.problem = problem
        self.patterns: list[Pattern] = []
        self._columns: list[pywraplp.Variable] = []
        self.shares = np.zeros((problem.num_vms, problem.num_hosts))
        """How much of each VM the last solution has on each host, shape ``(V, H)``."""
        self._known: set[tuple[int, bytes]] = set()
        # A simplex whose basis stays good while columns are added.
        self._solver = pywraplp.Solver.CreateSolver("GLOP")
        self._objective = self._solver.Objective()
        self._objective.SetMinimization()
        self._movable = np.flatnonzero(movable)
        self._vm_rows = {v: self._solver.Constraint(1, 1) for v in self._movable.tolist()}
        self._host_rows = [self._solver.Constraint(1, 1) for _ in range(problem.num_hosts)]
        num_groups = int(problem.app_group.max(initial=-1)) + 1
        infinity = self._solver.infinity()
        self._group_rows = [self._solver.Constraint(0, infinity) for _ in range(num_groups)]
        most_moved = self._variable(problem.disruption_price)
        for row in self._group_rows:
            row.SetCoefficient(most_moved, 1)
        self._move_row = (
            None
            if problem.max_moves is None
            else self._solver.Constraint(-infinity, problem.max_moves)
        )
        for v in self._movable[problem.start[self._movable] == NOWHERE].tolist():
            idle = self._variable(int(problem.nowhere_prices[v]))
            self._vm_rows[v].SetCoefficient(idle, 1)
        self._bands = [self._band_of(v) for v in self._movable.tolist()]

    def add(self, pattern: Pattern) -> bool:
        """Add a pattern; whether it was new."""
        key = pattern.host, pattern.vms.tobytes()
        if key in self._known:
            return False
        self._known.add(key)
        self.patterns.append(pattern)
        column = self._variable(pattern.cost)
        self._columns.append(column)
        self._host_rows[pattern.host].SetCoefficient(column, 1)
        for v in pattern.vms.tolist():
            if v in self._vm_rows:
                self._vm_rows[v].SetCoefficient(column, 1)
        start = self.problem.start[pattern.vms]
        moved = pattern.vms[(start != pattern.host) & (start != NOWHERE)]
        for group, count in Counter(self.problem.app_group[moved].tolist()).items():
            if group >= 0:
                self._group_rows[group].SetCoefficient(column, -count)
        if self._move_row is not None:
            self._move_row.SetCoefficient(column, len(moved))
        return True

    def solve(self, centre: Prices, widths: FloatArray) -> tuple[Prices, float, BoolArray] | None:
        """Return the best prices near a centre, what they promise, and which of them are held.

        Parameters
        ----------
        widths
            How far the price of each VM may go from the centre, shape ``(V,)``.

        Returns
        -------
        tuple
            Prices; the bound that they would prove if no better patterns were left; and which
            of them a band holds back, shape ``(V,)``: where there are none, this is the
            program's optimum. ``None`` when the simplex failed.
        """
        for v, ((up, down), (some_up, some_down)) in zip(
            self._movable.tolist(), self._bands, strict=True
        ):
            price, width = float(centre.places[v]), float(widths[v])
            self._price(up, price + width)
            self._price(down, width - price)
            self._price(some_up, price + NARROW_BAND * width)
            self._price(some_down, NARROW_BAND * width - price)
        if self._solver.Solve() != pywraplp.Solver.OPTIMAL:
            return None
        self._share()
        held = np.zeros(self.problem.num_vms, dtype=np.bool_)
        for v, pairs in zip(self._movable.tolist(), self._bands, strict=True):
            held[v] = any(x.solution_value() > SMALLEST_SHARE for pair in pairs for x in pair)
        return self._prices(), self._objective.Value() * UNITS_PER_HOST_S, held

    def _share(self) -> None:
        self.shares[:] = 0.0
        for pattern, column in zip(self.patterns, self._columns, strict=True):
            share = column.solution_value()
            if share > SMALLEST_SHARE:
                self.shares[pattern.vms, pattern.host] += share

    def _prices(self) -> Prices:
        places = np.zeros(self.problem.num_vms, dtype=np.int64)
        places[self._movable] = [_whole(row.dual_value()) for row in self._vm_rows.values()]
        groups = np.array(
            [max(0, _whole(row.dual_value())) for row in self._group_rows], dtype=np.int64
        )
        # Rounding may have gone beyond what disruption costs; more would not be a bound.
        excess = int(groups.sum()) - self.problem.disruption_price
        for g in np.flatnonzero(groups).tolist():
            taken = min(int(groups[g]), max(0, excess))
            groups[g] -= taken
            excess -= taken
        move = 0 if self._move_row is None else max(0, -_whole(self._move_row.dual_value()))
        return Prices(places=places, groups=groups, move=move)

    def _variable(self, cost: int, most: float | None = None) -> pywraplp.Variable:
        variable = self._solver.NumVar(0, self._solver.infinity() if most is None else most, "")
        self._price(variable, cost)
        return variable

    def _price(self, variable: pywraplp.Variable, cost: float) -> None:
        self._objective.SetCoefficient(variable, cost / UNITS_PER_HOST_S)

    def _band_of(self, v: int) -> tuple[tuple[pywraplp.Variable, pywraplp.Variable], ...]:
        """Return variables that place a VM, or unplace it, at the price of either band."""
        pairs = []
        for most in (None, NARROW_AMOUNT):
            up, down = self._variable(0, most), self._variable(0, most)
            self._vm_rows[v].SetCoefficient(up, 1)
            self._vm_rows[v].SetCoefficient(down, -1)
            pairs.append((up, down))
        return tuple(pairs)


def _whole(price: float) -> int:
    return round(max(-LARGEST_PRICE, min(LARGEST_PRICE, price * UNITS_PER_HOST_S)))
