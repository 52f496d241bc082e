"""Policies of VMs apart from their priority: who owns them, within which bounds, what they run."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from service.inventory.access import require_known
from service.inventory.auditing import entry
from service.inventory.effective import look_up
from service.inventory.marks import changing
from service.inventory.policies import VmPolicy
from service.security.principal import Principal
from service.store.base import Item, Kind, Transaction
from solver.domain.units import VmId


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
    with changing(tx, cluster_id, "policies", now):
        inventory = look_up(tx, cluster_id)
        require_known(inventory, principal, vm_id)
        before = inventory.vm_policies.get(vm_id, VmPolicy())
        policy = replace(policy, priority=before.priority)
        item = Item(
            kind=Kind.VM_POLICY,
            cluster_id=cluster_id,
            id=vm_id,
            document=policy.to_document(),
            changed_at=now,
            changed_by=principal.name,
        )
        kept = tx.items.put(item, expected_revision=expected_revision)
        tx.audit.append(
            entry(
                principal,
                "policies.set",
                cluster_id,
                f"vms/{vm_id}",
                now,
                before=before.to_document(),
                after=policy.to_document(),
            )
        )
        return kept
