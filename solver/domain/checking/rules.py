"""What a broken rule is told as: which VMs and hosts, what was seen, what was expected."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from solver.domain.checking.counts import CellOf, Occupancy
from solver.domain.checking.violation import SEVERITY_ONE, Violation
from solver.domain.rules import (
    Among,
    AntiAffinity,
    Dependency,
    HostRule,
    LicenceLimit,
    PerHostLimit,
    Pin,
    PlacementRule,
    Split,
    Spread,
)
from solver.domain.units import HostId, VmId

MAX_SHOWN_HOSTS: Final = 10
"""Most hosts of a rule listed in a message."""


def host_rule_violation(rule: HostRule, vm_id: VmId, wrong: tuple[HostId, ...]) -> Violation:
    """Return that a VM is where its pin or ban does not want it."""
    wanted = "only on" if isinstance(rule, Pin) else "not on"
    return _violation(
        rule,
        key=(rule.kind, rule.id, vm_id),
        amount=1,
        message=f"VM {vm_id!r} is on {list(wrong)}, expected {wanted} {_shown(rule.host_ids)}",
        vm_ids=(vm_id,),
        host_ids=wrong,
    )


def group_violation(
    rule: PlacementRule, amount: int, occupancy: Occupancy, cell_of: CellOf
) -> Violation:
    """Return that a rule about a group is broken by ``amount``, naming who takes part."""
    members = _by_host(rule.vm_ids, occupancy)
    concerned = rule.vm_ids
    match rule:
        case AntiAffinity():
            members = _crowded(members, 1, cell_of)
            concerned = _together(members)
            message = f"VMs share hosts: {dict(sorted(members.items()))}"
        case PerHostLimit():
            members = _crowded(members, rule.max_vms, cell_of)
            concerned = _together(members)
            numbers = {host_id: len(vm_ids) for host_id, vm_ids in sorted(members.items())}
            message = f"hosts hold {numbers} of its VMs, at most {rule.max_vms} each are allowed"
        case Among():
            message = (
                f"{amount} of its VMs are away from the others, expected all "
                f"{'in one of its parts' if rule.parts else 'in one zone'}"
            )
        case Spread():
            wanted = min(rule.min_domains, sum(bool(occupancy[vm_id]) for vm_id in rule.vm_ids))
            message = f"its VMs are in {wanted - amount} {rule.level}s, expected {wanted}"
        case Dependency():
            members, alone = _without(rule, members, occupancy, cell_of)
            concerned = (*_together(members), *rule.on_vm_ids)
            message = f"{rule.level}s {alone} hold its VMs and none of those they depend on"
        case Split():
            members = _shared(members, _by_host(rule.other_vm_ids, occupancy))
            concerned = _together(members)
            message = f"both sides share hosts: {dict(sorted(members.items()))}"
        case LicenceLimit():
            message = f"its VMs are on {len(members)} hosts, at most {rule.max_hosts} are allowed"
        case _:
            message = f"{amount} of its {len(rule.vm_ids)} VMs are away from the others"
    return _violation(
        rule,
        key=(rule.kind, rule.id),
        amount=amount,
        message=message,
        vm_ids=concerned,
        host_ids=tuple(members),
    )


def _shown(host_ids: tuple[HostId, ...]) -> str:
    """Return hosts as a list of at most a few."""
    if len(host_ids) <= MAX_SHOWN_HOSTS:
        return str(sorted(host_ids))
    return f"{sorted(host_ids[:MAX_SHOWN_HOSTS])} and {len(host_ids) - MAX_SHOWN_HOSTS} more"


_ByHost = dict[HostId, list[VmId]]


def _by_host(vm_ids: Iterable[VmId], occupancy: Occupancy) -> _ByHost:
    found: dict[HostId, list[VmId]] = defaultdict(list)
    for vm_id in vm_ids:
        for host_id in occupancy[vm_id]:
            found[host_id].append(vm_id)
    return dict(found)


def _together(members: _ByHost) -> tuple[VmId, ...]:
    """Return the VMs of all the hosts, each once."""
    return tuple(dict.fromkeys(vm_id for vm_ids in members.values() for vm_id in vm_ids))


def _crowded(members: _ByHost, limit: int, cell_of: CellOf) -> _ByHost:
    return {
        host_id: vm_ids
        for host_id, vm_ids in members.items()
        if host_id in cell_of and len(vm_ids) > limit
    }


def _shared(members: _ByHost, others: _ByHost) -> _ByHost:
    return {
        host_id: [*vm_ids, *others[host_id]]
        for host_id, vm_ids in members.items()
        if host_id in others
    }


def _without(
    rule: Dependency, members: _ByHost, occupancy: Occupancy, cell_of: CellOf
) -> tuple[_ByHost, list[str]]:
    """Return who is in a domain without any VM to depend on, and those domains."""
    provided = {cell_of.get(occupancy[vm_id][0]) for vm_id in rule.on_vm_ids if occupancy[vm_id]}
    alone = {
        host_id: vm_ids
        for host_id, vm_ids in members.items()
        if host_id in cell_of and cell_of[host_id] not in provided
    }
    return alone, sorted({cell_of[host_id] for host_id in alone})


def _violation(
    rule: PlacementRule,
    *,
    key: tuple[str, ...],
    amount: int,
    message: str,
    vm_ids: tuple[VmId, ...],
    host_ids: tuple[HostId, ...],
) -> Violation:
    return Violation(
        key=key,
        amount=amount,
        severity_ppm=amount * SEVERITY_ONE if rule.hard else 0,
        message=f"rule {rule.id!r} ({rule.kind}): {message}",
        penalty_host_s=rule.penalty_host_s,
        vm_ids=vm_ids,
        host_ids=host_ids,
    )
