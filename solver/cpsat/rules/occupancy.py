"""Occupancy: how many cells more than allowed hold a VM of a group (licences)."""

from __future__ import annotations

from ortools.sat.python import cp_model

from solver.cpsat.objective import Objective
from solver.cpsat.variables import Variables
from solver.problem import GroupRule


def add_occupancy(variables: Variables, objective: Objective, rule: GroupRule) -> None:
    """Count the cells in use beyond the bound; limit or price the count."""
    model = variables.model
    members = variables.members(rule.vms, rule.cell_of)
    always = int((members.fixed > 0).sum())
    used = []
    for cell, here in members.free.items():
        if not members.fixed[cell]:
            is_used = model.new_bool_var(f"used_{rule.rule_id}_{cell}")
            for x in here:
                model.add_implication(x, is_used)
            used.append(is_used)
    room = max(0, rule.bound - always)
    if len(used) <= room:
        return
    if rule.limit == 0:
        model.add(cp_model.LinearExpr.sum(used) <= room)
        return
    largest = len(used) - room
    extra = model.new_int_var(0, largest, f"licences_{rule.rule_id}")
    model.add(extra >= cp_model.LinearExpr.sum(used) - room)
    if rule.limit is not None:
        model.add(extra <= rule.limit - max(0, always - rule.bound))
    objective.add(extra, rule.price, largest)
