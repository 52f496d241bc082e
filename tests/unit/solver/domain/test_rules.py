"""Rules and the facts of hosts and VMs as data: what is accepted, and what a wrong one is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from solver.domain.errors import InvalidInputError
from solver.domain.rules import (
    Affinity,
    Among,
    AntiAffinity,
    Ban,
    Dependency,
    LicenceLimit,
    PerHostLimit,
    Pin,
    PlacementRule,
    Split,
    Spread,
)
from solver.domain.units import HostId, VmId
from tests.builders import make_cluster, make_host, make_vm

V1, V2, V3 = VmId("v1"), VmId("v2"), VmId("v3")
H1, H2 = HostId("h1"), HostId("h2")


@pytest.mark.parametrize(
    ("kind", "fields", "path", "says"),
    [
        (Pin, {"vm_ids": ()}, "vm_ids", "at least 1 different VMs"),
        (Pin, {"host_ids": ()}, "host_ids", "at least one host"),
        (AntiAffinity, {"vm_ids": (V1,)}, "vm_ids", "at least 2 different VMs"),
        (Among, {"parts": ((H1,), (H1, H2))}, "parts", "share no host, got [['h1'], ['h1', 'h2']]"),
        (Among, {"parts": ((H1,), ())}, "parts", "at least one host each"),
        (Spread, {"vm_ids": (V1,), "min_domains": 2}, "vm_ids", "at least 2 different VMs"),
        (Spread, {"min_domains": 1}, "min_domains", "at least 2, got 1"),
        (Spread, {"min_domains": True}, "min_domains", "whole number"),
        (Spread, {"min_domains": 2, "level": "row"}, "level", "host, rack, zone, got 'row'"),
        (Dependency, {"on_vm_ids": ()}, "on_vm_ids", "at least 1 VM"),
        (Dependency, {"on_vm_ids": (V3, V3)}, "on_vm_ids", "each once"),
        (Dependency, {"on_vm_ids": (V2,)}, "on_vm_ids", "['v2'] on both sides"),
        (Dependency, {"on_vm_ids": (V3,), "level": ""}, "level", "got ''"),
        (Split, {"other_vm_ids": (V1, V3)}, "other_vm_ids", "['v1'] on both sides"),
        (PerHostLimit, {"max_vms": -1}, "max_vms", "at least 0, got -1"),
        (PerHostLimit, {"max_vms": 1, "host_ids": (H1, H1)}, "host_ids", "each once"),
        (LicenceLimit, {"max_hosts": 0}, "max_hosts", "at least 1, got 0"),
        (LicenceLimit, {"max_hosts": 1, "penalty_host_s": -1.0}, "penalty_host_s", "(0, 1e6]"),
    ],
)
def test_a_wrong_rule_is_refused_naming_the_field(
    kind: type[PlacementRule], fields: dict[str, Any], path: str, says: str
) -> None:
    """The error says which rule, which field, the value seen and what was expected."""
    given = {"vm_ids": (V1, V2), **({"host_ids": (H1,)} if kind is Pin else {}), **fields}
    with pytest.raises(InvalidInputError) as caught:
        kind(id="r", **given)
    assert caught.value.path == f"rules.{path}"
    assert "rule 'r'" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "path", "says"),
    [
        (Ban(id="r", vm_ids=(V1,), host_ids=(H2,)), "rules[0].host_ids", "unknown host 'h2'"),
        (AntiAffinity(id="r", vm_ids=(V1, V3)), "rules[0].vm_ids", "unknown VM 'v3'"),
        (Among(id="r", vm_ids=(V1,), parts=((H1,), (H2,))), "rules[0].parts[1]", "host 'h2'"),
        (Dependency(id="r", vm_ids=(V1,), on_vm_ids=(V3,)), "rules[0].on_vm_ids", "VM 'v3'"),
        (Split(id="r", vm_ids=(V1,), other_vm_ids=(V3,)), "rules[0].other_vm_ids", "VM 'v3'"),
        (
            PerHostLimit(id="r", vm_ids=(V1,), max_vms=1, host_ids=(H2,)),
            "rules[0].host_ids",
            "unknown host 'h2'",
        ),
    ],
)
def test_a_rule_names_what_the_cluster_has(rule: PlacementRule, path: str, says: str) -> None:
    """Unknown VMs and hosts are told by the field that names them."""
    with pytest.raises(InvalidInputError) as caught:
        make_cluster([make_host("h1")], [make_vm("v1"), make_vm("v2")], rules=(rule,))
    assert caught.value.path == path
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        (AntiAffinity(id="r", vm_ids=(V1, V2, V3)), AntiAffinity(id="r", vm_ids=(V1, V2))),
        (Affinity(id="r", vm_ids=(V1, V3)), None),
        (
            Split(id="r", vm_ids=(V1, V3), other_vm_ids=(V2,)),
            Split(id="r", vm_ids=(V1,), other_vm_ids=(V2,)),
        ),
        (Dependency(id="r", vm_ids=(V1,), on_vm_ids=(V3,)), None),
    ],
)
def test_a_rule_without_the_vms_that_left(rule: PlacementRule, left: PlacementRule | None) -> None:
    """It asks the same of those that stay, or nothing once one side is gone."""
    assert rule.restricted_to({V1, V2}) == left


@pytest.mark.parametrize(
    ("make", "fields", "path"),
    [
        (make_host, {"max_vms": -1}, "max_vms"),
        (make_host, {"max_vms": 1.5}, "max_vms"),
        (make_host, {"provides": ("cpu:a", "cpu:a")}, "provides"),
        (make_vm, {"requires": ("",)}, "requires"),
        (make_vm, {"requires": ("new\nline",)}, "requires"),
    ],
)
def test_wrong_facts_of_hosts_and_vms_are_refused(
    make: Any, fields: dict[str, Any], path: str
) -> None:
    """Numbers are whole and names are printable, each once."""
    with pytest.raises(InvalidInputError) as caught:
        make("x", **fields)
    assert caught.value.path == path


def test_failure_domains_go_by_their_names() -> None:
    """Hosts without a rack are together in one that has no name."""
    host = make_host("h1", zone="z")
    assert [host.domain(level) for level in ("host", "rack", "zone")] == ["h1", "", "z"]


def pin(name: str, *hosts: str) -> Pin:
    """Return a pin of v1."""
    return Pin(id=name, vm_ids=(V1,), host_ids=tuple(HostId(host) for host in hosts))


def ban(name: str, *hosts: str) -> Ban:
    """Return a ban of v1."""
    return Ban(id=name, vm_ids=(V1,), host_ids=tuple(HostId(host) for host in hosts))


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([pin("a", "h1"), ban("b", "h2"), pin("c", "h2")], "hard rules 'a', 'c' leave no host"),
        ([ban("a", "h1"), ban("b", "h2", "h3"), ban("c", "h3")], "hard rules 'a', 'b' leave"),
        ([ban("a", "h1", "h2", "h3")], "hard rule 'a' leaves no host for VM 'v1'"),
        (
            [pin("a", "h1", "h2"), ban("b", "h3"), ban("c", "h2"), ban("d", "h1"), ban("e", "h3")],
            "hard rules 'a', 'c', 'd' leave",
        ),
    ],
)
def test_pins_and_bans_that_leave_no_host_are_refused(
    rules: list[PlacementRule], says: str
) -> None:
    """The fewest rules that do are named; one of them soft, and there is a host."""
    hosts = [make_host(name) for name in ("h1", "h2", "h3")]
    with pytest.raises(InvalidInputError) as caught:
        make_cluster(hosts, [make_vm("v1")], rules=tuple(rules))
    assert caught.value.path == "rules"
    assert says in str(caught.value)
    soft = tuple(replace(rule, penalty_host_s=1.0) for rule in rules)
    make_cluster(hosts, [make_vm("v1")], rules=soft)
