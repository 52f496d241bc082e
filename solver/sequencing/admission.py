"""Which moves of a target may be made at all, whatever their order.

Static facts only: what a VM, a host, a rule or the budget forbids for good. What is a matter of
order (room, crowding) belongs to ``cycles``; what is a matter of time (caps, bandwidth) to
``schedule``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from solver.domain.check import check_placement
from solver.domain.cluster import VM, Cluster, Host, HostState, Placement
from solver.domain.errors import InvalidInputError
from solver.domain.rules import Affinity, HostRule, MoveBudget, Pin
from solver.domain.units import HostId, VmId
from solver.sequencing.state import Move


class HostRules:
    """Pins and bans of a cluster, looked up by VM."""

    def __init__(self, cluster: Cluster) -> None:
        self._rules: dict[VmId, list[HostRule]] = defaultdict(list)
        for rule in cluster.rules:
            if isinstance(rule, HostRule):
                for vm_id in rule.vm_ids:
                    self._rules[vm_id].append(rule)

    def newly_broken(self, vm: VM, host_id: HostId) -> HostRule | None:
        """Return a hard rule broken on the host that is not broken where the VM runs now."""
        for rule in self._rules.get(vm.id, ()):
            was_broken = vm.host_id is not None and _breaks(rule, vm.host_id)
            if rule.hard and _breaks(rule, host_id) and not was_broken:
                return rule
        return None

    def num_broken(self, vm: VM, host_id: HostId, *, hard: bool) -> int:
        """Return how many hard or soft rules the VM would break on the host."""
        return sum(
            rule.hard is hard and _breaks(rule, host_id) for rule in self._rules.get(vm.id, ())
        )


class AffinityRules:
    """Hard affinity of a cluster, which must not end worse than it started."""

    def __init__(self, cluster: Cluster, target: Placement) -> None:
        self._start = cluster.placement
        self._target = target
        self._rules = [r for r in cluster.rules if r.hard and isinstance(r, Affinity)]

    def closure(self, staying: Set[VmId]) -> dict[VmId, str]:
        """Return who else has to stay, and why, if these VMs stay while all others move.

        A rule that would end worse than it started keeps all its VMs where they are.
        """
        stay = set(staying)
        extra: dict[VmId, str] = {}
        changed = True
        while changed:
            changed = False
            for rule in self._rules:
                ends = [
                    self._start[v] if v in stay else self._target.get(v, self._start[v])
                    for v in rule.vm_ids
                ]
                starts = [self._start[v] for v in rule.vm_ids]
                if _apart(ends) <= _apart(starts):
                    continue
                for vm_id in rule.vm_ids:
                    if vm_id not in stay:
                        stay.add(vm_id)
                        extra[vm_id] = (
                            f"it stays with the other VMs of affinity rule {rule.id!r}, "
                            "which cannot all be moved"
                        )
                        changed = True
        return extra


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Moves that nothing forbids for good, most urgent first, and the others with the reason."""

    moves: tuple[Move, ...]
    refused: dict[VmId, str]


def admit(
    cluster: Cluster, target: Placement, urgency: Mapping[VmId, int], affinity: AffinityRules
) -> Admission:
    """Sort the moves of a target into those that may be made and those that may not.

    Raises
    ------
    InvalidInputError
        If the target names an unknown VM or host.
    """
    hosts = {host.id: host for host in cluster.hosts}
    _require_known(cluster, hosts, target)
    rules = HostRules(cluster)
    wanted = [vm for vm in cluster.vms if target.get(vm.id, vm.host_id) != vm.host_id]
    exempt = _exempt_from_cool_down(cluster, wanted)
    refused: dict[VmId, str] = {}
    for vm in wanted:
        reason = _forbidden(cluster, hosts, rules, vm, target.get(vm.id), vm.id in exempt)
        if reason:
            refused[vm.id] = reason
    refused.update(_keep_known(affinity.closure(refused.keys()), wanted))
    groups = _affinity_groups(cluster)
    position = {host.id: h for h, host in enumerate(cluster.hosts)}
    moves = []
    for i, vm in enumerate(cluster.vms):
        target_id = target.get(vm.id)
        if target_id is None or target_id == vm.host_id or vm.id in refused:
            continue
        moves.append(
            Move(
                vm=vm,
                source=None if vm.host_id is None else position[vm.host_id],
                destination=position[target_id],
                urgency=urgency.get(vm.id, 0),
                unit=groups.get(vm.id, len(cluster.vms) + i),
            )
        )
    within, beyond = _within_budget(cluster.budget, _by_urgency(moves), affinity, refused)
    return Admission(moves=within, refused=refused | beyond)


def _breaks(rule: HostRule, host_id: HostId) -> bool:
    return (host_id in rule.host_ids) != isinstance(rule, Pin)


def _apart(hosts: Sequence[HostId | None]) -> int:
    """Return how many of the running VMs are away from the most of them."""
    counts = Counter(host_id for host_id in hosts if host_id is not None)
    return sum(counts.values()) - max(counts.values(), default=0)


