"""Which rules are in force among the VMs and hosts that are there, and which wait.

VMs and hosts come and go; rules stay. A rule is asked of those that are there, and waits when they
leave it nothing to ask, or when together with others it would leave a VM no host at all. So rules
never stand in the way of looking at a cluster; what waits is reported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from solver.domain.rules import Among, HostRule, PerHostLimit, Pin, PlacementRule
from solver.domain.units import HostId, VmId

Source = Literal["rule", "snapshot"]
Name = TypeVar("Name", bound=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingRule:
    """A rule as it was written, and what of it is in force.

    Parameters
    ----------
    source
        ``rule`` when it was put by itself, ``snapshot`` when it came with the cluster document.
    in_force
        Asked of the VMs and hosts that are there; ``None`` while it waits.
    missing_vm_ids, missing_host_ids
        Named, and not there.
    waits_because
        Empty while it is in force.
    """

    rule: PlacementRule
    source: Source
    in_force: PlacementRule | None
    missing_vm_ids: tuple[VmId, ...] = ()
    missing_host_ids: tuple[HostId, ...] = ()
    waits_because: str = ""


def stand(
    rules: Iterable[tuple[PlacementRule, Source]],
    vm_ids: Collection[VmId],
    host_ids: Collection[HostId],
) -> tuple[StandingRule, ...]:
    """Return the rules with what of them is in force.

    Of pins and bans that together leave a VM no host, the last in the order given waits.
    """
    room = _Room(host_ids)
    return tuple(room.admitted(_asked(*rule, vm_ids, host_ids)) for rule in rules)


def _asked(
    rule: PlacementRule,
    source: Source,
    vm_ids: Collection[VmId],
    host_ids: Collection[HostId],
) -> StandingRule:
    """Return the rule with what it asks of what is there."""
    missing_vms = _missing(rule.named_vm_ids, vm_ids)
    missing_hosts = _missing(rule.named_host_ids, host_ids)
    left: PlacementRule | None = rule
    reason = ""
    if missing_hosts:
        left = _on_hosts(rule, host_ids)
        reason = "" if left else "none of its hosts is there"
    if left is not None and missing_vms:
        left = left.restricted_to(vm_ids)
        reason = "" if left else "too few of its VMs are there"
    return StandingRule(
        rule=rule,
        source=source,
        in_force=left,
        missing_vm_ids=missing_vms,
        missing_host_ids=missing_hosts,
        waits_because=reason,
    )


def _missing(named: Mapping[str, tuple[Name, ...]], known: Collection[Name]) -> tuple[Name, ...]:
    return tuple(value for values in named.values() for value in values if value not in known)


def _on_hosts(rule: PlacementRule, host_ids: Collection[HostId]) -> PlacementRule | None:
    """Return a rule that names hosts about those that are there, ``None`` if none of them is.

    Without hosts a rule may mean all of them, so that it must not merely lose its last one.
    """
    if isinstance(rule, HostRule | PerHostLimit):
        hosts = tuple(host_id for host_id in rule.host_ids if host_id in host_ids)
        return replace(rule, host_ids=hosts) if hosts else None
    if isinstance(rule, Among):
        there = (tuple(host_id for host_id in part if host_id in host_ids) for part in rule.parts)
        parts = tuple(filter(None, there))
        return replace(rule, parts=parts) if parts else None
    return rule


class _Room:
    """Which hosts hard pins and bans leave each VM, as rules are admitted one by one."""

    def __init__(self, host_ids: Collection[HostId]) -> None:
        self._all = frozenset(host_ids)
        self._left: dict[VmId, frozenset[HostId]] = {}

    def admitted(self, standing: StandingRule) -> StandingRule:
        """Return the rule, waiting if it would leave some VM no host."""
        rule = standing.in_force
        if not isinstance(rule, HostRule) or not rule.hard:
            return standing
        named = frozenset(rule.host_ids)
        allowed = named if isinstance(rule, Pin) else self._all - named
        left = {vm_id: self._left.get(vm_id, self._all) & allowed for vm_id in rule.vm_ids}
        stuck = next((vm_id for vm_id, hosts in left.items() if not hosts), None)
        if stuck is not None:
            reason = f"with the rules before it, it would leave no host for VM {stuck!r}"
            return replace(standing, in_force=None, waits_because=reason)
        self._left.update(left)
        return standing
