"""VMs: listed, shown, and what is wanted of single ones."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.api import paging
from service.api.answering import answer
from service.api.asking import Path, principal
from service.api.etags import NOTHING, expected_revision
from service.api.operations import operation
from service.api.services import Services
from service.inventory.access import sees, visible_vm
from service.inventory.effective import Inventory, look_up
from service.inventory.policies import MAX_TEXT, VmPolicy
from service.inventory.priorities import Wanted, set_priority
from service.inventory.vm_policies import policy_of, set_policy
from service.security.principal import Role
from service.store.base import Document, Kind, Transaction
from solver.domain.cluster import MAX_PRIORITY, MIN_PRIORITY, VM
from solver.domain.errors import InvalidInputError
from solver.domain.units import VmId
from solver.schema import AmountsModel, Id, Strict, show

Priority = Annotated[int, Field(ge=MIN_PRIORITY, le=MAX_PRIORITY)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
SortKey = Callable[[VM], str | int]
Entry = tuple[Any, VmId, VM]
"""What a VM is sorted by, its id, and itself."""

SORTS: Final[Mapping[str, SortKey]] = {
    "id": lambda vm: vm.id,
    "host": lambda vm: vm.host_id or "",
    "group": lambda vm: vm.group,
    "priority": lambda vm: vm.priority,
    "cpu": lambda vm: vm.allocation.cpu_millicores,
    "memory": lambda vm: vm.allocation.memory_mib,
}
"""What a list may be sorted by; VMs that are equal in it by their id."""


class VmQuery(paging.PageQuery):
    """Which VMs, and in which order."""

    host: str | None = Field(default=None, max_length=MAX_TEXT, description="empty: runs nowhere")
    group: str | None = Field(default=None, max_length=MAX_TEXT, description="empty: in no group")
    owner: str | None = Field(default=None, max_length=MAX_TEXT, description="empty: nobody's")
    priority: int | None = Field(default=None, ge=MIN_PRIORITY, le=MAX_PRIORITY)
    text: str = Field(
        default="", max_length=MAX_TEXT, description="part of the id, group or application type"
    )
    sort: Literal["id", "host", "group", "priority", "cpu", "memory"] = "id"
    descending: bool = False


class Vm(BaseModel):
    """A VM, with what is wanted of it laid over what was seen."""

    id: str
    host_id: str | None
    allocation: AmountsModel
    memory_footprint_mib: int
    priority: int
    priority_set: bool = Field(description="by a policy; otherwise the snapshot's")
    priority_min: int = Field(description="lowest its owner may choose")
    priority_max: int = Field(description="highest its owner may choose")
    owner: str
    group: str
    app_type: str
    labels: dict[str, str]
    not_migratable_reason: str
    not_before_at: datetime | None
    requires: list[str]


class VmPage(BaseModel):
    """A page of VMs."""

    items: list[Vm]
    next: str | None
    total: int = Field(description="VMs on all pages")


class PriorityBody(Strict):
    """The priority of a VM."""

    priority: Priority | None = Field(description="null: the snapshot's")


class PolicyBody(Strict):
    """What is wanted of a VM besides its priority; what is null or absent is not set."""

    owner: Text | None = Field(default=None, description="who sees it and may set its priority")
    priority_min: Priority | None = Field(default=None, description="lowest for its owner")
    priority_max: Priority | None = Field(default=None, description="highest for its owner")
    group: Text | None = Field(default=None, description="instead of the snapshot's")
    app_type: Text | None = Field(default=None, description="instead of the snapshot's")


class VmsPath(Path):
    """Names a cluster."""

    cluster_id: Id


class VmPath(VmsPath):
    """Names a VM."""

    vm_id: Id


def blueprint(services: Services) -> APIBlueprint:
    """Return the views of VMs."""
    tag = Tag(name="VMs", description="virtual machines and what is wanted of them")
    api = APIBlueprint("vms", __name__, abp_tags=[tag])

    @api.get("/clusters/<cluster_id>/vms", responses={200: VmPage})
    @operation("vms.list")
    def list_vms(path: VmsPath, query: VmQuery) -> Response:
        """List the VMs that the asker sees."""
        with services.store.begin(read_only=True) as tx:
            inventory = look_up(tx, path.cluster_id, may_lag=True)
        return answer(_page(inventory, query))

    @api.get("/clusters/<cluster_id>/vms/<vm_id>", responses={200: Vm})
    @operation("vms.show")
    def get_vm(path: VmPath) -> Response:
        """Show a VM; its ETag is that of its policy."""
        with services.store.begin(read_only=True) as tx:
            inventory = look_up(tx, path.cluster_id, may_lag=True)
            vm = visible_vm(inventory, principal(), VmId(path.vm_id))
            revision = _revision(tx, path.cluster_id, vm.id)
        return answer(shown(inventory, vm), revision=revision)

    @api.put("/clusters/<cluster_id>/vms/<vm_id>/priority", responses={200: PriorityBody})
    @operation("priorities.set", revisioned=True)
    def put_priority(path: VmPath, body: PriorityBody) -> Response:
        """Set the priority of a VM."""
        with services.store.begin() as tx:
            kept = set_priority(
                tx,
                principal(),
                path.cluster_id,
                Wanted(vm_id=VmId(path.vm_id), priority=body.priority),
                expected_revision=expected_revision(),
                now=services.now(),
            )
        return answer({"priority": kept.document.get("priority")}, revision=kept.revision)

    @api.get("/clusters/<cluster_id>/vms/<vm_id>/policy", responses={200: PolicyBody})
    @operation("policies.show")
    def get_policy(path: VmPath) -> Response:
        """Show what is wanted of a VM besides its priority; what is null is not set."""
        with services.store.begin(read_only=True) as tx:
            vm = visible_vm(look_up(tx, path.cluster_id), principal(), VmId(path.vm_id))
            policy = policy_of(tx, path.cluster_id, vm.id)
            revision = _revision(tx, path.cluster_id, vm.id)
        return answer(_policy(policy.to_document()), revision=revision)

    @api.put("/clusters/<cluster_id>/vms/<vm_id>/policy", responses={200: PolicyBody})
    @operation("policies.set", revisioned=True)
    def put_policy(path: VmPath, body: PolicyBody) -> Response:
        """Say who owns a VM, within which bounds, and to what it belongs."""
        with services.store.begin() as tx:
            kept = set_policy(
                tx,
                principal(),
                path.cluster_id,
                VmId(path.vm_id),
                VmPolicy(**body.model_dump()),
                expected_revision=expected_revision(),
                now=services.now(),
            )
        return answer(_policy(kept.document), revision=kept.revision)

    return api


def shown(inventory: Inventory, vm: VM) -> dict[str, Any]:
    """Return what is answered of a VM."""
    policy = inventory.vm_policies.get(vm.id, _NO_POLICY)
    least, most = policy.bounds
    return {
        "id": vm.id,
        "host_id": vm.host_id,
        "allocation": {
            "cpu_millicores": vm.allocation.cpu_millicores,
            "memory_mib": vm.allocation.memory_mib,
            "disk_io_kib_per_s": vm.allocation.disk_io_kib_per_s,
            "net_io_kib_per_s": vm.allocation.net_io_kib_per_s,
        },
        "memory_footprint_mib": vm.memory_footprint_mib,
        "priority": vm.priority,
        "priority_set": policy.priority is not None,
        "priority_min": least,
        "priority_max": most,
        "owner": policy.owner or "",
        "group": vm.group,
        "app_type": vm.app_type,
        "labels": dict(vm.labels),
        "not_migratable_reason": vm.not_migratable_reason,
        "not_before_at": None if vm.not_before_at is None else vm.not_before_at.isoformat(),
        "requires": list(vm.requires),
    }


_NO_POLICY: Final = VmPolicy()


def _policy(document: Document) -> dict[str, Any]:
    policy = {name: document.get(name) for name in PolicyBody.model_fields}
    return PolicyBody.model_validate(policy).model_dump()


def _revision(tx: Transaction, cluster_id: str, vm_id: VmId) -> int:
    found = tx.items.find(Kind.VM_POLICY, cluster_id, [vm_id])
    return found[vm_id].revision if vm_id in found else NOTHING


def _page(inventory: Inventory, query: VmQuery) -> dict[str, Any]:
    """Return one page of the VMs asked for."""
    chosen = inventory.in_order(query.sort, SORTS[query.sort])
    wanted = _filter(inventory, query)
    if wanted is not None:
        chosen = [entry for entry in chosen if wanted(entry[2])]
    body = paging.page(
        _behind(chosen, _after(query), query.descending, query.limit + 1),
        query,
        key=lambda entry: json.dumps(entry[:2]),
        show=lambda entry: shown(inventory, entry[2]),
    )
    return {**body, "total": len(chosen)}


def _behind(
    chosen: list[Entry], after: tuple[str | int, str] | None, descending: bool, num: int
) -> list[Entry]:
    """Return up to so many of a list in rising order, from behind an entry, in the order asked."""
    if descending:
        end = len(chosen)
        if after is not None:
            end = bisect_left(chosen, after, key=lambda entry: entry[:2])
        return chosen[max(0, end - num) : end][::-1]
    first = 0
    if after is not None:
        first = bisect_right(chosen, after, key=lambda entry: entry[:2])
    return chosen[first : first + num]


def _after(query: VmQuery) -> tuple[str | int, str] | None:
    """Return sort key and id behind which the page starts."""
    text = paging.start(query)
    if not text:
        return None
    kind = int if query.sort in ("priority", "cpu", "memory") else str
    try:
        value, vm_id = json.loads(text)
    except (ValueError, TypeError):
        value, vm_id = None, None
    if type(value) is not kind or not isinstance(vm_id, str):
        raise InvalidInputError(
            f"expected the `next` of a page sorted by {query.sort}, got {show(query.after)}",
            path="query.after",
        )
    return value, vm_id


def _filter(inventory: Inventory, query: VmQuery) -> Callable[[VM], bool] | None:
    """Return whether a VM is among those asked for; ``None`` where all are."""
    asker = principal()
    text = query.text.casefold()
    asked = (query.host, query.group, query.priority, query.owner)
    if asker.role is not Role.OWNER and not text and asked == (None, None, None, None):
        return None

    def wanted(vm: VM) -> bool:
        return (
            (query.host is None or (vm.host_id or "") == query.host)
            and (query.group is None or vm.group == query.group)
            and (query.priority is None or vm.priority == query.priority)
            and (query.owner is None or inventory.owner(vm.id) == query.owner)
            and (not text or text in f"{vm.id}\n{vm.group}\n{vm.app_type}".casefold())
            and sees(asker, inventory.owner(vm.id))
        )

    return wanted
