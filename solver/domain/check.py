"""Every violation of a placement or a plan, found without any solver.

This is the judge: it knows the words of the domain and nothing of how an engine works. It counts
violations rather than answering yes or no, because real clusters start broken: what was broken may
stay as broken as it was and may never get worse (``new_or_worse``).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from solver.domain.cluster import (
    VM,
    Cluster,
    Host,
    HostState,
    Placement,
    reserved_amounts,
)
from solver.domain.plan import Plan, Step, StepKind
from solver.domain.rules import Affinity, AntiAffinity, Ban, HostRule, Pin, PlacementRule
from solver.domain.units import FIELDS, HostId, VmId
from solver.domain.weights import reference_amounts

SEVERITY_ONE = 1_000_000
"""Severity of one VM in the wrong place, or of one reference host of excess, in ppm."""

SEVERITY_BROKEN = 10_000
"""Least severity of a capacity that is exceeded at all: the last MiB is worth repairing too."""

Occupancy = Mapping[VmId, tuple[HostId, ...]]
"""Hosts each VM holds at an instant: none, one, or both ends of a migration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken rule or capacity.

    Parameters
    ----------
    key
        Identity, by which before and after are compared: kind, then rule, host or VM.
    amount
        How broken, as a whole number in the kind's own unit; positive.
    severity_ppm
        How broken in the common measure of the objective's repair term; 0 for soft rules.
    message
        One sentence with the value seen and the value expected.
    penalty_host_s
        Price per unit of ``amount`` of a soft rule; ``None`` for what is hard.
    vm_ids, host_ids
        The objects concerned.
    """

    key: tuple[str, ...]
    amount: int
    severity_ppm: int
    message: str
    penalty_host_s: float | None = None
    vm_ids: tuple[VmId, ...] = ()
    host_ids: tuple[HostId, ...] = ()

    @property
    def hard(self) -> bool:
        """Whether a hard rule, a capacity or a state of a host is broken."""
        return self.penalty_host_s is None


def check_placement(cluster: Cluster, placement: Placement) -> tuple[Violation, ...]:
    """Return every violation, hard and soft, of a placement at rest.

    Parameters
    ----------
    placement
        Host of every VM of the cluster; a VM left out counts as running nowhere.
    """
    occupancy: dict[VmId, tuple[HostId, ...]] = {}
    for vm in cluster.vms:
        host_id = placement.get(vm.id)
        occupancy[vm.id] = () if host_id is None else (host_id,)
    return (*_instant_violations(cluster, occupancy), *_resting_violations(cluster, occupancy))


def check_moves(cluster: Cluster, placement: Placement) -> tuple[Violation, ...]:
    """Return what is wrong with *going* from the cluster's placement to another one.

    A VM that cannot be migrated or is cooling down was moved, something touches an unreachable
    host, a running VM was dropped, or a budget is exceeded. A cool-down does not bind a VM that
    takes part in a violation at the start: repair is exempt.
    """
    found: list[Violation] = []
    hosts = {host.id: host for host in cluster.hosts}
    exempt = _exempt_from_cool_down(cluster)
    migrations: list[tuple[HostId, HostId]] = []
    for vm in cluster.vms:
        target = placement.get(vm.id)
        if target is not None and target not in hosts:
            found.append(_move_violation("unknown_host", vm, f"is sent to unknown host {target!r}"))
        elif target is None and vm.host_id is not None:
            found.append(_move_violation("lost", vm, f"ran on {vm.host_id!r} and ends nowhere"))
        elif target is not None and target != vm.host_id:
            if vm.host_id is not None:
                migrations.append((vm.host_id, target))
            if hosts[target].state is HostState.MAINTENANCE:
                what = f"enters {target!r}, which is in maintenance"
                found.append(_move_violation("enters_maintenance", vm, what))
            found.extend(
                _wrong_move(
                    cluster, hosts, vm, target, source_id=vm.host_id, exempt=vm.id in exempt
                )
            )
    return (*found, *_budget_violations(cluster, migrations))


def check_plan(cluster: Cluster, plan: Plan) -> tuple[Violation, ...]:
    """Replay a plan event by event and return everything new or worse than at its start.

    Empty means: every step starts where its VM is, fits the caps and the bandwidth, and at every
    instant each hard rule and capacity holds or is at most as broken as it was before the plan.
    What an instant broke is reported with that instant.
    """
    hosts = {host.id: host for host in cluster.hosts}
    problems = _malformed_steps(cluster, hosts, plan)
    if problems:
        return problems
    occupancy: dict[VmId, tuple[HostId, ...]] = {
        vm.id: () if vm.host_id is None else (vm.host_id,) for vm in cluster.vms
    }
    before = check_placement(cluster, cluster.placement)
    found: dict[tuple[str, ...], Violation] = {}
    running: list[Step] = []
    for instant_ms in sorted({t for step in plan.steps for t in (step.start_ms, step.end_ms)}):
        for step in [step for step in running if step.end_ms == instant_ms]:
            running.remove(step)
            occupancy[step.vm_id] = (step.destination_id,)
        for step in [step for step in plan.steps if step.start_ms == instant_ms]:
            running.append(step)
            held = occupancy[step.vm_id]
            occupancy[step.vm_id] = (*held, step.destination_id)
        now = (
            *new_or_worse(before, _instant_violations(cluster, occupancy)),
            *_cap_violations(cluster, hosts, running),
        )
        for violation in now:
            found.setdefault(violation.key, _at_instant(violation, instant_ms))
    after = plan.placement_after(cluster.placement)
    for violation in (
        *new_or_worse(before, check_placement(cluster, after)),
        *check_moves(cluster, after),
        *_step_violations(cluster, plan),
        *_budget_violations(
            cluster,
            [(s.source_id, s.destination_id) for s in plan.steps if s.source_id is not None],
        ),
    ):
        found.setdefault(violation.key, violation)
    return tuple(found.values())


def new_or_worse(before: Iterable[Violation], after: Iterable[Violation]) -> tuple[Violation, ...]:
    """Return the hard violations of ``after`` that ``before`` lacks or has to a lesser amount."""
    amounts = {violation.key: violation.amount for violation in before}
    return tuple(
        violation
        for violation in after
        if violation.hard and violation.amount > amounts.get(violation.key, 0)
    )


def capacity_severity_ppm(excess: int, reference: int) -> int:
    """Return the severity of exceeding a capacity by ``excess`` (0 when it is not exceeded)."""
    if excess <= 0:
        return 0
    return SEVERITY_BROKEN + excess * SEVERITY_ONE // reference


def _instant_violations(cluster: Cluster, occupancy: Occupancy) -> list[Violation]:
    """Return what must hold at every instant, a VM under way holding both its ends."""
    guests: dict[HostId, list[VM]] = defaultdict(list)
    for vm in cluster.vms:
        for host_id in occupancy[vm.id]:
            guests[host_id].append(vm)
    found: list[Violation] = []
    references = reference_amounts(cluster)
    for host in cluster.hosts:
        found.extend(_capacity_violations(host, guests[host.id], references))
        if host.state is HostState.MAINTENANCE and guests[host.id]:
            number = len(guests[host.id])
            found.append(
                Violation(
                    key=("maintenance", host.id),
                    amount=number,
                    severity_ppm=number * SEVERITY_ONE,
                    message=f"host {host.id!r} is in maintenance and holds {number} VMs",
                    vm_ids=tuple(vm.id for vm in guests[host.id]),
                    host_ids=(host.id,),
                )
            )
    for rule in cluster.rules:
        if isinstance(rule, HostRule):
            found.extend(_host_rule_violations(rule, occupancy))
        elif isinstance(rule, AntiAffinity):
            found.extend(_anti_affinity_violations(rule, occupancy))
    return found


def _resting_violations(cluster: Cluster, occupancy: Occupancy) -> list[Violation]:
    """Return what must hold once nothing is under way: affinity, and every VM running."""
    found = [
        Violation(
            key=("not_running", vm.id),
            amount=1,
            severity_ppm=SEVERITY_ONE,
            message=f"VM {vm.id!r} runs nowhere",
            vm_ids=(vm.id,),
        )
        for vm in cluster.vms
        if not occupancy[vm.id]
    ]
    for rule in cluster.rules:
        if not isinstance(rule, Affinity):
            continue
        counts = Counter(host_id for vm_id in rule.vm_ids for host_id in occupancy[vm_id])
        apart = sum(counts.values()) - max(counts.values(), default=0)
        if apart:
            found.append(
                _rule_violation(
                    rule,
                    amount=apart,
                    message=f"{apart} of its {len(rule.vm_ids)} VMs are away from the others",
                    host_ids=tuple(counts),
                )
            )
    return found


def _capacity_violations(
    host: Host, guests: list[VM], references: tuple[int, ...]
) -> list[Violation]:
    found = []
    reserved = [reserved_amounts(vm, host) for vm in guests]
    for r, usable in enumerate(host.usable()):
        used = sum(amounts[r] for amounts in reserved)
        if usable is not None and used > usable:
            found.append(
                Violation(
                    key=("capacity", host.id, FIELDS[r]),
                    amount=used - usable,
                    severity_ppm=capacity_severity_ppm(used - usable, references[r]),
                    message=(
                        f"host {host.id!r}: {used} {FIELDS[r]} reserved, at most {usable} fit"
                    ),
                    vm_ids=tuple(vm.id for vm in guests),
                    host_ids=(host.id,),
                )
            )
    return found


def _host_rule_violations(rule: HostRule, occupancy: Occupancy) -> list[Violation]:
    found = []
    named = set(rule.host_ids)
    for vm_id in rule.vm_ids:
        wrong = [
            host_id
            for host_id in occupancy[vm_id]
            if (isinstance(rule, Pin) and host_id not in named)
            or (isinstance(rule, Ban) and host_id in named)
        ]
        if wrong:
            wanted = "only on" if isinstance(rule, Pin) else "not on"
            found.append(
                _rule_violation(
                    rule,
                    amount=1,
                    message=f"VM {vm_id!r} is on {wrong}, expected {wanted} {sorted(named)}",
                    host_ids=tuple(wrong),
                    vm_ids=(vm_id,),
                )
            )
    return found


def _anti_affinity_violations(rule: AntiAffinity, occupancy: Occupancy) -> list[Violation]:
    """Count, over hosts, the VMs of the rule beyond the first one."""
    guests: dict[HostId, list[VmId]] = defaultdict(list)
    for vm_id in rule.vm_ids:
        for host_id in occupancy[vm_id]:
            guests[host_id].append(vm_id)
    crowded = {host_id: vm_ids for host_id, vm_ids in guests.items() if len(vm_ids) > 1}
    if not crowded:
        return []
    return [
        _rule_violation(
            rule,
            amount=sum(len(vm_ids) - 1 for vm_ids in crowded.values()),
            message=f"VMs share hosts: {dict(sorted(crowded.items()))}",
            host_ids=tuple(crowded),
            vm_ids=tuple(vm_id for vm_ids in crowded.values() for vm_id in vm_ids),
        )
    ]


def _rule_violation(
    rule: PlacementRule,
    *,
    amount: int,
    message: str,
    host_ids: tuple[HostId, ...],
    vm_ids: tuple[VmId, ...] | None = None,
) -> Violation:
    concerned = rule.vm_ids if vm_ids is None else vm_ids
    single = (concerned[0],) if isinstance(rule, HostRule) else ()
    return Violation(
        key=(rule.kind, rule.id, *single),
        amount=amount,
        severity_ppm=amount * SEVERITY_ONE if rule.hard else 0,
        message=f"rule {rule.id!r} ({rule.kind}): {message}",
        penalty_host_s=rule.penalty_host_s,
        vm_ids=concerned,
        host_ids=host_ids,
    )


def _move_violation(kind: str, vm: VM, what: str) -> Violation:
    return Violation(
        key=(kind, vm.id),
        amount=1,
        severity_ppm=SEVERITY_ONE,
        message=f"VM {vm.id!r} {what}",
        vm_ids=(vm.id,),
    )


def _exempt_from_cool_down(cluster: Cluster) -> set[VmId]:
    """Return the VMs that take part in a hard violation at the start: repair is exempt."""
    return {
        vm_id
        for violation in check_placement(cluster, cluster.placement)
        if violation.hard
        for vm_id in violation.vm_ids
    }


def _wrong_move(
    cluster: Cluster,
    hosts: Mapping[HostId, Host],
    vm: VM,
    target: HostId,
    *,
    source_id: HostId | None,
    exempt: bool,
) -> list[Violation]:
    found = []
    if source_id is not None and not vm.migratable:
        found.append(
            _move_violation(
                "not_migratable",
                vm,
                f"is moved to {target!r} but cannot be: {vm.not_migratable_reason}",
            )
        )
    if vm.not_before_at is not None and vm.not_before_at > cluster.observed_at and not exempt:
        found.append(
            _move_violation("cool_down", vm, f"is moved before {vm.not_before_at.isoformat()}")
        )
    for end, host_id in (("from", source_id), ("to", target)):
        if host_id is not None and hosts[host_id].state is HostState.UNREACHABLE:
            found.append(_move_violation("unreachable", vm, f"is moved {end} {host_id!r}"))
    return found


def _budget_violations(
    cluster: Cluster, migrations: Iterable[tuple[HostId, HostId]]
) -> list[Violation]:
    """Compare migrations, as pairs of source and destination, with the budget."""
    budget = cluster.budget
    ends = list(migrations)
    per_host = Counter(host_id for pair in ends for host_id in pair)
    counted = [("all hosts", len(ends), budget.max_moves)]
    counted += [(host_id, n, budget.max_moves_per_host) for host_id, n in per_host.items()]
    return [
        Violation(
            key=("budget", where),
            amount=number - limit,
            severity_ppm=(number - limit) * SEVERITY_ONE,
            message=f"{number} moves on {where}, at most {limit} allowed",
        )
        for where, number, limit in counted
        if limit is not None and number > limit
    ]


def _malformed_steps(
    cluster: Cluster, hosts: Mapping[HostId, Host], plan: Plan
) -> tuple[Violation, ...]:
    """Return steps that do not connect: unknown names, wrong source, one VM moved twice at once."""
    where = dict(cluster.placement)
    free_at: dict[VmId, int] = {}
    vms = {vm.id: vm for vm in cluster.vms}
    found: list[Violation] = []
    for i, step in enumerate(plan.steps):
        wrong = ""
        if step.vm_id not in vms:
            wrong = "names an unknown VM"
        elif step.destination_id not in hosts:
            wrong = f"goes to unknown host {step.destination_id!r}"
        elif step.start_ms < free_at.get(step.vm_id, 0):
            wrong = f"starts at {step.start_ms} ms while the VM is under way"
        elif step.source_id != where[step.vm_id]:
            wrong = f"leaves {step.source_id!r}, but the VM is on {where[step.vm_id]!r}"
        elif (
            step.kind is StepKind.MIGRATE
            and step.transferred_mib < vms[step.vm_id].memory_footprint_mib
        ):
            wrong = (
                f"sends {step.transferred_mib} MiB, but the VM has "
                f"{vms[step.vm_id].memory_footprint_mib} MiB resident"
            )
        elif step.kind is StepKind.MIGRATE and not _long_enough(step):
            wrong = (
                f"sends {step.transferred_mib} MiB at {step.bandwidth_mib_per_s} MiB/s "
                f"in {step.end_ms - step.start_ms} ms"
            )
        if wrong:
            found.append(
                Violation(
                    key=("step", str(i), step.vm_id),
                    amount=1,
                    severity_ppm=SEVERITY_ONE,
                    message=f"step {i} of VM {step.vm_id!r} {wrong}",
                    vm_ids=(step.vm_id,),
                )
            )
            continue
        where[step.vm_id] = step.destination_id
        free_at[step.vm_id] = step.end_ms
    return tuple(found)


def _long_enough(step: Step) -> bool:
    """Whether the step's bytes fit its bandwidth and duration."""
    if step.bandwidth_mib_per_s < 1:
        return False
    least_ms = math.floor(step.transferred_mib * 1000 / step.bandwidth_mib_per_s)
    return step.end_ms - step.start_ms >= least_ms


