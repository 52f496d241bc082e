"""Each rule of the catalogue alone: kept, broken by so much, and while VMs are under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from solver.domain.check import SEVERITY_ONE, check_placement, check_plan
from solver.domain.cluster import Cluster
from solver.domain.plan import Plan, Step, StepKind
from solver.domain.rules import (
    Among,
    AntiAffinity,
    Dependency,
    GroupRule,
    Level,
    LicenceLimit,
    PerHostLimit,
    PlacementRule,
    Split,
    Spread,
)
from solver.domain.units import HostId, VmId
from tests.builders import NOW, make_cluster, make_host, make_vm

# Six hosts: two zones of two racks; h1 and h2 share a rack, h4 and h5 too.
PLACES = {"h1": "ap", "h2": "ap", "h3": "aq", "h4": "br", "h5": "br", "h6": "bs"}
HOSTS = [make_host(name, zone=place[0], rack=place[1]) for name, place in PLACES.items()]


def ids(text: str) -> tuple[VmId, ...]:
    """Return one VM for each letter."""
    return tuple(VmId(letter) for letter in text)


def cluster_of(where: Mapping[str, str | None], *rules: PlacementRule) -> Cluster:
    """Return the six hosts with small VMs on them."""
    vms = [make_vm(name, host, memory_gib=1) for name, host in where.items()]
    return make_cluster(HOSTS, vms, rules=rules)


def amount(rule: PlacementRule, where: Mapping[str, str | None]) -> int:
    """Return how broken a rule is in a placement."""
    cluster = cluster_of(where, rule)
    violations = check_placement(cluster, cluster.placement)
    assert {v.key[0] for v in violations} <= {rule.kind, "not_running"}
    return sum(v.amount for v in violations if v.key == (rule.kind, rule.id))


def on_the_way(cluster: Cluster, *moves: tuple[str, str, int, int]) -> dict[str, str]:
    """Return what a plan of moves (VM, host, start and end in s) breaks, by kind of violation."""
    where = dict(cluster.placement)
    steps = []
    for name, target, start_s, end_s in moves:
        vm_id = VmId(name)
        source_id = where[vm_id]
        steps.append(
            Step(
                kind=StepKind.START if source_id is None else StepKind.MIGRATE,
                vm_id=vm_id,
                source_id=source_id,
                destination_id=HostId(target),
                start_ms=start_s * 1000,
                end_ms=end_s * 1000,
                bandwidth_mib_per_s=0 if source_id is None else 400,
                transferred_mib=1024,
            )
        )
        where[vm_id] = HostId(target)
    plan = Plan(made_at=NOW, steps=tuple(sorted(steps, key=lambda step: step.start_ms)))
    return {v.key[0]: v.message for v in check_plan(cluster, plan)}


@pytest.mark.parametrize(
    ("where", "broken_by"),
    [
        ({"a": "h1", "b": "h2", "c": "h3"}, 0),
        ({"a": "h1", "b": "h2", "c": "h4"}, 1),
        ({"a": "h1", "b": "h4", "c": None}, 1),
        ({"a": None, "b": None, "c": None}, 0),
    ],
)
def test_among_counts_who_is_away_from_the_largest_zone(
    where: dict[str, str | None], broken_by: int
) -> None:
    """Without parts the zones are the parts; a VM that runs nowhere is not away."""
    assert amount(Among(id="r", vm_ids=ids("abc")), where) == broken_by


def test_among_counts_a_vm_outside_all_parts_as_away() -> None:
    """Even a lone VM has to be in one of the parts."""
    parts = ((HostId("h1"), HostId("h3")), (HostId("h4"),))
    rule = Among(id="r", vm_ids=ids("ab"), parts=parts)
    assert amount(rule, {"a": "h1", "b": "h3"}) == 0
    assert amount(rule, {"a": "h1", "b": "h4"}) == 1
    assert amount(rule, {"a": "h1", "b": "h2"}) == 1
    assert amount(rule, {"a": "h2", "b": "h5"}) == 2
    assert amount(replace(rule, vm_ids=ids("a")), {"a": "h2"}) == 1


@pytest.mark.parametrize(
    ("level", "wanted", "where", "broken_by"),
    [
        ("zone", 2, {"a": "h1", "b": "h4", "c": "h5"}, 0),
        ("zone", 2, {"a": "h1", "b": "h2", "c": "h3"}, 1),
        ("rack", 3, {"a": "h1", "b": "h2", "c": "h3"}, 1),
        ("host", 3, {"a": "h1", "b": "h1", "c": "h1"}, 2),
        ("host", 9, {"a": "h1", "b": "h2", "c": "h3"}, 0),
        ("zone", 2, {"a": "h1", "b": None, "c": None}, 0),
    ],
)
def test_spread_counts_the_domains_that_are_missing(
    level: Level, wanted: int, where: dict[str, str | None], broken_by: int
) -> None:
    """As many domains as asked for, or as there are VMs running."""
    rule = Spread(id="r", vm_ids=ids("abc"), min_domains=wanted, level=level)
    assert amount(rule, where) == broken_by


@pytest.mark.parametrize(
    ("level", "where", "broken_by"),
    [
        ("zone", {"a": "h1", "b": "h2", "x": "h3", "y": None}, 0),
        ("zone", {"a": "h1", "b": "h4", "x": "h3", "y": None}, 1),
        ("rack", {"a": "h1", "b": "h4", "x": "h3", "y": "h6"}, 2),
        ("host", {"a": "h1", "b": "h1", "x": "h1", "y": "h6"}, 0),
        ("zone", {"a": None, "b": None, "x": None, "y": None}, 0),
    ],
)
def test_dependency_counts_the_domains_without_what_is_depended_on(
    level: Level, where: dict[str, str | None], broken_by: int
) -> None:
    """A domain counts once, however many of the VMs are in it."""
    rule = Dependency(id="r", vm_ids=ids("ab"), on_vm_ids=ids("xy"), level=level)
    assert amount(rule, where) == broken_by


def test_split_counts_the_pairs_that_share_a_host() -> None:
    """On each host the smaller side would have to leave; VMs of one side may be together."""
    rule = Split(id="r", vm_ids=ids("abc"), other_vm_ids=ids("xyz"))
    together = dict.fromkeys("abc", "h1")
    assert amount(rule, {**together, **dict.fromkeys("xyz", "h2")}) == 0
    assert amount(rule, {**together, "x": "h1", "y": "h1", "z": "h2"}) == 2
    assert amount(rule, {"a": "h1", "x": "h1", "b": "h2", "y": "h2", "c": "h3", "z": "h4"}) == 2


def test_per_host_limit_counts_the_vms_beyond_it() -> None:
    """On all hosts, or on those it names."""
    rule = PerHostLimit(id="r", vm_ids=ids("abcd"), max_vms=1)
    where = {"a": "h1", "b": "h1", "c": "h1", "d": "h2"}
    assert amount(rule, where) == 2
    assert amount(replace(rule, max_vms=3), where) == 0
    assert amount(replace(rule, max_vms=0, host_ids=(HostId("h2"),)), where) == 1


def test_licence_limit_counts_the_hosts_beyond_it() -> None:
    """A host with several of the VMs needs one licence."""
    rule = LicenceLimit(id="r", vm_ids=ids("abcd"), max_hosts=2)
    assert amount(rule, {"a": "h1", "b": "h1", "c": "h2", "d": "h2"}) == 0
    assert amount(rule, {"a": "h1", "b": "h2", "c": "h3", "d": "h4"}) == 2


def test_a_host_takes_no_more_vms_than_it_says() -> None:
    """The excess is counted, each VM as severe as one in a wrong place."""
    cluster = make_cluster([make_host("h1", max_vms=1)], [make_vm(v) for v in "abc"])
    (violation,) = check_placement(cluster, cluster.placement)
    assert (violation.key, violation.amount) == (("vm_count", "h1"), 2)
    assert violation.severity_ppm == 2 * SEVERITY_ONE
    assert set(violation.vm_ids) == set("abc")


def test_a_vm_under_way_takes_a_place_at_both_ends() -> None:
    """Two VMs cannot change places where each host takes one; they can where there is a third."""
    hosts = [make_host(name, max_vms=1) for name in ("h1", "h2", "h3")]
    vms = [make_vm("a", "h1", memory_gib=1), make_vm("b", "h2", memory_gib=1)]
    cluster = make_cluster(hosts, vms)
    assert set(on_the_way(cluster, ("a", "h2", 0, 9), ("b", "h1", 0, 9))) == {"vm_count"}
    assert on_the_way(cluster, ("a", "h3", 0, 9)) == {}


def test_compatibility_counts_what_the_worst_host_lacks() -> None:
    """A VM that misses one thing already may go where it misses one, not where it misses two."""
    vm = make_vm("a", memory_gib=1, requires=("cpu:x", "net:y"))
    full = make_host("h1", provides=("net:y", "cpu:x", "storage:z"))
    half = make_host("h2", provides=("cpu:x",))
    other_half = make_host("h3", provides=("net:y",))
    none = make_host("h4")
    hosts = (full, half, other_half, none)
    cluster = make_cluster(hosts, [vm])
    assert check_placement(cluster, {vm.id: full.id}) == ()
    (violation,) = check_placement(cluster, {vm.id: none.id})
    assert (violation.key, violation.amount) == (("compatibility", "a"), 2)
    assert "cpu:x, net:y, which host 'h4' does not provide" in violation.message
    halfway = make_cluster(hosts, [replace(vm, host_id=half.id)])
    assert on_the_way(halfway, ("a", "h3", 0, 9)) == {}
    assert on_the_way(halfway, ("a", "h1", 0, 9)) == {}
    assert "at 0 ms" in on_the_way(halfway, ("a", "h4", 0, 9))["compatibility"]


# While VMs are under way. Each plan ends in a placement that keeps the rule.


@pytest.mark.parametrize(
    ("rule", "where", "moves"),
    [
        (
            AntiAffinity(id="r", vm_ids=ids("ab")),
            {"a": "h1", "b": "h2"},
            [("b", "h3", 0, 9), ("a", "h2", 5, 14)],
        ),
        (
            Among(id="r", vm_ids=ids("ab")),
            {"a": "h1", "b": "h2"},
            [("a", "h4", 0, 9), ("b", "h5", 0, 9)],
        ),
        (
            # a has arrived in zone b, but b still runs there until it has arrived in zone a.
            Spread(id="r", vm_ids=ids("ab"), min_domains=2),
            {"a": "h1", "b": "h4"},
            [("a", "h5", 0, 9), ("b", "h2", 5, 14)],
        ),
        (
            # a holds room in zone b before x runs there.
            Dependency(id="r", vm_ids=ids("a"), on_vm_ids=ids("x")),
            {"a": "h1", "x": "h2"},
            [("x", "h4", 0, 9), ("a", "h5", 5, 14)],
        ),
        (
            Split(id="r", vm_ids=ids("a"), other_vm_ids=ids("x")),
            {"a": "h1", "x": "h2"},
            [("x", "h3", 0, 9), ("a", "h2", 5, 14)],
        ),
        (
            PerHostLimit(id="r", vm_ids=ids("ab"), max_vms=1),
            {"a": "h1", "b": "h2"},
            [("b", "h3", 0, 9), ("a", "h2", 5, 14)],
        ),
        (
            LicenceLimit(id="r", vm_ids=ids("ab"), max_hosts=1),
            {"a": "h1", "b": "h1"},
            [("a", "h2", 0, 9), ("b", "h2", 0, 9)],
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, GroupRule) else "",
)
def test_a_continuous_rule_binds_at_every_instant(
    rule: GroupRule, where: dict[str, str | None], moves: list[tuple[str, str, int, int]]
) -> None:
    """The end keeps the rule and an instant breaks it; a rule at rest does not mind."""
    assert set(on_the_way(cluster_of(where, rule), *moves)) == {rule.kind}
    assert on_the_way(cluster_of(where, replace(rule, continuous=False)), *moves) == {}
    wish = replace(rule, penalty_host_s=1.0)
    assert on_the_way(cluster_of(where, wish), *moves) == {}


def test_presence_counts_where_a_vm_still_runs() -> None:
    """What is depended on provides at its source until it has arrived, and not before it has."""
    rule = Dependency(id="r", vm_ids=ids("a"), on_vm_ids=ids("xy"))
    cluster = cluster_of({"a": "h1", "x": "h2", "y": "h4"}, rule)
    assert "at 9000 ms" in on_the_way(cluster, ("x", "h5", 0, 9), ("a", "h6", 3, 12))["dependency"]
    assert on_the_way(cluster, ("a", "h5", 0, 9), ("x", "h6", 0, 9)) == {}
    alone = cluster_of({"a": "h1", "x": "h2", "y": "h3"}, rule)
    told = on_the_way(alone, ("x", "h4", 0, 9), ("a", "h5", 8, 17))
    assert "at 8000 ms" in told["dependency"]
    assert on_the_way(alone, ("x", "h4", 0, 9), ("a", "h5", 9, 18)) == {}


def test_a_vm_being_started_counts_at_its_destination() -> None:
    """It holds its place, and provides what others depend on, from the first moment."""
    apart = cluster_of({"a": "h1", "b": None}, AntiAffinity(id="r", vm_ids=ids("ab")))
    assert "at 0 ms" in on_the_way(apart, ("b", "h1", 0, 9))["anti_affinity"]
    needs = Dependency(id="r", vm_ids=ids("a"), on_vm_ids=ids("x"))
    together = cluster_of({"a": None, "x": None}, needs)
    assert on_the_way(together, ("x", "h1", 0, 9), ("a", "h2", 1, 9)) == {}
    assert "at 0 ms" in on_the_way(together, ("a", "h2", 0, 9), ("x", "h1", 1, 9))["dependency"]


def test_a_broken_rule_may_stay_as_broken_and_not_grow_worse() -> None:
    """Two of three share a host: one may leave, no other may come."""
    rule = AntiAffinity(id="r", vm_ids=ids("abc"))
    cluster = cluster_of({"a": "h1", "b": "h1", "c": "h2"}, rule)
    assert on_the_way(cluster, ("a", "h3", 0, 9)) == {}
    assert on_the_way(cluster, ("a", "h3", 0, 9), ("c", "h4", 0, 9)) == {}
    assert set(on_the_way(cluster, ("c", "h1", 0, 9))) == {"anti_affinity"}
