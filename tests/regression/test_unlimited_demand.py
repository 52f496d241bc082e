"""Demand for what no host limits is no reason to refuse a cluster."""

from __future__ import annotations

from dataclasses import replace

from solver.domain.result import SolveStatus
from solver.domain.units import MAX_AMOUNT, Resource
from solver.solve import solve
from tests.builders import make_cluster, make_host, make_scenarios, make_vm


def test_busy_disks_without_limits_are_fine() -> None:
    """They were priced as if they could go short, and refused as too large for 64 bits."""
    names = [f"v{i}" for i in range(40)]
    cluster = make_cluster([make_host("h1", memory_gib=400)], [make_vm(name) for name in names])
    scenarios = make_scenarios(cluster, dict.fromkeys(names, 0.1))
    demand = scenarios.demand.copy()
    demand[:, :, Resource.DISK_IO] = MAX_AMOUNT
    result = solve(cluster, replace(scenarios, demand=demand))
    assert result.status is SolveStatus.BELOW_THRESHOLD
