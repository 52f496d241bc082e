"""The judge that follows a plan from event to event finds exactly what a plain one finds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from solver.domain.check import (
    SEVERITY_ONE,
    check_elsewhere,
    check_moves,
    check_placement,
    check_plan,
)
from solver.domain.cluster import Cluster
from solver.domain.plan import Plan, Step, StepKind
from solver.domain.units import HostId, VmId
from tests import plain_check
from tests.builders import NOW
from tests.strategies import clusters


@st.composite
def plans(draw: st.DrawFn, cluster: Cluster) -> Plan:
    """Draw steps that connect but keep nothing else: any VM, anywhere, any time, in a hurry."""
    where = dict(cluster.placement)
    free_at: dict[VmId, int] = {}
    steps = []
    hosts = st.sampled_from([host.id for host in cluster.hosts])
    for _ in range(draw(st.integers(0, 8)) if cluster.vms else 0):
        vm = draw(st.sampled_from(cluster.vms))
        source_id, target_id = where[vm.id], draw(hosts)
        if source_id == target_id:
            continue
        start_ms = free_at.get(vm.id, 0) + 1000 * draw(st.integers(0, 3))
        rate = draw(st.sampled_from([50, 100, 2000]))
        least_ms = vm.memory_footprint_mib * 1000 // rate
        end_ms = start_ms + max(1, 1000 * -(-least_ms // 1000))
        steps.append(
            Step(
                kind=StepKind.START if source_id is None else StepKind.MIGRATE,
                vm_id=vm.id,
                source_id=source_id,
                destination_id=target_id,
                start_ms=start_ms,
                end_ms=end_ms,
                bandwidth_mib_per_s=0 if source_id is None else rate,
                transferred_mib=vm.memory_footprint_mib,
            )
        )
        where[vm.id], free_at[vm.id] = target_id, end_ms
    return Plan(made_at=NOW, steps=tuple(sorted(steps, key=lambda step: step.start_ms)))


@given(st.data())
def test_a_placement_is_as_broken_as_the_catalogue_says(data: st.DataObject) -> None:
    """Every kind of rule, hard or soft, and every fact of hosts and VMs."""
    cluster = data.draw(clusters(whole=True))
    places = st.sampled_from([None, *(host.id for host in cluster.hosts)])
    placement: dict[VmId, HostId | None] = {vm.id: data.draw(places) for vm in cluster.vms}
    violations = check_placement(cluster, placement)
    found = {violation.key: violation.amount for violation in violations}
    assert found == plain_check.amounts_at_rest(cluster, placement)
    assert len(found) == len(violations)
    for violation in violations:
        if violation.key[0] != "capacity":
            expected = violation.amount * SEVERITY_ONE if violation.hard else 0
            assert violation.severity_ppm == expected
        assert set(violation.vm_ids) <= {vm.id for vm in cluster.vms}
        assert violation.vm_ids or violation.key[0] == "licence_limit"


@settings(max_examples=200)
@given(st.data())
def test_a_plan_is_as_wrong_as_when_all_is_counted_anew_at_every_instant(
    data: st.DataObject,
) -> None:
    """The same keys, amounts and instants, however moves overlap and whatever was broken."""
    cluster = data.draw(clusters(max_hosts=4, max_vms=4, max_rules=6, whole=True))
    plan = data.draw(plans(cluster))
    found = {}
    for violation in check_plan(cluster, plan):
        at, _, rest = violation.message.partition(" ms: ")
        instant = int(at.removeprefix("at ")) if rest else None
        found[violation.key] = violation.amount, instant
    assert found == plain_check.replay(cluster, plan)


@given(st.data())
def test_elsewhere_a_vm_breaks_what_its_move_would_break_anew(data: st.DataObject) -> None:
    """For every host: what the move itself breaks, and what is worse at rest than it was."""
    cluster = data.draw(clusters(max_rules=6, whole=True).filter(lambda found: found.vms))
    vm = data.draw(st.sampled_from(cluster.vms))
    before = {v.key: v.amount for v in check_placement(cluster, cluster.placement)}
    found = check_elsewhere(cluster, vm.id)
    assert set(found) == {host.id for host in cluster.hosts} - {vm.host_id}
    for host_id, violations in found.items():
        there = {**cluster.placement, vm.id: host_id}
        expected = {v.key for v in check_moves(cluster, there) if v.key[-1] == vm.id}
        expected |= {
            v.key
            for v in check_placement(cluster, there)
            if v.amount > before.get(v.key, 0) and v.key[0] != "maintenance"
        }
        assert {v.key for v in violations} == expected
    assert dict(check_elsewhere(cluster, vm.id)) == dict(found)
