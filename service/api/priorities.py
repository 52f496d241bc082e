"""Priorities of many VMs at once, all or none."""

from __future__ import annotations

from typing import Annotated

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.api.answering import answer
from service.api.asking import Path, principal
from service.api.idempotency import once
from service.api.operations import operation
from service.api.services import Services
from service.inventory.priorities import MAX_AT_ONCE, Wanted, set_priorities
from service.store.base import Transaction
from solver.domain.cluster import MAX_PRIORITY, MIN_PRIORITY
from solver.domain.units import VmId
from solver.schema import Id, Strict

MAX_BODY_MIB = 16
"""As many priorities as may be set at once, with long ids."""


class PriorityOf(Strict):
    """The priority of one VM."""

    vm_id: Id
    priority: Annotated[int, Field(ge=MIN_PRIORITY, le=MAX_PRIORITY)] | None = Field(
        description="null: the snapshot's"
    )


class PrioritiesBody(Strict):
    """Priorities of VMs, each once."""

    priorities: Annotated[list[PriorityOf], Field(min_length=1, max_length=MAX_AT_ONCE)]


class PrioritiesChanged(BaseModel):
    """What came of it."""

    num_changed: int = Field(description="VMs whose priority was another one before")


class PrioritiesPath(Path):
    """Names a cluster."""

    cluster_id: Id


def blueprint(services: Services) -> APIBlueprint:
    """Return the view of many priorities."""
    tag = Tag(name="priorities", description="who suffers when there is not enough for all")
    api = APIBlueprint("priorities", __name__, abp_tags=[tag])

    @api.patch("/clusters/<cluster_id>/priorities", responses={200: PrioritiesChanged})
    @operation("priorities.set_many", keyed=True, max_body_mib=MAX_BODY_MIB)
    def set_many(path: PrioritiesPath, body: PrioritiesBody) -> Response:
        """Set the priorities of many VMs, all or none; the audit log has an entry for each."""
        wanted = [
            Wanted(vm_id=VmId(each.vm_id), priority=each.priority) for each in body.priorities
        ]

        def act(tx: Transaction) -> Response:
            num_changed = set_priorities(
                tx, principal(), path.cluster_id, wanted, now=services.now()
            )
            return answer({"num_changed": num_changed})

        return once(services, act)

    return api
