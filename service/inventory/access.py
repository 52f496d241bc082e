"""Which VMs somebody reaches: owners theirs, everybody else who may ask at all, all of them."""

from __future__ import annotations

from service.errors import ForbiddenError
from service.inventory.effective import Inventory, Seen
from service.inventory.policies import VmPolicy
from service.security.principal import Principal, Role
from service.store.errors import NotFoundError
from solver.domain.cluster import VM
from solver.domain.errors import InvalidInputError
from solver.domain.units import VmId


def sees(principal: Principal, owner: str) -> bool:
    """Return whether somebody sees a VM of an owner (empty for none)."""
    return principal.role is not Role.OWNER or (bool(owner) and owner == principal.owner)


def visible_vms(inventory: Inventory, principal: Principal) -> tuple[VM, ...]:
    """Return the VMs that somebody sees, in the snapshot's order."""
    if principal.role is not Role.OWNER:
        return inventory.cluster.vms
    mine = (vm_id for vm_id, policy in inventory.vm_policies.items() if policy.owner)
    own = {vm_id for vm_id in mine if sees(principal, inventory.owner(vm_id))}
    return tuple(vm for vm in inventory.cluster.vms if vm.id in own)


def visible_vm(inventory: Inventory, principal: Principal, vm_id: VmId) -> VM:
    """Return a VM that somebody sees.

    Raises
    ------
    NotFoundError
        If it is not there, or somebody else's: an owner does not learn which.
    """
    vm = inventory.vms.get(vm_id)
    if vm is None or not sees(principal, inventory.owner(vm_id)):
        raise NotFoundError(f"there is no VM {vm_id!r} in cluster {inventory.cluster_id!r}")
    return vm


def require_known(
    seen: Seen, policy: VmPolicy, principal: Principal, cluster_id: str, vm_id: VmId
) -> None:
    """Raise unless somebody reaches a VM that is there, or that waits with a policy.

    Raises
    ------
    ForbiddenError
        For an owner, if it is not theirs, there or not.
    NotFoundError
        For others, if there is none.
    """
    if not sees(principal, policy.owner or ""):
        raise ForbiddenError(f"VM {vm_id!r} is none of owner {principal.owner!r}")
    if vm_id not in seen.vm_ids and policy == VmPolicy():
        raise NotFoundError(f"there is no VM {vm_id!r} in cluster {cluster_id!r}")


def require_in_bounds(
    policy: VmPolicy, principal: Principal, vm_id: VmId, priority: int | None
) -> None:
    """Raise ``InvalidInputError`` if an owner chooses a priority outside the VM's bounds."""
    if principal.role is not Role.OWNER or priority is None:
        return
    least, most = policy.bounds
    if not least <= priority <= most:
        raise InvalidInputError(
            f"VM {vm_id!r}: expected a priority within its bounds {least}..{most}, got {priority}",
            path="priority",
        )
