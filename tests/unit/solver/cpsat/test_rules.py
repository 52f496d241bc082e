"""Encoders of what binds VMs one by one: places, capacities, budgets; and of what they cost."""

from __future__ import annotations

import pytest

from solver.domain.cluster import HostState
from solver.domain.rules import Ban, MoveBudget, Pin
from solver.domain.units import HostId
from tests.encoded import ALL, check, cluster_of


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
