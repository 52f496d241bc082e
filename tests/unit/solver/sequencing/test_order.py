"""Sequencing: what goes first, what waits, what is parked, and what is cut off and why."""

from __future__ import annotations

import time
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from solver.domain.check import check_plan
from solver.domain.cluster import Cluster, HostState, Link, Network
from solver.domain.errors import InvalidInputError
from solver.domain.migration import MigrationParameters, estimate
from solver.domain.plan import MoveCost, Step, StepKind
from solver.domain.rules import Affinity, AntiAffinity, Ban, MoveBudget, Pin
from solver.domain.units import HostId, VmId
from solver.sequencing.order import Sequenced, sequence
from solver.sequencing.timed import START_MS
from tests.builders import NOW, make_cluster, make_host, make_vm


def vm_ids(*names: str) -> tuple[VmId, ...]:
    """Return names as VM ids."""
    return tuple(VmId(name) for name in names)


def solved(
    cluster: Cluster,
    target: dict[str, str | None],
    urgency: dict[str, int] | None = None,
    **more: Any,
) -> Sequenced:
    """Return the plan to a target that names only what moves, once the checker has passed it."""
    placement = cluster.placement | {
        VmId(v): None if h is None else HostId(h) for v, h in target.items()
    }
    levels = {VmId(v): u for v, u in (urgency or {}).items()}
    answer = sequence(cluster, placement, urgency=levels, **more)
    assert check_plan(cluster, answer.plan) == ()
    after = answer.plan.placement_after(cluster.placement)
    for vm in cluster.vms:
        expected = vm.host_id if vm.id in answer.cut_off else placement[vm.id]
        assert after[vm.id] == expected
    assert set(answer.reasons_cut) == set(answer.cut_off)
    return answer


def steps_by_vm(answer: Sequenced) -> dict[str, Step]:
    """Return the last step of each VM."""
    return {step.vm_id: step for step in answer.plan.steps}


def parked(answer: Sequenced) -> list[str]:
    """Return the VMs that are parked on the way."""
    return [step.vm_id for step in answer.plan.steps if step.parking]


def hosts(number: int, **more: Any) -> list[Any]:
    """Return hosts h1, h2, …"""
    return [make_host(f"h{i + 1}", **more) for i in range(number)]


# Order and time


def test_nothing_to_do_is_an_empty_plan() -> None:
    """A target equal to the placement needs no step."""
    cluster = make_cluster(hosts(2), [make_vm()])
    assert solved(cluster, {}).plan.steps == ()
    assert sequence(cluster, {}, urgency={}).plan.steps == ()


def test_the_most_urgent_goes_first() -> None:
    """With one slot, moves follow each other by urgency, ties by id."""
    vms = [make_vm(name) for name in ("v1", "v2", "v3", "v4")]
    cluster = make_cluster(hosts(2), vms, budget=MoveBudget(max_parallel=1))
    answer = solved(
        cluster, dict.fromkeys(("v1", "v2", "v3", "v4"), "h2"), {"v3": 9, "v2": 4, "v4": 4}
    )
    assert [step.vm_id for step in answer.plan.steps] == ["v3", "v2", "v4", "v1"]


def test_a_slot_is_refilled_the_instant_it_frees() -> None:
    """No barrier: the third move starts when the first short one ends, not when both have."""
    vms = [
        make_vm("v1", memory_gib=2),
        make_vm("v2", memory_gib=40),
        make_vm("v3", memory_gib=2),
    ]
    cluster = make_cluster(hosts(2, migration_bandwidth_mib_per_s=2_000), vms)
    answer = solved(cluster, dict.fromkeys(("v1", "v2", "v3"), "h2"), {"v1": 3, "v2": 2, "v3": 1})
    steps = steps_by_vm(answer)
    assert steps["v1"].start_ms == steps["v2"].start_ms == 0
    assert steps["v3"].start_ms == steps["v1"].end_ms < steps["v2"].end_ms


