"""A plan as the store keeps it, written by hand so that no test has to wait for a solve."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from service.store.base import KeptPlan, PlanStage
from solver.domain.plan import Plan, Step, StepKind
from solver.domain.units import HostId, VmId
from solver.instances import plan_to_document
from tests.browser.served import CLUSTER, Served

PLAN_ID: Final = "20260302T120000-abc123"
NUM_STEPS: Final = 4


def keep_plan(served: Served, at: datetime) -> KeptPlan:
    """Let a service keep a proposed plan of four moves, two at once."""
    steps = tuple(_step(i) for i in range(NUM_STEPS))
    result = {
        "plan": plan_to_document(Plan(made_at=at, steps=steps)),
        "explanations": [
            {"vm_id": step.vm_id, "sentence": f"{step.source_id} would run short of CPU."}
            for step in steps
        ],
        "refusals": [{"sentence": "host-005 stays hot: every VM on it cools down."}],
    }
    expected = {"without_host_s": 45.0, "with_host_s": 4.0, "saved_host_s": 41.0, "minutes": 60}
    kept = KeptPlan(
        id=PLAN_ID,
        cluster_id=CLUSTER,
        made_at=at,
        stage=PlanStage.PROPOSED,
        trigger="schedule",
        document={"reason": "host-001 is contended", "result": result, "expected": expected},
    )
    with served.services.store.begin() as tx:
        return tx.plans.put(kept, expected_revision=0)


def kept_plan(served: Served) -> KeptPlan:
    """Return the plan as it stands."""
    with served.services.store.begin(read_only=True) as tx:
        return tx.plans.get(CLUSTER, PLAN_ID)


def _step(i: int) -> Step:
    return Step(
        kind=StepKind.MIGRATE,
        vm_id=VmId(f"vm-{i:05d}"),
        source_id=HostId(f"host-{i:03d}"),
        destination_id=HostId(f"host-{i + 1:03d}"),
        start_ms=4000 * (i // 2),
        end_ms=4000 * (i // 2) + 3000,
        bandwidth_mib_per_s=500,
        transferred_mib=1500,
        downtime_ms=100,
    )
