"""Scatter: how many VMs of a group are away from its fullest cell (affinity, among)."""

from __future__ import annotations

from ortools.sat.python import cp_model

from solver.cpsat.objective import Objective
from solver.cpsat.variables import Members, Variables
from solver.problem import GroupRule


def add_scatter(variables: Variables, objective: Objective, rule: GroupRule) -> None:
    """Count the members that run outside the rule's fullest cell; limit or price the count."""
    model = variables.model
    members = variables.members(rule.vms, rule.cell_of)
    if rule.limit == 0 and not members.idle and members.running:
        _tie(variables, rule, members)
        return
    # Some cell is chosen; away from the fullest one are fewest, so that one is what counts.
    cells = sorted({*members.free, *(members.fixed > 0).nonzero()[0].tolist()})
    away = model.new_int_var(0, len(rule.vms), f"away_{rule.rule_id}")
    running = members.running - cp_model.LinearExpr.sum(members.idle)
    chosen = [model.new_bool_var(f"fullest_{rule.rule_id}_{cell}") for cell in cells]
    for cell, is_chosen in zip(cells, chosen, strict=True):
        here = cp_model.LinearExpr.sum(members.free.get(cell, [])) + int(members.fixed[cell])
        model.add(away >= running - here).only_enforce_if(is_chosen)
    if chosen:
        model.add_exactly_one(chosen)
    else:
        model.add(away >= running)
    if rule.limit is not None:
        model.add(away <= rule.limit)
    objective.add(away, rule.price, len(rule.vms))


def _tie(variables: Variables, rule: GroupRule, members: Members) -> None:
    """Put all members, which run whatever is decided, into one cell."""
    model = variables.model
    held = members.fixed.nonzero()[0].tolist()
    deciding = [v for v in rule.vms.tolist() if v in variables.free]
    in_cells = [variables.cells_of(v, rule.cell_of) for v in deciding]
    cells = held or sorted(in_cells[0])
    if held:
        chosen: list[cp_model.LinearExprT] = [1]
    else:
        chosen = [cp_model.LinearExpr.sum(in_cells[0][cell]) for cell in cells]
        in_cells = in_cells[1:]
        model.add(cp_model.LinearExpr.sum(chosen) == 1)
    for mine in in_cells:
        for cell, is_chosen in zip(cells, chosen, strict=True):
            model.add(cp_model.LinearExpr.sum(mine.get(cell, [])) == is_chosen)