def _cap_violations(
    cluster: Cluster, hosts: Mapping[HostId, Host], running: list[Step]
) -> list[Violation]:
    """Return exceeded caps on parallel moves and exceeded links among the running steps."""
    budget = cluster.budget
    moves = [step for step in running if step.kind is StepKind.MIGRATE]
    outgoing = Counter(step.source_id for step in moves)
    incoming = Counter(step.destination_id for step in moves)
    rate: Counter[HostId] = Counter()
    for step in moves:
        for host_id in (step.source_id, step.destination_id):
            if host_id is not None:
                rate[host_id] += step.bandwidth_mib_per_s
    limits: list[tuple[str, str, int, int]] = [
        ("parallel", "the cluster", len(moves), budget.max_parallel)
    ]
    limits += [
        ("parallel_out", str(host_id), number, budget.max_parallel_out_per_host)
        for host_id, number in outgoing.items()
    ]
    limits += [
        ("parallel_in", host_id, number, budget.max_parallel_in_per_host)
        for host_id, number in incoming.items()
    ]
    limits += [
        ("bandwidth", host_id, total, hosts[host_id].migration_bandwidth_mib_per_s)
        for host_id, total in rate.items()
    ]
    for step in moves:
        if step.source_id is None:
            continue
        link = cluster.network.link(hosts[step.source_id], hosts[step.destination_id])
        pair = f"{step.source_id} to {step.destination_id}"
        limits.append(("link", pair, step.bandwidth_mib_per_s, link.bandwidth_mib_per_s))
    return [
        Violation(
            key=(kind, where),
            amount=seen - limit,
            severity_ppm=SEVERITY_ONE,
            message=f"{kind} on {where}: {seen}, at most {limit}",
        )
        for kind, where, seen, limit in limits
        if seen > limit
    ]


def _step_violations(cluster: Cluster, plan: Plan) -> list[Violation]:
    """Return what no single step may do, which the end of a plan may not show."""
    vms = {vm.id: vm for vm in cluster.vms}
    hosts = {host.id: host for host in cluster.hosts}
    exempt = _exempt_from_cool_down(cluster)
    found = []
    for step in plan.steps:
        vm = vms[step.vm_id]
        if hosts[step.destination_id].state is HostState.MAINTENANCE:
            what = f"enters {step.destination_id!r}, which is in maintenance"
            found.append(_move_violation("enters_maintenance", vm, what))
        # A VM may be seen where an earlier step left it; what binds is the VM itself.
        found += _wrong_move(
            cluster,
            hosts,
            vm,
            step.destination_id,
            source_id=step.source_id,
            exempt=step.vm_id in exempt,
        )
    return found


def _at_instant(violation: Violation, instant_ms: int) -> Violation:
    return Violation(
        key=violation.key,
        amount=violation.amount,
        severity_ppm=violation.severity_ppm,
        message=f"at {instant_ms} ms: {violation.message}",
        penalty_host_s=violation.penalty_host_s,
        vm_ids=violation.vm_ids,
        host_ids=violation.host_ids,
    )
