"""Pins and bans that leave a VM no host, whatever the rest of the cluster does.

This is found at once, for every cluster that is made. What rules between several VMs contradict
each other takes a search: ``solver.validate``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from solver.domain.rules import Ban, HostRule, Pin, PlacementRule
from solver.domain.units import HostId, VmId


def find_contradiction(rules: Iterable[PlacementRule], host_ids: Sequence[HostId]) -> str | None:
    """Return one sentence about hard pins and bans that leave some VM no host, or ``None``.

    The sentence names the smallest set of rules that does.
    """
    by_vm: dict[VmId, list[HostRule]] = defaultdict(list)
    named: dict[str, frozenset[HostId]] = {}
    for rule in rules:
        if isinstance(rule, HostRule) and rule.hard:
            named[rule.id] = frozenset(rule.host_ids)
            for vm_id in rule.vm_ids:
                by_vm[vm_id].append(rule)
    for vm_id, binding in by_vm.items():
        if not _leave_a_host(binding, named, len(host_ids)):
            forbidden = {
                rule.id: named[rule.id]
                if isinstance(rule, Ban)
                else frozenset(host_ids) - named[rule.id]
                for rule in binding
            }
            smallest = _smallest_cover(forbidden, frozenset(host_ids))
            noun = "hard rule" if len(smallest) == 1 else "hard rules"
            verb = "leaves" if len(smallest) == 1 else "leave"
            return f"{noun} {', '.join(map(repr, smallest))} {verb} no host for VM {vm_id!r}"
    return None


def _leave_a_host(
    rules: Sequence[HostRule], named: Mapping[str, frozenset[HostId]], num_hosts: int
) -> bool:
    """Return whether some host is in all pins and in no ban; quick where there is little to see."""
    pins = sorted((named[rule.id] for rule in rules if isinstance(rule, Pin)), key=len)
    bans = [named[rule.id] for rule in rules if isinstance(rule, Ban)]
    if not pins:
        return sum(map(len, bans)) < num_hosts or len(frozenset().union(*bans)) < num_hosts
    return bool(pins[0].intersection(*pins[1:]).difference(*bans))


def _smallest_cover(
    forbidden: Mapping[str, frozenset[HostId]], host_ids: frozenset[HostId]
) -> tuple[str, ...]:
    """Return the fewest rules that together forbid every host, in their order.

    Some rule must forbid the host that fewest rules forbid: each of those is tried in turn, for
    sets of one rule, of two, and so on.
    """

    def cover(left: frozenset[HostId], size: int) -> tuple[str, ...] | None:
        if not left:
            return ()
        if size == 0:
            return None
        by_host = {
            host_id: [rule_id for rule_id, hosts in forbidden.items() if host_id in hosts]
            for host_id in left
        }
        for rule_id in min(by_host.values(), key=len):
            rest = cover(left - forbidden[rule_id], size - 1)
            if rest is not None:
                return (rule_id, *rest)
        return None

    size, found = 0, None
    while found is None:
        size += 1
        found = cover(host_ids, size)
    return tuple(rule_id for rule_id in forbidden if rule_id in found)
