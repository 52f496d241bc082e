"""Sequencing under rules: who waits for whom, who is parked, and what is cut off for a rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from solver.domain.check import check_placement, check_plan, new_or_worse
from solver.domain.cluster import Cluster
from solver.domain.plan import Step
from solver.domain.rules import (
    Among,
    AntiAffinity,
    Dependency,
    LicenceLimit,
    PerHostLimit,
    Split,
    Spread,
)
from solver.domain.units import HostId, VmId
from solver.sequencing.order import Sequenced, sequence
from tests.builders import make_cluster, make_host, make_vm


def ids(*names: str) -> tuple[VmId, ...]:
    """Return names as VM ids."""
    return tuple(VmId(name) for name in names)


def zoned(*zones: str, **more: Any) -> list[Any]:
    """Return hosts h1, h2, … in these zones."""
    return [make_host(f"h{i + 1}", zone=zone, **more) for i, zone in enumerate(zones)]


def solved(
    cluster: Cluster, target: dict[str, str], urgency: dict[str, int] | None = None
) -> Sequenced:
    """Return the plan to a target that names only what moves, once the checker has passed it."""
    placement = cluster.placement | {VmId(v): HostId(h) for v, h in target.items()}
    answer = sequence(cluster, placement, urgency={VmId(v): u for v, u in (urgency or {}).items()})
    assert check_plan(cluster, answer.plan) == ()
    return answer


def steps(answer: Sequenced) -> dict[str, Step]:
    """Return the last step of each VM."""
    return {step.vm_id: step for step in answer.plan.steps}


def test_a_spread_holds_after_every_end() -> None:
    """Both are apart while under way, and would be together after either: one goes by a third."""
    rule = Spread(id="apart", vm_ids=ids("v1", "v2"), min_domains=2)
    vms = [make_vm("v1", "h1"), make_vm("v2", "h2")]
    swap = {"v1": "h2", "v2": "h1"}
    assert solved(make_cluster(zoned("a", "b"), vms, rules=(rule,)), swap).plan.steps == ()
    answer = solved(make_cluster(zoned("a", "b", "c"), vms, rules=(rule,)), swap)
    assert answer.cut_off == ()
    assert [step.destination_id for step in answer.plan.steps if step.parking] == ["h3"]


def test_a_move_inside_a_domain_leaves_a_spread_alone() -> None:
    """Changing host within a zone takes nothing from the zone."""
    rule = Spread(id="apart", vm_ids=ids("v1", "v2"), min_domains=2)
    cluster = make_cluster(
        zoned("a", "a", "b"), [make_vm("v1", "h1"), make_vm("v2", "h3")], rules=(rule,)
    )
    (step,) = solved(cluster, {"v1": "h2"}).plan.steps
    assert step.start_ms == 0


def test_what_others_depend_on_arrives_first_and_leaves_last() -> None:
    """A VM enters a zone once its database runs there, not while that is still on its way."""
    rule = Dependency(id="near", vm_ids=ids("app"), on_vm_ids=ids("db"))
    cluster = make_cluster(
        zoned("a", "b", migration_bandwidth_mib_per_s=4000),
        [make_vm("app", "h1"), make_vm("db", "h1"), make_vm("db2", "h1")],
        rules=(rule,),
    )
    assert solved(cluster, {"app": "h2", "db": "h2"}).cut_off == ids("app", "db")
    both = Dependency(id="near", vm_ids=ids("app"), on_vm_ids=ids("db", "db2"))
    cluster = make_cluster(cluster.hosts, cluster.vms, rules=(both,))
    found = steps(solved(cluster, {"app": "h2", "db": "h2", "db2": "h2"}, {"app": 9}))
    first, last = sorted((found["db"], found["db2"]), key=lambda step: step.start_ms)
    assert found["app"].start_ms >= first.end_ms
    assert last.end_ms >= found["app"].end_ms


def test_a_group_stays_in_its_part() -> None:
    """Among lets nobody leave the part that the others are in, and nobody come from outside."""
    rule = Among(
        id="one", vm_ids=ids("v1", "v2"), parts=((HostId("h1"), HostId("h2")), (HostId("h3"),))
    )
    vms = [make_vm("v1", "h1"), make_vm("v2", "h1")]
    cluster = make_cluster(zoned("", "", ""), vms, rules=(rule,))
    assert solved(cluster, {"v1": "h2", "v2": "h2"}).cut_off == ()
    answer = solved(cluster, {"v1": "h3", "v2": "h3"})
    assert answer.cut_off == ids("v1", "v2")
    reason = answer.reasons_cut[VmId("v1")]
    assert "rule 'one' (among) would not hold while it is under way" in reason
    assert "(continuous)" in reason
    at_rest = make_cluster(zoned("", "", ""), vms, rules=(replace(rule, continuous=False),))
    assert solved(at_rest, {"v1": "h3", "v2": "h3"}).cut_off == ()


def test_split_groups_pass_each_other() -> None:
    """A host is entered only when the last of the other side has left it."""
    rule = Split(id="split", vm_ids=ids("v1"), other_vm_ids=ids("v2"))
    cluster = make_cluster(
        zoned("", "", ""), [make_vm("v1", "h1"), make_vm("v2", "h2")], rules=(rule,)
    )
    found = steps(solved(cluster, {"v1": "h2", "v2": "h3"}, {"v1": 9}))
    assert found["v1"].start_ms >= found["v2"].end_ms


def test_licences_count_both_ends() -> None:
    """With two licences in use, a third host is entered once one of the two is free."""
    rule = LicenceLimit(id="paid", vm_ids=ids("v1", "v2", "v3"), max_hosts=2)
    cluster = make_cluster(
        zoned("", "", ""),
        [make_vm("v1", "h1"), make_vm("v2", "h2"), make_vm("v3", "h2")],
        rules=(rule,),
    )
    found = steps(solved(cluster, {"v1": "h2", "v2": "h3"}, {"v2": 9}))
    assert found["v2"].start_ms >= found["v1"].end_ms


@pytest.mark.parametrize(
    ("limit", "rules"),
    [
        ({"max_vms": 1}, ()),
        ({}, (PerHostLimit(id="one", vm_ids=ids("v1", "v2"), max_vms=1),)),
    ],
)
def test_numbers_of_vms_count_both_ends(limit: dict[str, int], rules: Any) -> None:
    """A host takes the next VM only when the one before has left, by its own limit or a rule's."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2", **limit), make_host("h3")],
        [make_vm("v1", "h1"), make_vm("v2", "h2")],
        rules=rules,
    )
    found = steps(solved(cluster, {"v1": "h2", "v2": "h3"}, {"v1": 9}))
    assert found["v1"].start_ms >= found["v2"].end_ms


