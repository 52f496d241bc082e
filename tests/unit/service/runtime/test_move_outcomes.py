"""What single moves of a plan saved, by observed demand."""

from __future__ import annotations

import pytest

from service.runtime.move_outcomes import saved_by_vms
from solver.domain.cluster import Cluster
from solver.domain.plan import Plan, Step, StepKind
from solver.domain.plan_score import score_plan
from solver.domain.scenario import ScenarioSet
from solver.domain.units import HostId, VmId
from solver.domain.weights import Weights
from tests.builders import NOW, make_cluster, make_host, make_scenarios, make_vm


@pytest.fixture
def crowded() -> Cluster:
    """Six VMs of 4 cores, all on the first of three hosts of 12."""
    vms = [make_vm(f"v{i}", "h1", cores=4, memory_gib=4) for i in range(6)]
    return make_cluster([make_host(f"h{i}", cores=12) for i in (1, 2, 3)], vms)


def observed(cluster: Cluster) -> ScenarioSet:
    """Every VM wants all its cores, for an hour."""
    return make_scenarios(cluster, {vm.id: 4.0 for vm in cluster.vms}, step_seconds=300)


def move(vm: str, source: str | None, destination: str, *, at_s: int = 0) -> Step:
    """Return a move of 100 s, or a start."""
    return Step(
        kind=StepKind.START if source is None else StepKind.MIGRATE,
        vm_id=VmId(vm),
        source_id=None if source is None else HostId(source),
        destination_id=HostId(destination),
        start_ms=at_s * 1000,
        end_ms=(at_s + 100) * 1000,
    )


def plan(*steps: Step) -> Plan:
    """Return a plan of steps."""
    return Plan(made_at=NOW, steps=steps)


def test_the_only_move_saved_what_the_plan_saved(crowded: Cluster) -> None:
    """Part of a step counts as that part, as where whole plans are judged."""
    demand, alone = observed(crowded), plan(move("v0", "h1", "h2"))
    without, with_plan = score_plan(crowded, demand, Weights(), alone)
    assert with_plan < without
    # The split into parts rounds down.
    saved = saved_by_vms(crowded, demand, alone)
    assert saved == {"v0": pytest.approx(without - with_plan, abs=10)}


def test_each_move_is_judged_with_all_others_made(crowded: Cluster) -> None:
    """The fourth VM that leaves saves nothing: the host was relieved by the others."""
    steps = [move(f"v{i}", "h1", f"h{2 + i % 2}") for i in range(4)]
    saved = saved_by_vms(crowded, observed(crowded), plan(*steps))
    assert set(saved) == {"v0", "v1", "v2", "v3"}
    assert set(saved.values()) == {0}
    three = saved_by_vms(crowded, observed(crowded), plan(*steps[:3]))
    assert all(value > 0 for value in three.values())


def test_a_move_to_where_it_is_worse_has_cost(crowded: Cluster) -> None:
    """What a move saved may be less than nothing."""
    there = crowded.with_placement({vm.id: HostId("h2") for vm in crowded.vms})
    there = there.with_placement({**there.placement, VmId("v0"): HostId("h1")})
    saved = saved_by_vms(there, observed(there), plan(move("v0", "h1", "h2")))
    assert saved[VmId("v0")] < 0


def test_a_parked_vm_counts_from_its_last_arrival(crowded: Cluster) -> None:
    """It came from where its first step began; one that came back has saved nothing."""
    demand = observed(crowded)
    direct = saved_by_vms(crowded, demand, plan(move("v0", "h1", "h3", at_s=100)))
    parked = plan(move("v0", "h1", "h2"), move("v0", "h2", "h3", at_s=100))
    assert saved_by_vms(crowded, demand, parked) == direct
    back = plan(move("v0", "h1", "h2"), move("v0", "h2", "h1", at_s=100))
    assert saved_by_vms(crowded, demand, back) == {"v0": 0}


def test_starts_are_left_out(crowded: Cluster) -> None:
    """What not starting a VM would have saved is no question of placement."""
    stopped = crowded.with_placement({**crowded.placement, VmId("v0"): None})
    assert saved_by_vms(stopped, observed(stopped), plan(move("v0", None, "h2"))) == {}
