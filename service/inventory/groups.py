"""Groups of VMs, as policies and snapshots name them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from solver.domain.cluster import VM


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """VMs of one group.

    Parameters
    ----------
    num_hosts
        On which they run.
    cpu_millicores, memory_mib
        Allocated to them together.
    """

    name: str
    num_vms: int
    num_hosts: int
    cpu_millicores: int
    memory_mib: int
    lowest_priority: int
    highest_priority: int


def groups_of(vms: Iterable[VM]) -> tuple[Group, ...]:
    """Return the groups of VMs in the order of their names."""
    members: dict[str, list[VM]] = defaultdict(list)
    for vm in vms:
        if vm.group:
            members[vm.group].append(vm)
    return tuple(_group(name, members[name]) for name in sorted(members))


def _group(name: str, vms: list[VM]) -> Group:
    priorities = [vm.priority for vm in vms]
    return Group(
        name=name,
        num_vms=len(vms),
        num_hosts=len({vm.host_id for vm in vms} - {None}),
        cpu_millicores=sum(vm.allocation.cpu_millicores for vm in vms),
        memory_mib=sum(vm.allocation.memory_mib for vm in vms),
        lowest_priority=min(priorities),
        highest_priority=max(priorities),
    )
