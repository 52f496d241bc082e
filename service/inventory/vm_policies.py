"""Policies of VMs apart from their priority: who owns them, within which bounds, what they run."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from service.inventory.access import require_known
from service.inventory.effective import look_at_snapshot
from service.inventory.marks import changing
from service.inventory.policies import VmPolicy
from service.security.auditing import put_item
from service.security.principal import Principal
from service.store.base import Item, Kind, Transaction
from solver.domain.units import VmId


def policy_of(tx: Transaction, cluster_id: str, vm_id: VmId) -> VmPolicy:
    """Return the policy of a VM, an empty one if it has none."""
    found = tx.items.find(Kind.VM_POLICY, cluster_id, [vm_id])
    return VmPolicy.from_document(found[vm_id].document) if vm_id in found else VmPolicy()


def set_policy(
    tx: Transaction,
    principal: Principal,
    cluster_id: str,
    vm_id: VmId,
    policy: VmPolicy,
    *,
    expected_revision: int | None,
    now: datetime,
) -> Item:
    """Replace the policy of a VM, but for its priority, and return it.

    The priority stays what it is, though it be outside new bounds: they bind the next choice.

    Raises
    ------
    NotFoundError
        If there is no such cluster or VM.
    ConflictError
        If the policy stands at another revision.
    """
    with changing(tx, cluster_id, "policies", now, vm_ids=[vm_id]):
        seen = look_at_snapshot(tx, cluster_id)
        before = policy_of(tx, cluster_id, vm_id)
        require_known(seen, before, principal, cluster_id, vm_id)
        policy = replace(policy, priority=before.priority)
        item = Item(
            kind=Kind.VM_POLICY,
            cluster_id=cluster_id,
            id=vm_id,
            document=policy.to_document(),
            changed_at=now,
        )
        return put_item(
            tx, principal, "policies.set", f"vms/{vm_id}", item, expected_revision=expected_revision
        )
