"""Small plans take no longer to bring their relief than the best of all schedules.

What is best is found by trying every order and every link share, each move as early as the checker
lets it be: of schedules that hold room and bandwidth for a time, one in which nothing can be
earlier is among the best (Sprecher, Kolisch, Drexl: Semi-active, active, and non-delay schedules
for the resource-constrained project scheduling problem, EJOR 80, 1995).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import assume, given, settings, target
from hypothesis import strategies as st

from solver.domain.check import check_plan
from solver.domain.cluster import Cluster
from solver.domain.migration import estimate
from solver.domain.plan import Plan, Step
from solver.domain.rules import AntiAffinity, MoveBudget
from solver.domain.units import HostId, VmId
from solver.sequencing.optimal import SHARES, WORTH_TRYING
from solver.sequencing.order import sequence
from tests.builders import make_cluster, make_host, make_vm

Target = dict[VmId, HostId | None]

MOVES = 3
"""Two thousand schedules to try; of four moves there are sixty thousand."""


@st.composite
def few_moves(draw: st.DrawFn) -> tuple[Cluster, Target, dict[VmId, int]]:
    """Draw a cluster in which up to three VMs move, in each other's way or not."""
    hosts = [
        make_host(
            f"h{h}",
            cores=None,
            memory_gib=draw(st.sampled_from([8, 9, 12, 64])),
            migration_bandwidth_mib_per_s=draw(st.sampled_from([300, 700, 1000])),
        )
        for h in range(draw(st.integers(3, 4)))
    ]
    host_ids = [host.id for host in hosts]
    vms = [
        make_vm(
            f"v{i}",
            draw(st.sampled_from(host_ids)),
            memory_gib=draw(st.integers(1, 6)),
            dirty_mib_per_s=draw(st.sampled_from([0, 0, 60])),
        )
        for i in range(MOVES)
    ]
    names = tuple(vm.id for vm in vms)
    rules = (AntiAffinity(id="apart", vm_ids=names[:2]),) if draw(st.booleans()) else ()
    budget = MoveBudget(
        max_parallel=draw(st.integers(1, 3)),
        max_parallel_in_per_host=draw(st.integers(1, 2)),
        max_parallel_out_per_host=draw(st.integers(1, 2)),
    )
    cluster = make_cluster(hosts, vms, rules=rules, budget=budget)
    placement: Target = {vm.id: draw(st.sampled_from(host_ids)) for vm in vms}
    return cluster, placement, {vm.id: draw(st.integers(1, 9)) for vm in vms}


@settings(max_examples=25)
@given(few_moves())
def test_no_schedule_of_a_small_plan_suffers_less(
    problem: tuple[Cluster, Target, dict[VmId, int]],
) -> None:
    """Urgency times the time until arrival, in all, is within what is not worth another try."""
    cluster, placement, urgency = problem
    answer = sequence(cluster, placement, urgency=urgency)
    steps = answer.plan.steps
    assume(len(steps) > 1 and not answer.cut_off and not any(step.parking for step in steps))
    best = min(suffered(plan, urgency) for plan in schedules(cluster, answer.plan))
    reached = suffered(answer.plan, urgency)
    assert reached == answer.merit.weighted_end
    assert reached <= WORTH_TRYING * best
    target(float(len({step.start_ms for step in steps})))


def suffered(plan: Plan, urgency: dict[VmId, int]) -> int:
    """Return the sum over VMs of urgency times the milliseconds until they arrive."""
    return sum(urgency[step.vm_id] * step.end_ms for step in plan.steps)


def schedules(cluster: Cluster, plan: Plan) -> Iterator[Plan]:
    """Yield a plan's steps in every order, each with every link share, as early as can be."""

    def extend(done: tuple[Step, ...], left: tuple[Step, ...]) -> Iterator[Plan]:
        if not left:
            yield replace(plan, steps=tuple(sorted(done, key=lambda step: step.start_ms)))
        for step in left:
            rest = tuple(other for other in left if other is not step)
            for way in ways(cluster, step):
                placed = earliest(cluster, replace(plan, steps=done), way)
                if placed is not None:
                    yield from extend((*done, placed), rest)

    yield from extend((), plan.steps)


def ways(cluster: Cluster, step: Step) -> list[Step]:
    """Return a step with its own share of its link, all of it, a half, a third and a quarter."""
    hosts = {host.id: host for host in cluster.hosts}
    assert step.source_id is not None
    source, destination = hosts[step.source_id], hosts[step.destination_id]
    most = cluster.network.link(source, destination).narrowest_mib_per_s(source, destination)
    vm = next(vm for vm in cluster.vms if vm.id == step.vm_id)
    found = []
    for share in sorted({step.bandwidth_mib_per_s, *(most // parts for parts in SHARES)}):
        course = estimate(vm.memory_footprint_mib, vm.dirty_mib_per_s, share)
        found.append(
            replace(
                step,
                start_ms=0,
                end_ms=int(course.duration_ms),
                bandwidth_mib_per_s=share,
                transferred_mib=int(course.transferred_mib),
                downtime_ms=int(course.downtime_ms),
            )
        )
    return found


def earliest(cluster: Cluster, plan: Plan, step: Step) -> Step | None:
    """Return a step at the first instant at which the checker lets it join a plan."""
    for start_ms in sorted({0, *(other.end_ms for other in plan.steps)}):
        shifted = replace(step, start_ms=start_ms, end_ms=start_ms + step.end_ms)
        joined = sorted((*plan.steps, shifted), key=lambda item: item.start_ms)
        if not check_plan(cluster, replace(plan, steps=tuple(joined))):
            return shifted
    return None
