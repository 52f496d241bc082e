"""Priorities of VMs, one by one and many at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from service.errors import ForbiddenError, InvalidRequestError
from service.inventory.access import require_in_bounds, require_known
from service.inventory.auditing import entry
from service.inventory.effective import Inventory, look_up
from service.inventory.marks import changing
from service.inventory.policies import VmPolicy
from service.security.principal import Principal
from service.store.base import AuditEntry, Item, Kind, Transaction
from service.store.errors import NotFoundError
from solver.domain.errors import InvalidInputError
from solver.domain.units import VmId

MAX_AT_ONCE: Final = 100_000
MAX_ERRORS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A priority that somebody wants for a VM.

    Parameters
    ----------
    priority
        ``None`` gives it back to the snapshot.
    """

    vm_id: VmId
    priority: int | None


def set_priority(
    tx: Transaction,
    principal: Principal,
    cluster_id: str,
    wanted: Wanted,
    *,
    expected_revision: int | None,
    now: datetime,
) -> Item:
    """Set the priority of one VM and return its policy.

    Raises
    ------
    NotFoundError
        If there is no such cluster or VM.
    ForbiddenError
        If an owner asks for a VM that is not theirs.
    InvalidInputError
        If it is no priority, or outside the bounds of an owner.
    ConflictError
        If the policy stands at another revision.
    """
    with changing(tx, cluster_id, "policies", now):
        inventory = look_up(tx, cluster_id)
        policy = _changed(inventory, principal, wanted)
        before = inventory.vm_policies.get(wanted.vm_id, VmPolicy())
        item = _item(cluster_id, wanted.vm_id, policy, principal, now)
        kept = tx.items.put(item, expected_revision=expected_revision)
        if before.priority != policy.priority:
            tx.audit.append(_entry(principal, cluster_id, wanted, before, now))
        return kept


def set_priorities(
    tx: Transaction,
    principal: Principal,
    cluster_id: str,
    wanted: Sequence[Wanted],
    *,
    now: datetime,
) -> int:
    """Set many priorities, all or none; return how many of them were others before.

    Raises
    ------
    NotFoundError
        If there is no such cluster.
    InvalidInputError
        If any VM is named twice, is not there or not the owner's, or any priority is none that
        may be chosen; its path says which.
    """
    with changing(tx, cluster_id, "policies", now):
        inventory = look_up(tx, cluster_id)
        policies = _all_changed(inventory, principal, wanted)
        unset = VmPolicy()
        changed = {
            vm_id: policy
            for vm_id, policy in policies.items()
            if policy.priority != inventory.vm_policies.get(vm_id, unset).priority
        }
        standing = tx.items.find(Kind.VM_POLICY, cluster_id, changed)
        tx.items.put_all(
            [
                replace(
                    _item(cluster_id, vm_id, policy, principal, now),
                    revision=standing[vm_id].revision if vm_id in standing else 0,
                )
                for vm_id, policy in changed.items()
            ]
        )
        tx.audit.append(*_entries(inventory, principal, changed, now))
        return len(changed)


def _all_changed(
    inventory: Inventory, principal: Principal, wanted: Sequence[Wanted]
) -> dict[VmId, VmPolicy]:
    """Return the policies with the priorities wanted, or refuse all with what is wrong."""
    changed: dict[VmId, VmPolicy] = {}
    errors: list[tuple[str, str]] = []
    for i, each in enumerate(wanted):
        at = f"priorities[{i}]"
        if each.vm_id in changed:
            errors.append((f"{at}.vm_id", f"expected each VM once, got {each.vm_id!r} again"))
            continue
        try:
            changed[each.vm_id] = _changed(inventory, principal, each)
        except InvalidInputError as error:
            message = str(error).removeprefix(f"{error.path}: ")
            errors.append((f"{at}.{error.path}", message))
        except (ForbiddenError, NotFoundError) as error:
            errors.append((f"{at}.vm_id", str(error)))
    if errors:
        raise InvalidRequestError(errors[:MAX_ERRORS])
    return changed


def _changed(inventory: Inventory, principal: Principal, wanted: Wanted) -> VmPolicy:
    """Return the policy of a VM with the priority wanted, if that may be."""
    require_known(inventory, principal, wanted.vm_id)
    before = inventory.vm_policies.get(wanted.vm_id, VmPolicy())
    policy = replace(before, priority=wanted.priority)
    require_in_bounds(principal, wanted.vm_id, wanted.priority, inventory.vm_policies)
    return policy


def _item(
    cluster_id: str, vm_id: VmId, policy: VmPolicy, principal: Principal, now: datetime
) -> Item:
    return Item(
        kind=Kind.VM_POLICY,
        cluster_id=cluster_id,
        id=vm_id,
        document=policy.to_document(),
        changed_at=now,
        changed_by=principal.name,
    )


def _entries(
    inventory: Inventory, principal: Principal, changed: Mapping[VmId, VmPolicy], now: datetime
) -> Iterator[AuditEntry]:
    for vm_id, policy in changed.items():
        wanted = Wanted(vm_id=vm_id, priority=policy.priority)
        before = inventory.vm_policies.get(vm_id, VmPolicy())
        yield _entry(principal, inventory.cluster_id, wanted, before, now)


def _entry(
    principal: Principal, cluster_id: str, wanted: Wanted, before: VmPolicy, now: datetime
) -> AuditEntry:
    return entry(
        principal,
        "priorities.set",
        cluster_id,
        f"vms/{wanted.vm_id}",
        now,
        before={"priority": before.priority},
        after={"priority": wanted.priority},
    )
