"""Groups of VMs, with what they hold together."""

from __future__ import annotations

from dataclasses import asdict

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.api import paging
from service.api.answering import answer
from service.api.asking import Path, principal
from service.api.operations import operation
from service.api.services import Services
from service.inventory.access import visible_vms
from service.inventory.effective import look_up
from service.inventory.groups import groups_of
from solver.schema import Id


class Group(BaseModel):
    """A group, of the VMs that the asker sees."""

    name: str
    num_vms: int
    num_hosts: int = Field(description="on which they run")
    cpu_millicores: int = Field(description="allocated to them together")
    memory_mib: int
    lowest_priority: int
    highest_priority: int


class GroupPage(BaseModel):
    """A page of groups."""

    items: list[Group]
    next: str | None


class GroupsPath(Path):
    """Names a cluster."""

    cluster_id: Id


def blueprint(services: Services) -> APIBlueprint:
    """Return the view of groups."""
    tag = Tag(name="groups", description="VMs that belong together")
    api = APIBlueprint("groups", __name__, abp_tags=[tag])

    @api.get("/clusters/<cluster_id>/groups", responses={200: GroupPage})
    @operation("groups.list")
    def list_groups(path: GroupsPath, query: paging.PageQuery) -> Response:
        """List groups, in the order of their names; VMs of no group are left out."""
        after = paging.start(query)
        with services.store.begin(read_only=True) as tx:
            inventory = look_up(tx, path.cluster_id)
        groups = groups_of(visible_vms(inventory, principal()))
        rest = [group for group in groups if group.name > after][: query.limit + 1]
        return answer(paging.page(rest, query, key=lambda group: group.name, show=asdict))

    return api
