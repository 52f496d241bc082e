"""Small plans get better times than rules give them, and large or plain ones cost no more."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from solver.domain.check import check_plan
from solver.domain.cluster import Cluster
from solver.domain.migration import DEFAULT_MIGRATION
from solver.domain.rules import MoveBudget
from solver.domain.units import HostId, VmId
from solver.sequencing.admission import RestingRules, admit
from solver.sequencing.cycles import find_order
from solver.sequencing.optimal import improved
from solver.sequencing.order import sequence
from solver.sequencing.schedule import schedule
from solver.sequencing.state import Occupancy
from solver.sequencing.timed import Merit, TimedLeg, merit
from tests.builders import make_cluster, make_host, make_vm

Target = dict[VmId, HostId | None]


def both(
    cluster: Cluster, target: dict[str, str], urgency: dict[str, int]
) -> tuple[tuple[TimedLeg, ...], tuple[TimedLeg, ...]]:
    """Return the list schedule and the improved one."""
    placement = cluster.placement | {VmId(v): HostId(h) for v, h in target.items()}
    levels = {VmId(v): u for v, u in urgency.items()}
    resting = RestingRules(cluster, placement, levels)
    moves = admit(cluster, placement, levels, resting).moves
    start = Occupancy(cluster, {move.vm.id for move in moves})
    legs = find_order(cluster, start, moves, resting, DEFAULT_MIGRATION).legs
    listed = schedule(cluster, start, legs, DEFAULT_MIGRATION)
    return listed, improved(cluster, start, listed, DEFAULT_MIGRATION)


def crossing() -> tuple[Cluster, dict[str, str], dict[str, int]]:
    """Return a plan in which the move that rules put first keeps two links from two others."""
    cluster = make_cluster(
        [make_host(f"h{i}") for i in range(1, 5)],
        [
            make_vm("across", "h1", memory_gib=10),
            make_vm("left", "h1", memory_gib=12),
            make_vm("right", "h3", memory_gib=12),
        ],
    )
    target = {"across": "h2", "left": "h4", "right": "h2"}
    return cluster, target, {"across": 120, "left": 110, "right": 110}


def test_two_moves_beside_each_other_go_before_one_that_blocks_both() -> None:
    """Rules start the best single move; the best plan starts the two that it would block."""
    cluster, target, urgency = crossing()
    listed, better = both(cluster, target, urgency)
    assert "across" in {item.leg.move.vm.id for item in listed if item.start_ms == 0}
    assert {item.leg.move.vm.id for item in better if item.start_ms == 0} == {"left", "right"}
    assert merit(better) < merit(listed)
    answer = sequence(
        cluster,
        cluster.placement | {VmId(v): HostId(h) for v, h in target.items()},
        urgency={VmId(v): u for v, u in urgency.items()},
    )
    assert check_plan(cluster, answer.plan) == ()
    assert answer.merit == merit(better)


def test_the_same_plan_is_improved_the_same_way() -> None:
    """Work, not time, ends the search."""
    assert both(*crossing()) == both(*crossing())


def test_a_vm_waits_for_room_in_the_best_plan_too() -> None:
    """Capacity at both ends binds: what makes room goes first, urgent or not."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2", memory_gib=4), make_host("h3")],
        [make_vm("v1", "h1"), make_vm("v2", "h2"), make_vm("v3", "h1", memory_gib=30)],
    )
    _, better = both(cluster, {"v1": "h2", "v2": "h3", "v3": "h3"}, {"v1": 9, "v2": 1, "v3": 5})
    times = {item.leg.move.vm.id: item for item in better}
    assert times[VmId("v1")].start_ms >= times[VmId("v2")].end_ms


def test_merit_weighs_arrivals_by_urgency() -> None:
    """Parking brings no relief; VMs of an affinity group weigh as much as the most urgent."""
    ring = [make_host(f"h{i}", memory_gib=4) for i in (1, 2)]
    cluster = make_cluster(
        [*ring, make_host("spare")],
        [make_vm("v1", "h1"), make_vm("v2", "h2")],
        budget=MoveBudget(max_parallel=1),
    )
    placement: Target = {VmId("v1"): HostId("h2"), VmId("v2"): HostId("h1")}
    answer = sequence(cluster, placement, urgency={VmId("v1"): 2, VmId("v2"): 3})
    parking, second, third = answer.plan.steps
    weight = {"v1": 2, "v2": 3}
    assert parking.parking
    assert answer.merit == Merit(
        weighted_end=sum(weight[step.vm_id] * step.end_ms for step in (second, third)),
        makespan_ms=third.end_ms,
        sum_end_ms=parking.end_ms + second.end_ms + third.end_ms,
    )


def run(code: str) -> Any:
    """Return what Python prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_plans_that_cannot_be_better_do_not_load_the_library() -> None:
    """Moves on links of their own start at once with all of them: nothing is left to improve."""
    code = """
import sys
from solver.sequencing.order import sequence
from tests.builders import make_cluster, make_host, make_vm
hosts = [make_host(f"h{i}") for i in range(4)]
cluster = make_cluster(hosts, [make_vm("v1", "h0"), make_vm("v2", "h1")])
plan = sequence(cluster, {"v1": "h2", "v2": "h3"}, urgency={"v1": 1, "v2": 2}).plan
print(len(plan.steps), "ortools" in sys.modules)
"""
    assert run(code) == "2 False"
