"""Spread: how many cells fewer than wanted hold a VM of a group."""

from __future__ import annotations

from ortools.sat.python import cp_model

from solver.cpsat.objective import Objective
from solver.cpsat.variables import Variables
from solver.problem import GroupRule


def add_spread(variables: Variables, objective: Objective, rule: GroupRule) -> None:
    """Count the cells missing from the bound, or from as many as members run if those are fewer."""
    model = variables.model
    members = variables.members(rule.vms, rule.cell_of)
    always = int((members.fixed > 0).sum())
    least_running = members.running - len(members.idle)
    if always >= min(rule.bound, members.running):
        return
    reached = []
    for cell, here in members.free.items():
        if not members.fixed[cell]:
            is_reached = model.new_bool_var(f"reached_{rule.rule_id}_{cell}")
            model.add_bool_or(*here, ~is_reached)
            reached.append(is_reached)
    most = min(rule.bound, members.running) - always
    missing = model.new_int_var(0, most, f"missing_{rule.rule_id}")
    occupied = cp_model.LinearExpr.sum(reached) + always
    if least_running >= rule.bound:
        model.add(missing >= rule.bound - occupied)
    else:
        # Either number may be what is missed; the smaller one costs less, so that it is chosen.
        enough = model.new_bool_var(f"enough_{rule.rule_id}")
        running = members.running - cp_model.LinearExpr.sum(members.idle)
        model.add(missing >= rule.bound - occupied).only_enforce_if(enough)
        model.add(missing >= running - occupied).only_enforce_if(~enough)
    if rule.limit is not None:
        model.add(missing <= rule.limit)
    objective.add(missing, rule.price, most)
