"""Contradictory hard rules are found before solving, and the smallest set of them is named."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.domain.check import check_placement
from solver.domain.cluster import VM, Cluster, HostState
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
from solver.validate import Contradiction, find_contradictions
from tests.builders import make_cluster, make_host, make_vm
from tests.strategies import clusters

A, B, C, D = (VmId(name) for name in "abcd")
H1, H2, H3, H4 = (HostId(f"h{i}") for i in (1, 2, 3, 4))
HOSTS = [make_host(f"h{i}", zone="xxyy"[i - 1], rack="pqrs"[i - 1]) for i in (1, 2, 3, 4)]

HERE = Pin(id="here", vm_ids=(A,), host_ids=(H1,))
THERE = Pin(id="there", vm_ids=(B,), host_ids=(H3,))
TOGETHER = Affinity(id="together", vm_ids=(A, B))
APART = AntiAffinity(id="apart", vm_ids=(A, B))


def contradictions(
    *rules: PlacementRule, vms: Sequence[VM] = (), where: str = "h1"
) -> list[tuple[str, ...]]:
    """Return the contradictions of rules about VMs a to d on four hosts in two zones."""
    named = {vm.id for vm in vms}
    others = [make_vm(name, where) for name in (A, B, C, D) if name not in named]
    cluster = make_cluster(HOSTS, [*vms, *others], rules=rules)
    found = find_contradictions(cluster)
    assert not found.undecided
    assert all(item.smallest for item in found.contradictions)
    return [item.rule_ids for item in found.contradictions]


@pytest.mark.parametrize(
    "rules",
    [
        (TOGETHER, APART),
        (HERE, THERE, TOGETHER),
        (HERE, Ban(id="away", vm_ids=(B,), host_ids=(H1,)), TOGETHER),
        (HERE, Pin(id="too", vm_ids=(B,), host_ids=(H1,)), APART),
        (HERE, THERE, Among(id="near", vm_ids=(A, B))),
        (HERE, THERE, Among(id="parts", vm_ids=(A, B), parts=((H1, H2, H4), (H3,)))),
        (HERE, Among(id="elsewhere", vm_ids=(A,), parts=((H2,), (H3, H4)))),
        (TOGETHER, Spread(id="wide", vm_ids=(A, B), min_domains=2)),
        (Among(id="near", vm_ids=(A, B)), Spread(id="wide", vm_ids=(A, B), min_domains=2)),
        (HERE, Pin(id="rack", vm_ids=(B,), host_ids=(H1,)), Spread(
            id="wide", vm_ids=(A, B), min_domains=2, level="rack"
        )),
        (HERE, THERE, Dependency(id="needs", vm_ids=(A,), on_vm_ids=(B,))),
        (APART, Dependency(id="needs", vm_ids=(A,), on_vm_ids=(B,), level="host")),
        (Spread(id="wide", vm_ids=(A, B), min_domains=2),
         Dependency(id="needs", vm_ids=(A,), on_vm_ids=(B,))),
        (TOGETHER, Split(id="split", vm_ids=(A,), other_vm_ids=(B, C))),
        (Split(id="split", vm_ids=(A,), other_vm_ids=(B,)),
         Dependency(id="needs", vm_ids=(A,), on_vm_ids=(B,), level="host")),
        (TOGETHER, PerHostLimit(id="few", vm_ids=(A, B, C), max_vms=1)),
        (HERE, PerHostLimit(id="none", vm_ids=(A, B), max_vms=0, host_ids=(H1, H2))),
        (LicenceLimit(id="one", vm_ids=(A, B), max_hosts=1), APART),
        (LicenceLimit(id="two", vm_ids=(A, B, C), max_hosts=2),
         AntiAffinity(id="all", vm_ids=(A, B, C))),
        (LicenceLimit(id="one", vm_ids=(A, B), max_hosts=1), HERE, THERE),
        (LicenceLimit(id="one", vm_ids=(A, B), max_hosts=1),
         Split(id="split", vm_ids=(A,), other_vm_ids=(B,))),
        (LicenceLimit(id="two", vm_ids=(A, B, C, D), max_hosts=1),
         PerHostLimit(id="few", vm_ids=(A, B, C, D), max_vms=3)),
    ],
    ids=lambda rules: "-".join(rule.kind for rule in rules),
)  # fmt: skip
def test_kinds_that_can_contradict_do(rules: tuple[PlacementRule, ...]) -> None:
    """All of the rules are needed; any one fewer can be kept; soft rules never contradict."""
    assert contradictions(*rules) == [tuple(rule.id for rule in rules)]
    for left in itertools.combinations(rules, len(rules) - 1):
        assert contradictions(*left) == []


def test_a_rule_may_contradict_the_cluster_alone() -> None:
    """Five VMs apart need five hosts; three zones need three zones."""
    assert contradictions(AntiAffinity(id="apart", vm_ids=(A, B, C, D))) == []
    wide = Spread(id="wide", vm_ids=(A, B, C), min_domains=3)
    assert contradictions(wide) == [("wide",)]
    crowd = AntiAffinity(id="crowd", vm_ids=(A, B, C, D, VmId("e")))
    assert contradictions(crowd, vms=[make_vm("e")]) == [("crowd",)]


def test_three_rules_are_found_among_twenty() -> None:
    """The rest hang together with the three, are broken now, and could all be kept."""
    names = [VmId(f"v{i}") for i in range(20)]
    vms = [make_vm(name, "h1") for name in names]
    hosts = [make_host(f"h{i}", zone=f"z{i % 3}") for i in range(1, 13)]
    chain: list[PlacementRule] = [
        AntiAffinity(id=f"apart{i}", vm_ids=(names[i], names[i + 1])) for i in range(10)
    ]
    chain += [
        Spread(id=f"wide{i}", vm_ids=tuple(names[i : i + 4]), min_domains=2) for i in range(7)
    ]
    core: list[PlacementRule] = [
        Among(id="zone", vm_ids=(names[3], names[12])),
        Affinity(id="pair", vm_ids=(names[12], names[15])),
        Spread(id="torn", vm_ids=(names[3], names[15]), min_domains=2),
    ]
    rules = (*chain[:5], core[0], *chain[5:12], core[1], *chain[12:], core[2])
    found = find_contradictions(make_cluster(hosts, vms, rules=tuple(rules)))
    assert found.contradictions == (Contradiction(rule_ids=("zone", "pair", "torn")),)
    assert found.contradictions[0].message == (
        "no placement keeps hard rules 'zone', 'pair' and 'torn' together"
    )


def test_affinities_that_share_a_vm_tie_all_their_vms() -> None:
    """Two affinities tie three VMs together, though no rule names all three."""
    tied = (TOGETHER, Affinity(id="on", vm_ids=(B, C)))
    assert contradictions(*tied, AntiAffinity(id="apart", vm_ids=(A, C))) == [
        ("together", "on", "apart")
    ]
    far = Pin(id="far", vm_ids=(C,), host_ids=(H2,))
    assert contradictions(*tied, HERE, far) == [("together", "on", "here", "far")]


def test_contradictions_that_share_nothing_are_all_told() -> None:
    """In one group of rules or in several."""
    near = Affinity(id="near", vm_ids=(C, D))
    far = AntiAffinity(id="far", vm_ids=(C, D))
    assert contradictions(TOGETHER, near, APART, far) == [("together", "apart"), ("near", "far")]
    bridge = Split(id="bridge", vm_ids=(A,), other_vm_ids=(C,))
    assert sorted(contradictions(TOGETHER, near, APART, far, bridge)) == [
        ("near", "far"),
        ("together", "apart"),
    ]


def test_what_a_contradiction_tied_together_is_decided_apart() -> None:
    """Without the rule between them, two broken rules no longer hang together."""
    crowd = AntiAffinity(id="crowd", vm_ids=(A, B, C, D, VmId("e")))
    left, right = APART, AntiAffinity(id="right", vm_ids=(C, D))
    assert contradictions(crowd, left, right, vms=[make_vm("e")]) == [("crowd",)]


def test_soft_rules_contradict_nothing() -> None:
    """They have a price; whichever is broken is paid for."""
    wish = Affinity(id="together", vm_ids=(A, B), penalty_host_s=1.0)
    assert contradictions(wish, APART) == []


def test_what_a_vm_requires_binds_like_a_rule() -> None:
    """The fact is named beside the rules it contradicts, or alone."""
    hosts = [make_host("h1", provides=("cpu:x",)), make_host("h2")]
    vms = [make_vm("a", "h2", requires=("cpu:x",)), make_vm("b", "h2")]
    away = Ban(id="away", vm_ids=(A,), host_ids=(H1,))
    (found,) = find_contradictions(make_cluster(hosts, vms, rules=(away,))).contradictions
    assert found == Contradiction(rule_ids=("away",), facts=("VM 'a' requires cpu:x",))
    assert found.message == (
        "no placement keeps hard rule 'away', given that VM 'a' requires cpu:x"
    )
    (alone,) = find_contradictions(make_cluster(hosts[1:], vms)).contradictions
    assert alone.message == "no placement is possible, given that VM 'a' requires cpu:x"


def test_a_vm_that_cannot_be_migrated_binds_where_it_runs() -> None:
    """It would have to be somewhere else; what it requires does not matter where it is."""
    stuck = make_vm("a", "h2", not_migratable_reason="local disk", requires=("cpu:x",))
    cluster = make_cluster(HOSTS, [stuck], rules=(HERE,))
    (found,) = find_contradictions(cluster).contradictions
    assert found.rule_ids == ("here",)
    assert found.facts == ("VM 'a' cannot be migrated from 'h2' (local disk)",)
    assert find_contradictions(make_cluster(HOSTS, [stuck])).contradictions == ()


@pytest.mark.parametrize("state", [HostState.MAINTENANCE, HostState.UNREACHABLE])
def test_states_that_pass_contradict_nothing(state: HostState) -> None:
    """A rule that waits for a host to come back is a violation that remains for now."""
    hosts = [make_host("h1", state=state), make_host("h2")]
    cluster = make_cluster(hosts, [make_vm("a", "h2"), make_vm("b", "h2")], rules=(APART, HERE))
    assert find_contradictions(cluster).contradictions == ()


def test_rules_about_vms_to_be_started_are_searched() -> None:
    """They break nothing yet, and can never all be kept."""
    assert contradictions(TOGETHER, APART, vms=[make_vm("a", None)]) == [("together", "apart")]


def test_a_search_without_time_says_that_it_knows_nothing() -> None:
    """Undecided rules are named, never passed off as kept."""
    cluster = make_cluster(HOSTS, [make_vm("a"), make_vm("b")], rules=(TOGETHER, APART))
    found = find_contradictions(cluster, group_limit_s=0)
    assert found.contradictions == ()
    assert found.undecided == (("together", "apart"),)


def test_what_is_local_in_a_large_group_is_found() -> None:
    """Thousands of rules hang together; two of them contradict each other."""
    num = 3000
    hosts = [make_host(f"h{i}", zone=f"z{i % 4}") for i in range(40)]
    vms = [make_vm(f"v{i}", f"h{i % 40}") for i in range(num)]
    names = [vm.id for vm in vms]
    chain: list[PlacementRule] = [
        AntiAffinity(id=f"apart{i}", vm_ids=(names[i], names[i + 1])) for i in range(num - 1)
    ]
    chain.append(Affinity(id="pair", vm_ids=(names[500], names[501])))
    found = find_contradictions(make_cluster(hosts, vms, rules=tuple(chain)))
    assert found.contradictions == (Contradiction(rule_ids=("apart500", "pair"), smallest=False),)
    assert found.contradictions[0].message.endswith("together (there may be a smaller set)")


def keeps(cluster: Cluster, placement: dict[VmId, HostId | None]) -> bool:
    """Whether a placement keeps every hard rule, requirement and VM that has to stay."""
    stuck = {vm.id for vm in cluster.vms if vm.host_id is not None and not vm.migratable}
    kinds = {rule.kind for rule in cluster.rules}
    return all(placement[vm.id] == vm.host_id for vm in cluster.vms if vm.id in stuck) and not any(
        violation.hard
        and (
            violation.key[0] in kinds
            or (violation.key[0] == "compatibility" and violation.key[1] not in stuck)
        )
        for violation in check_placement(cluster, placement)
    )


def can_be_kept(cluster: Cluster, rules: Sequence[PlacementRule]) -> bool:
    """Whether some placement keeps all of the rules, by trying every one."""
    alone = make_cluster(cluster.hosts, cluster.vms, rules=tuple(rules))
    host_ids = [host.id for host in cluster.hosts]
    return any(
        keeps(alone, dict(zip((vm.id for vm in cluster.vms), places, strict=True)))
        for places in itertools.product(host_ids, repeat=len(cluster.vms))
    )


@settings(max_examples=100)
@given(st.data())
def test_brute_force_agrees(data: st.DataObject) -> None:
    """A contradiction is found exactly where no placement keeps all, and none has fewer rules."""
    cluster = data.draw(clusters(max_hosts=3, max_vms=4, max_rules=6, whole=True))
    found = find_contradictions(cluster)
    assert not found.undecided
    hard = [rule for rule in cluster.rules if rule.hard]
    assert bool(found.contradictions) != can_be_kept(cluster, hard)
    if found.contradictions:
        size = min(len(item.rule_ids) for item in found.contradictions)
        for item in found.contradictions:
            assert not can_be_kept(cluster, [r for r in hard if r.id in item.rule_ids])
        if size:
            for fewer in itertools.combinations(hard, size - 1):
                assert can_be_kept(cluster, fewer)
