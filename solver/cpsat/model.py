"""Composes the joint model, solves it, and says what the answer proves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from ortools.sat.python import cp_model

from solver.cpsat.objective import Objective, add_disruption, add_move_costs, add_shortfall
from solver.cpsat.rules.budget import add_budget
from solver.cpsat.rules.capacity import add_capacity
from solver.cpsat.rules.group import add_groups
from solver.cpsat.rules.place import add_places
from solver.cpsat.runs import bound_below, new_solver, stopped_when
from solver.cpsat.variables import Scope, Variables
from solver.problem import Problem

IntArray = npt.NDArray[np.int64]

HEAD_ROOM: Final = 2**60
"""Largest objective handed to CP-SAT unscaled; it adds terms in 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What CP-SAT found in a scope.

    Parameters
    ----------
    hosts
        Host position of every VM; ``None`` when nothing was found in time.
    gap
        No placement of the scope has a total lower than this one's by more, in cost units: 0 is
        proven best. ``None`` when nothing is known.
    work
        Deterministic seconds used.
    """

    hosts: IntArray | None
    gap: int | None
    work: float


def build(problem: Problem, scope: Scope) -> tuple[Variables, Objective]:
    """Return the variables of a new model with every rule added, and its objective, not yet set."""
    model = cp_model.CpModel()
    variables = Variables(model, problem, scope)
    objective = Objective()
    add_places(variables, objective)
    add_capacity(variables, objective)
    add_groups(variables, objective)
    add_budget(variables)
    add_shortfall(variables, objective)
    add_move_costs(variables, objective)
    add_disruption(variables, objective)
    return variables, objective


def optimise(
    problem: Problem,
    scope: Scope,
    *,
    limit_s: float,
    work_limit: float,
    seed: int,
    presolve: bool = True,
    cancel: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Return the best placement found in a scope, everything outside it left where it is.

    Deterministic for a seed and a work limit that ends before the wall limit does. Costs that
    would leave 64 bits are told apart more coarsely, prices rounded down; nothing is proven then.

    Parameters
    ----------
    limit_s, work_limit
        Wall and deterministic seconds; the work limit may be infinite.
    presolve
        See ``new_solver``.
    cancel
        Asked all the time; once true, the best so far is returned.
    """
    variables, objective = build(problem, scope)
    model = variables.model
    scale = max(1, math.ceil(objective.worst / HEAD_ROOM))
    objective.minimise(model, scale)
    variables.hint()
    solver = new_solver(limit_s=limit_s, work_limit=work_limit, seed=seed, presolve=presolve)
    with stopped_when(cancel, solver):
        status = solver.solve(model)
    if status in (cp_model.MODEL_INVALID, cp_model.INFEASIBLE):
        # The base is a solution and head room is kept, so only a wrong encoder gets here.
        raise RuntimeError(f"joint model {solver.status_name(status)}: {model.validate()}")
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    exact = found and scale == 1
    return Outcome(
        hosts=variables.placement(solver) if found else None,
        gap=_gap(solver, status) if exact else None,
        work=solver.response_proto.deterministic_time,
    )


def _gap(solver: cp_model.CpSolver, status: cp_model.CpSolverStatus) -> int:
    """Return the gap in whole units, rounded up by what floating point may have lost."""
    if status == cp_model.OPTIMAL:
        return 0
    return -bound_below(-solver.objective_value) - bound_below(solver.best_objective_bound)