def test_a_limit_on_the_number_of_vms_is_told_as_the_reason() -> None:
    """A full host says how many more it takes."""
    cluster = make_cluster([make_host("h1"), make_host("h2", max_vms=0)], [make_vm("v1")])
    answer = solved(cluster, {"v1": "h2"})
    assert "it needs 1 VMs there and 0 are free" in answer.reasons_cut[VmId("v1")]


def test_a_host_that_lacks_what_a_vm_requires_is_no_destination_and_no_parking() -> None:
    """The target is refused with what is missing; a circle is not broken over such a host."""
    some = [
        make_host("h1", provides=("cpu:x", "net:y"), memory_gib=4),
        make_host("h2", provides=("net:y", "cpu:x"), memory_gib=4),
        make_host("h3", provides=("net:y",)),
    ]
    vms = [make_vm(f"v{i}", f"h{i}", requires=("cpu:x", "net:y")) for i in (1, 2)]
    cluster = make_cluster(some, vms)
    answer = solved(cluster, {"v1": "h3"})
    assert answer.reasons_cut == {VmId("v1"): "host 'h3' does not provide cpu:x"}
    assert solved(cluster, {"v1": "h2", "v2": "h1"}).plan.steps == ()


def test_a_vm_that_misses_something_may_go_where_it_misses_no_more() -> None:
    """Broken from the start, it may move as long as it does not get worse."""
    some = [make_host("h1"), make_host("h2", provides=("a",)), make_host("h3")]
    cluster = make_cluster(some, [make_vm("v1", requires=("a", "b"))])
    assert solved(cluster, {"v1": "h3"}).cut_off == ()
    cluster = cluster.with_placement({VmId("v1"): HostId("h2")})
    assert solved(cluster, {"v1": "h3"}).cut_off == ids("v1")


def test_a_rule_at_rest_lets_vms_pass_each_other_and_binds_the_end() -> None:
    """Two that end apart may meet on the way; where one has to stay, so has the other."""
    rule = AntiAffinity(id="apart", vm_ids=ids("v1", "v2"), continuous=False)
    cluster = make_cluster(zoned("", ""), [make_vm("v1", "h1"), make_vm("v2", "h2")], rules=(rule,))
    swap = {"v1": "h2", "v2": "h1"}
    assert {step.start_ms for step in solved(cluster, swap).plan.steps} == {0}
    fixed = [make_vm("v1", "h1"), make_vm("v2", "h2", not_migratable_reason="local disk")]
    answer = solved(make_cluster(cluster.hosts, fixed, rules=(rule,)), swap)
    assert answer.cut_off == ids("v1", "v2")
    assert "anti_affinity rule 'apart'" in answer.reasons_cut[VmId("v1")]


def test_for_a_limit_at_rest_only_as_many_stay_as_have_to() -> None:
    """Of three on their way to a host that takes two of them, the least urgent stays."""
    rule = PerHostLimit(id="two", vm_ids=ids("v1", "v2", "v3"), max_vms=2, continuous=False)
    vms = [make_vm("v1", "h1"), make_vm("v2", "h2"), make_vm("v3", "h3")]
    cluster = make_cluster(zoned("", "", "", ""), vms, rules=(rule,))
    target = dict.fromkeys(("v1", "v2", "v3"), "h4")
    answer = solved(cluster, target, {"v1": 3, "v2": 1, "v3": 2})
    assert answer.cut_off == ids("v2")
    after = answer.plan.placement_after(cluster.placement)
    assert not new_or_worse((), check_placement(cluster, after))


def test_what_is_broken_from_the_start_may_be_traded_but_not_grow() -> None:
    """Of three on one host one may join a fourth VM, by a way that is never worse than that."""
    rule = AntiAffinity(id="apart", vm_ids=ids("v1", "v2", "v3", "v4"))
    vms = [make_vm("v1", "h1"), make_vm("v2", "h1"), make_vm("v3", "h1"), make_vm("v4", "h2")]
    assert solved(make_cluster(zoned("", ""), vms, rules=(rule,)), {"v1": "h2"}).plan.steps == ()
    cluster = make_cluster(zoned("", "", ""), vms, rules=(rule,))
    over_h3 = solved(cluster, {"v1": "h2"})
    assert [step.destination_id for step in over_h3.plan.steps] == ["h3", "h2"]
    found = steps(solved(cluster, {"v1": "h3", "v2": "h2"}))
    assert found["v2"].start_ms >= found["v1"].end_ms
