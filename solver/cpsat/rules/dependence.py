"""Dependence: how many cells hold a VM of a group and none of the group it depends on."""

from __future__ import annotations

from ortools.sat.python import cp_model

from solver.cpsat.objective import Objective
from solver.cpsat.variables import Variables
from solver.problem import GroupRule


def add_dependence(variables: Variables, objective: Objective, rule: GroupRule) -> None:
    """Count the cells with members and without others; limit or price the count."""
    model = variables.model
    members = variables.members(rule.vms, rule.cell_of)
    others = variables.members(rule.others, rule.cell_of)
    always = int(((members.fixed > 0) & (others.fixed == 0)).sum())
    alone = []
    for cell in sorted({*members.free, *others.free}):
        if others.fixed[cell]:
            continue
        theirs = others.free.get(cell, [])
        if members.fixed[cell]:
            always -= 1
            ours: list[cp_model.IntVar | None] = [None]
        else:
            ours = [*members.free.get(cell, [])]
        if not ours:
            continue
        is_alone: list[cp_model.IntVar] = []
        if rule.limit != 0:
            is_alone.append(model.new_bool_var(f"alone_{rule.rule_id}_{cell}"))
        for x in ours:
            model.add_bool_or(*theirs, *is_alone, *(() if x is None else (~x,)))
        alone.extend(is_alone)
    if rule.limit is not None and alone:
        model.add(cp_model.LinearExpr.sum(alone) <= rule.limit - always)
    for is_alone_here in alone:
        objective.add(is_alone_here, rule.price)
