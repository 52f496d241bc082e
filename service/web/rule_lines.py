"""The rules that name a VM or a host, each in a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.inventory.effective import Inventory
from service.inventory.standing import StandingRule
from service.web.rule_words import says, strength
from solver.instances import rule_to_document


def rule_lines(inventory: Inventory, *, vm_id: str = "", host_id: str = "") -> list[dict[str, Any]]:
    """Return a line for each rule that names a VM or a host, in the order of their ids."""
    found = [
        standing
        for standing in inventory.rules
        if _names(standing.rule.named_vm_ids, vm_id)
        or _names(standing.rule.named_host_ids, host_id)
    ]
    return [_line(standing) for standing in sorted(found, key=lambda each: each.rule.id)]


def _names(named: Mapping[str, tuple[Any, ...]], wanted: str) -> bool:
    return bool(wanted) and any(wanted in ids for ids in named.values())


def _line(standing: StandingRule) -> dict[str, Any]:
    rule = rule_to_document(standing.rule)
    return {
        "id": standing.rule.id,
        "says": says(rule),
        "strength": strength(rule),
        "state": f"waits: {standing.waits_because}" if standing.waits_because else "in force",
    }
