"""Pages as people of each role see and use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import LogIn
from tests.browser.served import CLUSTER, NUM_OWN, PASSWORD, Served
from tests.browser.visitor import Visitor

VMS = f"/clusters/{CLUSTER}/vms"
OVERVIEW = f"/clusters/{CLUSTER}"


def priority_of(page: Page, vm_id: str) -> Locator:
    """Return the cell of a VM's priority."""
    return page.locator(f".ag-row[row-id='{vm_id}'] [col-id=priority]")


def test_somebody_has_to_log_in_first(
    empty: Served, visit: Callable[[Served, str], Visitor]
) -> None:
    """At every address there is the form until a right password is given, then the page."""
    visitor = visit(empty, "/")
    expect(visitor.page.get_by_role("heading", name="Log in")).to_be_visible()
    visitor.page.get_by_label("User", exact=True).fill("admin")
    visitor.page.get_by_label("Password", exact=True).fill("wrong wrong wrong")
    visitor.page.get_by_role("button", name="Log in").click()
    expect(visitor.page.get_by_text("do not belong together")).to_be_visible()
    visitor.look_at("login")
    visitor.log_in("admin", PASSWORD)
    expect(visitor.page.get_by_role("heading", name="No cluster yet")).to_be_visible()
    visitor.look_at("first-run")


def test_edit_one_priority_and_undo(served: Served, log_in: LogIn) -> None:
    """An operator edits one; it is in the store and in the audit log, and can be undone."""
    visitor = log_in(served, "operator", VMS)
    cell = priority_of(visitor.page, "vm-00003")
    expect(cell).to_have_text("4")
    visitor.look_at("vms")
    edit(visitor.page, "vm-00003", "9")
    expect(visitor.page.get_by_text("1 VM was given a priority")).to_be_visible()
    assert served.priority("vm-00003") == 9
    [entry] = served.audit("operator")
    assert (entry.subject, entry.after) == ("vms/vm-00003", {"priority": 9})
    visitor.page.get_by_role("button", name="Undo").click()
    expect(cell).to_have_text("4")
    assert served.priority("vm-00003") == 4
    assert visitor.console == []


def test_edit_two_hundred_priorities(served: Served, log_in: LogIn) -> None:
    """All VMs that fit a filter are selected and set at once, and set back at once."""
    page = log_in(served, "operator", VMS).page
    for beginning in ("vm-000", "vm-001"):
        page.get_by_label("VM Filter Input").fill(beginning)
        # The two rows of the head count as well.
        expect(page.locator("#vms-grid .ag-root")).to_have_attribute("aria-rowcount", "102")
        expect(page.locator(f".ag-row[row-id='{beginning}00']")).to_be_visible()
        page.locator(".ag-header-select-all input").check()
    expect(page.get_by_text("300 VMs, 200 selected")).to_be_visible()
    page.get_by_label("Priority for the selected VMs").fill("2")
    page.get_by_role("button", name="Set priority of selected").click()
    expect(page.get_by_text("200 VMs were given a priority")).to_be_visible()
    assert {served.priority(f"vm-{i:05d}") for i in range(200)} == {2}
    assert len(served.audit("operator")) == 200
    page.get_by_role("button", name="Undo").click()
    expect(priority_of(page, "vm-00103")).to_have_text("4")
    assert [served.priority(f"vm-{i:05d}") for i in range(200)] == [1 + i % 10 for i in range(200)]


def test_owner_keeps_to_own_vms_and_bounds(served: Served, log_in: LogIn) -> None:
    """A tenant sees their VMs alone; a priority outside the bounds is refused and set back."""
    visitor = log_in(served, "owner", VMS)
    page = visitor.page
    expect(page.get_by_text(f"{NUM_OWN} VMs", exact=True)).to_be_visible()
    edit(page, "vm-00003", "9")
    expect(page.get_by_text("within its bounds 3..7")).to_be_visible()
    expect(priority_of(page, "vm-00003")).to_have_text("4")
    edit(page, "vm-00003", "7")
    expect(page.get_by_text("1 VM was given a priority")).to_be_visible()
    assert served.priority("vm-00003") == 7
    assert [e.actor for e in served.audit("owner")] == ["owner"]
    visitor.go(OVERVIEW)
    expect(page.get_by_role("heading", name="Not for this role")).to_be_visible()


