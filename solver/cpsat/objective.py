"""Weighted terms over the decision variables, in whole cost units.

Exact: for every placement, the least value of the model's objective is the total of
``solver.domain.score``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ortools.sat.python import cp_model

from solver.cpsat.variables import Variables
from solver.problem import Problem

IntArray = npt.NDArray[np.int64]


class Objective:
    """A sum of priced variables, collected term by term and scaled once."""

    def __init__(self) -> None:
        self._prices: dict[int, int] = {}
        self._variables: dict[int, cp_model.IntVar] = {}
        self._largest: dict[int, int] = {}

    def add(self, variable: cp_model.IntVar, price: int, largest: int = 1) -> None:
        """Add ``price · variable``, where the variable is in ``0..largest``."""
        if price:
            self._prices[variable.index] = self._prices.get(variable.index, 0) + price
            self._variables[variable.index] = variable
            self._largest[variable.index] = largest

    @property
    def worst(self) -> int:
        """Largest value the sum of absolute terms can take."""
        return sum(abs(price) * self._largest[i] for i, price in self._prices.items())

    def minimise(self, model: cp_model.CpModel, scale: int) -> None:
        """Set the model's objective to the sum over ``scale``, prices rounded down."""
        model.minimize(
            cp_model.LinearExpr.weighted_sum(
                list(self._variables.values()),
                [price // scale for price in self._prices.values()],
            )
        )


def add_shortfall(variables: Variables, objective: Objective) -> None:
    """Price what exceeds the thresholds of each host: contention and imbalance.

    A variable ``s >= demand − threshold`` stands only where the shortfall may be zero or
    positive; where it is positive whatever is decided, it is linear in the decisions.
    """
    problem = variables.problem
    columns = problem.future
    for h, guests in variables.guests.items():
        vms = np.array(guests)
        x = variables.on(h)
        fixed = np.flatnonzero(variables.fixed == h)
        linear = np.zeros(len(guests), dtype=np.int64)
        for b in range(problem.num_bands):
            demand, over, least, most = _range(problem, h, b, vms, fixed)
            priced = columns.prices[b] > 0
            always = np.flatnonzero(priced & (least >= 0))
            linear += demand[:, always] @ columns.prices[b, always]
            for c in np.flatnonzero(priced & (least < 0) & (most > 0)).tolist():
                s = variables.model.new_int_var(0, int(most[c]), f"short_{h}_{b}_{c}")
                using = np.flatnonzero(demand[:, c])
                variables.model.add(
                    cp_model.LinearExpr.weighted_sum(
                        [*(x[i] for i in using.tolist()), s], [*demand[using, c].tolist(), -1]
                    )
                    <= int(-over[c])
                )
                objective.add(s, int(columns.prices[b, c]), int(most[c]))
        for i, price in enumerate(linear.tolist()):
            objective.add(x[i], price)


def _range(
    problem: Problem, h: int, b: int, vms: IntArray, fixed: IntArray
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Return what counts in a band on a host, and how far above thresholds it may be.

    Returns
    -------
    tuple
        Demand of ``vms``, zero below the band, shape ``(n, C)``; and load minus threshold of the
        ``fixed`` VMs alone, the least and the most of it beside any of ``vms``, each of shape
        ``(C,)``.
    """
    columns = problem.future
    demand = columns.demand[vms] * (problem.band[vms] >= b)[:, None]
    served = fixed[problem.band[fixed] >= b]
    over = columns.demand[served].sum(axis=0) - columns.threshold[h]
    least = over + np.minimum(demand, 0).sum(axis=0)
    return demand, over, least, over + np.maximum(demand, 0).sum(axis=0)


def add_move_costs(variables: Variables, objective: Objective) -> None:
    """Price each migration from the start."""
    costs = variables.problem.move_rows(variables.scope.vms)
    row = {v: i for i, v in enumerate(variables.scope.vms.tolist())}
    for v, h, x in variables.moved():
        objective.add(x, int(costs[row[v], h]))


def add_disruption(variables: Variables, objective: Objective) -> None:
    """Price the VMs moved of the most-moved application group."""
    problem = variables.problem
    if not problem.disruption_price:
        return
    moving: dict[int, list[cp_model.IntVar]] = {}
    for v, _, x in variables.moved():
        if problem.app_group[v] >= 0:
            moving.setdefault(int(problem.app_group[v]), []).append(x)
    if not moving:
        return
    groups = problem.app_group[variables.fixed_moved()]
    fixed = np.bincount(groups[groups >= 0], minlength=int(problem.app_group.max()) + 1)
    size = {
        g: int(fixed[g])
        + len({v for v in variables.scope.vms.tolist() if problem.app_group[v] == g})
        for g in moving
    }
    largest = max(*size.values(), int(fixed.max()))
    most = variables.model.new_int_var(int(fixed.max()), largest, "most_moved")
    for g, leaving in moving.items():
        variables.model.add(most >= cp_model.LinearExpr.sum(leaving) + int(fixed[g]))
    objective.add(most, problem.disruption_price, largest)
