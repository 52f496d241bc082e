"""Plans as the store keeps them, made by a real solve of a crowded cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from service.plans.document import made_document
from service.store.base import KeptPlan, PlanStage
from solver.domain.cluster import Cluster
from solver.params import SolveParams
from solver.solve import solve
from tests.builders import make_cluster, make_host, make_scenarios, make_vm

PLAN_ID = "20260302T120000-abc123"


def crowded_host(num_vms: int = 6) -> Cluster:
    """Return a cluster whose first host holds all VMs and is too small for them."""
    vms = [
        replace(make_vm(f"v{i}", "h1", cores=4, memory_gib=4), memory_footprint_mib=3072)
        for i in range(num_vms)
    ]
    return make_cluster([make_host(f"h{i}", cores=2 * num_vms) for i in (1, 2, 3)], vms)


def make_kept(
    cluster: Cluster,
    *,
    cluster_id: str = "c1",
    stage: PlanStage = PlanStage.PROPOSED,
    made_at: datetime | None = None,
) -> KeptPlan:
    """Return a plan for a crowded cluster, of several steps."""
    demand = {str(vm.id): 4.0 for vm in cluster.vms}
    result = solve(cluster, make_scenarios(cluster, demand), SolveParams(engine="greedy"))
    assert len(result.plan.steps) >= 2
    document = made_document(
        result, reason="too full", automation="approve", forecaster="test", expected=None
    )
    return KeptPlan(
        id=PLAN_ID,
        cluster_id=cluster_id,
        made_at=made_at or result.plan.made_at,
        stage=stage,
        trigger="schedule",
        document=document,
    )
