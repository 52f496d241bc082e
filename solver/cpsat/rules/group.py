"""Which encoder counts which rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from solver.cpsat.objective import Objective
from solver.cpsat.rules.crowding import add_crowding
from solver.cpsat.rules.dependence import add_dependence
from solver.cpsat.rules.occupancy import add_occupancy
from solver.cpsat.rules.scatter import add_scatter
from solver.cpsat.rules.split import add_split
from solver.cpsat.rules.spread import add_spread
from solver.cpsat.variables import Variables
from solver.problem import Count, GroupRule

ENCODERS: Final[Mapping[Count, Callable[[Variables, Objective, GroupRule], None]]] = {
    Count.CROWDING: add_crowding,
    Count.SCATTER: add_scatter,
    Count.SPREAD: add_spread,
    Count.OCCUPANCY: add_occupancy,
    Count.DEPENDENCE: add_dependence,
    Count.SPLIT: add_split,
}


def add_groups(variables: Variables, objective: Objective) -> None:
    """Add every group rule that names a VM of the scope; the others are as they are."""
    problem = variables.problem
    concerned = {i for v in variables.free for i in problem.rules_of_vm.get(v, ())}
    for i in sorted(concerned):
        rule = problem.group_rules[i]
        ENCODERS[rule.count](variables, objective, rule)
