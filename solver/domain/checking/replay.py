"""A plan replayed event by event: what it breaks at any instant, on its steps, or at its end."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from solver.domain.checking.moves import (
    budget_violations,
    end_violations,
    move_violations,
    taking_part,
)
from solver.domain.checking.placement import check_placement
from solver.domain.checking.standing import Course
from solver.domain.checking.steps import malformed_steps
from solver.domain.checking.violation import SEVERITY_ONE, Violation, new_or_worse
from solver.domain.cluster import Cluster
from solver.domain.plan import Plan, Step
from solver.domain.units import HostId


def check_plan(cluster: Cluster, plan: Plan, *, least_sent: float = 1.0) -> tuple[Violation, ...]:
    """Replay a plan event by event and return everything new or worse than at its start.

    Empty means: every step starts where its VM is, fits the caps and the bandwidth, and at every
    instant each hard rule and capacity holds or is at most as broken as it was before the plan.
    What an instant broke is reported with that instant.

    Parameters
    ----------
    least_sent
        Share of a VM's resident memory that a migration sends at the least: the ``sent_fraction``
        that the plan was made with; 0 where VMs may have grown since it was made.
    """
    problems = tuple(malformed_steps(cluster, plan, least_sent))
    if problems:
        return problems
    course = Course(cluster)
    found: dict[tuple[str, ...], Violation] = {}
    for instant_ms, violation in _replayed(cluster, plan, course):
        if violation.key not in found:
            message = f"at {instant_ms} ms: {violation.message}"
            found[violation.key] = replace(violation, message=message)
    after = plan.placement_after(cluster.placement)
    exempt = taking_part(course.before)
    migrations = [(s.source_id, s.destination_id) for s in plan.steps if s.source_id is not None]
    hosts = {host.id: host for host in cluster.hosts}
    vms = {vm.id: vm for vm in cluster.vms}
    for violation in (
        *new_or_worse(course.before, check_placement(cluster, after)),
        *end_violations(cluster, after, exempt),
        # No single step may do what the end of the plan may not show.
        *(
            violation
            for step in plan.steps
            for violation in move_violations(
                cluster, hosts, vms[step.vm_id], step.source_id, step.destination_id, exempt
            )
        ),
        *budget_violations(cluster, migrations),
    ):
        found.setdefault(violation.key, violation)
    return tuple(found.values())


def _replayed(cluster: Cluster, plan: Plan, course: Course) -> Iterator[tuple[int, Violation]]:
    """Yield each instant with what its events broke; what ends at an instant ends first."""
    wire = _Wire(cluster)
    starting: dict[int, list[Step]] = defaultdict(list)
    ending: dict[int, list[Step]] = defaultdict(list)
    for step in plan.steps:
        starting[step.start_ms].append(step)
        ending[step.end_ms].append(step)
    for instant_ms in sorted({*starting, *ending}):
        for step in ending.get(instant_ms, ()):
            course.end(step)
            wire.end(step)
        started = starting.get(instant_ms, [])
        for step in started:
            course.start(step)
            wire.start(step)
        for violation in (*course.worse(), *wire.exceeded_by(started)):
            yield instant_ms, violation


class _Wire:
    """Migrations under way against the caps on them and the bandwidth of hosts and links."""

    def __init__(self, cluster: Cluster) -> None:
        self._network = cluster.network
        self._budget = cluster.budget
        self._hosts = {host.id: host for host in cluster.hosts}
        self._moves = 0
        self._out: Counter[HostId] = Counter()
        self._into: Counter[HostId] = Counter()
        self._rate: Counter[HostId] = Counter()

    def start(self, step: Step) -> None:
        """Take note that a step is under way."""
        self._change(step, 1)

    def end(self, step: Step) -> None:
        """Take note that it no longer is."""
        self._change(step, -1)

    def _change(self, step: Step, sign: int) -> None:
        if step.source_id is None:
            return
        self._moves += sign
        self._out[step.source_id] += sign
        self._into[step.destination_id] += sign
        for host_id in (step.source_id, step.destination_id):
            self._rate[host_id] += sign * step.bandwidth_mib_per_s

    def exceeded_by(self, started: Iterable[Step]) -> Iterator[Violation]:
        """Yield the limits exceeded where steps were started: nothing else can exceed one."""
        moves = [(step, step.source_id) for step in started if step.source_id is not None]
        if not moves:
            return
        budget = self._budget
        limits = [("parallel", "the cluster", self._moves, budget.max_parallel)]
        for step, source_id in moves:
            target_id = step.destination_id
            source, target = self._hosts[source_id], self._hosts[target_id]
            out, into = self._out[source_id], self._into[target_id]
            limits += [
                ("parallel_out", source_id, out, budget.max_parallel_out_per_host),
                ("parallel_in", target_id, into, budget.max_parallel_in_per_host),
            ]
            limits += [
                ("bandwidth", end.id, self._rate[end.id], end.migration_bandwidth_mib_per_s)
                for end in (source, target)
            ]
            most = self._network.link(source, target).bandwidth_mib_per_s
            limits.append(("link", f"{source_id} to {target_id}", step.bandwidth_mib_per_s, most))
        for kind, where, seen, limit in limits:
            if seen > limit:
                yield Violation(
                    key=(kind, where),
                    amount=seen - limit,
                    severity_ppm=SEVERITY_ONE,
                    message=f"{kind} on {where}: {seen}, at most {limit}",
                )
