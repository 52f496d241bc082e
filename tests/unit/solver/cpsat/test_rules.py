"""Each encoder alone: a placement forced into the model is allowed or not, at the judge's price."""

from __future__ import annotations

import pytest
from ortools.sat.python import cp_model

from solver.compiler.compile import compile_problem
from solver.cpsat.model import build
from solver.cpsat.variables import Scope
from solver.domain.cluster import Cluster, HostState
from solver.domain.rules import Affinity, AntiAffinity, Ban, MoveBudget, Pin, PlacementRule
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
    variables, objective = build(problem, scope, problem.future)
    for v, letter in enumerate(where):
        chosen = variables.nowhere.get(v) if letter == "-" else variables.is_at(v, int(letter) - 1)
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
    """Return three VMs of 4 GiB on hosts ``start`` of three."""
    state = more.pop("state", HostState.UP)
    hosts = [make_host(f"h{i}", memory_gib=memory_gib) for i in (1, 2)]
    vms = [
        make_vm(name, None if letter == "-" else f"h{letter}", group="app")
        for name, letter in zip(NAMES, start, strict=True)
    ]
    return make_cluster(
        [*hosts, make_host("h3", memory_gib=memory_gib, state=state)], vms, rules=rules, **more
    )


def check(cluster: Cluster, start: str, where: str, *, allowed: bool) -> None:
    """Check that a placement is allowed or not, and that it costs what the judge says."""
    cost = cost_of(cluster, where)
    assert (cost is not None) == allowed
    if cost is not None:
        base = cost_of(cluster, start)
        assert base is not None
        assert cost - base == judged(cluster, where) - judged(cluster, start)


@pytest.mark.parametrize(("where", "allowed"), [("111", True), ("222", True), ("112", False)])
def test_affinity(where: str, allowed: bool) -> None:
    """Hard: all on one host."""
    check(cluster_of("111", Affinity(id="r", vm_ids=ALL)), "111", where, allowed=allowed)


@pytest.mark.parametrize(("where", "allowed"), [("112", True), ("111", True), ("123", False)])
def test_affinity_broken_at_the_start(where: str, allowed: bool) -> None:
    """One VM away may stay away; two may not."""
    check(cluster_of("112", Affinity(id="r", vm_ids=ALL)), "112", where, allowed=allowed)


@pytest.mark.parametrize("where", ["111", "112", "123"])
def test_soft_affinity(where: str) -> None:
    """Nothing is forbidden, each VM away is priced."""
    rule = Affinity(id="r", vm_ids=ALL, penalty_host_s=3.0)
    check(cluster_of("111", rule), "111", where, allowed=True)


@pytest.mark.parametrize(("where", "allowed"), [("--1", True), ("1-1", True), ("2-1", False)])
def test_affinity_with_vms_to_start(where: str, allowed: bool) -> None:
    """VMs that run nowhere are not away from the others until they are started."""
    check(cluster_of("--1", Affinity(id="r", vm_ids=ALL)), "--1", where, allowed=allowed)


@pytest.mark.parametrize(("where", "allowed"), [("123", True), ("312", True), ("113", False)])
def test_anti_affinity(where: str, allowed: bool) -> None:
    """Hard: no two on one host."""
    check(cluster_of("123", AntiAffinity(id="r", vm_ids=ALL)), "123", where, allowed=allowed)


@pytest.mark.parametrize(("where", "allowed"), [("122", True), ("123", True), ("111", False)])
def test_anti_affinity_broken_at_the_start(where: str, allowed: bool) -> None:
    """As many too many as at the start, on whichever host."""
    check(cluster_of("113", AntiAffinity(id="r", vm_ids=ALL)), "113", where, allowed=allowed)


@pytest.mark.parametrize("where", ["123", "113", "222"])
def test_soft_anti_affinity(where: str) -> None:
    """Each VM beyond the first of a host is priced."""
    rule = AntiAffinity(id="r", vm_ids=ALL, penalty_host_s=3.0)
    check(cluster_of("123", rule), "123", where, allowed=True)


@pytest.mark.parametrize(("where", "allowed"), [("112", True), ("222", False), ("122", True)])
def test_capacity(where: str, allowed: bool) -> None:
    """Two VMs of 4 GiB fit 9 GiB, three do not."""
    check(cluster_of("112", memory_gib=9), "112", where, allowed=allowed)


@pytest.mark.parametrize(("where", "allowed"), [("111", True), ("112", True), ("222", False)])
def test_capacity_exceeded_at_the_start(where: str, allowed: bool) -> None:
    """Excess may stay where it is, at its price, and comes up nowhere else."""
    check(cluster_of("111", memory_gib=9), "111", where, allowed=allowed)


@pytest.mark.parametrize("kind", [Pin, Ban])
def test_soft_and_broken_host_rules_are_priced(kind: type[Pin] | type[Ban]) -> None:
    """A place that a rule does not want costs what the judge says, whether soft or broken."""
    named = (HostId("h2"),) if kind is Pin else (HostId("h1"),)
    soft = kind(id="s", vm_ids=ALL[:2], host_ids=named, penalty_host_s=3.0)
    broken = kind(id="b", vm_ids=ALL[2:], host_ids=named)
    for where in ("111", "213", "222"):
        check(cluster_of("111", soft, broken), "111", where, allowed=True)


def test_maintenance_is_priced_until_it_is_left() -> None:
    """Each VM that leaves saves its share."""
    cluster = cluster_of("331", state=HostState.MAINTENANCE)
    for where in ("331", "131", "111"):
        check(cluster, "331", where, allowed=True)


@pytest.mark.parametrize(
    ("budget", "where", "allowed"),
    [
        (MoveBudget(max_moves=1), "112", True),
        (MoveBudget(max_moves=1), "122", False),
        (MoveBudget(max_moves_per_host=1), "112", True),
        (MoveBudget(max_moves_per_host=1), "123", False),
        (MoveBudget(max_moves=0), "111", True),
    ],
)
def test_budgets(budget: MoveBudget, where: str, allowed: bool) -> None:
    """Moves in all, and in and out of one host together."""
    check(cluster_of("111", budget=budget), "111", where, allowed=allowed)


@pytest.mark.parametrize("where", ["111", "112", "123", "222"])
def test_contention_moves_and_disruption_cost_what_the_judge_says(where: str) -> None:
    """The objective without any rule: 4 cores each on hosts of 10."""
    check(cluster_of("111"), "111", where, allowed=True)
