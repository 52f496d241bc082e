"""Every plan that sequencing makes is found faultless by the independent checker.

Targets are drawn at random: most cannot be reached in full, which is the point. Small cases are
compared with trying everything.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import assume, given, target
from hypothesis import strategies as st

from solver.domain.check import check_placement, check_plan, new_or_worse
from solver.domain.cluster import Cluster
from solver.domain.migration import MigrationParameters
from solver.domain.rules import (
    Affinity,
    Among,
    AntiAffinity,
    Dependency,
    LicenceLimit,
    MoveBudget,
    PerHostLimit,
    PlacementRule,
    Split,
    Spread,
)
from solver.domain.units import HostId, VmId
from solver.sequencing.counts import Cells, count_of, roles
from solver.sequencing.order import Sequenced, sequence
from tests.builders import make_cluster, make_host, make_vm
from tests.strategies import clusters

Target = dict[VmId, HostId | None]


def check(
    cluster: Cluster, placement: Target, urgency: dict[VmId, int], *, sent_fraction: float = 1.0
) -> Sequenced:
    """Return the answer once everything promised of it holds."""
    parameters = MigrationParameters(sent_fraction=sent_fraction)
    answer = sequence(cluster, placement, urgency=urgency, parameters=parameters)
    assert check_plan(cluster, answer.plan, least_sent=sent_fraction) == ()
    after = answer.plan.placement_after(cluster.placement)
    for vm in cluster.vms:
        assert after[vm.id] == (vm.host_id if vm.id in answer.cut_off else placement[vm.id])
    assert set(answer.reasons_cut) == set(answer.cut_off)
    assert all(answer.reasons_cut.values())
    migrations = [step for step in answer.plan.steps if step.source_id is not None]
    limit = cluster.budget.max_moves
    assert limit is None or len(migrations) <= limit
    return answer


@st.composite
def anything(draw: st.DrawFn) -> tuple[Cluster, Target, dict[VmId, int]]:
    """Draw a cluster, as broken as they come, and any target at all."""
    cluster = draw(clusters())
    host_ids = [host.id for host in cluster.hosts]
    placement: Target = {
        vm.id: draw(st.sampled_from([vm.host_id, *host_ids])) for vm in cluster.vms
    }
    return cluster, placement, {vm.id: draw(st.integers(0, 5)) for vm in cluster.vms}


@st.composite
def tight_exchanges(draw: st.DrawFn, max_vms: int = 10) -> tuple[Cluster, Target, dict[VmId, int]]:
    """Draw nearly full hosts whose VMs change places among themselves: swaps and circles.

    Both ends of the exchange are feasible at rest, or at most as broken as the start.
    """
    num_hosts = draw(st.integers(2, 5))
    size = draw(st.sampled_from([4, 6, 8]))
    spare = st.sampled_from([0, 0, 0, 1, 2])
    hosts = [
        make_host(
            f"h{h}",
            cores=None,
            memory_gib=size + draw(spare),
            migration_bandwidth_mib_per_s=draw(st.sampled_from([1, 3, 100, 1000])),
        )
        for h in range(num_hosts)
    ]
    free = [size] * num_hosts
    vms = []
    for i in range(draw(st.integers(2, max_vms))):
        need = draw(st.integers(1, 4))
        open_hosts = [h for h in range(num_hosts) if free[h] >= need]
        if not open_hosts:
            break
        h = draw(st.sampled_from(open_hosts))
        free[h] -= need
        vms.append(make_vm(f"v{i}", f"h{h}", memory_gib=need, dirty_mib_per_s=draw(spare)))
    rules = []
    if len(vms) > 2 and draw(st.booleans()):
        members = draw(
            st.lists(st.sampled_from([vm.id for vm in vms]), min_size=2, max_size=3, unique=True)
        )
        rules.append(AntiAffinity(id="apart", vm_ids=tuple(members)))
    budget = MoveBudget(
        max_parallel=draw(st.integers(1, 4)),
        max_parallel_in_per_host=draw(st.integers(1, 2)),
        max_parallel_out_per_host=draw(st.integers(1, 2)),
    )
    cluster = make_cluster(hosts, vms, rules=tuple(rules), budget=budget)
    # Whole hosts change their contents, which fits by construction but for the spare room.
    order = draw(st.permutations(range(num_hosts)))
    placement: Target = {
        vm.id: HostId(f"h{order[int(vm.host_id[1:])]}") for vm in vms if vm.host_id
    }
    for vm in vms:
        if draw(st.integers(0, 3)) == 0:
            placement[vm.id] = draw(st.sampled_from([host.id for host in hosts]))
    before = check_placement(cluster, cluster.placement)
    assume(not new_or_worse(before, check_placement(cluster, placement)))
    return cluster, placement, {vm.id: draw(st.integers(1, 5)) for vm in vms}


@st.composite
def ruled(draw: st.DrawFn) -> tuple[Cluster, Target, dict[VmId, int]]:
    """Draw a small cluster under several rules of any kind, and a target that may break them.

    Room is plenty, so that it is the rules which decide; they are as broken as they come.
    """
    hosts = [
        make_host(
            f"h{h}",
            zone=draw(st.sampled_from(["a", "b", "c"])),
            rack=draw(st.sampled_from(["r", "s"])),
            max_vms=draw(st.sampled_from([None, None, None, 1, 2, 3])),
            provides=draw(st.sampled_from([("cpu:x",), ("cpu:x",), ()])),
            memory_gib=draw(st.sampled_from([100, 100, 8])),
        )
        for h in range(draw(st.integers(3, 6)))
    ]
    host_ids = [host.id for host in hosts]
    places = st.sampled_from([*host_ids, *host_ids, None])
    vms = [
        make_vm(
            f"v{i}",
            draw(places),
            memory_gib=draw(st.sampled_from([1, 2, 4])),
            requires=draw(st.sampled_from([(), (), (), ("cpu:x",)])),
        )
        for i in range(draw(st.integers(3, 8)))
    ]
    rules = tuple(
        draw(group_rules(f"r{i}", [vm.id for vm in vms], host_ids))
        for i in range(draw(st.integers(1, 4)))
    )
    budget = MoveBudget(
        max_parallel=draw(st.sampled_from([1, 8])), max_moves=draw(st.sampled_from([None, None, 4]))
    )
    cluster = make_cluster(hosts, vms, rules=rules, budget=budget)
    placement: Target = {vm.id: draw(st.sampled_from([vm.host_id, *host_ids])) for vm in vms}
    return cluster, placement, {vm.id: draw(st.integers(0, 5)) for vm in vms}


@st.composite
def group_rules(
    draw: st.DrawFn, rule_id: str, vm_ids: list[VmId], host_ids: list[HostId]
) -> PlacementRule:
    """Draw a hard rule of any kind that is about how VMs stand to one another."""
    kind = draw(st.sampled_from(GROUP_KINDS))
    some = draw(st.permutations(vm_ids))
    number = draw(st.integers(2, 4))
    more: dict[str, Any] = {"id": rule_id, "vm_ids": tuple(some[:number])}
    if kind is not Affinity:
        more["continuous"] = draw(st.sampled_from([True, True, False]))
    level = st.sampled_from(["host", "rack", "zone"])
    if kind is Among:
        cut = draw(st.integers(1, len(host_ids) - 1))
        parts = tuple(host_ids[:cut]), tuple(host_ids[cut:][:2])
        more["parts"] = draw(st.sampled_from([(), parts]))
    elif kind is Spread:
        more |= {"min_domains": draw(st.integers(2, 3)), "level": draw(level)}
    elif kind is Dependency:
        more |= {"vm_ids": some[:1], "on_vm_ids": tuple(some[1:number]), "level": draw(level)}
    elif kind is Split:
        more |= {"vm_ids": some[:1], "other_vm_ids": tuple(some[1:number])}
    elif kind is PerHostLimit:
        named = draw(st.sampled_from([(), tuple(host_ids[:2])]))
        more |= {"max_vms": draw(st.integers(0, 2)), "host_ids": named}
    elif kind is LicenceLimit:
        more["max_hosts"] = draw(st.integers(1, 2))
    more["vm_ids"] = tuple(more["vm_ids"])
    return kind(**more)


GROUP_KINDS: list[type[Any]] = [
    Affinity,
    AntiAffinity,
    Among,
    Spread,
    Dependency,
    Split,
    PerHostLimit,
    LicenceLimit,
]


@given(ruled())
def test_the_checker_finds_nothing_under_any_rules(
    problem: tuple[Cluster, Target, dict[VmId, int]],
) -> None:
    """Every kind of rule, continuous or at rest, holds while VMs come, go and pass each other."""
    answer = check(*problem)
    target(len(answer.plan.steps))


@given(ruled())
def test_counts_agree_with_the_checker(
    problem: tuple[Cluster, Target, dict[VmId, int]],
) -> None:
    """Whatever the placement, a rule is as broken as the independent check says."""
    cluster, placement, _ = problem
    found = {v.key[1]: v.amount for v in check_placement(cluster, placement) if len(v.key) == 2}
    cells = Cells(cluster)
    for rule in cluster.rules:
        count = count_of(rule, cells)
        for vm_id, role in roles(rule):
            host_id = placement[vm_id]
            if host_id is not None:
                count.put(role, cells.position[host_id])
        assert count.amount == found.get(rule.id, 0)


@given(anything())
def test_the_checker_finds_nothing_in_any_plan(
    problem: tuple[Cluster, Target, dict[VmId, int]],
) -> None:
    """Whatever the target, the plan breaks nothing at any instant and says what it left out."""
    answer = check(*problem)
    target(len(answer.plan.steps))


@given(tight_exchanges(), st.sampled_from([1.0, 0.87, 0.01]))
def test_the_checker_finds_nothing_in_exchanges(
    problem: tuple[Cluster, Target, dict[VmId, int]], sent_fraction: float
) -> None:
    """Swaps and circles between full hosts, where every MiB and every instant counts."""
    answer = check(*problem, sent_fraction=sent_fraction)
    target(sum(step.parking for step in answer.plan.steps))


@given(tight_exchanges(max_vms=5))
def test_no_order_loses_less_urgency(problem: tuple[Cluster, Target, dict[VmId, int]]) -> None:
    """Of small exchanges no order with any parking reaches more of the target."""
    cluster, placement, urgency = problem
    answer = check(cluster, placement, urgency)
    lost = sum(urgency[vm_id] for vm_id in answer.cut_off)
    assert lost == least_lost(cluster, placement, urgency)


def least_lost(cluster: Cluster, placement: Target, urgency: dict[VmId, int]) -> int:
    """Return the least urgency that any sequence of single moves leaves behind.

    Tries everything, judged by the checker alone: each VM may be parked once, anywhere.
    """
    moving = [vm.id for vm in cluster.vms if placement[vm.id] != vm.host_id]
    home = cluster.placement
    before = check_placement(cluster, home)
    allowed: dict[tuple[str | None, ...], bool] = {}

    def fits(where: tuple[HostId | None, ...], i: int, host_id: HostId) -> bool:
        """Whether a VM may hold both ends; a twin stands for it at the other end."""
        key = (*where, moving[i], host_id)
        if key not in allowed:
            vms = {vm.id: vm for vm in cluster.vms}
            twin = make_vm("twin", host_id, memory_gib=vms[moving[i]].allocation.memory_mib / 1024)
            rules = tuple(
                AntiAffinity(id=rule.id, vm_ids=(*rule.vm_ids, twin.id))
                if moving[i] in rule.vm_ids
                else rule
                for rule in cluster.rules
            )
            now = cluster.with_placement(home | dict(zip(moving, where, strict=True)))
            both = make_cluster(now.hosts, (*now.vms, twin), rules=rules)
            allowed[key] = not new_or_worse(before, check_placement(both, both.placement))
        return allowed[key]

    start = (tuple(home[v] for v in moving), frozenset[int]())
    seen = {start}
    queue = deque([start])
    best = sum(urgency[v] for v in moving)
    while queue:
        where, parked = queue.popleft()
        left = [v for v, h in zip(moving, where, strict=True) if h != placement[v]]
        if all(where[moving.index(v)] == home[v] for v in left):
            best = min(best, sum(urgency[v] for v in left))
        for i, vm_id in enumerate(moving):
            if where[i] == placement[vm_id]:
                continue
            for host in cluster.hosts:
                straight = host.id == placement[vm_id]
                parkable = where[i] == home[vm_id] and i not in parked
                if host.id == where[i] or not (straight or parkable):
                    continue
                state = (
                    (*where[:i], host.id, *where[i + 1 :]),
                    parked if straight else parked | {i},
                )
                if state not in seen and fits(where, i, host.id):
                    seen.add(state)
                    queue.append(state)
    return best
