"""Where every VM is at one instant, and what is broken by it.

Moving a VM changes the sums of a few hosts and the counts of its rules; only those are judged
again, so that a plan of thousands of steps on a large cluster is replayed in a second or two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from solver.domain.checking.counts import Cells, GroupCount
from solver.domain.checking.hosts import compatibility_violations, host_violations
from solver.domain.checking.rules import group_violation, host_rule_violation
from solver.domain.checking.violation import SEVERITY_ONE, Violation
from solver.domain.cluster import VM, Cluster, Host, Placement, reserved_amounts
from solver.domain.plan import Step
from solver.domain.rules import HostRule, Pin
from solver.domain.units import NUM_RESOURCES, HostId, VmId
from solver.domain.weights import reference_amounts


class Standing:
    """A cluster with its VMs somewhere, judged piece by piece."""

    def __init__(self, cluster: Cluster, placement: Placement) -> None:
        self._cluster = cluster
        self._hosts = {host.id: host for host in cluster.hosts}
        self._vms = {vm.id: vm for vm in cluster.vms}
        self._position = {vm.id: v for v, vm in enumerate(cluster.vms)}
        self._references = reference_amounts(cluster)
        self._used = {host.id: [0] * NUM_RESOURCES for host in cluster.hosts}
        self._guests: dict[HostId, set[VmId]] = {host.id: set() for host in cluster.hosts}
        self._held: dict[VmId, tuple[HostId, ...]] = {}
        for vm in cluster.vms:
            host_id = placement.get(vm.id)
            self._held[vm.id] = () if host_id is None else (host_id,)
            if host_id is not None:
                self._reserve(vm, host_id, 1)
        self._named: dict[str, frozenset[HostId]] = {}
        cells = Cells(cluster)
        self._counts = [
            GroupCount(rule, cells.of_rule(rule), self._held)
            for rule in cluster.rules
            if not isinstance(rule, HostRule)
        ]

    def violations(self) -> Iterator[Violation]:
        """Yield everything that is broken, taken as a placement at rest."""
        for host in self._cluster.hosts:
            yield from self._of_host(host)
        for vm in self._cluster.vms:
            yield from self._of_vm(vm)
        for rule in self._cluster.rules:
            if isinstance(rule, HostRule):
                yield from self._of_host_rule(rule, rule.vm_ids)
        for count in self._counts:
            yield from self._of_group(count, 0)
        for vm in self._cluster.vms:
            if not self._held[vm.id]:
                yield Violation(
                    key=("not_running", vm.id),
                    amount=1,
                    severity_ppm=SEVERITY_ONE,
                    message=f"VM {vm.id!r} runs nowhere",
                    vm_ids=(vm.id,),
                )

    def _reserve(self, vm: VM, host_id: HostId, sign: int) -> None:
        """Add a VM to the sums of a host, or take it away; an unknown host has none."""
        host = self._hosts.get(host_id)
        if host is None:
            return
        if sign > 0:
            self._guests[host_id].add(vm.id)
        else:
            self._guests[host_id].remove(vm.id)
        used = self._used[host_id]
        for r, amount in enumerate(reserved_amounts(vm, host)):
            if amount:
                used[r] += sign * amount

    def _of_host(self, host: Host) -> Iterator[Violation]:
        guests = sorted(self._guests[host.id], key=self._position.__getitem__)
        return host_violations(host, self._used[host.id], guests, self._references)

    def _of_vm(self, vm: VM) -> Iterator[Violation]:
        """Yield what a VM requires and its hosts do not provide."""
        if vm.requires:
            held = self._held[vm.id]
            hosts = [self._hosts[host_id] for host_id in held if host_id in self._hosts]
            yield from compatibility_violations(vm, hosts)

    def _of_host_rule(self, rule: HostRule, vm_ids: Iterable[VmId]) -> Iterator[Violation]:
        """Yield which of the VMs break a pin or ban."""
        if rule.id not in self._named:
            self._named[rule.id] = frozenset(rule.host_ids)
        named, pin = self._named[rule.id], isinstance(rule, Pin)
        for vm_id in vm_ids:
            wrong = tuple(host_id for host_id in self._held[vm_id] if (host_id in named) != pin)
            if wrong:
                yield host_rule_violation(rule, vm_id, wrong)

    def _of_group(self, count: GroupCount, allowed: int) -> Iterator[Violation]:
        """Yield how a rule about a group is broken, if by more than ``allowed``."""
        amount = count.amount()
        if amount > allowed:
            yield group_violation(count.rule, amount, self._held, count.cell_of)


class Course(Standing):
    """A cluster under way through a plan, judged where its events touch it.

    What is broken at its start (``before``) may stay as broken as it is.
    """

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster, cluster.placement)
        self.before = tuple(self.violations())
        self._allowed = {violation.key: violation.amount for violation in self.before}
        self._told: set[tuple[str, ...]] = set()
        self._moved: dict[VmId, None] = {}
        self._changed: dict[HostId, None] = {}
        self._host_rules_of: dict[VmId, list[HostRule]] = defaultdict(list)
        self._counts_of: dict[VmId, list[GroupCount]] = defaultdict(list)
        for rule in cluster.rules:
            if isinstance(rule, HostRule) and rule.hard:
                for vm_id in rule.vm_ids:
                    self._host_rules_of[vm_id].append(rule)
        for count in self._counts:
            if count.rule.hard and count.rule.binds_under_way:
                for vm_ids in count.rule.named_vm_ids.values():
                    for vm_id in vm_ids:
                        self._counts_of[vm_id].append(count)

    def start(self, step: Step) -> None:
        """Have a VM hold the destination of a step as well as where it is."""
        self._hold(step.vm_id, (*self._held[step.vm_id], step.destination_id))

    def end(self, step: Step) -> None:
        """Have a VM hold the destination of a step only."""
        self._hold(step.vm_id, (step.destination_id,))

    def _hold(self, vm_id: VmId, host_ids: tuple[HostId, ...]) -> None:
        before = self._held[vm_id]
        self._held[vm_id] = host_ids
        for host_id in set(before).symmetric_difference(host_ids):
            self._reserve(self._vms[vm_id], host_id, 1 if host_id in host_ids else -1)
            self._changed[host_id] = None
        for count in self._counts_of.get(vm_id, ()):
            count.move(vm_id, before, host_ids)
        self._moved[vm_id] = None

    def worse(self) -> Iterator[Violation]:
        """Yield what is new or worse in what the events since the last call touched.

        A rule about a group is told the first time only: it may have as many VMs as the cluster.
        """
        moved, changed = tuple(self._moved), tuple(self._changed)
        self._moved.clear()
        self._changed.clear()
        for host_id in changed:
            yield from self._beyond(self._of_host(self._hosts[host_id]))
        counts: dict[GroupCount, None] = {}
        for vm_id in moved:
            yield from self._beyond(self._of_vm(self._vms[vm_id]))
            for rule in self._host_rules_of.get(vm_id, ()):
                yield from self._beyond(self._of_host_rule(rule, (vm_id,)))
            counts.update(dict.fromkeys(self._counts_of.get(vm_id, ())))
        for count in counts:
            key = count.rule.kind, count.rule.id
            if key not in self._told:
                for violation in self._of_group(count, self._allowed.get(key, 0)):
                    self._told.add(key)
                    yield violation

    def _beyond(self, violations: Iterable[Violation]) -> Iterator[Violation]:
        for violation in violations:
            if violation.amount > self._allowed.get(violation.key, 0):
                yield violation
