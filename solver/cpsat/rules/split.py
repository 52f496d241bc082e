"""Split: how many VMs of the smaller of two groups share each cell with the larger one."""

from __future__ import annotations

from ortools.sat.python import cp_model

from solver.cpsat.objective import Objective
from solver.cpsat.variables import Variables
from solver.problem import GroupRule


def add_split(variables: Variables, objective: Objective, rule: GroupRule) -> None:
    """Count, over cells, the smaller number of the two groups; limit or price the count."""
    model = variables.model
    sides = [variables.members(vms, rule.cell_of) for vms in (rule.vms, rule.others)]
    always = 0
    shared = []
    for cell in sorted({*sides[0].free, *sides[1].free}):
        here = [side.free.get(cell, []) for side in sides]
        fixed = [int(side.fixed[cell]) for side in sides]
        largest = min(len(x) + n for x, n in zip(here, fixed, strict=True))
        if not largest:
            continue
        always -= min(fixed)
        theirs = model.new_bool_var(f"theirs_{rule.rule_id}_{cell}")
        # The side that is counted is free to choose; the smaller one costs less.
        counted = list(zip(here, fixed, (theirs, ~theirs), strict=True))
        if rule.limit == 0:
            for x, n, is_counted in counted:
                for one in x:
                    model.add_implication(is_counted, ~one)
                if n:
                    model.add(is_counted == 0)
            continue
        count = model.new_int_var(0, largest, f"shared_{rule.rule_id}_{cell}")
        for x, n, is_counted in counted:
            model.add(count >= cp_model.LinearExpr.sum(x) + n).only_enforce_if(is_counted)
        shared.append(count)
        objective.add(count, rule.price, largest)
    if rule.limit is not None and shared:
        always += sum(
            min(a, b) for a, b in zip(sides[0].fixed.tolist(), sides[1].fixed.tolist(), strict=True)
        )
        model.add(cp_model.LinearExpr.sum(shared) <= rule.limit - always)
