"""Pins, bans, maintenance and immovable VMs: where each VM may be, and what being there costs.

What is forbidden has no variable (the scope holds allowed destinations only); what is broken at
the start, or soft, is a price on the place.
"""

from __future__ import annotations

from solver.cpsat.objective import Objective
from solver.cpsat.variables import Variables


def add_places(variables: Variables, objective: Objective) -> None:
    """Price each VM being where a rule or maintenance does not want it, or nowhere."""
    problem = variables.problem
    for (v, h), x in variables.at.items():
        objective.add(x, int(problem.places.price_rows[problem.places.price_class[v], h]))
    for v, x in variables.nowhere.items():
        objective.add(x, int(problem.nowhere_prices[v]))
