"""Priorities of VMs, one by one and many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from service.errors import ForbiddenError, InvalidRequestError
from service.inventory.access import require_in_bounds, require_known
from service.inventory.effective import Seen, look_at_snapshot
from service.inventory.marks import changing
from service.inventory.policies import VmPolicy
from service.security.auditing import entry
from service.security.principal import Principal
from service.store.base import AuditEntry, Item, Kind, Transaction
from service.store.errors import NotFoundError
from solver.domain.errors import InvalidInputError
from solver.domain.units import VmId

MAX_AT_ONCE: Final = 10_000
"""They are written in one transaction, for which every other writer waits: a second or two."""
MAX_ERRORS: Final = 20
"""Of many wrong ones, so many are told."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A policy as it stands, at its revision, and as it is to be."""

    vm_id: VmId
    before: VmPolicy
    after: VmPolicy
    revision: int


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
    with changing(tx, cluster_id, "policies", now, vm_ids=[wanted.vm_id]):
        seen = look_at_snapshot(tx, cluster_id)
        standing = tx.items.find(Kind.VM_POLICY, cluster_id, [wanted.vm_id])
        change = _change(seen, standing.get(wanted.vm_id), principal, cluster_id, wanted)
        item = _item(principal, cluster_id, change, now)
        kept = tx.items.put(item, expected_revision=expected_revision)
        if change.before.priority != change.after.priority:
            tx.audit.append(_entry(principal, cluster_id, change, now))
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
    InvalidRequestError
        If any VM is named twice, is not there or not the owner's, or any priority is none that
        may be chosen; every one that is wrong is named by its place.
    """
    with changing(tx, cluster_id, "policies", now, vm_ids=[each.vm_id for each in wanted]):
        changes = _changes(tx, principal, cluster_id, wanted)
        changed = [each for each in changes if each.before.priority != each.after.priority]
        tx.items.put_all([_item(principal, cluster_id, each, now) for each in changed])
        tx.audit.append(*(_entry(principal, cluster_id, each, now) for each in changed))
        return len(changed)


def _changes(
    tx: Transaction, principal: Principal, cluster_id: str, wanted: Sequence[Wanted]
) -> list[_Change]:
    """Return what is to change, or refuse all with everything that is wrong."""
    seen = look_at_snapshot(tx, cluster_id)
    standing = tx.items.find(Kind.VM_POLICY, cluster_id, (each.vm_id for each in wanted))
    changes: dict[VmId, _Change] = {}
    errors: list[tuple[str, str]] = []
    for i, each in enumerate(wanted):
        try:
            _require_new(each.vm_id, changes)
            item = standing.get(each.vm_id)
            changes[each.vm_id] = _change(seen, item, principal, cluster_id, each)
        except InvalidInputError as error:
            message = str(error).removeprefix(f"{error.path}: ")
            errors.append((f"priorities[{i}].{error.path}", message))
        except (ForbiddenError, NotFoundError) as error:
            errors.append((f"priorities[{i}].vm_id", str(error)))
    if errors:
        raise InvalidRequestError(errors[:MAX_ERRORS])
    return list(changes.values())


def _require_new(vm_id: VmId, changes: dict[VmId, _Change]) -> None:
    if vm_id in changes:
        raise InvalidInputError(f"expected each VM once, got {vm_id!r} again", path="vm_id")


def _change(
    seen: Seen, standing: Item | None, principal: Principal, cluster_id: str, wanted: Wanted
) -> _Change:
    """Return the policy of a VM with the priority wanted, if that may be."""
    before = VmPolicy() if standing is None else VmPolicy.from_document(standing.document)
    require_known(seen, before, principal, cluster_id, wanted.vm_id)
    after = replace(before, priority=wanted.priority)
    require_in_bounds(before, principal, wanted.vm_id, wanted.priority)
    revision = 0 if standing is None else standing.revision
    return _Change(vm_id=wanted.vm_id, before=before, after=after, revision=revision)


def _item(principal: Principal, cluster_id: str, change: _Change, now: datetime) -> Item:
    return Item(
        kind=Kind.VM_POLICY,
        cluster_id=cluster_id,
        id=change.vm_id,
        document=change.after.to_document(),
        revision=change.revision,
        changed_at=now,
        changed_by=principal.name,
    )


def _entry(principal: Principal, cluster_id: str, change: _Change, now: datetime) -> AuditEntry:
    return entry(
        principal,
        "priorities.set",
        cluster_id,
        f"vms/{change.vm_id}",
        now,
        before={"priority": change.before.priority},
        after={"priority": change.after.priority},
    )
