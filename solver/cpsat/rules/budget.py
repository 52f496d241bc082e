"""Budgets: how many VMs one plan may migrate, in all and per host (in and out together)."""

from __future__ import annotations

import numpy as np
from ortools.sat.python import cp_model

from solver.cpsat.variables import Variables


def add_budget(variables: Variables) -> None:
    """Limit the migrations; those outside the scope have used a part already."""
    problem, model = variables.problem, variables.model
    moved = variables.moved()
    done = variables.fixed_moved()
    if problem.max_moves is not None:
        model.add(
            cp_model.LinearExpr.sum([x for _, _, x in moved]) + len(done) <= problem.max_moves
        )
    if problem.max_moves_per_host is None:
        return
    ends = np.concatenate([problem.start[done], variables.fixed[done]])
    used = np.bincount(ends, minlength=problem.num_hosts)
    at_host: dict[int, list[cp_model.IntVar]] = {}
    for v, h, x in moved:
        at_host.setdefault(h, []).append(x)
        at_host.setdefault(int(problem.start[v]), []).append(x)
    for h, ends_here in at_host.items():
        model.add(cp_model.LinearExpr.sum(ends_here) + int(used[h]) <= problem.max_moves_per_host)
