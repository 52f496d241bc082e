"""The judge finds each kind of violation, counts it, and tells worse from as-broken-as-before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from solver.domain.check import (
    SEVERITY_ONE,
    Violation,
    check_moves,
    check_placement,
    check_plan,
    new_or_worse,
)
from solver.domain.cluster import VM, Cluster, HostState, Link, Network, Overcommit
from solver.domain.plan import Plan, Step, StepKind
from solver.domain.rules import Affinity, AntiAffinity, Ban, MoveBudget, Pin
from solver.domain.units import Amounts, HostId, VmId
from tests.builders import NOW, make_cluster, make_host, make_vm

V1, V2, V3 = VmId("v1"), VmId("v2"), VmId("v3")
H1, H2, H3 = HostId("h1"), HostId("h2"), HostId("h3")


def step(
    vm: str, source: str | None, destination: str, start_s: float, end_s: float, mib_per_s: int = 10
) -> Step:
    """Return a migration, or a start where there is no source, that sends nothing."""
    return Step(
        kind=StepKind.START if source is None else StepKind.MIGRATE,
        vm_id=VmId(vm),
        source_id=None if source is None else HostId(source),
        destination_id=HostId(destination),
        start_ms=round(start_s * 1000),
        end_ms=round(end_s * 1000),
        bandwidth_mib_per_s=0 if source is None else mib_per_s,
    )


def found(cluster: Cluster, *steps: Step) -> dict[tuple[str, ...], Violation]:
    """Return what the checker finds in a plan, by key; nothing is resident, so nothing is sent."""
    weightless = replace(
        cluster, vms=tuple(replace(vm, memory_footprint_mib=0) for vm in cluster.vms)
    )
    return found_as_is(weightless, *steps)


def found_as_is(cluster: Cluster, *steps: Step) -> dict[tuple[str, ...], Violation]:
    """Return what the checker finds in a plan, by key."""
    return {v.key: v for v in check_plan(cluster, Plan(made_at=NOW, steps=steps))}


def at_rest(cluster: Cluster) -> dict[tuple[str, ...], int]:
    """Return the amounts of what is broken where the VMs are now."""
    return {v.key: v.amount for v in check_placement(cluster, cluster.placement)}


# At rest


def test_nothing_is_wrong_with_a_cluster_that_fits() -> None:
    """A host filled to the last MiB is not over-full."""
    cluster = make_cluster([make_host(memory_gib=8)], [make_vm("v1"), make_vm("v2")])
    assert check_placement(cluster, cluster.placement) == ()


def test_excess_is_counted_in_mebibytes() -> None:
    """Memory is MiB throughout: three VMs of 4 GiB are 12288 MiB, never 12000."""
    vms = [make_vm(name) for name in ("v1", "v2", "v3")]
    cluster = make_cluster([make_host(memory_gib=10)], vms)
    (violation,) = check_placement(cluster, cluster.placement)
    assert violation.key == ("capacity", "h1", "memory_mib")
    assert violation.amount == 3 * 4096 - 10 * 1024
    assert "12288 memory_mib reserved, at most 10240 fit" in violation.message
    assert violation.hard


def test_one_mebibyte_too_much_is_found() -> None:
    """The last MiB counts, and is severe enough to be worth repairing."""
    host = make_host(memory_gib=8, reserve=Amounts(memory_mib=1))
    cluster = make_cluster([host], [make_vm(memory_gib=8)])
    (violation,) = check_placement(cluster, cluster.placement)
    assert violation.amount == 1
    assert violation.severity_ppm > 0


def test_a_reserve_is_not_for_vms() -> None:
    """What a host keeps for itself is no room."""
    host = make_host(memory_gib=8, reserve=Amounts(memory_mib=1024))
    cluster = make_cluster([host], [make_vm("v1", memory_gib=8)])
    assert at_rest(cluster) == {("capacity", "h1", "memory_mib"): 1024}


def test_overcommit_divides_what_is_promised_but_not_what_is_resident() -> None:
    """Resident memory has to be there, whatever the ratio."""
    host = make_host(memory_gib=4, overcommit=Overcommit(memory=2.0))
    idle = make_vm("v1", memory_gib=8, memory_footprint_mib=1024)
    full = make_vm("v1", memory_gib=8, memory_footprint_mib=5 * 1024)
    assert at_rest(make_cluster([host], [idle])) == {}
    assert at_rest(make_cluster([host], [full])) == {("capacity", "h1", "memory_mib"): 1024}


def test_cpu_is_promised_only_where_a_ratio_is_set() -> None:
    """Without a ratio any number of vCPUs may share the cores."""
    vms = [make_vm(f"v{i}", cores=8) for i in range(3)]
    assert at_rest(make_cluster([make_host(cores=10)], vms)) == {}
    strict = make_host(cores=10, overcommit=Overcommit(cpu=2.0))
    assert at_rest(make_cluster([strict], vms)) == {("capacity", "h1", "cpu_millicores"): 2000}


def test_unlimited_is_never_exceeded() -> None:
    """A host without a stated capacity holds anything."""
    cluster = make_cluster([make_host(cores=None, memory_gib=None)], [make_vm(memory_gib=2000)])
    assert at_rest(cluster) == {}


def test_maintenance_counts_the_vms_left() -> None:
    """A host to be emptied is as broken as the VMs still on it."""
    host = make_host(state=HostState.MAINTENANCE)
    cluster = make_cluster([host], [make_vm("v1"), make_vm("v2")])
    assert at_rest(cluster) == {("maintenance", "h1"): 2}


def test_a_vm_that_runs_nowhere_is_found() -> None:
    """A VM without host is missing, not at rest."""
    assert at_rest(make_cluster([make_host()], [make_vm("v1", None)])) == {("not_running", "v1"): 1}


def test_pins_and_bans_are_found_per_vm() -> None:
    """Each VM in the wrong place counts for itself."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [make_vm("v1"), make_vm("v2"), make_vm("v3", "h2")],
        rules=(
            Pin(id="fence", vm_ids=(V1, V3), host_ids=(H2,)),
            Ban(id="out", vm_ids=(V2, V3), host_ids=(H1,)),
        ),
    )
    assert at_rest(cluster) == {("pin", "fence", "v1"): 1, ("ban", "out", "v2"): 1}


