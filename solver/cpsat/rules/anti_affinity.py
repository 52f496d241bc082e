"""Anti-affinity: no two of the VMs share a host; hard, or a price for each one too many."""

from __future__ import annotations

from ortools.sat.python import cp_model

from solver.cpsat.objective import Objective
from solver.cpsat.variables import Variables
from solver.problem import GroupRule


def add_anti_affinity(variables: Variables, objective: Objective, rule: GroupRule) -> None:
    """Count, over hosts, the VMs beyond the first; limit or price the count."""
    model = variables.model
    crowding = []
    fixed_crowding = 0
    for h in range(variables.problem.num_hosts):
        there, fixed = variables.members_on(rule.vms, h)
        fixed_crowding += max(0, fixed - 1)
        if not there or len(there) + fixed < 2:
            continue
        if rule.limit == 0:
            model.add_at_most_one(there) if not fixed else model.add(
                cp_model.LinearExpr.sum(there) == 0
            )
            continue
        largest = len(there) + fixed - 1 - max(0, fixed - 1)
        extra = model.new_int_var(0, largest, f"crowd_{rule.rule_id}_{h}")
        model.add(extra >= cp_model.LinearExpr.sum(there) + min(fixed, 1) - 1)
        crowding.append(extra)
        objective.add(extra, rule.price, largest)
    if rule.limit is not None and crowding:
        model.add(cp_model.LinearExpr.sum(crowding) + fixed_crowding <= rule.limit)
