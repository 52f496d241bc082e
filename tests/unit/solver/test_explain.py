"""Sentences carry the figures, and name what blocks."""

from __future__ import annotations

from datetime import timedelta

import pytest

from solver.domain.cluster import VM, Cluster, HostState
from solver.domain.result import Result
from solver.domain.rules import AntiAffinity, Pin
from solver.domain.units import HostId, VmId
from solver.domain.weights import to_host_s
from solver.solve import SolveParams, solve
from tests.builders import NOW, make_cluster, make_host, make_scenarios, make_vm

V1 = VmId("v1")


def solved(cluster: Cluster, demand: dict[str, float]) -> Result:
    """Return the result within plenty of work."""
    return solve(cluster, make_scenarios(cluster, demand), SolveParams(work_limit=5.0))


def test_a_move_is_told_with_its_figures_and_its_runner_up() -> None:
    """Relief, saving, cost by terms and the next best destination, in host-seconds."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2"), make_host("h3")],
        [make_vm("v1", "h1", priority=3), make_vm("v2", "h1"), make_vm("v3", "h3")],
    )
    result = solved(cluster, {"v1": 6.0, "v2": 6.0, "v3": 2.0})
    (move,) = result.explanations
    assert (move.vm_id, move.source_id, move.destination_id) == ("v1", "h1", "h2")
    assert move.alternative_id == "h3"
    assert move.alternative_loss is not None
    assert move.alternative_loss > 0
    assert move.saved > move.cost > 0
    for part in (
        "VM 'v1' (priority 3) moves from 'h1' to 'h2'",
        f"saves {to_host_s(move.saved):.3g} host-s",
        f"costs {to_host_s(move.cost):.3g} host-s",
        "transfer",
        f"'h3', the next best, would be {to_host_s(move.alternative_loss):.3g} host-s worse",
    ):
        assert part in move.sentence
    (step,) = result.plan.steps
    assert step.reason == move.sentence
    assert step.cost.total == move.cost


def test_repair_and_start_are_told_as_such() -> None:
    """What is broken is named; a start has no source."""
    cluster = make_cluster(
        [make_host("h1", state=HostState.MAINTENANCE), make_host("h2")],
        [make_vm("v1", "h1"), make_vm("v2", None)],
    )
    by_vm = {move.vm_id: move.sentence for move in solved(cluster, {}).explanations}
    assert "repairs: host 'h1' is in maintenance and holds 1 VMs" in by_vm[V1]
    assert "no other destination is allowed" in by_vm[V1]
    assert "VM 'v2' (priority 5) is started on 'h2'" in by_vm[VmId("v2")]


def hot(vm: VM, *rules: object, memory_gib: float = 100) -> Result:
    """Return the result of a hot host with one VM beside an empty one."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2", memory_gib=memory_gib)],
        [vm, make_vm("other", "h2", memory_gib=2)],
        rules=rules,
    )
    return solved(cluster, {"v1": 12.0, "other": 9.0})


@pytest.mark.parametrize(
    ("more", "rules", "memory_gib", "expected"),
    [
        ({"not_migratable_reason": "passthrough"}, (), 100, "cannot be migrated (passthrough)"),
        ({"not_before_at": NOW + timedelta(hours=1)}, (), 100, "cools down"),
        ({}, (Pin(id="p", vm_ids=(V1,), host_ids=(HostId("h1"),)),), 100, "rules forbid the rest"),
        ({}, (), 5, "finds no room: memory_mib reserved on all 1 hosts"),
        (
            {},
            (AntiAffinity(id="a", vm_ids=(V1, VmId("other"))),),
            100,
            "held back by group rules or by the budget",
        ),
        ({}, (), 100, "the best single move left, VM 'v1' to 'h2', would cost"),
    ],
)
def test_a_host_left_hot_says_what_blocks(
    more: dict, rules: tuple, memory_gib: float, expected: str
) -> None:
    """One refusal per hot host, with the reason of its VMs."""
    result = hot(make_vm("v1", "h1", **more), *rules, memory_gib=memory_gib)
    (refusal,) = result.refusals
    assert refusal.subject == "h1"
    assert "host 'h1' stays contended" in refusal.sentence
    assert "overload probability 100 %" in refusal.sentence
    assert expected in refusal.sentence


def test_many_blocked_vms_are_counted_after_three() -> None:
    """The sentence stays one that can be read."""
    vms = [make_vm(f"v{i}", "h1", not_migratable_reason="local disk") for i in range(6)]
    cluster = make_cluster([make_host("h1"), make_host("h2")], vms)
    (refusal,) = solved(cluster, {vm.id: 3.0 for vm in vms}).refusals
    assert "VM 'v0', 'v1', 'v2' and 3 more cannot be migrated (local disk)" in refusal.sentence


def test_a_rule_left_broken_says_what_blocks() -> None:
    """An over-full frozen host stays so."""
    cluster = make_cluster(
        [make_host("h1", memory_gib=6, state=HostState.UNREACHABLE), make_host("h2")],
        [make_vm("v1"), make_vm("v2")],
    )
    (refusal,) = solved(cluster, {}).refusals
    assert refusal.subject == "capacity:h1:memory_mib"
    assert "8192 memory_mib reserved, at most 6144 fit" in refusal.sentence
    assert "host 'h1' is unreachable" in refusal.sentence


def test_very_large_answers_are_explained_without_looking_at_every_destination(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Figures stay; the next best destination, and what blocks, are left out and not made up."""
    monkeypatch.setattr("solver.explain.MOST_LOOKS", 1)
    cluster = make_cluster(
        [make_host(f"h{i}") for i in range(1, 5)],
        [make_vm("v1", "h1"), make_vm("v2", "h1"), make_vm("v3", "h2"), make_vm("v4", "h2")]
        + [make_vm(f"s{i}", "h3", not_migratable_reason="local disk") for i in range(3)],
    )
    demand = {"v1": 6.0, "v2": 6.0, "v3": 5.5, "v4": 5.5, "s0": 5.0, "s1": 5.0, "s2": 5.0}
    result = solved(cluster, demand)
    told = [move for move in result.explanations if move.alternative_id is not None]
    assert len(told) <= 1 <= len(result.explanations)
    (refusal,) = (item for item in result.refusals if item.subject == "h3")
    assert "VM 's0' cannot be migrated (local disk)" in refusal.sentence
    assert "VM 's1', 's2' may have somewhere to go: that was not looked into" in refusal.sentence