def test_affinity_counts_the_vms_away_from_the_most() -> None:
    """Of four VMs, two together, two are away."""
    vms = [make_vm("v1"), make_vm("v2"), make_vm("v3", "h2"), make_vm("v4", "h3")]
    rule = Affinity(id="near", vm_ids=tuple(vm.id for vm in vms))
    cluster = make_cluster([make_host(h) for h in ("h1", "h2", "h3")], vms, rules=(rule,))
    assert at_rest(cluster) == {("affinity", "near"): 2}


def test_anti_affinity_counts_the_vms_beyond_the_first_of_each_host() -> None:
    """Three on one host and two on another are three too many."""
    vms = [make_vm(f"v{i}", "h1" if i < 3 else "h2") for i in range(5)]
    rule = AntiAffinity(id="apart", vm_ids=tuple(vm.id for vm in vms))
    cluster = make_cluster([make_host("h1"), make_host("h2")], vms, rules=(rule,))
    assert at_rest(cluster) == {("anti_affinity", "apart"): 3}


def test_soft_rules_are_counted_but_not_hard() -> None:
    """A rule with a penalty is priced; it has no severity and never blocks a plan."""
    rule = Pin(id="wish", vm_ids=(V1,), host_ids=(H2,), penalty_host_s=3.0)
    cluster = make_cluster([make_host("h1"), make_host("h2")], [make_vm()], rules=(rule,))
    (violation,) = check_placement(cluster, cluster.placement)
    assert (violation.hard, violation.penalty_host_s, violation.severity_ppm) == (False, 3.0, 0)
    assert new_or_worse((), (violation,)) == ()