def test_a_move_waits_for_the_room_it_needs() -> None:
    """The VM in the way leaves first, however little urgent it is."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2", memory_gib=4), make_host("h3")],
        [make_vm("v1", "h1"), make_vm("v2", "h2")],
    )
    steps = steps_by_vm(solved(cluster, {"v1": "h2", "v2": "h3"}, {"v1": 100}))
    assert steps["v1"].start_ms == steps["v2"].end_ms


def test_order_is_found_where_urgency_alone_would_end_in_a_circle() -> None:
    """The urgent VM waits for two others: going first it would block their exchange for good."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2", memory_gib=8), make_host("h3", memory_gib=4)],
        [make_vm("a", "h1"), make_vm("b", "h3"), make_vm("c", "h2")],
    )
    answer = solved(cluster, {"a": "h2", "b": "h2", "c": "h3"}, {"a": 100})
    assert (answer.cut_off, parked(answer)) == ((), [])
    assert steps_by_vm(answer)["a"].start_ms > 0


def test_durations_come_from_the_estimator() -> None:
    """A lone migration gets the whole link, and its step says what that means."""
    network = Network(same_zone=Link(bandwidth_mib_per_s=400))
    vm = make_vm("v1", memory_gib=8, dirty_mib_per_s=50)
    cluster = make_cluster(hosts(2), [vm], network=network)
    (step,) = solved(cluster, {"v1": "h2"}).plan.steps
    course = estimate(8192, 50, 400)
    assert step.bandwidth_mib_per_s == 400
    assert step.end_ms == course.duration_ms
    assert step.transferred_mib == course.transferred_mib
    assert step.downtime_ms == course.downtime_ms


def test_a_host_shares_its_link_evenly() -> None:
    """Two in and one out at once: a third of the link each."""
    some = [make_host("h1", migration_bandwidth_mib_per_s=900), *hosts(4)[1:]]
    vms = [make_vm("v1", "h2"), make_vm("v2", "h3"), make_vm("v3", "h1")]
    answer = solved(make_cluster(some, vms), {"v1": "h1", "v2": "h1", "v3": "h4"})
    assert [step.bandwidth_mib_per_s for step in answer.plan.steps] == [300, 300, 300]
    assert [step.start_ms for step in answer.plan.steps] == [0, 0, 0]


def test_a_link_of_one_mebibyte_per_second_still_carries_a_move() -> None:
    """A host too poor for its caps runs fewer moves at once; none waits for ever."""
    some = hosts(2, migration_bandwidth_mib_per_s=1)
    cluster = make_cluster(some, [make_vm("v1", memory_gib=1), make_vm("v2", memory_gib=1)])
    first, second = solved(cluster, {"v1": "h2", "v2": "h2"}).plan.steps
    assert second.start_ms == first.end_ms


def test_steps_are_long_enough_for_their_bytes_whatever_was_fitted() -> None:
    """Parameters fitted to measurements may promise more than the link has."""
    parameters = MigrationParameters(setup_s=0, wire_efficiency=1, handover_s=0)
    cluster = make_cluster(hosts(2), [make_vm("v1", memory_gib=3, dirty_mib_per_s=77)])
    assert solved(cluster, {"v1": "h2"}, parameters=parameters).cut_off == ()


def test_a_start_takes_room_and_nominal_time_but_no_slot() -> None:
    """VMs that run nowhere are started beside the migrations."""
    cluster = make_cluster(
        hosts(2), [make_vm("v1"), make_vm("v2", None)], budget=MoveBudget(max_parallel=1)
    )
    steps = steps_by_vm(solved(cluster, {"v1": "h2", "v2": "h2"}))
    start = steps["v2"]
    assert (start.kind, start.source_id, start.start_ms) == (StepKind.START, None, 0)
    assert (start.end_ms, start.bandwidth_mib_per_s) == (START_MS, 0)
    assert steps["v1"].start_ms == 0


def test_the_caps_per_host_hold() -> None:
    """Checked by the judge at every instant; here: with caps of one, nothing overlaps."""
    budget = MoveBudget(max_parallel_in_per_host=1, max_parallel_out_per_host=1)
    vms = [make_vm(f"v{i}") for i in range(4)]
    answer = solved(
        make_cluster(hosts(3), vms, budget=budget),
        {"v0": "h2", "v1": "h3", "v2": "h2", "v3": "h3"},
    )
    ends = [(step.start_ms, step.end_ms) for step in answer.plan.steps]
    assert all(later[0] == earlier[1] for earlier, later in pairwise(ends))


