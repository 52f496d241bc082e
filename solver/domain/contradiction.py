"""Pins and bans that leave a VM no host, whatever the rest of the cluster does.

This is found at once, for every cluster that is made. What rules between several VMs contradict
each other takes a search: ``solver.validate``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from solver.domain.rules import Ban, HostRule, Pin, PlacementRule
from solver.domain.units import HostId, VmId

MOST_LOOKED_AT: Final = 1_000_000
"""Hosts of rules that are looked at to find the smallest set, in a fraction of a second. The number
of sets grows without bounds, and the sentence is waited for."""


def find_contradiction(rules: Iterable[PlacementRule], host_ids: Sequence[HostId]) -> str | None:
    """Return one sentence about hard pins and bans that leave some VM no host, or ``None``.

    The sentence names the smallest set of rules that does; where that is too long a search, one of
    which no rule can be left out.
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


class _TooManyError(Exception):
    """More sets were tried than may be."""


def _smallest_cover(
    forbidden: Mapping[str, frozenset[HostId]], host_ids: frozenset[HostId]
) -> tuple[str, ...]:
    """Return the fewest rules that together forbid every host, in their order.

    Some rule must forbid the host that fewest rules forbid: each of those is tried in turn, for
    sets of one rule, of two, and so on. Past ``MOST_LOOKED_AT``, the rules without those that can
    be left out, the last ones first.
    """
    looked_at = 0
    at_once = sum(map(len, forbidden.values()))

    def cover(left: frozenset[HostId], size: int) -> tuple[str, ...] | None:
        nonlocal looked_at
        if not left:
            return ()
        if size == 0:
            return None
        looked_at += at_once
        if looked_at > MOST_LOOKED_AT:
            raise _TooManyError
        by_host: dict[HostId, list[str]] = {host_id: [] for host_id in left}
        for rule_id, hosts in forbidden.items():
            for host_id in hosts & left:
                by_host[host_id].append(rule_id)
        for rule_id in min(by_host.values(), key=len):
            rest = cover(left - forbidden[rule_id], size - 1)
            if rest is not None:
                return (rule_id, *rest)
        return None

    size, found = 0, None
    try:
        while found is None:
            size += 1
            found = cover(host_ids, size)
    except _TooManyError:
        found = _without_idle(forbidden)
    return tuple(rule_id for rule_id in forbidden if rule_id in found)


def _without_idle(forbidden: Mapping[str, frozenset[HostId]]) -> tuple[str, ...]:
    """Return rules that forbid as many hosts as all do, none of which can be left out."""
    by_host = Counter(host_id for hosts in forbidden.values() for host_id in hosts)
    kept = []
    for rule_id in reversed(list(forbidden)):
        hosts = forbidden[rule_id]
        if all(by_host[host_id] > 1 for host_id in hosts):
            by_host.subtract(hosts)
        else:
            kept.append(rule_id)
    return tuple(kept)