def test_groups(served: Served, log_in: LogIn) -> None:
    """VMs are grouped by application; choosing a group shows its VMs alone."""
    visitor = log_in(served, "viewer", VMS)
    page = visitor.page
    page.get_by_role("textbox", name="Group VMs").click()
    page.get_by_role("option", name="By application").click()
    page.locator(".ag-row[row-id='app-6'] [col-id=name]").click()
    expect(priority_of(page, "vm-00006")).to_be_visible()
    expect(priority_of(page, "vm-00005")).to_have_count(0)
    visitor.look_at("vms-grouped")


def test_viewer_cannot_edit(served: Served, log_in: LogIn) -> None:
    """A viewer has nothing to edit with, and is refused when posting by hand."""
    page = log_in(served, "viewer", VMS).page
    expect(page.get_by_role("button", name="Set priority of selected")).to_be_hidden()
    with page.expect_request("**/_dash-update-component*") as caught:
        page.get_by_role("button", name="Export CSV").click()
    body, headers = forged(), {"X-CSRF-Token": caught.value.headers["x-csrf-token"]}
    before = [served.priority(f"vm-{i:05d}") for i in range(20)]
    address = f"{served.base}/_dash-update-component"
    refused = page.request.post(address, data=body, headers=headers)
    assert "Not done" in refused.text()
    without_token = page.request.post(address, data=body)
    assert "does not come from a page of this session" in without_token.text()
    assert [served.priority(f"vm-{i:05d}") for i in range(20)] == before
    assert served.audit("viewer") == []


def test_changes_of_others_are_shown_at_once(served: Served, log_in: LogIn) -> None:
    """What somebody else changes is on the page without a reload."""
    page = log_in(served, "viewer", VMS).page
    expect(priority_of(page, "vm-00003")).to_have_text("4")
    edit(log_in(served, "operator", VMS).page, "vm-00003", "8")
    expect(priority_of(page, "vm-00003")).to_have_text("8")


def test_service_restarts_under_a_page(served: Served, log_in: LogIn) -> None:
    """A banner says that the service is away; when it is back, the page goes on as it was."""
    visitor = log_in(served, "operator", VMS)
    page = visitor.page
    banner = page.get_by_text("The service does not answer")
    expect(priority_of(page, "vm-00003")).to_have_text("4")
    served.stop()
    expect(banner).to_be_visible(timeout=15_000)
    covered = page.locator(".away").bounding_box()
    assert covered is not None
    assert covered["width"] == 1280
    page.screenshot(path=visitor.pictures / "away-light.png")
    assert visitor.barriers() == []
    served.start()
    expect(banner).to_be_hidden(timeout=15_000)
    edit(page, "vm-00003", "9")
    expect(page.get_by_text("1 VM was given a priority")).to_be_visible()
    assert served.priority("vm-00003") == 9


def test_logging_out_ends_the_session(served: Served, log_in: LogIn) -> None:
    """After logging out there is the form again, and the old address shows nothing."""
    visitor = log_in(served, "operator", VMS)
    visitor.page.get_by_role("button", name="Log out").click()
    expect(visitor.page.get_by_role("heading", name="Log in")).to_be_visible()
    visitor.go(VMS)
    expect(visitor.page.get_by_role("heading", name="Log in")).to_be_visible()


def edit(page: Page, vm_id: str, priority: str) -> None:
    """Type a priority into the table."""
    priority_of(page, vm_id).dblclick()
    page.keyboard.press("Control+A")
    page.keyboard.type(priority)
    page.keyboard.press("Enter")


def forged() -> dict[str, Any]:
    """Return the request of a page that sets a priority, made by hand."""
    grid = {"id": "vms-grid", "property": "cellValueChanged"}
    outputs = [
        {"id": "vms-grid", "property": "rowTransaction"},
        {"id": "vms-done-so-far", "property": "data"},
        {"id": "vms-undo", "property": "disabled"},
    ]
    states = {
        "vms-grid": "selectedRows",
        "vms-priority": "value",
        "vms-done-so-far": "data",
        "vms-cluster": "children",
    }
    values = {"vms-priority": 9, "vms-cluster": CLUSTER}
    return {
        "output": "..vms-grid.rowTransaction...vms-done-so-far.data...vms-undo.disabled..",
        "outputs": outputs,
        "inputs": [
            {**grid, "value": [{"rowId": "vm-00003", "value": 9}]},
            {"id": "vms-set", "property": "n_clicks"},
            {"id": "vms-undo", "property": "n_clicks"},
        ],
        "changedPropIds": ["vms-grid.cellValueChanged"],
        "state": [
            {"id": name, "property": part, "value": values.get(name)}
            for name, part in states.items()
        ],
    }