def test_severity_is_one_per_vm_in_the_wrong_place() -> None:
    """Unlike kinds of violation are compared in one measure."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [make_vm("v1"), make_vm("v2")],
        rules=(AntiAffinity(id="apart", vm_ids=(V1, V2)),),
    )
    (violation,) = check_placement(cluster, cluster.placement)
    assert violation.severity_ppm == SEVERITY_ONE


def test_only_what_is_new_or_worse_is_told() -> None:
    """As broken as before is accepted; more broken, or broken anew, is not."""

    def broken(name: str, amount: int) -> Violation:
        return Violation(key=(name,), amount=amount, severity_ppm=1, message=name)

    before = (broken("same", 2), broken("better", 5), broken("worse", 1))
    after = (broken("same", 2), broken("better", 4), broken("worse", 2), broken("new", 1))
    assert [v.key for v in new_or_worse(before, after)] == [("worse",), ("new",)]


# Going elsewhere


@pytest.mark.parametrize(
    ("vm", "kind"),
    [
        (make_vm("v1", not_migratable_reason="local disk"), "not_migratable"),
        (make_vm("v1", not_before_at=NOW + timedelta(seconds=1)), "cool_down"),
        (make_vm("v1", "h3"), "unreachable"),
    ],
)
def test_moves_that_must_not_be_made_are_found(vm: VM, kind: str) -> None:
    """What forbids to move a VM is found whatever the placement is worth."""
    hosts = [make_host("h1"), make_host("h2"), make_host("h3", state=HostState.UNREACHABLE)]
    cluster = make_cluster(hosts, [vm])
    assert [v.key for v in check_moves(cluster, {V1: H2})] == [(kind, "v1")]
    assert check_moves(cluster, cluster.placement) == ()


def test_a_cool_down_does_not_stop_repair() -> None:
    """A VM on a host in maintenance leaves at once."""
    hosts = [make_host("h1", state=HostState.MAINTENANCE), make_host("h2")]
    vm = make_vm("v1", not_before_at=NOW + timedelta(hours=1))
    assert check_moves(make_cluster(hosts, [vm]), {V1: H2}) == ()


def test_no_vm_is_dropped_or_sent_to_nowhere() -> None:
    """A running VM without a host, or with an unknown one, is found."""
    cluster = make_cluster([make_host()], [make_vm()])
    assert [v.key for v in check_moves(cluster, {})] == [("lost", "v1")]
    assert [v.key for v in check_moves(cluster, {V1: H2})] == [("unknown_host", "v1")]


def test_budgets_count_moves_in_all_and_per_host() -> None:
    """Moves count at the host they leave and at the one they enter."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2"), make_host("h3")],
        [make_vm("v1"), make_vm("v2"), make_vm("v3", "h2")],
        budget=MoveBudget(max_moves=1, max_moves_per_host=2),
    )
    violations = check_moves(cluster, {V1: H2, V2: H2, V3: H3})
    amounts = {v.key: v.amount for v in violations}
    assert amounts == {("budget", "all hosts"): 2, ("budget", "h2"): 1}


# Plans


def test_a_plan_in_order_is_faultless() -> None:
    """One VM leaves, then another takes its place at the very instant it is gone."""
    hosts = [make_host("h1", memory_gib=4), make_host("h2", memory_gib=4), make_host("h3")]
    cluster = make_cluster(hosts, [make_vm("v1"), make_vm("v2", "h2")])
    assert found(cluster, step("v2", "h2", "h3", 0, 5), step("v1", "h1", "h2", 5, 9)) == {}


def test_a_vm_under_way_holds_both_ends() -> None:
    """Room that a leaving VM has not given up yet is not free."""
    hosts = [make_host("h1", memory_gib=4), make_host("h2", memory_gib=4), make_host("h3")]
    cluster = make_cluster(hosts, [make_vm("v1"), make_vm("v2", "h2")])
    faults = found(cluster, step("v2", "h2", "h3", 0, 5), step("v1", "h1", "h2", 4.999, 9))
    assert faults[("capacity", "h2", "memory_mib")].amount == 4096
    assert "at 4999 ms" in faults[("capacity", "h2", "memory_mib")].message


def test_inbound_moves_are_summed() -> None:
    """A step with two inbound moves put 120 GiB on a 100 GiB host; each alone would have fitted."""
    hosts = [make_host("h1"), make_host("h2", memory_gib=100), make_host("h3")]
    vms = [make_vm("v1", "h1", memory_gib=60), make_vm("v2", "h3", memory_gib=60)]
    cluster = make_cluster(hosts, vms)
    faults = found(cluster, step("v1", "h1", "h2", 0, 5), step("v2", "h3", "h2", 0, 5))
    assert faults[("capacity", "h2", "memory_mib")].amount == 20 * 1024
    assert ("capacity", "h2", "memory_mib") not in found(cluster, step("v1", "h1", "h2", 0, 5))


