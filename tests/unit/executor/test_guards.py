"""The last check before a step starts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from executor.guards import Decision, judge_step
from solver.domain.cluster import Cluster, HostState
from solver.domain.plan import Step
from solver.domain.rules import Affinity, AntiAffinity, Ban, MoveBudget, Pin, Split
from solver.domain.units import HostId, VmId
from tests.builders import NOW, make_cluster, make_host, make_vm
from tests.executor_builders import migrate, start

V1, V2, V3 = (VmId(name) for name in ("v1", "v2", "v3"))
H1, H2, H3 = (HostId(name) for name in ("h1", "h2", "h3"))
STEP = migrate("v1", "h1", "h2")


def cluster(**more: Any) -> Cluster:
    """Return three hosts of 10 GiB: two VMs of 4 GiB on h1, one on h2, one to be started."""
    hosts = more.pop("hosts", [make_host(name, memory_gib=10) for name in ("h1", "h2", "h3")])
    vms = more.pop("vms", [make_vm("v1"), make_vm("v2"), make_vm("v3", "h2"), make_vm("v4", None)])
    return make_cluster(hosts, vms, **more)


def decide(
    live: Cluster,
    step: Step = STEP,
    under_way: tuple[Step, ...] = (),
    to_come: tuple[Step, ...] = (),
) -> tuple[Decision, str]:
    """Return decision and reason."""
    verdict = judge_step(live, step, under_way, to_come)
    return verdict.decision, verdict.reason


def test_a_step_that_breaks_nothing_proceeds() -> None:
    """Migrations and starts."""
    assert decide(cluster()) == (Decision.PROCEED, "")
    assert decide(cluster(), start("v4", "h3")) == (Decision.PROCEED, "")


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (migrate("ghost", "h1", "h2"), "does not exist any more"),
        (migrate("v1", "h1", "ghost"), "'ghost' does not exist any more"),
        (migrate("v3", "h1", "h2"), "already on 'h2'"),
        (migrate("v1", "h2", "h3"), "is on 'h1', expected on 'h2'"),
        (migrate("v4", "h1", "h3"), "runs nowhere, expected on 'h1'"),
        (start("v1", "h3"), "is on 'h1', expected nowhere"),
    ],
)
def test_a_step_that_the_world_has_overtaken_is_skipped(step: Step, reason: str) -> None:
    """Somebody else moved, ended or started the VM: that is no error, and says so."""
    decision, told = decide(cluster(), step)
    assert decision is Decision.SKIP
    assert reason in told


def test_what_cannot_be_migrated_is_skipped() -> None:
    """A device was passed through after the plan was made."""
    live = cluster(vms=[make_vm("v1", not_migratable_reason="passthrough")])
    assert decide(live)[0] is Decision.SKIP


@pytest.mark.parametrize("end", [0, 1])
def test_a_silent_host_is_waited_for(end: int) -> None:
    """At either end."""
    hosts = [make_host(name) for name in ("h1", "h2")]
    hosts[end] = replace(hosts[end], state=HostState.UNREACHABLE)
    live = cluster(hosts=hosts, vms=[make_vm("v1")])
    assert decide(live)[0] is Decision.WAIT_FOR_HOST


def test_a_host_put_into_maintenance_takes_nobody_in() -> None:
    """It is to be emptied; nothing the plan does changes that."""
    hosts = [make_host("h1"), make_host("h2", state=HostState.MAINTENANCE)]
    assert decide(cluster(hosts=hosts, vms=[make_vm("v1")]))[0] is Decision.SKIP


def test_room_is_counted_with_what_is_under_way() -> None:
    """Two VMs of 4 GiB fit beside one on 10 GiB one at a time only."""
    coming = migrate("v2", "h1", "h2")
    assert decide(cluster(), STEP)[0] is Decision.PROCEED
    decision, reason = decide(cluster(), STEP, (coming,))
    assert decision is Decision.WAIT_FOR_ROOM
    assert "h2" in reason


def test_what_was_broken_before_is_not_held_against_a_step() -> None:
    """Leaving an over-committed host is how it is repaired."""
    live = cluster(vms=[make_vm("v1"), make_vm("v2"), make_vm("v3")])
    assert decide(live)[0] is Decision.PROCEED


@pytest.mark.parametrize(
    ("rule", "decision"),
    [
        (AntiAffinity(id="r", vm_ids=(V1, V3)), Decision.WAIT_FOR_ROOM),
        (Pin(id="r", vm_ids=(V1,), host_ids=(H1, H3)), Decision.SKIP),
        (Ban(id="r", vm_ids=(V1,), host_ids=(H2,)), Decision.SKIP),
        (AntiAffinity(id="r", vm_ids=(V1, V3), penalty_host_s=1.0), Decision.PROCEED),
    ],
)
def test_rules_hold_just_before_the_start(rule: Any, decision: Decision) -> None:
    """Anti-affinity may pass when the other leaves; pins and bans never do; soft rules may go."""
    assert decide(cluster(rules=(rule,)))[0] is decision


def test_anti_affinity_holds_at_both_ends_of_what_is_under_way() -> None:
    """A VM leaving the destination is still there until it has arrived elsewhere."""
    live = cluster(rules=(AntiAffinity(id="r", vm_ids=(V1, V3)),))
    assert decide(live, STEP, (migrate("v3", "h2", "h3"),))[0] is Decision.WAIT_FOR_ROOM


def test_affine_vms_may_follow_one_another_but_not_part() -> None:
    """A member moves only if the others are there, under way or to come."""
    live = cluster(rules=(Affinity(id="r", vm_ids=(V1, V2)),))
    step = migrate("v1", "h1", "h2", mib_per_s=400)
    other = migrate("v2", "h1", "h2", mib_per_s=400)
    hosts = [make_host(name, memory_gib=20) for name in ("h1", "h2", "h3")]
    roomy = replace(live, hosts=tuple(hosts))
    assert decide(roomy, step, (), (other,))[0] is Decision.PROCEED
    assert decide(roomy, step, (other,))[0] is Decision.PROCEED
    assert decide(roomy, step)[0] is Decision.SKIP


def test_caps_are_waited_for() -> None:
    """Parallel moves and links free themselves."""
    few = MoveBudget(max_parallel=1)
    live = cluster(budget=few)
    assert decide(live, STEP, (migrate("v3", "h2", "h3"),))[0] is Decision.WAIT_FOR_SLOT
    other = migrate("v2", "h1", "h3", mib_per_s=500)
    assert decide(cluster(), STEP, (other,))[0] is Decision.WAIT_FOR_SLOT


def test_a_cool_down_is_kept() -> None:
    """A VM moved meanwhile is left alone."""
    vm = make_vm("v1", not_before_at=NOW + timedelta(minutes=5))
    assert decide(cluster(vms=[vm]))[0] is Decision.SKIP


def test_a_full_house_is_waited_for() -> None:
    """A VM of a host that takes only so many may leave; what a host lacks does not come."""
    hosts = [make_host("h1"), make_host("h2", max_vms=1), make_host("h3")]
    assert decide(cluster(hosts=hosts))[0] is Decision.WAIT_FOR_ROOM
    choosy = [make_vm("v1", requires=("cpu:x",))]
    hosts = [make_host("h1", provides=("cpu:x",)), make_host("h2")]
    decision, told = decide(cluster(hosts=hosts, vms=choosy))
    assert decision is Decision.SKIP
    assert "requires cpu:x" in told


@pytest.mark.parametrize("continuous", [True, False])
def test_a_rule_at_rest_asks_what_is_still_to_come(continuous: bool) -> None:
    """Two VMs change places: on the way they share a host, in the end they do not."""
    rule = Split(id="r", vm_ids=(V1,), other_vm_ids=(V3,), continuous=continuous)
    live = cluster(rules=(rule,))
    away = migrate("v3", "h2", "h3")
    expected = Decision.WAIT_FOR_ROOM if continuous else Decision.PROCEED
    assert decide(live, to_come=(away,))[0] is expected
    assert decide(live)[0] is Decision.WAIT_FOR_ROOM
