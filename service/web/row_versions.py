"""Rows of VMs as they were at one mark, so that a page is sent only what has changed since.

A version is told to the browser with its rows, and comes back with the next question. The last few
of each cluster are kept; a browser that has an older one, or asks another replica, is sent all.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from service.inventory.access import sees
from service.inventory.effective import Inventory, look_up
from service.inventory.marks import Mark, read_mark
from service.security.principal import Principal, Role
from service.store.base import Transaction
from service.web.rows import Row, rows_for

MAX_VERSIONS: Final = 6
"""Of each cluster; what did not change from one to the next is held once."""
MAX_CLUSTERS: Final = 16
_PACKING: Final = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Version:
    """All VMs of a cluster at one mark.

    Parameters
    ----------
    mark, inventory
        That they were made of.
    rows
        By VM; not to be changed.
    """

    name: str
    mark: Mark
    inventory: Inventory
    rows: Mapping[str, Row]

    @cached_property
    def packed(self) -> bytes:
        """What is sent to somebody who sees all and has nothing yet."""
        told = {"version": self.name, "num": len(self.rows), "rows": list(self.rows.values())}
        return gzip.compress(json.dumps(told).encode(), _PACKING)


class Versions:
    """The last versions of each cluster."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, OrderedDict[str, Version]] = OrderedDict()
        self._lock = threading.Lock()
        self._making = threading.Lock()

    def now(self, tx: Transaction, cluster_id: str) -> Version:
        """Return the rows as they are; raises as ``rows.vm_rows`` does."""
        mark = read_mark(tx, cluster_id)
        name = hashlib.sha256(repr(mark).encode()).hexdigest()[:16]
        found = self.find(cluster_id, name)
        if found is not None:
            return found
        with self._making:
            found = self.find(cluster_id, name)
            if found is None:
                found = _made(tx, cluster_id, name, mark, self._latest(cluster_id))
                self._keep(cluster_id, found)
        return found

    def find(self, cluster_id: str, name: str) -> Version | None:
        """Return a version that is still kept."""
        with self._lock:
            return self._kept.get(cluster_id, OrderedDict()).get(name)

    def _latest(self, cluster_id: str) -> Version | None:
        with self._lock:
            kept = self._kept.get(cluster_id)
            return next(reversed(kept.values())) if kept else None

    def _keep(self, cluster_id: str, version: Version) -> None:
        with self._lock:
            kept = self._kept.setdefault(cluster_id, OrderedDict())
            kept[version.name] = version
            self._kept.move_to_end(cluster_id)
            while len(kept) > MAX_VERSIONS:
                kept.popitem(last=False)
            while len(self._kept) > MAX_CLUSTERS:
                self._kept.popitem(last=False)


def _made(
    tx: Transaction, cluster_id: str, name: str, mark: Mark, before: Version | None
) -> Version:
    """Return the rows at a mark; those of VMs that are as they were are taken over."""
    inventory = look_up(tx, cluster_id)
    held = {} if before is None else _held(before, mark, inventory)
    anew = [vm for vm in inventory.cluster.vms if vm.id not in held]
    made = {row["id"]: row for row in rows_for(tx, inventory, anew)}
    rows = {str(vm.id): held.get(vm.id) or made[vm.id] for vm in inventory.cluster.vms}
    return Version(name=name, mark=mark, inventory=inventory, rows=rows)


def _held(before: Version, mark: Mark, inventory: Inventory) -> Mapping[str, Row]:
    """Return the rows of VMs that are the very same as before, and so are their policies."""
    edited = mark.edited_since(before.mark)
    if edited is None:
        return {}
    vms = before.inventory.vms
    return {
        vm.id: before.rows[vm.id]
        for vm in inventory.cluster.vms
        if vms.get(vm.id) is vm and vm.id not in edited
    }


def packed_for(
    principal: Principal, versions: Versions, cluster_id: str, since: str, now: Version
) -> bytes:
    """Return what to send to somebody, packed by gzip.

    Parameters
    ----------
    since
        The version they have, as it was told to them; empty for none.
    """
    scope = _scope(principal)
    before = versions.find(cluster_id, since.removesuffix(scope)) if since.endswith(scope) else None
    if before is None and not scope:
        return now.packed
    told = changes(principal, before, now)
    return gzip.compress(json.dumps(told).encode(), _PACKING)


def changes(principal: Principal, before: Version | None, now: Version) -> dict[str, Any]:
    """Return the rows that were added, changed and removed for somebody, or all there are."""
    new = _seen(principal, now)
    told = {"version": now.name + _scope(principal), "num": len(new)}
    if before is None:
        return told | {"rows": list(new.values())}
    old = _seen(principal, before)
    return told | {
        "add": [row for vm_id, row in new.items() if vm_id not in old],
        "update": [row for vm_id, row in new.items() if vm_id in old and _differs(old[vm_id], row)],
        "remove": [{"id": vm_id} for vm_id in old if vm_id not in new],
    }


def _scope(principal: Principal) -> str:
    """Return what is told with a version, so that nobody goes on from what another one sees."""
    return f".{principal.owner}" if principal.role is Role.OWNER else ""


def _seen(principal: Principal, version: Version) -> Mapping[str, Row]:
    if principal.role is not Role.OWNER:
        return version.rows
    return {vm_id: row for vm_id, row in version.rows.items() if sees(principal, row["owner"])}


def _differs(old: Row, new: Row) -> bool:
    return old is not new and old != new