def test_starts_take_room_too() -> None:
    """A VM being started holds its reservation from the first moment."""
    cluster = make_cluster([make_host(memory_gib=6)], [make_vm("v1"), make_vm("v2", None)])
    faults = found(cluster, step("v2", None, "h1", 0, 5))
    assert faults[("capacity", "h1", "memory_mib")].amount == 2048


def test_anti_affinity_holds_while_a_vm_is_under_way() -> None:
    """Passing each other on a host is sharing it."""
    hosts = [make_host("h1"), make_host("h2"), make_host("h3")]
    rule = AntiAffinity(id="apart", vm_ids=(V1, V2))
    cluster = make_cluster(hosts, [make_vm("v1"), make_vm("v2", "h2")], rules=(rule,))
    away, after = step("v2", "h2", "h3", 0, 5), step("v1", "h1", "h2", 1, 6)
    assert set(found(cluster, away, after)) == {("anti_affinity", "apart")}


def test_affinity_binds_the_end_only() -> None:
    """Affine VMs may follow one another, but must arrive."""
    rule = Affinity(id="near", vm_ids=(V1, V2))
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")], [make_vm("v1"), make_vm("v2")], rules=(rule,)
    )
    first, second = step("v1", "h1", "h2", 0, 5), step("v2", "h1", "h2", 5, 9)
    assert found(cluster, first, second) == {}
    assert set(found(cluster, first)) == {("affinity", "near")}


def test_a_broken_start_may_send_but_not_grow_worse() -> None:
    """An over-full host may be relieved; its excess may never exceed what it was."""
    hosts = [make_host("h1", memory_gib=6), make_host("h2")]
    cluster = make_cluster(hosts, [make_vm("v1"), make_vm("v2"), make_vm("v3", "h2")])
    assert found(cluster, step("v1", "h1", "h2", 0, 5)) == {}
    faults = found(cluster, step("v3", "h2", "h1", 0, 5))
    assert faults[("capacity", "h1", "memory_mib")].amount == 3 * 4096 - 6 * 1024


def test_entering_maintenance_is_worse_and_leaving_it_is_not() -> None:
    """A host being emptied only ever gets emptier."""
    hosts = [make_host("h1", state=HostState.MAINTENANCE), make_host("h2")]
    cluster = make_cluster(hosts, [make_vm("v1"), make_vm("v2", "h2")])
    assert found(cluster, step("v1", "h1", "h2", 0, 5)) == {}
    assert ("maintenance", "h1") in found(cluster, step("v2", "h2", "h1", 0, 5))


