"""Patterns put together: the cheapest placement that some of the known ones make."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from ortools.sat.python import cp_model

from solver.cpsat.judge import keeps, total_of
from solver.cpsat.master import Pattern
from solver.cpsat.runs import new_solver, stopped_when
from solver.problem import NOWHERE, BoolArray, IntArray, Problem


def assemble(
    problem: Problem,
    movable: BoolArray,
    patterns: Sequence[Pattern],
    *,
    limit_s: float,
    work_limit: float,
    seed: int,
    cancel: Callable[[], bool],
) -> tuple[IntArray | None, float]:
    """Return a placement made of one pattern for each host, and the deterministic seconds used.

    Rules beyond a host are not asked, only checked: ``None`` when what was found breaks some.
    """
    model = cp_model.CpModel()
    chosen = [model.new_bool_var("") for _ in patterns]
    by_host: dict[int, list[cp_model.IntVar]] = defaultdict(list)
    by_vm: dict[int, list[cp_model.IntVar]] = defaultdict(list)
    by_group: dict[int, list[tuple[cp_model.IntVar, int]]] = defaultdict(list)
    moves = []
    for pattern, x in zip(patterns, chosen, strict=True):
        by_host[pattern.host].append(x)
        for v in pattern.vms.tolist():
            by_vm[v].append(x)
        start = problem.start[pattern.vms]
        moved = pattern.vms[(start != pattern.host) & (start != NOWHERE)]
        moves.append(len(moved))
        groups = problem.app_group[moved]
        for g, n in zip(*np.unique(groups[groups >= 0], return_counts=True), strict=True):
            by_group[int(g)].append((x, int(n)))
    variables, prices = list(chosen), [pattern.cost for pattern in patterns]
    for alternatives in by_host.values():
        model.add_exactly_one(alternatives)
    for v in np.flatnonzero(movable).tolist():
        if problem.start[v] == NOWHERE:
            idle = model.new_bool_var("")
            by_vm[v].append(idle)
            variables.append(idle)
            prices.append(int(problem.nowhere_prices[v]))
        # More than once is put right below; it leaves more ways to put patterns together.
        model.add_bool_or(by_vm[v])
    most = model.new_int_var(0, problem.num_vms, "")
    variables.append(most)
    prices.append(problem.disruption_price)
    for counted in by_group.values():
        model.add(most >= cp_model.LinearExpr.weighted_sum(*map(list, zip(*counted, strict=True))))
    if problem.max_moves is not None:
        model.add(cp_model.LinearExpr.weighted_sum(chosen, moves) <= problem.max_moves)
    model.minimize(cp_model.LinearExpr.weighted_sum(variables, prices))
    solver = new_solver(limit_s=limit_s, work_limit=work_limit, seed=seed)
    with stopped_when(cancel, solver):
        status = solver.solve(model)
    work = solver.response_proto.deterministic_time
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None, work
    taken = [p for p, x in zip(patterns, chosen, strict=True) if solver.boolean_value(x)]
    return _placement(problem, taken), work


def _placement(problem: Problem, patterns: Sequence[Pattern]) -> IntArray | None:
    """Return patterns as a placement; of several hosts, a VM is left on the one that is best."""
    hosts = np.full(problem.num_vms, NOWHERE, dtype=np.int64)
    places: dict[int, list[int]] = defaultdict(list)
    for pattern in patterns:
        for v in pattern.vms.tolist():
            places[v].append(pattern.host)
        hosts[pattern.vms] = pattern.host
    for v, choices in places.items():
        if len(choices) > 1:
            candidates = []
            for h in choices:
                hosts[v] = h
                candidates.append((not keeps(problem, hosts), total_of(problem, hosts), h))
            hosts[v] = min(candidates)[2]
    return hosts if keeps(problem, hosts) else None