def _require_known(cluster: Cluster, hosts: Mapping[HostId, Host], target: Placement) -> None:
    known = {vm.id for vm in cluster.vms}
    for vm_id, host_id in target.items():
        if vm_id not in known:
            raise InvalidInputError(f"expected VMs of the cluster, got {vm_id!r}", path="placement")
        if host_id is not None and host_id not in hosts:
            raise InvalidInputError(
                f"VM {vm_id!r}: expected a host of the cluster, got {host_id!r}", path="placement"
            )


def _exempt_from_cool_down(cluster: Cluster, wanted: Sequence[VM]) -> set[VmId]:
    """Return VMs that take part in a violation at the start: repair does not wait."""
    if not any(_cooling_down(cluster, vm) for vm in wanted):
        return set()
    return {
        vm_id
        for violation in check_placement(cluster, cluster.placement)
        if violation.hard
        for vm_id in violation.vm_ids
    }


def _cooling_down(cluster: Cluster, vm: VM) -> bool:
    return vm.not_before_at is not None and vm.not_before_at > cluster.observed_at


def _forbidden(
    cluster: Cluster,
    hosts: Mapping[HostId, Host],
    rules: HostRules,
    vm: VM,
    target_id: HostId | None,
    exempt: bool,
) -> str:
    """Return why a VM may not be moved there, or an empty string."""
    if target_id is None:
        return "the target has no host for it and it is not to be stopped"
    if vm.host_id is not None and not vm.migratable:
        return f"it cannot be migrated: {vm.not_migratable_reason}"
    if vm.host_id is not None and hosts[vm.host_id].state is HostState.UNREACHABLE:
        return f"its host {vm.host_id!r} is unreachable"
    if hosts[target_id].state is not HostState.UP:
        return f"host {target_id!r} is {_STATE_WORDS[hosts[target_id].state]}"
    if not exempt and _cooling_down(cluster, vm) and vm.not_before_at is not None:
        return f"it is not to be moved before {vm.not_before_at.isoformat()}"
    rule = rules.newly_broken(vm, target_id)
    if rule is not None:
        return f"rule {rule.id!r} ({rule.kind}) keeps it away from host {target_id!r}"
    return ""


_STATE_WORDS = {
    HostState.MAINTENANCE: "in maintenance",
    HostState.UNREACHABLE: "unreachable",
}


def _keep_known(extra: Mapping[VmId, str], wanted: Sequence[VM]) -> dict[VmId, str]:
    """Drop VMs that stay anyway: they are not cut off from anything."""
    moving = {vm.id for vm in wanted}
    return {vm_id: reason for vm_id, reason in extra.items() if vm_id in moving}


def _affinity_groups(cluster: Cluster) -> dict[VmId, int]:
    """Number the sets of VMs that affinity rules, hard or soft, connect."""
    position = {vm.id: i for i, vm in enumerate(cluster.vms)}
    parent = list(range(len(cluster.vms)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    grouped: set[VmId] = set()
    for rule in cluster.rules:
        if isinstance(rule, Affinity):
            grouped.update(rule.vm_ids)
            first = root(position[rule.vm_ids[0]])
            for vm_id in rule.vm_ids[1:]:
                parent[root(position[vm_id])] = first
    return {vm_id: root(position[vm_id]) for vm_id in grouped}


def _by_urgency(moves: Sequence[Move]) -> list[Move]:
    """Sort by urgency, larger first, affinity groups together at their most urgent, then by id."""
    most: dict[int, int] = {}
    for move in moves:
        most[move.unit] = max(most.get(move.unit, move.urgency), move.urgency)
    return sorted(moves, key=lambda m: (-most[m.unit], m.unit, -m.urgency, m.vm.id))


def _within_budget(
    budget: MoveBudget, moves: Sequence[Move], affinity: AffinityRules, refused: Mapping[VmId, str]
) -> tuple[tuple[Move, ...], dict[VmId, str]]:
    """Keep the most urgent moves that the budget allows."""
    total = 0
    per_host: Counter[int] = Counter()
    beyond: dict[VmId, str] = {}
    for move in moves:
        if move.source is None:
            continue
        ends = (move.source, move.destination)
        limit = budget.max_moves_per_host
        if budget.max_moves is not None and total >= budget.max_moves:
            beyond[move.vm.id] = f"the budget allows {budget.max_moves} moves"
        elif limit is not None and any(per_host[end] >= limit for end in ends):
            beyond[move.vm.id] = f"the budget allows {limit} moves per host"
        else:
            total += 1
            per_host.update(ends)
    if beyond:
        known = {move.vm.id for move in moves}
        extra = affinity.closure(refused.keys() | beyond.keys())
        beyond.update((v, reason) for v, reason in extra.items() if v in known)
    return tuple(move for move in moves if move.vm.id not in beyond), beyond
