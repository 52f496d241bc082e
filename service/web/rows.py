"""Rows of the table of VMs, as plain values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from service.inventory.access import visible_vms
from service.inventory.effective import Inventory, every_item, look_up
from service.inventory.policies import VmPolicy
from service.security.principal import Principal
from service.store.base import Item, Kind, Transaction
from solver.domain.cluster import VM
from solver.domain.units import VmId

Row = dict[str, Any]

GROUPINGS: Final = {"group": "Application", "host": "Host", "owner": "Owner"}
"""What VMs may be grouped by: field of a row → its name."""

_FEW: Final = 500
"""VMs up to which theirs alone are read of all policies."""
_MILLI: Final = 1000
_MIB_PER_GIB: Final = 1024


def vm_rows(tx: Transaction, principal: Principal, cluster_id: str) -> list[Row]:
    """Return a row for each VM that somebody sees.

    Raises
    ------
    NotFoundError
        If there is no such cluster, or nothing was seen of it yet.
    """
    inventory = look_up(tx, cluster_id)
    return rows_for(tx, inventory, visible_vms(inventory, principal))


def first_rows(tx: Transaction, principal: Principal, cluster_id: str, most: int) -> list[Row]:
    """Return the first of the rows that ``vm_rows`` returns; raises as it does."""
    inventory = look_up(tx, cluster_id)
    return rows_for(tx, inventory, visible_vms(inventory, principal)[:most])


def rows_for(tx: Transaction, inventory: Inventory, vms: Sequence[VM]) -> list[Row]:
    """Return the rows of VMs of an inventory, whoever may see them."""
    cluster_id = inventory.cluster_id
    changed: Mapping[str, Item]
    if len(vms) > _FEW:
        changed = {item.id: item for item in every_item(tx, Kind.VM_POLICY, cluster_id)}
    else:
        changed = tx.items.find(Kind.VM_POLICY, cluster_id, [vm.id for vm in vms])
    return [_row(inventory, vm, changed.get(vm.id)) for vm in vms]


def rows_of(
    tx: Transaction, principal: Principal, cluster_id: str, vm_ids: Iterable[str]
) -> list[Row]:
    """Return the rows of some VMs; of those that are gone or not seen, none."""
    wanted = frozenset(vm_ids)
    inventory = look_up(tx, cluster_id)
    seen = [vm for vm in visible_vms(inventory, principal) if vm.id in wanted]
    return rows_for(tx, inventory, seen)


def set_priorities_of(
    tx: Transaction, cluster_id: str, vm_ids: Iterable[str]
) -> Mapping[str, int | None]:
    """Return what policies say of priorities; ``None`` where the snapshot's holds."""
    policies = look_up(tx, cluster_id).vm_policies
    unset = VmPolicy()
    return {vm_id: policies.get(VmId(vm_id), unset).priority for vm_id in vm_ids}


def grouped(rows: Iterable[Row], field: str) -> list[Row]:
    """Return a row for each group of VMs, the largest first."""
    members: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[row[field]].append(row)
    return sorted((_group(name, of) for name, of in members.items()), key=_largest_first)


def _row(inventory: Inventory, vm: VM, item: Item | None) -> Row:
    policy = inventory.vm_policies.get(vm.id, VmPolicy())
    least, most = policy.bounds
    changed_at = None if item is None else item.changed_at
    return {
        "id": vm.id,
        "host": vm.host_id or "",
        "group": vm.group,
        "app_type": vm.app_type,
        "owner": inventory.owner(vm.id),
        "priority": vm.priority,
        "bounds": f"{least}–{most}",
        "cores": vm.allocation.cpu_millicores / _MILLI,
        "memory_gib": round(vm.allocation.memory_mib / _MIB_PER_GIB, 2),
        "changed_by": "" if item is None else item.changed_by,
        "changed_at": None if changed_at is None else changed_at.isoformat(),
    }


def _group(name: str, rows: list[Row]) -> Row:
    priorities = [row["priority"] for row in rows]
    return {
        "name": name,
        "num_vms": len(rows),
        "num_hosts": len({row["host"] for row in rows} - {""}),
        "cores": round(sum(row["cores"] for row in rows), 3),
        "memory_gib": round(sum(row["memory_gib"] for row in rows), 1),
        "lowest": min(priorities),
        "highest": max(priorities),
    }


def _largest_first(row: Row) -> tuple[int, str]:
    return (-row["num_vms"], row["name"])