def test_anti_affine_vms_do_not_meet_on_the_way() -> None:
    """The second enters only once the first has left."""
    rule = AntiAffinity(id="apart", vm_ids=vm_ids("v1", "v2"))
    cluster = make_cluster(hosts(3), [make_vm("v1"), make_vm("v2", "h2")], rules=(rule,))
    steps = steps_by_vm(solved(cluster, {"v1": "h2", "v2": "h3"}, {"v1": 5}))
    assert steps["v1"].start_ms >= steps["v2"].end_ms


def test_an_affinity_group_follows_one_another() -> None:
    """Once the first is under way the others come before anything more urgent than they are."""
    rule = Affinity(id="near", vm_ids=vm_ids("a", "z"))
    vms = [make_vm("a"), make_vm("m"), make_vm("z")]
    cluster = make_cluster(hosts(2), vms, rules=(rule,), budget=MoveBudget(max_parallel=1))
    answer = solved(cluster, dict.fromkeys("amz", "h2"), {"a": 9, "m": 5, "z": 1})
    assert [step.vm_id for step in answer.plan.steps] == ["a", "z", "m"]


def test_costs_and_reasons_stand_on_the_steps() -> None:
    """A parked VM bears its cost once, on its first step."""
    cluster = make_cluster(
        [make_host("h1", memory_gib=4), make_host("h2", memory_gib=4), make_host("h3")],
        [make_vm("v1", "h1"), make_vm("v2", "h2")],
    )
    cost = MoveCost(transfer=7)
    answer = solved(
        cluster,
        {"v1": "h2", "v2": "h1"},
        move_costs=dict.fromkeys(vm_ids("v1", "v2"), cost),
    )
    assert sum(step.cost.total for step in answer.plan.steps) == 2 * cost.total
    told = answer.plan.with_reasons(dict.fromkeys(vm_ids("v1", "v2"), "relieves h1"))
    assert all(step.reason.startswith("relieves h1") for step in told.steps)
    (parking,) = (step for step in told.steps if step.parking)
    assert parking.reason.startswith("relieves h1; parked on the way")
    assert parking.cost == cost


def test_the_same_input_gives_the_same_plan() -> None:
    """Whatever the order in which dictionaries were filled."""
    vms = [make_vm(f"v{i}", f"h{i % 3 + 1}", memory_gib=3 + i % 2) for i in range(12)]
    cluster = make_cluster(hosts(4, memory_gib=20), vms)
    target = {vm.id: HostId(f"h{(i + 1) % 4 + 1}") for i, vm in enumerate(vms)}
    urgency = {vm.id: i % 3 for i, vm in enumerate(vms)}
    backwards = sequence(
        cluster,
        dict(reversed(target.items())),
        urgency=dict(reversed(urgency.items())),
    )
    assert sequence(cluster, target, urgency=urgency) == backwards


# Parking


def full_ring(number: int, **more: Any) -> tuple[list[Any], list[Any], dict[str, str | None]]:
    """Return full hosts, one VM on each, and a target that sends each to the next host."""
    ring = hosts(number, memory_gib=4)
    vms = [make_vm(f"v{i + 1}", f"h{i + 1}", **more) for i in range(number)]
    return ring, vms, {f"v{i + 1}": f"h{(i + 1) % number + 1}" for i in range(number)}


@pytest.mark.parametrize("number", [2, 3, 5])
def test_a_circle_is_broken_by_parking_one_vm(number: int) -> None:
    """Swaps and longer circles alike need one VM out of the way, and only one."""
    ring, vms, target = full_ring(number)
    answer = solved(make_cluster([*ring, make_host("spare")], vms), target)
    assert answer.cut_off == ()
    assert len(parked(answer)) == 1
    assert len(answer.plan.steps) == number + 1


def test_a_swap_with_room_to_pass_needs_no_parking() -> None:
    """One of the two fits beside the other."""
    cluster = make_cluster(
        [make_host("h1", memory_gib=8), make_host("h2", memory_gib=4), make_host("h3")],
        [make_vm("v1", "h1"), make_vm("v2", "h2")],
    )
    answer = solved(cluster, {"v1": "h2", "v2": "h1"})
    assert (parked(answer), answer.cut_off) == ([], ())


