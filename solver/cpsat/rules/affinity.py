"""Affinity: VMs that run share one host; hard, or a price for each one away from the rest."""

from __future__ import annotations

from ortools.sat.python import cp_model

from solver.cpsat.objective import Objective
from solver.cpsat.variables import Variables
from solver.problem import NOWHERE, GroupRule


def add_affinity(variables: Variables, objective: Objective, rule: GroupRule) -> None:
    """Count the VMs away from the rule's fullest host; limit or price the count."""
    problem, model = variables.problem, variables.model
    members = rule.vms.tolist()
    free = [v for v in members if v in variables.free]
    if not free:
        return
    if rule.limit == 0 and _all_run(variables, members):
        _tie(variables, rule)
        return
    # The fullest host is chosen, so that the count is of VMs elsewhere: away >= placed - there.
    hosts = [h for h in range(problem.num_hosts) if any((v, h) in variables.at for v in members)]
    hosts += [h for h in set(variables.fixed[rule.vms].tolist()) - set(hosts) if h != NOWHERE]
    if not hosts:
        return
    away = model.new_int_var(0, len(members), f"away_{rule.rule_id}")
    idle = cp_model.LinearExpr.sum([variables.nowhere[v] for v in free if v in variables.nowhere])
    stopped = sum(1 for v in members if v not in variables.free and variables.fixed[v] == NOWHERE)
    placed = len(members) - stopped - idle
    fullest = []
    for h in sorted(hosts):
        there, fixed = variables.members_on(rule.vms, h)
        chosen = model.new_bool_var(f"fullest_{rule.rule_id}_{h}")
        away_if = placed - cp_model.LinearExpr.sum(there) - fixed
        model.add(away >= away_if).only_enforce_if(chosen)
        fullest.append(chosen)
    model.add_exactly_one(fullest)
    if rule.limit is not None:
        model.add(away <= rule.limit)
    objective.add(away, rule.price, len(members))


def _all_run(variables: Variables, members: list[int]) -> bool:
    """Whether each member is on a host whatever is decided."""
    return all(
        v not in variables.nowhere if v in variables.free else variables.fixed[v] != NOWHERE
        for v in members
    )


def _tie(variables: Variables, rule: GroupRule) -> None:
    """Make every member be where the first one is."""
    first, *others = rule.vms.tolist()
    for h in range(variables.problem.num_hosts):
        leader = variables.is_at(first, h)
        for v in others:
            follower = variables.is_at(v, h)
            if isinstance(leader, int) and isinstance(follower, int):
                continue
            variables.model.add(leader == follower)
