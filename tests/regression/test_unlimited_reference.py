"""A cluster that left its hosts' CPU unlimited never moved a VM.

The reference host was taken to have a single millicore, so that the few cores which a migration
burns were thousands of hosts' worth, and the cheapest move cost more than the worst contention.
"""

from __future__ import annotations

import pytest

from solver.domain.score import score_placement
from solver.domain.units import HostId, VmId
from solver.domain.weights import TYPICAL_HOST, Weights, reference_amounts
from solver.params import SolveParams
from solver.solve import solve
from tests.builders import make_cluster, make_host, make_scenarios, make_vm


def test_a_host_short_of_memory_is_relieved_though_no_cpu_is_limited() -> None:
    """What a migration burns is part of a host of usual size."""
    hosts = [make_host(f"h{i}", cores=None, memory_gib=16) for i in (1, 2)]
    cluster = make_cluster(hosts, [make_vm("v1"), make_vm("v2")])
    scenarios = make_scenarios(cluster, {"v1": 2, "v2": 2}, memory_gib={"v1": 9, "v2": 9})
    result = solve(cluster, scenarios, SolveParams(work_limit=5.0))
    assert len(result.plan.steps) == 1
    assert result.after.contention == 0


def test_moves_cost_what_they_do_where_hosts_have_the_usual_size() -> None:
    """Saying nothing is like saying what is usual."""
    costs = []
    for cores in (None, TYPICAL_HOST.cpu_millicores / 1000):
        hosts = [make_host(f"h{i}", cores=cores, memory_gib=16) for i in (1, 2)]
        cluster = make_cluster(hosts, [make_vm("v1")])
        scenarios = make_scenarios(cluster, {"v1": 2})
        moved = score_placement(cluster, scenarios, Weights(), {VmId("v1"): HostId("h2")})
        costs.append(moved.transfer + moved.downtime + moved.latency)
    assert costs[0] == costs[1] > 0


@pytest.mark.parametrize("cores", [None, 0])
def test_hosts_that_limit_or_have_nothing_are_measured_by_a_usual_one(cores: float | None) -> None:
    """Neither tells how large hosts are."""
    cluster = make_cluster([make_host(cores=cores)], [])
    assert reference_amounts(cluster)[0] == TYPICAL_HOST.cpu_millicores