@pytest.mark.parametrize(
    ("budget", "key"),
    [
        (MoveBudget(max_parallel=1), ("parallel", "the cluster")),
        (MoveBudget(max_parallel_out_per_host=1), ("parallel_out", "h1")),
        (MoveBudget(max_parallel_in_per_host=1), ("parallel_in", "h2")),
    ],
)
def test_caps_bind_what_runs_at_once(budget: MoveBudget, key: tuple[str, ...]) -> None:
    """Each cap alone is found when exceeded, and not when moves follow one another."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")], [make_vm("v1"), make_vm("v2")], budget=budget
    )
    first = step("v1", "h1", "h2", 0, 5)
    assert set(found(cluster, first, step("v2", "h1", "h2", 4, 9))) == {key}
    assert found(cluster, first, step("v2", "h1", "h2", 5, 9)) == {}


def test_bandwidth_is_summed_over_both_directions() -> None:
    """What leaves and what enters a host share its link."""
    hosts = [make_host("h1", migration_bandwidth_mib_per_s=100), make_host("h2")]
    cluster = make_cluster(hosts, [make_vm("v1"), make_vm("v2", "h2")])
    out, into = step("v1", "h1", "h2", 0, 5, 60), step("v2", "h2", "h1", 0, 5, 60)
    assert found(cluster, out, into)[("bandwidth", "h1")].amount == 20


def test_a_link_carries_no_more_than_it_has() -> None:
    """A single migration cannot be faster than the way between its hosts."""
    network = Network(same_zone=Link(bandwidth_mib_per_s=50))
    cluster = make_cluster([make_host("h1"), make_host("h2")], [make_vm()], network=network)
    assert set(found(cluster, step("v1", "h1", "h2", 0, 5, 51))) == {("link", "h1 to h2")}


def test_steps_that_do_not_connect_are_found() -> None:
    """Unknown names, a wrong source, two moves at once and impossible speed are all told."""
    cluster = make_cluster([make_host("h1"), make_host("h2")], [make_vm()])
    fast = Step(
        kind=StepKind.MIGRATE,
        vm_id=V1,
        source_id=H1,
        destination_id=H2,
        start_ms=0,
        end_ms=999,
        bandwidth_mib_per_s=100,
        transferred_mib=100,
    )
    wrong = {
        "unknown VM": [step("v9", "h1", "h2", 0, 5)],
        "unknown host 'h9'": [step("v1", "h1", "h9", 0, 5)],
        "but the VM is on 'h1'": [step("v1", "h2", "h1", 0, 5)],
        "while the VM is under way": [step("v1", "h1", "h2", 0, 5), step("v1", "h2", "h1", 4, 9)],
        "sends 100 MiB at 100 MiB/s in 999 ms": [fast],
    }
    for says, steps in wrong.items():
        (violation,) = found(cluster, *steps).values()
        assert says in violation.message


def test_parking_touches_nothing_that_must_stay() -> None:
    """A VM that cannot be moved may not be moved there and back either."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")], [make_vm("v1", not_migratable_reason="local disk")]
    )
    faults = found(cluster, step("v1", "h1", "h2", 0, 5), step("v1", "h2", "h1", 5, 9))
    assert set(faults) == {("not_migratable", "v1")}


def test_parking_moves_count_in_the_budget_by_step() -> None:
    """A budget of two moves is exceeded by two VMs of which one is parked on its way."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2"), make_host("h3")],
        [make_vm("v1"), make_vm("v2", "h2")],
        budget=MoveBudget(max_moves=2),
    )
    steps = [
        step("v1", "h1", "h3", 0, 1),
        step("v2", "h2", "h1", 1, 2),
        step("v1", "h3", "h2", 2, 3),
    ]
    assert set(found(cluster, *steps)) == {("budget", "all hosts")}


def test_a_migration_sends_at_least_what_is_resident() -> None:
    """A plan cannot declare a 4 GiB VM moved in an instant by saying that nothing was sent.

    Durations, bandwidths and caps were judged by figures that the plan gave about itself.
    """
    cluster = make_cluster([make_host("h1"), make_host("h2")], [make_vm("v1")])
    problems = found_as_is(cluster, step("v1", "h1", "h2", 0, 5))
    assert list(problems) == [("step", "0", "v1")]
    assert "sends 0 MiB, but the VM has 4096 MiB resident" in str(problems)


def test_nothing_enters_a_host_in_maintenance_even_in_exchange() -> None:
    """One VM leaves, another comes: the number is no higher, and it is wrong all the same."""
    hosts = [make_host("h1", state=HostState.MAINTENANCE), make_host("h2")]
    cluster = make_cluster(hosts, [make_vm("v1", "h1"), make_vm("v2", "h2")])
    problems = found(cluster, step("v1", "h1", "h2", 0, 5), step("v2", "h2", "h1", 5, 9))
    assert ("enters_maintenance", "v2") in problems
    assert ("enters_maintenance", "v2") in {v.key for v in check_moves(cluster, {V1: H2, V2: H1})}


def test_a_cooling_vm_is_not_moved_there_and_back() -> None:
    """The end of the plan shows nothing, the steps do."""
    cooling = make_vm("v1", not_before_at=NOW + timedelta(hours=1))
    cluster = make_cluster([make_host("h1"), make_host("h2")], [cooling])
    problems = found(cluster, step("v1", "h1", "h2", 0, 5), step("v1", "h2", "h1", 5, 9))
    assert ("cool_down", "v1") in problems
