"""The log of changes: who did what to what, when, and what stood before and after."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.api import paging
from service.api.answering import answer
from service.api.asking import principal
from service.api.operations import operation
from service.api.services import Services
from service.security import audit
from service.store.base import AuditEntry
from solver.domain.errors import InvalidInputError
from solver.schema import Instant

Text = Annotated[str, Field(max_length=512)]


class AuditQuery(paging.PageQuery):
    """Which entries."""

    cluster_id: Text = Field(default="", description="of this cluster; empty: any")
    subject: Text = Field(default="", description="how the subject begins, such as `vms/`")
    action: Text = Field(default="", description="how the action begins, such as `plans.`")
    actor: Text = Field(default="", description="by this user or token; empty: any")
    since: Instant | None = Field(default=None, description="from this instant on")
    until: Instant | None = Field(default=None, description="before this instant")


class Entry(BaseModel):
    """One change."""

    number: int
    at: datetime
    actor: str
    action: str
    cluster_id: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    origin: str


class EntryPage(BaseModel):
    """A page of the log, the newest first; `next` may lead to an empty page."""

    items: list[Entry]
    next: str | None


def blueprint(services: Services) -> APIBlueprint:
    """Return the view of the log."""
    api = APIBlueprint(
        "audit", __name__, abp_tags=[Tag(name="audit", description="log of changes")]
    )

    @api.get("/audit", responses={200: EntryPage})
    @operation("audit.list")
    def list_audit(query: AuditQuery) -> Response:
        """List changes, the newest first: admins all, others those of clusters or VMs they see."""
        wanted = audit.Wanted(
            cluster_id=query.cluster_id,
            subject=query.subject,
            action=query.action,
            actor=query.actor,
            since=query.since,
            until=query.until,
        )
        with services.store.begin(read_only=True) as tx:
            entries, before = audit.page(
                tx, principal(), wanted, before=_before(query), limit=query.limit
            )
        following = None if before is None else paging.cursor(str(before))
        return answer({"items": [_shown(entry) for entry in entries], "next": following})

    return api


def _before(query: paging.PageQuery) -> int | None:
    start = paging.start(query)
    if not start:
        return None
    if not (start.isascii() and start.isdigit() and len(start) < 19):
        raise InvalidInputError("expected the `next` of another page", path="query.after")
    return int(start)


def _shown(entry: AuditEntry) -> dict[str, Any]:
    fields = {name: getattr(entry, name) for name in Entry.model_fields}
    return Entry.model_validate(fields).model_dump(mode="json")
