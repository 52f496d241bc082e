"""Capacity: what is reserved on a host fits, or exceeds it by no more than at the start.

Of resources that are held, a VM keeps its share of the host it starts on wherever it goes.
"""

from __future__ import annotations

import numpy as np
from ortools.sat.python import cp_model

from solver.cpsat.objective import Objective
from solver.cpsat.variables import Variables
from solver.domain.check import SEVERITY_ONE


def add_capacity(variables: Variables, objective: Objective) -> None:
    """Limit reservations per host and resource, and price an excess that may remain."""
    problem = variables.problem
    for h, guests in variables.guests.items():
        reserved = problem.reserved[problem.host_class[h]]
        at_home = problem.start == h
        fixed = reserved[variables.fixed == h].sum(axis=0)
        held = reserved[at_home | (variables.fixed == h)].sum(axis=0)
        fixed = np.where(problem.held, held, fixed)
        x = variables.on(h)
        for r in range(problem.capacity.shape[1]):
            amounts = reserved[guests, r]
            if problem.held[r]:
                amounts = np.where(at_home[guests], 0, amounts)
            limit, capacity = int(problem.reserved_limit[h, r]), int(problem.capacity[h, r])
            most = int(fixed[r] + amounts.sum())
            if most <= capacity:
                continue
            used = cp_model.LinearExpr.weighted_sum(x, amounts.tolist()) + int(fixed[r])
            variables.model.add(used <= limit)
            if limit > capacity:
                _price_excess(variables, objective, used, h, r)


def _price_excess(
    variables: Variables, objective: Objective, used: cp_model.LinearExpr, h: int, r: int
) -> None:
    """Price the excess as ``check.capacity_severity_ppm`` counts it: a step, then a slope."""
    problem, model = variables.problem, variables.model
    capacity, reference = int(problem.capacity[h, r]), int(problem.reference[r])
    largest = int(problem.reserved_limit[h, r]) - capacity
    broken = model.new_bool_var(f"overfull_{h}_{r}")
    excess = model.new_int_var(0, largest, f"excess_{h}_{r}")
    model.add(excess >= used - capacity)
    model.add(excess <= largest * broken)
    objective.add(broken, int(problem.broken_ppm[r]) * problem.repair_price)
    # The judge divides rounding down: the least whole number above (ppm - (reference - 1)) / ref.
    most_ppm = largest * SEVERITY_ONE // reference
    severity = model.new_int_var(0, most_ppm, f"severity_{h}_{r}")
    model.add(reference * severity >= SEVERITY_ONE * excess - (reference - 1))
    objective.add(severity, problem.repair_price, most_ppm)
