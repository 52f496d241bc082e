"""The joint model against a plain judge, to the last unit, on compiled problems of every kind."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from ortools.sat.python import cp_model

from solver.cpsat.model import build
from solver.cpsat.variables import Scope
from solver.problem import NOWHERE, IntArray, Problem
from tests.compiled_problems import compiled_problems, plain_allowed, plain_total


def least_objective(problem: Problem, scope: Scope, hosts: IntArray) -> int | None:
    """Return the least objective with every VM of the scope put in place; ``None``: forbidden."""
    variables, objective = build(problem, scope)
    for v in scope.vms.tolist():
        h = int(hosts[v])
        chosen = variables.nowhere.get(v) if h == NOWHERE else variables.at.get((v, h))
        if chosen is None:
            return None
        variables.model.add(chosen == 1)
    objective.minimise(variables.model, 1)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    status = solver.solve(variables.model)
    assert status in (cp_model.OPTIMAL, cp_model.INFEASIBLE), variables.model.validate()
    return round(solver.objective_value) if status == cp_model.OPTIMAL else None


def scope_of(problem: Problem, rng: np.random.Generator, base: IntArray) -> Scope:
    """Return a scope of some of the VMs, around a base that is allowed."""
    everything = Scope.everything(problem, base)
    inside = rng.random(len(everything.vms)) < rng.choice([0.4, 1.0])
    return Scope(
        base=base, vms=everything.vms[inside], destinations=everything.destinations[inside]
    )


def somewhere(problem: Problem, rng: np.random.Generator, scope: Scope) -> IntArray:
    """Return the base with the VMs of the scope anywhere."""
    hosts = scope.base.copy()
    for v in scope.vms.tolist():
        idle = problem.start[v] == NOWHERE
        hosts[v] = rng.integers(NOWHERE if idle else 0, problem.num_hosts)
    return hosts


@given(compiled_problems(), st.integers(0, 2**32))
def test_what_is_allowed_and_what_it_costs_is_what_the_definitions_say(
    problem: Problem, seed: int
) -> None:
    """For any placement of the VMs of any scope around any allowed base."""
    rng = np.random.default_rng(seed)
    everything = Scope.everything(problem, problem.start)
    base = somewhere(problem, rng, everything)
    if not plain_allowed(problem, base):
        base = problem.start
    scope = scope_of(problem, rng, base)
    at_base = least_objective(problem, scope, base)
    assert at_base is not None
    for _ in range(4):
        hosts = somewhere(problem, rng, scope)
        cost = least_objective(problem, scope, hosts)
        assert (cost is not None) == plain_allowed(problem, hosts)
        if cost is not None:
            assert cost - at_base == plain_total(problem, hosts) - plain_total(problem, base)
