"""Hosts: listed, shown, and put into maintenance."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.api import paging
from service.api.answering import answer
from service.api.asking import Path, principal
from service.api.etags import NOTHING, expected_revision
from service.api.operations import operation
from service.api.services import Services
from service.inventory.effective import Inventory, look_up
from service.inventory.maintenance import set_maintenance
from service.inventory.policies import MAX_TEXT, Maintenance
from service.store.base import Item, Kind
from service.store.errors import NotFoundError
from solver.domain.units import FIELDS, HostId
from solver.schema import Id, LimitsModel, Strict


class HostQuery(paging.PageQuery):
    """Which hosts."""

    zone: str | None = Field(default=None, max_length=MAX_TEXT, description="empty: in no zone")
    state: Literal["up", "maintenance", "unreachable"] | None = None


class HostView(BaseModel):
    """A host, with what is wanted of it laid over what was seen."""

    id: str
    state: Literal["up", "maintenance", "unreachable"]
    maintenance: bool = Field(description="whether it is wanted here, whatever the snapshot says")
    reason: str = Field(description="of the maintenance")
    zone: str
    rack: str
    labels: dict[str, str]
    cpu_model: str
    provides: list[str]
    capacity: LimitsModel
    usable: LimitsModel = Field(description="capacity less the reserve")
    num_vms: int
    max_vms: int | None
    allocated_cpu_millicores: int
    allocated_memory_mib: int


class HostPage(BaseModel):
    """A page of hosts."""

    items: list[HostView]
    next: str | None
    total: int = Field(description="hosts on all pages")


class MaintenanceBody(Strict):
    """Whether a host is to be emptied and to stay empty."""

    maintenance: bool
    reason: Annotated[str, Field(max_length=4 * MAX_TEXT)] = Field(
        default="", description="for people"
    )


class HostsPath(Path):
    """Names a cluster."""

    cluster_id: Id


class HostPath(HostsPath):
    """Names a host."""

    host_id: Id


def blueprint(services: Services) -> APIBlueprint:
    """Return the views of hosts."""
    tag = Tag(name="hosts", description="hypervisors")
    api = APIBlueprint("hosts", __name__, abp_tags=[tag])

    @api.get("/clusters/<cluster_id>/hosts", responses={200: HostPage})
    @operation("hosts.list")
    def list_hosts(path: HostsPath, query: HostQuery) -> Response:
        """List hosts, in the order of their ids."""
        after = paging.start(query)
        with services.store.begin(read_only=True) as tx:
            inventory = look_up(tx, path.cluster_id, may_lag=True)
        found = sorted(
            host.id
            for host in inventory.cluster.hosts
            if query.zone in (None, host.zone) and query.state in (None, host.state.value)
        )
        rest = [host_id for host_id in found if host_id > after][: query.limit + 1]
        body = paging.page(rest, query, key=str, show=lambda at: _shown(inventory, at))
        return answer({**body, "total": len(found)})

    @api.get("/clusters/<cluster_id>/hosts/<host_id>", responses={200: HostView})
    @operation("hosts.show")
    def get_host(path: HostPath) -> Response:
        """Show a host; its ETag is that of its maintenance."""
        host_id = HostId(path.host_id)
        with services.store.begin(read_only=True) as tx:
            inventory = look_up(tx, path.cluster_id, may_lag=True)
            kept = tx.items.find(Kind.HOST_POLICY, path.cluster_id, [host_id])
        if host_id not in inventory.hosts:
            raise NotFoundError(f"there is no host {host_id!r} in cluster {path.cluster_id!r}")
        revision = kept[host_id].revision if host_id in kept else NOTHING
        return answer(_shown(inventory, host_id), revision=revision)

    @api.put("/clusters/<cluster_id>/hosts/<host_id>/maintenance", responses={200: MaintenanceBody})
    @operation("maintenance.set", revisioned=True)
    def put_maintenance(path: HostPath, body: MaintenanceBody) -> Response:
        """Put a host into maintenance, so that it is emptied and stays empty, or take it out."""
        with services.store.begin() as tx:
            kept = set_maintenance(
                tx,
                principal(),
                path.cluster_id,
                HostId(path.host_id),
                Maintenance(reason=body.reason) if body.maintenance else None,
                expected_revision=expected_revision(),
                now=services.now(),
            )
        return answer(_maintenance(kept), revision=kept.revision)

    return api


def _maintenance(item: Item) -> dict[str, Any]:
    wanted = bool(item.document.get("maintenance"))
    return {"maintenance": wanted, "reason": item.document.get("reason", "")}


def _shown(inventory: Inventory, host_id: HostId) -> dict[str, Any]:
    """Return what is answered of a host."""
    host, allocated = inventory.hosts[host_id], inventory.allocated[host_id]
    wanted = inventory.maintenance.get(host_id)
    return {
        "id": host.id,
        "state": host.state.value,
        "maintenance": wanted is not None,
        "reason": "" if wanted is None else wanted.reason,
        "zone": host.zone,
        "rack": host.rack,
        "labels": dict(host.labels),
        "cpu_model": host.cpu_model,
        "provides": list(host.provides),
        "capacity": dict(zip(FIELDS, host.capacity.as_tuple(), strict=True)),
        "usable": dict(zip(FIELDS, host.usable(), strict=True)),
        "num_vms": allocated.num_vms,
        "max_vms": host.max_vms,
        "allocated_cpu_millicores": allocated.cpu_millicores,
        "allocated_memory_mib": allocated.memory_mib,
    }