def test_the_cheapest_vm_is_parked() -> None:
    """Least memory sent twice, low priority before high."""
    spare = make_host("spare")
    cluster = make_cluster(
        [make_host("h1", memory_gib=6), make_host("h2", memory_gib=6), spare],
        [
            make_vm("v1", "h1", memory_gib=6, memory_footprint_mib=6144),
            make_vm("v2", "h2", memory_gib=6, memory_footprint_mib=1024),
        ],
    )
    assert parked(solved(cluster, {"v1": "h2", "v2": "h1"})) == ["v2"]
    ring, vms, target = full_ring(2)
    important = [make_vm("v1", "h1", priority=9), make_vm("v2", "h2", priority=2)]
    assert parked(solved(make_cluster([*ring, spare], important), target)) == ["v2"]
    assert parked(solved(make_cluster([*ring, spare], important[::-1]), target)) == ["v2"]
    assert len(vms) == 2


def test_two_small_vms_are_parked_where_the_big_one_finds_no_room() -> None:
    """Neither alone makes room enough; both have to step aside."""
    cluster = make_cluster(
        [
            make_host("h1", memory_gib=8),
            make_host("h2", memory_gib=8),
            make_host("h3", memory_gib=4),
            make_host("h4", memory_gib=4),
        ],
        [make_vm("big", "h1", memory_gib=8), make_vm("a", "h2"), make_vm("b", "h2")],
    )
    answer = solved(cluster, {"big": "h2", "a": "h1", "b": "h1"})
    assert sorted(parked(answer)) == ["a", "b"]
    assert answer.cut_off == ()


@pytest.mark.parametrize(
    ("spare", "rules"),
    [
        (make_host("spare", state=HostState.MAINTENANCE), ()),
        (make_host("spare", state=HostState.UNREACHABLE), ()),
        (make_host("spare", memory_gib=3), ()),
        (
            make_host("spare"),
            (Ban(id="b", vm_ids=vm_ids("v1", "v2"), host_ids=(HostId("spare"),)),),
        ),
        (
            make_host("spare"),
            tuple(AntiAffinity(id=f"a{v}", vm_ids=vm_ids(v, "there")) for v in ("v1", "v2")),
        ),
    ],
)
def test_parking_respects_every_rule(spare: Any, rules: Any) -> None:
    """A host that may not hold the VM at rest may not hold it for a while either."""
    ring, vms, target = full_ring(2)
    resident = [make_vm("there", "spare", memory_gib=1)]
    answer = solved(make_cluster([*ring, spare], [*vms, *resident], rules=rules), target)
    assert (answer.cut_off, answer.plan.steps) == (vm_ids("v1", "v2"), ())
    assert "it reaches host" in answer.reasons_cut[VmId("v1")]


def test_parking_counts_in_the_budget() -> None:
    """A swap by way of a third host takes three moves."""
    ring, vms, target = full_ring(2)
    for limit, steps in ((2, 0), (3, 3)):
        cluster = make_cluster([*ring, make_host("spare")], vms, budget=MoveBudget(max_moves=limit))
        assert len(solved(cluster, target).plan.steps) == steps


# Broken starts


def test_an_over_full_host_may_send_and_never_grows_worse() -> None:
    """Two leave it; what is bound for it waits until its excess leaves room."""
    cluster = make_cluster(
        [make_host("h1", memory_gib=8), make_host("h2")],
        [*(make_vm(f"v{i}") for i in range(4)), make_vm("in", "h2")],
    )
    answer = solved(cluster, {"v0": "h2", "v1": "h2", "v2": "h2", "in": "h1"}, {"in": 9})
    assert answer.cut_off == ()


def test_a_host_in_maintenance_is_emptied_and_not_entered() -> None:
    """Out is fine, in is refused with the reason."""
    cluster = make_cluster(
        [make_host("h1", state=HostState.MAINTENANCE), make_host("h2")],
        [make_vm("v1", "h1"), make_vm("v2", "h2")],
    )
    answer = solved(cluster, {"v1": "h2", "v2": "h1"})
    assert answer.cut_off == vm_ids("v2")
    assert answer.reasons_cut[VmId("v2")] == "host 'h1' is in maintenance"


