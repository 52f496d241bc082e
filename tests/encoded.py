"""What the joint model says about three VMs on three hosts, beside what the judge says."""

from __future__ import annotations

from ortools.sat.python import cp_model

from solver.compiler.compile import compile_problem
from solver.cpsat.model import build
from solver.cpsat.variables import Scope
from solver.domain.cluster import Cluster, HostState
from solver.domain.rules import PlacementRule
from solver.domain.score import score_placement
from solver.domain.units import HostId, VmId
from solver.domain.weights import Weights
from tests.builders import make_cluster, make_host, make_scenarios, make_vm

NAMES = ("v1", "v2", "v3")
ALL = tuple(VmId(name) for name in NAMES)
WEIGHTS = Weights()


def cost_of(cluster: Cluster, where: str) -> int | None:
    """Return the model's objective with VM i forced onto host ``where[i]``; ``None``: forbidden.

    ``-`` means nowhere.
    """
    problem = compile_problem(cluster, make_scenarios(cluster, dict.fromkeys(NAMES, 4.0)), WEIGHTS)
    scope = Scope.everything(problem, problem.start)
    variables, objective = build(problem, scope)
    for v, letter in enumerate(where):
        chosen = (
            variables.nowhere.get(v) if letter == "-" else variables.at.get((v, int(letter) - 1))
        )
        assert chosen is not None
        variables.model.add(chosen == 1)
    objective.minimise(variables.model, 1)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    status = solver.solve(variables.model)
    return round(solver.objective_value) if status == cp_model.OPTIMAL else None


def judged(cluster: Cluster, where: str) -> int:
    """Return the judge's total of the same placement."""
    placement = {
        vm.id: None if letter == "-" else HostId(f"h{letter}")
        for vm, letter in zip(cluster.vms, where, strict=True)
    }
    scenarios = make_scenarios(cluster, dict.fromkeys(NAMES, 4.0))
    return score_placement(cluster, scenarios, WEIGHTS, placement).total


def cluster_of(
    start: str, *rules: PlacementRule, memory_gib: float = 100, **more: object
) -> Cluster:
    """Return three VMs of 4 GiB on hosts ``start`` of three, the last in a zone of its own."""
    state = more.pop("state", HostState.UP)
    zones = {"h1": "a", "h2": "a", "h3": "b"}
    states = {"h3": state}
    hosts = [
        make_host(name, memory_gib=memory_gib, zone=zone, state=states.get(name, HostState.UP))
        for name, zone in zones.items()
    ]
    vms = [
        make_vm(name, None if letter == "-" else f"h{letter}", group="app")
        for name, letter in zip(NAMES, start, strict=True)
    ]
    return make_cluster(hosts, vms, rules=rules, **more)


def check(cluster: Cluster, start: str, where: str, *, allowed: bool) -> None:
    """Check that a placement is allowed or not, and that it costs what the judge says."""
    cost = cost_of(cluster, where)
    assert (cost is not None) == allowed
    if cost is not None:
        base = cost_of(cluster, start)
        assert base is not None
        assert cost - base == judged(cluster, where) - judged(cluster, start)
