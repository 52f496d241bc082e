"""Capacity: what is reserved on a host fits, or exceeds it by no more than at the start.

Of resources that are held, a VM keeps its share of the host it starts on wherever it goes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ortools.sat.python import cp_model

from solver.cpsat.objective import Objective
from solver.cpsat.variables import Variables
from solver.domain.check import SEVERITY_ONE
from solver.problem import IntArray, Problem


def add_capacity(variables: Variables, objective: Objective) -> None:
    """Limit reservations per host and resource, and price an excess that may remain."""
    problem = variables.problem
    for h, guests in variables.guests.items():
        reserved = problem.reserved[problem.host_class[h]]
        at_home = problem.start == h
        fixed = reserved[variables.fixed == h].sum(axis=0)
        held = reserved[at_home | (variables.fixed == h)].sum(axis=0)
        fixed = np.where(problem.held, held, fixed)
        amounts = np.where(problem.held & at_home[guests][:, None], 0, reserved[guests])
        limit_host(variables.model, objective, problem, h, variables.on(h), amounts, fixed)


def limit_host(
    model: cp_model.CpModel,
    objective: Objective,
    problem: Problem,
    h: int,
    x: Sequence[cp_model.IntVar],
    amounts: IntArray,
    fixed: IntArray,
) -> None:
    """Limit what is reserved on one host, and price its excess.

    Parameters
    ----------
    x, amounts
        Whether each of ``n`` VMs is there, and what it reserves then, shape ``(n, R)``.
    fixed
        What is reserved there in any case, shape ``(R,)``.
    """
    most = fixed + amounts.sum(axis=0)
    for r in np.flatnonzero(most > problem.capacity[h]).tolist():
        used = cp_model.LinearExpr.weighted_sum(x, amounts[:, r].tolist()) + int(fixed[r])
        limit = int(problem.reserved_limit[h, r])
        model.add(used <= limit)
        if limit > problem.capacity[h, r]:
            _price_excess(model, objective, problem, used, h, r)


def _price_excess(
    model: cp_model.CpModel,
    objective: Objective,
    problem: Problem,
    used: cp_model.LinearExpr,
    h: int,
    r: int,
) -> None:
    """Price the excess as ``check.capacity_severity_ppm`` counts it: a step, then a slope."""
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