def test_a_pin_broken_from_the_start_may_stay_broken() -> None:
    """The target may send the VM to another wrong host, but may not break a pin that holds."""
    rule = Pin(id="fence", vm_ids=vm_ids("v1", "v2"), host_ids=(HostId("h3"),))
    cluster = make_cluster(hosts(3), [make_vm("v1", "h1"), make_vm("v2", "h3")], rules=(rule,))
    answer = solved(cluster, {"v1": "h2", "v2": "h1"})
    assert answer.cut_off == vm_ids("v2")
    assert "rule 'fence' (pin)" in answer.reasons_cut[VmId("v2")]


# Cutting off


@pytest.mark.parametrize(
    ("vm", "why"),
    [
        (make_vm("v1", not_migratable_reason="local disk"), "cannot be migrated: local disk"),
        (make_vm("v1", not_before_at=NOW + timedelta(minutes=1)), "not to be moved before"),
        (make_vm("v1", "h3"), "its host 'h3' is unreachable"),
    ],
)
def test_what_may_not_move_is_cut_off_with_the_reason(vm: Any, why: str) -> None:
    """Static obstacles are told apart from those of order."""
    some = [*hosts(2), make_host("h3", state=HostState.UNREACHABLE)]
    answer = solved(make_cluster(some, [vm]), {"v1": "h2"})
    assert answer.cut_off == vm_ids("v1")
    assert why in answer.reasons_cut[VmId("v1")]


def test_a_cool_down_does_not_stop_repair() -> None:
    """A VM on a host in maintenance leaves at once."""
    cluster = make_cluster(
        [make_host("h1", state=HostState.MAINTENANCE), make_host("h2")],
        [make_vm("v1", not_before_at=NOW + timedelta(hours=1))],
    )
    assert solved(cluster, {"v1": "h2"}).cut_off == ()


def test_running_vms_are_never_stopped() -> None:
    """A target without a host for a running VM is not followed."""
    answer = solved(make_cluster(hosts(2), [make_vm("v1")]), {"v1": None})
    assert answer.cut_off == vm_ids("v1")


def test_the_least_urgent_moves_are_cut_for_the_budget() -> None:
    """Of three moves with room for two, the least urgent stays."""
    vms = [make_vm(name) for name in ("v1", "v2", "v3")]
    target: dict[str, str | None] = dict.fromkeys(("v1", "v2", "v3"), "h2")
    urgency = {"v1": 1, "v2": 3, "v3": 2}
    for budget in (MoveBudget(max_moves=2), MoveBudget(max_moves_per_host=2)):
        answer = solved(make_cluster(hosts(2), vms, budget=budget), target, urgency)
        assert answer.cut_off == vm_ids("v1")
        assert "the budget allows 2 moves" in answer.reasons_cut[VmId("v1")]


