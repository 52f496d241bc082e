"""What stands in the way of one VM on every other host, all other VMs staying where they are.

Judged by the words of the domain alone: what such a move would break or break worse, hard and soft.
Whether it would be worth its cost is another question, which only a solve answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from solver.domain.checking.moves import move_violations, taking_part
from solver.domain.checking.standing import Standing
from solver.domain.checking.violation import Violation
from solver.domain.cluster import VM, Cluster, Host
from solver.domain.rules import HostRule
from solver.domain.units import HostId, VmId


def check_elsewhere(cluster: Cluster, vm_id: VmId) -> Mapping[HostId, tuple[Violation, ...]]:
    """Return what is new or worse with a VM on each host but its own; empty where nothing is.

    Parameters
    ----------
    vm_id
        Of a VM of the cluster; one that runs nowhere is judged for every host.
    """
    vm = next(vm for vm in cluster.vms if vm.id == vm_id)
    judge = _Elsewhere(cluster, vm)
    return {host.id: tuple(judge.on(host)) for host in cluster.hosts if host.id != vm.host_id}


class _Elsewhere(Standing):
    """A cluster of which one VM is put somewhere else for a moment."""

    def __init__(self, cluster: Cluster, vm: VM) -> None:
        super().__init__(cluster, cluster.placement)
        self._vm = vm
        self._home = self._held[vm.id]
        self._host_rules = [
            rule for rule in cluster.rules if isinstance(rule, HostRule) and vm.id in rule.vm_ids
        ]
        self._my_counts = [
            count
            for count in self._counts
            if any(vm.id in vm_ids for vm_ids in count.rule.named_vm_ids.values())
        ]
        # No cool-down binds a VM that takes part in something broken; asking costs a whole check.
        self._exempt = frozenset() if vm.not_before_at is None else taking_part(self.violations())
        self._at_home = tuple(self._of_mine())

    def on(self, host: Host) -> Iterator[Violation]:
        """Yield what forbids the move to a host, then what it would break there."""
        vm = self._vm
        yield from move_violations(
            self._cluster, self._hosts, vm, vm.host_id, host.id, self._exempt
        )
        before = {v.key: v.amount for v in (*self._at_home, *self._of_host(host))}
        self._put((host.id,), self._home)
        after = [*self._of_host(host), *self._of_mine()]
        self._put(self._home, (host.id,))
        for violation in after:
            # That a host is in maintenance was said of the move.
            told = violation.key[0] == "maintenance"
            if not told and violation.amount > before.get(violation.key, 0):
                yield violation

    def _of_mine(self) -> Iterator[Violation]:
        """Yield what is broken of all that names or concerns the VM, hosts apart."""
        yield from self._of_vm(self._vm)
        for rule in self._host_rules:
            yield from self._of_host_rule(rule, (self._vm.id,))
        for count in self._my_counts:
            yield from self._of_group(count, 0)

    def _put(self, to: tuple[HostId, ...], before: tuple[HostId, ...]) -> None:
        self._held[self._vm.id] = to
        for host_id, sign in [*((h, -1) for h in before), *((h, 1) for h in to)]:
            self._reserve(self._vm, host_id, sign)
        for count in self._my_counts:
            count.move(self._vm.id, before, to)
