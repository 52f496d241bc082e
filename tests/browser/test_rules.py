"""Rules as people look at them and change them."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import expect

from service.inventory.rules import keep_rule
from service.store.base import Kind
from solver.instances import rule_from_document
from tests.browser.conftest import LogIn
from tests.browser.served import ADMIN, CLUSTER, Served, present

RULES = f"/clusters/{CLUSTER}/rules"


def test_make_change_and_undo_rules(served: Served, log_in: LogIn) -> None:
    """An operator is told slips at their fields and what contradicts, selects VMs, and undoes."""
    keep(served, {"id": "home", "kind": "pin", "vm_ids": ["vm-00000"], "host_ids": ["host-000"]})
    visitor = log_in(served, "operator", RULES)
    page = visitor.page
    expect(page.get_by_text("vm-00000 must run on host-000.")).to_be_visible()
    page.get_by_role("button", name="Add a rule").click()
    page.get_by_label("Name", exact=True).fill("apart")
    page.get_by_label("VMs", exact=True).fill("nobody\nvm-00001")
    page.get_by_role("button", name="Save the rule").click()
    expect(page.get_by_text("expected a VM of the cluster, got 'nobody'")).to_be_visible()
    visitor.look_at("rules-slips")
    page.get_by_label("VMs", exact=True).fill("")
    page.get_by_label("Named like").fill("vm-0000[12]")
    page.get_by_role("button", name="Add these VMs").click()
    expect(page.get_by_label("VMs", exact=True)).to_have_value("vm-00001\nvm-00002")
    page.get_by_role("button", name="Save the rule").click()
    expect(page.get_by_text("No two of vm-00001 and vm-00002 may share a host.")).to_be_visible()
    assert rules(served)["apart"]["vm_ids"] == ["vm-00001", "vm-00002"]
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("No two of vm-00001 and vm-00002 may share a host.")).to_be_hidden()
    assert set(rules(served)) == {"home"}
    # Until the row is gone the others are on their way to their new places, and a click may miss.
    expect(page.locator(".ag-row[row-id='apart']")).to_have_count(0)
    page.locator(".ag-row[row-id='home'] [col-id=says]").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("There is no rule")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("vm-00000 must run on host-000.")).to_be_visible()
    assert [e.action for e in served.audit("operator")] == [
        "rules.put",
        "rules.delete",
        "rules.delete",
        "rules.put",
    ]


def test_rules_that_contradict_are_told(served: Served, log_in: LogIn) -> None:
    """A link opens the rule; the smallest set that cannot be kept is named, and found later too."""
    keep(served, {"id": "home", "kind": "pin", "vm_ids": ["vm-00000"], "host_ids": ["host-000"]})
    away = {"id": "away", "kind": "pin", "vm_ids": ["vm-00001"], "host_ids": ["host-001"]}
    keep(served, away)
    keep(served, {"id": "pair", "kind": "anti_affinity", "vm_ids": ["vm-00000", "vm-00001"]})
    visitor = log_in(served, "operator", f"{RULES}?rule=pair")
    page = visitor.page
    expect(page.get_by_label("Name", exact=True)).to_have_value("pair")
    page.get_by_role("textbox", name="Kind", exact=True).click()
    page.get_by_role("option", name="Together").click()
    expect(page.get_by_text("All the VMs run on one host.")).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_value("pair")
    page.get_by_role("button", name="Save the rule").click()
    expect(page.get_by_text("The rule is not kept")).to_be_visible()
    visitor.look_at("rules-contradiction")
    page.get_by_label("Keep it whatever").check()
    page.get_by_role("button", name="Save the rule").click()
    expect(page.get_by_text("not met:")).to_be_visible()
    page.get_by_role("button", name="Look for contradictions").click()
    expect(page.get_by_text("Smallest sets of rules")).to_be_visible()
    visitor.look_at("rules")


def test_a_viewer_sees_rules_alone(served: Served, log_in: LogIn) -> None:
    """There is nothing to change them with, and removing by hand is refused."""
    keep(served, {"id": "home", "kind": "pin", "vm_ids": ["vm-00000"], "host_ids": ["host-000"]})
    page = log_in(served, "viewer", f"{RULES}?rule=home").page
    expect(page.locator(".ag-row-selected[row-id='home']")).to_have_count(1)
    expect(page.get_by_role("button", name="Add a rule")).to_be_hidden()
    page.locator("#rules-remove").evaluate("element => element.click()")
    expect(page.get_by_text("rules.delete is for admin, operator")).to_be_visible()
    assert set(rules(served)) == {"home"}


def keep(served: Served, document: dict[str, Any]) -> None:
    """Let a service keep a rule."""
    rule = rule_from_document(document)
    keep_rule(
        served.services.store, ADMIN, CLUSTER, rule, force=True, expected_revision=0, now=present()
    )


def rules(served: Served) -> dict[str, dict[str, Any]]:
    """Return the rules that are kept, by name."""
    with served.services.store.begin(read_only=True) as tx:
        return {
            item.id: dict(item.document) for item in tx.items.page(Kind.RULE, CLUSTER, limit=99)
        }
