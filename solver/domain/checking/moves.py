"""What is wrong with moving VMs, whatever the placement they come to is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from solver.domain.checking.placement import check_placement
from solver.domain.checking.violation import SEVERITY_ONE, Violation
from solver.domain.cluster import VM, Cluster, Host, HostState, Placement
from solver.domain.units import HostId, VmId


def check_moves(cluster: Cluster, placement: Placement) -> tuple[Violation, ...]:
    """Return what is wrong with *going* from the cluster's placement to another one.

    A VM that cannot be migrated or is cooling down was moved, something touches an unreachable
    host or enters one in maintenance, a running VM was dropped, or a budget is exceeded. A
    cool-down does not bind a VM that takes part in a violation at the start: repair is exempt.
    """
    exempt = taking_part(check_placement(cluster, cluster.placement))
    return tuple(end_violations(cluster, placement, exempt))


def taking_part(violations: Iterable[Violation]) -> frozenset[VmId]:
    """Return the VMs that take part in hard violations: repair is exempt from cool-downs."""
    return frozenset(
        vm_id for violation in violations if violation.hard for vm_id in violation.vm_ids
    )


def end_violations(
    cluster: Cluster, placement: Placement, exempt: Collection[VmId]
) -> Iterator[Violation]:
    """Yield what ``check_moves`` returns, knowing which VMs no cool-down binds."""
    hosts = {host.id: host for host in cluster.hosts}
    migrations: list[tuple[HostId, HostId]] = []
    for vm in cluster.vms:
        target = placement.get(vm.id)
        if target == vm.host_id:
            continue
        if target is None:
            yield _violation("lost", vm, f"ran on {vm.host_id!r} and ends nowhere")
        elif target not in hosts:
            yield _violation("unknown_host", vm, f"is sent to unknown host {target!r}")
        else:
            if vm.host_id is not None:
                migrations.append((vm.host_id, target))
            yield from move_violations(cluster, hosts, vm, vm.host_id, target, exempt)
    yield from budget_violations(cluster, migrations)


def move_violations(
    cluster: Cluster,
    hosts: Mapping[HostId, Host],
    vm: VM,
    source_id: HostId | None,
    target_id: HostId,
    exempt: Collection[VmId],
) -> Iterator[Violation]:
    """Yield what forbids moving a VM from ``source_id``, where a plan may have put it."""
    if hosts[target_id].state is HostState.MAINTENANCE:
        what = f"enters {target_id!r}, which is in maintenance"
        yield _violation("enters_maintenance", vm, what)
    if source_id is not None and not vm.migratable:
        what = f"is moved to {target_id!r} but cannot be: {vm.not_migratable_reason}"
        yield _violation("not_migratable", vm, what)
    cooling = vm.not_before_at is not None and vm.not_before_at > cluster.observed_at
    if vm.not_before_at is not None and cooling and vm.id not in exempt:
        yield _violation("cool_down", vm, f"is moved before {vm.not_before_at.isoformat()}")
    for end, host_id in (("from", source_id), ("to", target_id)):
        if host_id is not None and hosts[host_id].state is HostState.UNREACHABLE:
            yield _violation("unreachable", vm, f"is moved {end} {host_id!r}")


def budget_violations(
    cluster: Cluster, migrations: Iterable[tuple[HostId, HostId]]
) -> Iterator[Violation]:
    """Compare migrations, as pairs of source and destination, with the budget."""
    budget = cluster.budget
    ends = list(migrations)
    per_host = Counter(host_id for pair in ends for host_id in pair)
    counted = [("all hosts", len(ends), budget.max_moves)]
    counted += [(host_id, n, budget.max_moves_per_host) for host_id, n in per_host.items()]
    for where, number, limit in counted:
        if limit is not None and number > limit:
            yield Violation(
                key=("budget", where),
                amount=number - limit,
                severity_ppm=(number - limit) * SEVERITY_ONE,
                message=f"{number} moves on {where}, at most {limit} allowed",
            )


def _violation(kind: str, vm: VM, what: str) -> Violation:
    return Violation(
        key=(kind, vm.id),
        amount=1,
        severity_ppm=SEVERITY_ONE,
        message=f"VM {vm.id!r} {what}",
        vm_ids=(vm.id,),
    )
