"""A plan as the store keeps it, written by hand so that no test has to wait for a solve."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any, Final

from service.inventory.clusters import put_cluster
from service.inventory.policies import ClusterSettings, DriverSettings
from service.plans.wishes import put_schedule
from service.store.base import KeptPlan, PlanStage
from solver.domain.plan import MoveCost, Plan, Step, StepKind
from solver.domain.result import MoveExplanation
from solver.domain.units import HostId, VmId
from solver.domain.weights import UNITS_PER_HOST_S
from solver.instances import plan_to_document
from tests.browser.served import ADMIN, CLUSTER, Served, present

PLAN_ID: Final = "20260302T120000-abc123"
NUM_STEPS: Final = 4


def keep_plan(served: Served, at: datetime) -> KeptPlan:
    """Let a service keep a proposed plan of four moves, two at once."""
    steps = tuple(_step(i) for i in range(NUM_STEPS))
    result = {
        "plan": plan_to_document(Plan(made_at=at, steps=steps)),
        "explanations": [_explained(step) for step in steps],
        "contention_before": [_contention(f"host-{i:03d}", 6 - i) for i in range(6)],
        "contention_after": [_contention(f"host-{i:03d}", 1) for i in range(6)],
        "refusals": [{"sentence": "host-005 stays hot: every VM on it cools down."}],
    }
    expected = {"without_host_s": 45.0, "with_host_s": 4.0, "saved_host_s": 41.0, "minutes": 60}
    kept = KeptPlan(
        id=PLAN_ID,
        cluster_id=CLUSTER,
        made_at=at,
        stage=PlanStage.PROPOSED,
        trigger="schedule",
        document={
            "reason": "host-001 is contended",
            "result": result,
            "expected": expected,
            "loads": [_loads(f"host-{i:03d}") for i in range(5)],
        },
    )
    with served.services.store.begin() as tx:
        return tx.plans.put(kept, expected_revision=0)


def let_act(served: Served) -> None:
    """Let plans of the cluster be carried out once they are approved."""
    settings = ClusterSettings(name="Example", driver=DriverSettings(kind="simulated"))
    wish = {"automation": "approve"}
    with served.services.store.begin() as tx:
        put_cluster(tx, ADMIN, CLUSTER, settings, expected_revision=None, now=present())
        put_schedule(tx, ADMIN, CLUSTER, wish, expected_revision=None, now=present())


def kept_plan(served: Served) -> KeptPlan:
    """Return the plan as it stands."""
    with served.services.store.begin(read_only=True) as tx:
        return tx.plans.get(CLUSTER, PLAN_ID)


def _explained(step: Step) -> dict[str, Any]:
    explanation = MoveExplanation(
        vm_id=step.vm_id,
        source_id=step.source_id,
        destination_id=step.destination_id,
        saved=12 * UNITS_PER_HOST_S,
        relieved=13 * UNITS_PER_HOST_S,
        cost=step.cost.total,
        repairs="",
        alternative_id=HostId("host-005"),
        alternative_loss=UNITS_PER_HOST_S,
        alternative_load=UNITS_PER_HOST_S // 4,
        alternative_move=UNITS_PER_HOST_S // 2,
        sentence=f"{step.source_id} would run short of CPU.",
    )
    return dataclasses.asdict(explanation)


def _loads(host: str) -> dict[str, Any]:
    before = {"p50": 0.8, "p95": 1.04}
    after = {"p50": 0.6, "p95": 0.87}
    return {
        "host_id": host,
        "before": {"cpu": before, "memory": before},
        "after": {"cpu": after, "memory": after},
    }


def _contention(host: str, host_s: int) -> dict[str, Any]:
    predicted = host_s * UNITS_PER_HOST_S
    return {
        "host_id": host,
        "current": 0,
        "predicted": predicted,
        "overload_ppm": 50_000 * host_s,
        "total": predicted,
    }


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
        cost=MoveCost(utilisation=10**7, transfer=3 * 10**8, downtime=10**8, latency=10**6),
    )
