"""Rows of the table of rules, as plain values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from service.inventory.effective import Inventory, every_item, look_up
from service.inventory.standing import StandingRule
from service.store.base import Item, Kind, Transaction
from service.web.rule_words import KINDS, says, some, strength
from solver.domain.check import check_placement
from solver.instances import rule_to_document
from solver.schema import RULE_KINDS

Row = dict[str, Any]


def rule_rows(tx: Transaction, cluster_id: str) -> list[Row]:
    """Return a row for each rule, by id.

    Raises
    ------
    NotFoundError
        If there is no such cluster, or nothing was seen of it yet.
    """
    inventory = look_up(tx, cluster_id)
    items = {item.id: item for item in every_item(tx, Kind.RULE, cluster_id)}
    broken = broken_rules(inventory)
    rows = [_row(each, items.get(each.rule.id), broken) for each in inventory.rules]
    return sorted(rows, key=lambda row: str(row["id"]))


def broken_rules(inventory: Inventory) -> dict[str, list[str]]:
    """Return what is wrong with each rule that is not met as VMs are placed now."""
    cluster = inventory.cluster
    found: dict[str, list[str]] = defaultdict(list)
    for violation in check_placement(cluster, cluster.placement):
        kind, name = violation.key[:2]
        if kind in RULE_KINDS:
            # The row says which rule it is.
            found[name].append(violation.message.removeprefix(f"rule {name!r} ({kind}): "))
    return found


def _row(standing: StandingRule, item: Item | None, broken: Mapping[str, list[str]]) -> Row:
    document = rule_to_document(standing.rule)
    changed_at = None if item is None else item.changed_at
    return {
        "id": standing.rule.id,
        "kind": KINDS[standing.rule.kind][0],
        "says": says(document),
        "strength": strength(document),
        "now": _now(standing, broken.get(standing.rule.id, [])),
        "source": standing.source,
        "changed_by": "the snapshot" if item is None else item.changed_by,
        "changed_at": None if changed_at is None else changed_at.isoformat(),
    }


def _now(standing: StandingRule, broken: list[str]) -> str:
    """Return whether a rule is met, and what of it is not there."""
    if standing.in_force is None:
        return f"waits: {standing.waits_because}"
    missing = (*standing.missing_vm_ids, *standing.missing_host_ids)
    gone = f"; not there: {some(missing)}" if missing else ""
    return (f"not met: {some(broken)}" if broken else "met") + gone
