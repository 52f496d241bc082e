"""Every plan that sequencing makes is found faultless by the independent checker."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from solver.domain.check import check_plan, check_placement, new_or_worse
from solver.domain.cluster import VM, Cluster, Host, HostState, Link, Network, Overcommit
from solver.domain.plan import StepKind
from solver.domain.rules import Affinity, AntiAffinity, Ban, MoveBudget, Pin, PlacementRule
from solver.domain.units import HostId, VmId
from solver.domain.errors import InvalidInputError
from solver.sequencing.order import Sequenced, sequence
from tests.builders import NOW, make_host, make_vm
from datetime import timedelta
from hypothesis import assume


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """Draw small, tight clusters: over-full hosts, caps of one, rules broken from the start."""
    num_hosts = draw(st.integers(2, 5))
    num_vms = draw(st.integers(1, 9))
    overcommit = draw(st.sampled_from([None, 1.0, 2.0]))
    hosts = [
        make_host(
            f"h{h}",
            cores=draw(st.sampled_from([4, 8, None])),
            memory_gib=draw(st.sampled_from([4, 8, 12, 16])),
            state=draw(
                st.sampled_from([HostState.UP] * 6 + [HostState.MAINTENANCE, HostState.UNREACHABLE])
            ),
            overcommit=Overcommit(cpu=overcommit),
            zone=draw(st.sampled_from(["", "z"])),
            migration_bandwidth_mib_per_s=draw(st.sampled_from([1, 3, 100, 1000])),
        )
        for h in range(num_hosts)
    ]
    vms = [
        make_vm(
            f"v{v}",
            draw(st.sampled_from([*(f"h{h}" for h in range(num_hosts))] * 4 + [None])),
            cores=draw(st.integers(1, 3)),
            memory_gib=draw(st.integers(1, 6)),
            dirty_mib_per_s=draw(st.sampled_from([0, 50, 5000])),
            priority=draw(st.integers(1, 10)),
            not_migratable_reason=draw(st.sampled_from([""] * 9 + ["passthrough device"])),
            not_before_at=draw(st.sampled_from([None] * 9 + [NOW + timedelta(hours=1)])),
        )
        for v in range(num_vms)
    ]
    budget = MoveBudget(
        max_moves=draw(st.sampled_from([None, None, None, 2, 4])),
        max_moves_per_host=draw(st.sampled_from([None, None, None, 2, 3])),
        max_parallel=draw(st.integers(1, 4)),
        max_parallel_in_per_host=draw(st.integers(1, 2)),
        max_parallel_out_per_host=draw(st.integers(1, 2)),
    )
    network = Network(same_zone=Link(bandwidth_mib_per_s=draw(st.sampled_from([2, 500]))))
    try:
        return Cluster(
            observed_at=NOW,
            hosts=tuple(hosts),
            vms=tuple(vms),
            rules=tuple(draw(rules(hosts, vms))),
            budget=budget,
            network=network,
        )
    except InvalidInputError:
        assume(False)
        raise


@st.composite
def rules(draw: st.DrawFn, hosts: list[Host], vms: list[VM]) -> list[PlacementRule]:
    """Draw a few rules, hard or soft."""
    host_ids = st.lists(
        st.sampled_from([host.id for host in hosts]), min_size=1, max_size=3, unique=True
    )
    found: list[PlacementRule] = []
    for i in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from([Pin, Ban, Affinity, AntiAffinity, AntiAffinity]))
        least = min(kind.min_vms, len(vms))
        vm_ids = tuple(
            draw(
                st.lists(
                    st.sampled_from([vm.id for vm in vms]),
                    min_size=least,
                    max_size=max(least, 3),
                    unique=True,
                )
            )
        )
        if len(vm_ids) < kind.min_vms:
            continue
        penalty = draw(st.sampled_from([None, None, 10.0]))
        more = {"host_ids": tuple(draw(host_ids))} if kind in (Pin, Ban) else {}
        found.append(kind(id=f"r{i}", vm_ids=vm_ids, penalty_host_s=penalty, **more))
    return found


@st.composite
def problems(draw: st.DrawFn) -> tuple[Cluster, dict[VmId, HostId | None], dict[VmId, int]]:
    """Draw a cluster, any target at all, and urgencies."""
    cluster = draw(clusters())
    up = [host.id for host in cluster.hosts]
    target: dict[VmId, HostId | None] = {}
    swap = draw(st.booleans())
    if swap:
        order = draw(st.permutations(list(cluster.vms)))
        for vm, other in zip(cluster.vms, order, strict=True):
            target[vm.id] = other.host_id or vm.host_id
    else:
        for vm in cluster.vms:
            target[vm.id] = draw(st.sampled_from([vm.host_id, *up]))
    urgency = {vm.id: draw(st.integers(0, 5)) for vm in cluster.vms}
    return cluster, target, urgency


@given(problems())
def test_the_checker_finds_nothing_in_any_plan(
    problem: tuple[Cluster, dict[VmId, HostId | None], dict[VmId, int]],
) -> None:
    """Whatever the target, the plan breaks nothing at any instant and says what it left out."""
    cluster, target, urgency = problem
    answer = sequence(cluster, target, urgency=urgency)
    assert check_plan(cluster, answer.plan) == ()
    after = answer.plan.placement_after(cluster.placement)
    for vm in cluster.vms:
        if vm.id in answer.cut_off:
            assert after[vm.id] == vm.host_id
            assert answer.reasons_cut[vm.id]
        else:
            assert after[vm.id] == target[vm.id]
    assert set(answer.reasons_cut) == set(answer.cut_off)
