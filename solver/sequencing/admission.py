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
from solver.domain.rules import Affinity, HostRule, MoveBudget, Pin, PlacementRule
from solver.domain.units import HostId, VmId
from solver.sequencing.counts import Cells, Count, binds_instants, count_of, roles
from solver.sequencing.state import Move


class HostRules:
    """What keeps single VMs off hosts, whatever else is there: pins, bans, compatibility."""

    def __init__(self, cluster: Cluster) -> None:
        self._hosts = {host.id: host for host in cluster.hosts}
        self._rules: dict[VmId, list[HostRule]] = defaultdict(list)
        for rule in cluster.rules:
            if isinstance(rule, HostRule):
                for vm_id in rule.vm_ids:
                    self._rules[vm_id].append(rule)

    def newly_broken(self, vm: VM, host_id: HostId) -> str:
        """Return what of it is broken on the host and not where the VM runs now, if anything."""
        for rule in self._rules.get(vm.id, ()):
            was_broken = vm.host_id is not None and _breaks(rule, vm.host_id)
            if rule.hard and _breaks(rule, host_id) and not was_broken:
                return f"rule {rule.id!r} ({rule.kind}) keeps it away from host {host_id!r}"
        missing = self._missing(vm, host_id)
        if missing and (vm.host_id is None or len(missing) > len(self._missing(vm, vm.host_id))):
            return f"host {host_id!r} does not provide {', '.join(missing)}"
        return ""

    def fits(self, vm: VM, host_id: HostId) -> bool:
        """Whether nothing of it is broken on the host."""
        return not self._missing(vm, host_id) and not self._num_broken(vm, host_id, hard=True)

    def num_soft_broken(self, vm: VM, host_id: HostId) -> int:
        """Return how many soft rules the VM would break on the host."""
        return self._num_broken(vm, host_id, hard=False)

    def _num_broken(self, vm: VM, host_id: HostId, *, hard: bool) -> int:
        return sum(
            rule.hard is hard and _breaks(rule, host_id) for rule in self._rules.get(vm.id, ())
        )

    def _missing(self, vm: VM, host_id: HostId) -> list[str]:
        if not vm.requires:
            return []
        provided = self._hosts[host_id].provides
        return [name for name in vm.requires if name not in provided]


class RestingRules:
    """Hard rules that bind before and after a plan only, and must not end worse than they start."""

    def __init__(self, cluster: Cluster, target: Placement, urgency: Mapping[VmId, int]) -> None:
        self._cells = Cells(cluster)
        self._urgency = urgency
        self._start = cluster.placement
        self._target = target
        self._rules: list[PlacementRule] = []
        self._of: dict[VmId, list[int]] = defaultdict(list)
        for rule in cluster.rules:
            if not rule.hard or isinstance(rule, HostRule) or binds_instants(rule):
                continue
            movers = [vm_id for vm_id, _ in roles(rule) if self._moves(vm_id)]
            for vm_id in movers:
                self._of[vm_id].append(len(self._rules))
            if movers:
                self._rules.append(rule)

    def closure(self, staying: Set[VmId]) -> dict[VmId, str]:
        """Return who else has to stay, and why, if these VMs stay while all others move.

        Of a rule that would end worse than it started, one VM after another stays that makes it
        less so, the least urgent first; where none does, all of them stay.
        """
        stay = set(staying)
        extra: dict[VmId, str] = {}
        open_rules = list(range(len(self._rules)))
        while open_rules:
            rule = self._rules[open_rules.pop()]
            for vm_id in self._to_keep(rule, stay):
                stay.add(vm_id)
                extra[vm_id] = (
                    f"{rule.kind} rule {rule.id!r} would end more broken than it is "
                    "if it moved while others stay"
                )
                open_rules += self._of[vm_id]
        return extra

    def _to_keep(self, rule: PlacementRule, stay: Set[VmId]) -> list[VmId]:
        """Return who has to stay as well for a rule not to end worse than it started."""
        before, after = (count_of(rule, self._cells) for _ in range(2))
        movers: dict[VmId, list[int]] = {}
        for vm_id, role in roles(rule):
            moves = vm_id not in stay and self._moves(vm_id)
            if moves:
                movers.setdefault(vm_id, []).append(role)
            self._count(before, role, self._start[vm_id], 1)
            self._count(after, role, self._target[vm_id] if moves else self._start[vm_id], 1)
        kept: list[VmId] = []
        candidates = sorted(movers, key=lambda vm_id: (self._urgency.get(vm_id, 0), vm_id))
        while after.amount > before.amount:
            for vm_id in candidates:
                worse = after.amount
                self._relocate(after, movers[vm_id], self._target[vm_id], self._start[vm_id])
                if after.amount < worse:
                    kept.append(vm_id)
                    candidates.remove(vm_id)
                    break
                self._relocate(after, movers[vm_id], self._start[vm_id], self._target[vm_id])
            else:
                return list(movers)
        return kept

    def _moves(self, vm_id: VmId) -> bool:
        return self._target.get(vm_id) not in (None, self._start[vm_id])

    def _relocate(
        self, count: Count, played: list[int], old: HostId | None, new: HostId | None
    ) -> None:
        for role in played:
            self._count(count, role, old, -1)
            self._count(count, role, new, 1)

    def _count(self, count: Count, role: int, host_id: HostId | None, sign: int) -> None:
        if host_id is not None:
            (count.put if sign > 0 else count.take)(role, self._cells.position[host_id])


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Moves that nothing forbids for good, most urgent first, and the others with the reason."""

    moves: tuple[Move, ...]
    refused: dict[VmId, str]


def admit(
    cluster: Cluster, target: Placement, urgency: Mapping[VmId, int], resting: RestingRules
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
    refused.update(resting.closure(refused.keys()))
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
    within, beyond = _within_budget(cluster.budget, _by_urgency(moves), resting, refused)
    return Admission(moves=within, refused=refused | beyond)


def _breaks(rule: HostRule, host_id: HostId) -> bool:
    return (host_id in rule.host_ids) != isinstance(rule, Pin)


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
    return rules.newly_broken(vm, target_id)


_STATE_WORDS = {
    HostState.MAINTENANCE: "in maintenance",
    HostState.UNREACHABLE: "unreachable",
}


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
    budget: MoveBudget, moves: Sequence[Move], resting: RestingRules, refused: Mapping[VmId, str]
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
        beyond.update(resting.closure(refused.keys() | beyond.keys()))
    return tuple(move for move in moves if move.vm.id not in beyond), beyond
