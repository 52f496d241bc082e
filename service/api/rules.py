"""Placement rules: listed with what of them is in force, and put one by one."""

from __future__ import annotations

from typing import Any, Final, Literal

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field, RootModel

from service.api import paging
from service.api.answering import answer, nothing
from service.api.asking import Path, Query, principal
from service.api.etags import expected_revision
from service.api.operations import operation
from service.api.services import Services
from service.inventory.effective import look_up
from service.inventory.rules import delete_rule, find_rule, keep_rule
from service.inventory.standing import StandingRule
from service.store.base import Kind
from solver.domain.errors import InvalidInputError
from solver.instances import rule_from_document, rule_to_document
from solver.schema import AnyRule, Id, show

MAX_BODY_MIB: Final = 8
"""A rule may name every VM of a large cluster."""


class RuleBody(RootModel[AnyRule]):
    """A rule, as it stands in a cluster document."""


class RuleView(BaseModel):
    """A rule with what of it is in force."""

    id: str
    rule: AnyRule
    source: Literal["rule", "snapshot"] = Field(
        description="snapshot: it came with the cluster document and can only be replaced"
    )
    in_force: bool
    waits_because: str = Field(description="empty while it is in force")
    missing_vm_ids: list[str] = Field(description="named, and not there now")
    missing_host_ids: list[str]


class RulePage(BaseModel):
    """A page of rules."""

    items: list[RuleView]
    next: str | None


class RuleQuery(Query):
    """How a rule is put."""

    force: bool = Field(
        default=False, description="whatever it contradicts, and whatever it names that is missing"
    )


class RulesPath(Path):
    """Names a cluster."""

    cluster_id: Id


class RulePath(RulesPath):
    """Names a rule."""

    rule_id: Id


def blueprint(services: Services) -> APIBlueprint:
    """Return the views of rules."""
    tag = Tag(name="rules", description="what placements have to keep")
    api = APIBlueprint("rules", __name__, abp_tags=[tag])

    @api.get("/clusters/<cluster_id>/rules", responses={200: RulePage})
    @operation("rules.list")
    def list_rules(path: RulesPath, query: paging.PageQuery) -> Response:
        """List rules, in the order of their ids."""
        after = paging.start(query)
        with services.store.begin(read_only=True) as tx:
            inventory = look_up(tx, path.cluster_id)
        found = sorted(
            (each for each in inventory.rules if each.rule.id > after),
            key=lambda each: each.rule.id,
        )
        return answer(
            paging.page(found[: query.limit + 1], query, key=lambda each: each.rule.id, show=_shown)
        )

    @api.get("/clusters/<cluster_id>/rules/<rule_id>", responses={200: RuleView})
    @operation("rules.show")
    def get_rule(path: RulePath) -> Response:
        """Show a rule."""
        with services.store.begin(read_only=True) as tx:
            inventory = look_up(tx, path.cluster_id)
            kept = tx.items.find(Kind.RULE, path.cluster_id, [path.rule_id])
        standing = find_rule(inventory, path.rule_id)
        revision = kept[path.rule_id].revision if path.rule_id in kept else 0
        return answer(_shown(standing), revision=revision)

    @api.put("/clusters/<cluster_id>/rules/<rule_id>", responses={200: RuleView, 201: RuleView})
    @operation("rules.put", revisioned=True, max_body_mib=MAX_BODY_MIB)
    def put(path: RulePath, query: RuleQuery, body: RuleBody) -> Response:
        """Make or change a rule, unless hard rules then contradict each other."""
        rule = rule_from_document(body.root.model_dump())
        if rule.id != path.rule_id:
            raise InvalidInputError(
                f"expected {show(path.rule_id)} as in the path, got {show(rule.id)}", path="id"
            )
        item = keep_rule(
            services.store,
            principal(),
            path.cluster_id,
            rule,
            force=query.force,
            expected_revision=expected_revision(),
            now=services.now(),
        )
        with services.store.begin(read_only=True) as tx:
            standing = find_rule(look_up(tx, path.cluster_id), rule.id)
        status = 201 if item.revision == 1 else 200
        return answer(_shown(standing), status=status, revision=item.revision)

    @api.delete("/clusters/<cluster_id>/rules/<rule_id>", responses={204: None})
    @operation("rules.delete", revisioned=True)
    def delete(path: RulePath) -> Response:
        """Remove a rule; the snapshot's of the same id, if there is one, is in force again."""
        with services.store.begin() as tx:
            delete_rule(
                tx,
                principal(),
                path.cluster_id,
                path.rule_id,
                expected_revision=expected_revision(),
                now=services.now(),
            )
        return nothing()

    return api


def _shown(standing: StandingRule) -> dict[str, Any]:
    return {
        "id": standing.rule.id,
        "rule": rule_to_document(standing.rule),
        "source": standing.source,
        "in_force": standing.in_force is not None,
        "waits_because": standing.waits_because,
        "missing_vm_ids": list(standing.missing_vm_ids),
        "missing_host_ids": list(standing.missing_host_ids),
    }
