"""How loaded a plan leaves hosts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.runtime.plan_loads import predicted_loads
from solver.domain.plan import Plan, Step, StepKind
from solver.domain.units import HostId, VmId
from tests.builders import NOW, make_cluster, make_host, make_scenarios, make_vm

MOVE = Step(
    kind=StepKind.MIGRATE,
    vm_id=VmId("v0"),
    source_id=HostId("h1"),
    destination_id=HostId("h3"),
    start_ms=0,
    end_ms=1000,
)


def test_peaks_without_and_with_the_plan() -> None:
    """Of the hosts it touches alone: the highest step, by median and 95th percentile of futures."""
    vms = [make_vm(f"v{i}", "h1" if i < 2 else "h2", cores=4, memory_gib=4) for i in range(3)]
    cluster = make_cluster([make_host(f"h{i}", cores=10) for i in (1, 2, 3)], vms)
    paths = make_scenarios(
        cluster,
        {"v0": [[1, 2], [1, 6]], "v1": [[3, 3], [3, 3]], "v2": [[4, 4], [4, 4]]},
        num_steps=2,
    )
    found = {item["host_id"]: item for item in predicted_loads(cluster, paths, plan(MOVE))}
    assert set(found) == {"h1", "h3"}
    assert found["h1"]["before"]["cpu"] == {"p50": pytest.approx(0.7), "p95": pytest.approx(0.88)}
    assert found["h1"]["after"]["cpu"] == {"p50": pytest.approx(0.3), "p95": pytest.approx(0.3)}
    assert found["h3"]["before"]["cpu"]["p95"] == 0.0
    assert found["h3"]["after"]["cpu"] == {"p50": pytest.approx(0.4), "p95": pytest.approx(0.58)}
    assert set(found["h1"]["before"]) == {"cpu", "memory"}


def test_the_order_of_futures_does_not_matter() -> None:
    """VMs are found by their names, and a plan without moves touches nothing."""
    cluster = make_cluster(
        [make_host(f"h{i}", cores=10) for i in (1, 2, 3)],
        [make_vm("v0", "h1", cores=4), make_vm("v1", "h2", cores=4)],
    )
    paths = make_scenarios(cluster, {"v0": 2.0, "v1": 5.0})
    turned = replace(paths, vm_ids=paths.vm_ids[::-1], demand=paths.demand[:, ::-1])
    assert predicted_loads(cluster, turned, plan(MOVE)) == predicted_loads(
        cluster, paths, plan(MOVE)
    )
    assert predicted_loads(cluster, paths, plan()) == []


def plan(*steps: Step) -> Plan:
    """Return a plan of steps."""
    return Plan(made_at=NOW, steps=steps)
