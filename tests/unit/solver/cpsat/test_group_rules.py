"""Encoders of rules about groups: a forced placement is allowed or not, at the judge's price."""

from __future__ import annotations

import pytest

from solver.domain.rules import (
    Affinity,
    Among,
    AntiAffinity,
    Dependency,
    LicenceLimit,
    PerHostLimit,
    Split,
    Spread,
)
from solver.domain.units import HostId
from tests.encoded import ALL, check, cluster_of


@pytest.mark.parametrize(("where", "allowed"), [("111", True), ("222", True), ("112", False)])
def test_affinity(where: str, allowed: bool) -> None:
    """Hard: all on one host."""
    check(cluster_of("111", Affinity(id="r", vm_ids=ALL)), "111", where, allowed=allowed)


@pytest.mark.parametrize(("where", "allowed"), [("112", True), ("111", True), ("123", False)])
def test_affinity_broken_at_the_start(where: str, allowed: bool) -> None:
    """One VM away may stay away; two may not."""
    check(cluster_of("112", Affinity(id="r", vm_ids=ALL)), "112", where, allowed=allowed)


@pytest.mark.parametrize("where", ["111", "112", "123"])
def test_soft_affinity(where: str) -> None:
    """Nothing is forbidden, each VM away is priced."""
    rule = Affinity(id="r", vm_ids=ALL, penalty_host_s=3.0)
    check(cluster_of("111", rule), "111", where, allowed=True)


@pytest.mark.parametrize(("where", "allowed"), [("--1", True), ("1-1", True), ("2-1", False)])
def test_affinity_with_vms_to_start(where: str, allowed: bool) -> None:
    """VMs that run nowhere are not away from the others until they are started."""
    check(cluster_of("--1", Affinity(id="r", vm_ids=ALL)), "--1", where, allowed=allowed)


@pytest.mark.parametrize(
    ("where", "allowed"), [("111", True), ("112", True), ("333", True), ("113", False)]
)
def test_among(where: str, allowed: bool) -> None:
    """Hard: all in one zone, on any hosts of it."""
    check(cluster_of("112", Among(id="r", vm_ids=ALL)), "112", where, allowed=allowed)


@pytest.mark.parametrize("where", ["112", "113", "233", "333"])
def test_soft_among_parts(where: str) -> None:
    """VMs outside the fullest part are priced, those on hosts of no part among them."""
    rule = Among(id="r", vm_ids=ALL, parts=((HostId("h2"), HostId("h3")),), penalty_host_s=3.0)
    check(cluster_of("112", rule), "112", where, allowed=True)


@pytest.mark.parametrize(("where", "allowed"), [("123", True), ("312", True), ("113", False)])
def test_anti_affinity(where: str, allowed: bool) -> None:
    """Hard: no two on one host."""
    check(cluster_of("123", AntiAffinity(id="r", vm_ids=ALL)), "123", where, allowed=allowed)


@pytest.mark.parametrize(("where", "allowed"), [("122", True), ("123", True), ("111", False)])
def test_anti_affinity_broken_at_the_start(where: str, allowed: bool) -> None:
    """As many too many as at the start, on whichever host."""
    check(cluster_of("113", AntiAffinity(id="r", vm_ids=ALL)), "113", where, allowed=allowed)


@pytest.mark.parametrize("where", ["123", "113", "222"])
def test_soft_anti_affinity(where: str) -> None:
    """Each VM beyond the first of a host is priced."""
    rule = AntiAffinity(id="r", vm_ids=ALL, penalty_host_s=3.0)
    check(cluster_of("123", rule), "123", where, allowed=True)


@pytest.mark.parametrize(
    ("where", "allowed"), [("112", True), ("221", True), ("111", False), ("333", True)]
)
def test_per_host_limit(where: str, allowed: bool) -> None:
    """Hard: two on the named hosts, any number on the others."""
    rule = PerHostLimit(id="r", vm_ids=ALL, max_vms=2, host_ids=(HostId("h1"), HostId("h2")))
    check(cluster_of("113", rule), "113", where, allowed=allowed)


@pytest.mark.parametrize("where", ["111", "112", "333"])
def test_soft_per_host_limit(where: str) -> None:
    """A host that should hold none is charged for each."""
    rule = PerHostLimit(id="r", vm_ids=ALL, max_vms=0, host_ids=(HostId("h1"),), penalty_host_s=3.0)
    check(cluster_of("111", rule), "111", where, allowed=True)


@pytest.mark.parametrize(("where", "allowed"), [("113", True), ("331", True), ("122", False)])
def test_spread(where: str, allowed: bool) -> None:
    """Hard: both zones stay occupied."""
    rule = Spread(id="r", vm_ids=ALL, min_domains=2)
    check(cluster_of("113", rule), "113", where, allowed=allowed)


@pytest.mark.parametrize("where", ["--1", "1-1", "2-1", "111", "3-1", "311", "321"])
def test_soft_spread_of_vms_to_start(where: str) -> None:
    """As many hosts as there are VMs that run, three at most."""
    rule = Spread(id="r", vm_ids=ALL, min_domains=3, level="host", penalty_host_s=3.0)
    check(cluster_of("--1", rule), "--1", where, allowed=True)


@pytest.mark.parametrize(
    ("where", "allowed"), [("111", True), ("221", True), ("333", True), ("331", False)]
)
def test_dependency(where: str, allowed: bool) -> None:
    """Hard: no zone holds one of the first two without the third."""
    rule = Dependency(id="r", vm_ids=ALL[:2], on_vm_ids=ALL[2:])
    check(cluster_of("112", rule), "112", where, allowed=allowed)


@pytest.mark.parametrize("where", ["111", "112", "123", "333"])
def test_soft_dependency(where: str) -> None:
    """Hosts that hold the first or second without the third are counted."""
    rule = Dependency(id="r", vm_ids=ALL[:2], on_vm_ids=ALL[2:], level="host", penalty_host_s=3.0)
    check(cluster_of("112", rule), "112", where, allowed=True)


@pytest.mark.parametrize(
    ("where", "allowed"), [("112", True), ("231", True), ("333", False), ("122", False)]
)
def test_split(where: str, allowed: bool) -> None:
    """Hard: the third shares a host with neither of the others."""
    rule = Split(id="r", vm_ids=ALL[:2], other_vm_ids=ALL[2:])
    check(cluster_of("112", rule), "112", where, allowed=allowed)


@pytest.mark.parametrize("where", ["112", "111", "121"])
def test_soft_and_broken_split(where: str) -> None:
    """The smaller number on each host is priced; what is broken may stay so."""
    soft = Split(id="s", vm_ids=ALL[:2], other_vm_ids=ALL[2:], penalty_host_s=3.0)
    broken = Split(id="b", vm_ids=ALL[:1], other_vm_ids=ALL[1:])
    check(cluster_of("111", soft, broken), "111", where, allowed=True)


@pytest.mark.parametrize(("where", "allowed"), [("112", True), ("333", True), ("123", False)])
def test_licence_limit(where: str, allowed: bool) -> None:
    """Hard: two hosts at most."""
    rule = LicenceLimit(id="r", vm_ids=ALL, max_hosts=2)
    check(cluster_of("112", rule), "112", where, allowed=allowed)


@pytest.mark.parametrize("where", ["111", "113", "123"])
def test_soft_licence_limit(where: str) -> None:
    """Each host beyond the first is priced."""
    rule = LicenceLimit(id="r", vm_ids=ALL, max_hosts=1, penalty_host_s=3.0)
    check(cluster_of("111", rule), "111", where, allowed=True)