def test_the_cut_loses_the_least_urgency() -> None:
    """Only one of two fits: it is the urgent one that moves."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2", memory_gib=4)], [make_vm("v1"), make_vm("v2")]
    )
    for urgent, other in (("v1", "v2"), ("v2", "v1")):
        answer = solved(cluster, {"v1": "h2", "v2": "h2"}, {urgent: 2, other: 1})
        assert answer.cut_off == vm_ids(other)
        assert "it needs 4096 memory_mib there and 0 are free" in answer.reasons_cut[VmId(other)]


def test_an_affinity_group_is_cut_off_whole() -> None:
    """Where one of them cannot go, its partner stays with it."""
    rule = Affinity(id="near", vm_ids=vm_ids("v1", "v2"))
    fixed = [make_vm("v1", not_migratable_reason="local disk"), make_vm("v2"), make_vm("v3")]
    some = [make_host("h1"), make_host("h2", memory_gib=8)]
    answer = solved(
        make_cluster(some, fixed, rules=(rule,)), dict.fromkeys(("v1", "v2", "v3"), "h2")
    )
    assert answer.cut_off == vm_ids("v1", "v2")
    assert "affinity rule 'near'" in answer.reasons_cut[VmId("v2")]


def test_a_group_that_gets_stuck_half_way_is_planned_without() -> None:
    """The first of the group would fit, the second not: neither goes, and others use the room."""
    rule = Affinity(id="near", vm_ids=vm_ids("v1", "v2"))
    cluster = make_cluster(
        [make_host("h1"), make_host("h2", memory_gib=4)],
        [make_vm("v1"), make_vm("v2"), make_vm("v3")],
        rules=(rule,),
    )
    answer = solved(cluster, dict.fromkeys(("v1", "v2", "v3"), "h2"), {"v1": 9, "v2": 9, "v3": 1})
    assert answer.cut_off == vm_ids("v1", "v2")
    assert set(steps_by_vm(answer)) == {"v3"}


def test_a_group_that_gathers_may_lose_a_member_if_that_is_no_worse() -> None:
    """Three apart of which two can be brought together are better off than before."""
    rule = Affinity(id="near", vm_ids=vm_ids("v1", "v2", "v3"))
    vms = [
        make_vm("v1", "h1"),
        make_vm("v2", "h2"),
        make_vm("v3", "h3", not_migratable_reason="local disk"),
    ]
    cluster = make_cluster(hosts(4), vms, rules=(rule,))
    answer = solved(cluster, dict.fromkeys(("v1", "v2", "v3"), "h4"))
    assert answer.cut_off == vm_ids("v3")


def test_unknown_names_are_refused() -> None:
    """A target for another cluster is an input error."""
    cluster = make_cluster(hosts(1), [make_vm("v1")])
    with pytest.raises(InvalidInputError, match="'v9'"):
        sequence(cluster, {VmId("v9"): HostId("h1")}, urgency={})
    with pytest.raises(InvalidInputError, match="'h9'"):
        sequence(cluster, {VmId("v1"): HostId("h9")}, urgency={})


# Speed


def test_two_hundred_moves_are_sequenced_at_once() -> None:
    """200 moves on 100 hosts with 2,000 VMs take a fraction of a second of processor time."""
    vms = [make_vm(f"v{i:04}", f"h{i % 100 + 1}", dirty_mib_per_s=i % 50) for i in range(2000)]
    cluster = make_cluster(hosts(100), vms)
    target: dict[str, str | None] = {
        f"v{i:04}": f"h{(i * 7 + 1) % 100 + 1}" for i in range(200) if (i * 7 + 1) % 100 != i % 100
    }
    placement = cluster.placement | {VmId(v): HostId(str(h)) for v, h in target.items()}
    begun = time.process_time()
    answer = sequence(cluster, placement, urgency={})
    assert time.process_time() - begun < 1.0, "expected about 0.05 s"
    assert answer.cut_off == ()


def test_a_thousand_moves_on_a_thousand_hosts_take_seconds_at_most() -> None:
    """What takes no part in a plan costs next to nothing."""
    number = 1000
    vms = [make_vm(f"v{i:05}", f"h{i % number + 1}") for i in range(10 * number)]
    rules = tuple(
        AntiAffinity(id=f"r{i}", vm_ids=tuple(vm.id for vm in vms[i * 5 : i * 5 + 5]))
        for i in range(2 * number)
    )
    budget = MoveBudget(max_parallel=64)
    cluster = make_cluster(hosts(number, cores=None), vms, rules=rules, budget=budget)
    placement = cluster.placement | {
        vm.id: HostId(f"h{(i * 7 + 3) % number + 1}") for i, vm in enumerate(vms[:number])
    }
    begun = time.process_time()
    answer = sequence(cluster, placement, urgency={vm.id: i for i, vm in enumerate(vms)})
    assert time.process_time() - begun < 5.0, "expected about 0.4 s"
    assert check_plan(cluster, answer.plan) == ()


def test_hundreds_of_vms_are_parked_in_seconds() -> None:
    """Full hosts that change their contents in pairs, with a few empty ones to park on."""
    full = hosts(100, memory_gib=32, cores=None)
    vms = [make_vm(f"v{i:03}", f"h{i // 8 + 1}") for i in range(8 * 100)]
    spare = [make_host(f"s{i}", memory_gib=32, cores=None) for i in range(3)]
    cluster = make_cluster([*full, *spare], vms)
    placement = {vm.id: HostId(f"h{(i // 8 ^ 1) + 1}") for i, vm in enumerate(vms)}
    begun = time.process_time()
    answer = sequence(cluster, placement, urgency={})
    assert time.process_time() - begun < 5.0, "expected about 0.5 s"
    assert (answer.cut_off, check_plan(cluster, answer.plan)) == ((), ())
    assert len(parked(answer)) >= 50
