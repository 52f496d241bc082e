"""Crowding: how many VMs of a group cells hold beyond a bound (anti-affinity, host limits)."""

from __future__ import annotations

import numpy as np
from ortools.sat.python import cp_model

from solver.cpsat.objective import Objective
from solver.cpsat.variables import Variables
from solver.problem import GroupRule


def add_crowding(variables: Variables, objective: Objective, rule: GroupRule) -> None:
    """Count, over cells, the members beyond the bound; limit or price the count."""
    model = variables.model
    members = variables.members(rule.vms, rule.cell_of)
    extras = []
    for cell, here in members.free.items():
        fixed = int(members.fixed[cell])
        room = max(0, rule.bound - fixed)
        if len(here) <= room:
            continue
        if rule.limit == 0:
            if room == 1:
                model.add_at_most_one(here)
            else:
                model.add_linear_constraint(cp_model.LinearExpr.sum(here), 0, room)
            continue
        largest = len(here) - room
        extra = model.new_int_var(0, largest, f"crowd_{rule.rule_id}_{cell}")
        model.add(extra >= cp_model.LinearExpr.sum(here) - room)
        extras.append(extra)
        objective.add(extra, rule.price, largest)
    if rule.limit is not None and extras:
        always = int(np.maximum(0, members.fixed - rule.bound).sum())
        model.add(cp_model.LinearExpr.sum(extras) <= rule.limit - always)
