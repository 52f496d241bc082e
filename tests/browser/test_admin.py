"""What an admin looks after: clusters, users, tokens, and the log of all changes."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from service.inventory.priorities import Wanted, set_priorities
from service.security import tokens, users
from solver.domain.units import VmId
from tests.browser.conftest import LogIn
from tests.browser.served import ADMIN, CLUSTER, Served, present

COOKIE = "foreswap-csrf"


def test_connect_a_cluster_change_it_and_remove_it(empty: Served, log_in: LogIn) -> None:
    """From the first run on; slips are told where they are, and nothing goes without its name."""
    visitor = log_in(empty, "admin", "/")
    page = visitor.page
    page.get_by_role("button", name="Connect a cluster").click()
    page.get_by_label("Id", exact=True).fill("prod")
    page.get_by_label("Name", exact=True).fill("Production")
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.get_by_text("expected the name of a file")).to_be_visible()
    visitor.look_at("connect")
    choose(page, "Driver", "Simulated, from a snapshot on")
    page.get_by_label("Speed").fill("5")
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.get_by_role("heading", name="Nothing was seen of it yet")).to_be_visible()
    expect(page).to_have_url(f"{empty.base}/clusters/prod/settings")
    expect(page.get_by_text("Changed last by admin")).to_be_visible()
    expect(page.get_by_label("Speed")).to_have_value("5")
    visitor.look_at("settings")
    page.get_by_label("Name", exact=True).fill("Factory")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The settings are in force")).to_be_visible()
    page.get_by_role("button", name="Remove this cluster").click()
    expect(page.get_by_text("expected prod")).to_be_visible()
    page.get_by_label("Type prod to confirm").fill("prod")
    page.get_by_role("button", name="Remove this cluster").click()
    expect(page.get_by_role("heading", name="No cluster yet")).to_be_visible()
    removed, changed, made = empty.audit("admin")
    assert [e.action for e in (made, removed)] == ["clusters.put", "clusters.delete"]
    assert changed.after is not None
    assert (changed.after["name"], changed.after["driver"]["speed"]) == ("Factory", 5.0)


def test_users(empty: Served, log_in: LogIn) -> None:
    """An admin lets somebody in, changes the role, resets the password and removes them."""
    visitor = log_in(empty, "admin", "/users")
    page = visitor.page
    page.get_by_label("Name", exact=True).fill("an na")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("expected 1 to 63 letters")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("anna")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("Password of anna for one login")).to_be_visible()
    expect(page.get_by_role("button", name="Copy")).to_be_visible()
    visitor.look_at("users")
    first = page.locator("code").inner_text()
    assert empty.services.passwords.fits(first, kept_hash(empty, "anna"))
    page.get_by_role("link", name="anna", exact=True).click()
    # The page before has a field of that name, too.
    expect(page.get_by_role("button", name="End all sessions")).to_be_visible()
    choose(page, "Role", "operator: runs the clusters")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("anna has the role operator")).to_be_visible()
    page.get_by_role("button", name="Give a password for one login").click()
    expect(page.get_by_text("It is shown this once")).to_be_visible()
    assert not empty.services.passwords.fits(first, kept_hash(empty, "anna"))
    page.get_by_role("button", name="End all sessions").click()
    expect(page.get_by_text("0 sessions of anna have ended")).to_be_visible()
    visitor.look_at("user")
    page.get_by_label("Type anna to confirm").fill("anna")
    page.get_by_role("button", name="Remove this user").click()
    expect(page.get_by_role("heading", name="Users")).to_be_visible()
    expect(page.get_by_role("link", name="anna", exact=True)).to_have_count(0)
    visitor.go("/users/admin")
    page.get_by_label("Type admin to confirm").fill("admin")
    page.get_by_role("button", name="Remove this user").click()
    expect(page.get_by_text("is the last admin")).to_be_visible()


def test_tokens(served: Served, log_in: LogIn) -> None:
    """The secret of a token is shown once; a revoked one is gone. Others are refused."""
    visitor = log_in(served, "admin", "/tokens")
    page = visitor.page
    page.get_by_label("Name", exact=True).fill("monitor-1")
    choose(page, "Role", "agent: delivers the telemetry of a host")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_text("expected the cluster of the agent")).to_be_visible()
    choose(page, "Cluster", CLUSTER)
    page.get_by_label("Host", exact=True).fill("host-001")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_text("Token monitor-1. It is shown this once")).to_be_visible()
    visitor.look_at("tokens")
    assert page.locator("code").inner_text().startswith("fst_")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke monitor-1").click()
    expect(page.get_by_text("No token yet")).to_be_visible()
    with served.services.store.begin(read_only=True) as tx:
        assert tokens.find(tx, "monitor-1") is None
    other = log_in(served, "operator", "/tokens").page
    expect(other.get_by_role("heading", name="Not for this role")).to_be_visible()
    assert "users.delete is for admin" in removed_by_hand(other, served, "viewer")
    with served.services.store.begin(read_only=True) as tx:
        assert users.find(tx, "viewer") is not None


def test_audit(served: Served, log_in: LogIn) -> None:
    """The log is asked by an address, turned page by page, followed to subjects, and exported."""
    rank(served, [f"vm-{i:05d}" for i in range(60)])
    visitor = log_in(served, "viewer", f"/clusters/{CLUSTER}/audit?action=priorities.")
    page = visitor.page
    expect(page.get_by_role("link", name="vms/vm-00059")).to_be_visible()
    expect(page.get_by_role("link", name="vms/vm-00009", exact=True)).to_have_count(0)
    visitor.look_at("audit")
    page.get_by_role("button", name="Older").click()
    expect(page.get_by_role("link", name="vms/vm-00009", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Older")).to_be_disabled()
    page.get_by_role("button", name="Newer").click()
    expect(page.get_by_role("link", name="vms/vm-00059")).to_be_visible()
    page.get_by_label("Subject begins with").fill("vms/vm-00007")
    page.get_by_label("From", exact=True).fill("2020-01-01T10:00")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("link", name="vms/vm-00059")).to_have_count(0)
    link = page.get_by_role("link", name="vms/vm-00007")
    expect(link).to_have_attribute("href", f"/clusters/{CLUSTER}/vms/vm-00007")
    assert "subject=vms%2Fvm-00007&since=2020-01-01T" in page.url
    expect(page.get_by_label("From", exact=True)).to_have_value("2020-01-01T10:00")
    with page.expect_download() as caught:
        page.get_by_role("button", name="Export CSV").click()
    lines = caught.value.path().read_text().splitlines()
    assert len(lines) == 2
    assert "priority: – → 10" in lines[1]
    page.goto(f"{served.base}/clusters/{CLUSTER}/audit?since=yesterday")
    expect(page.get_by_text("expected an ISO-8601 instant")).to_be_visible()
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("link", name="vms/vm-00059")).to_be_visible()
    assert visitor.console == []


def choose(page: Page, label: str, option: str) -> None:
    """Choose an option of a field."""
    page.get_by_role("textbox", name=label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()


def kept_hash(served: Served, name: str) -> str:
    """Return what is kept of a user's password."""
    with served.services.store.begin(read_only=True) as tx:
        return users.get(tx, name).password_hash


def rank(served: Served, vm_ids: list[str]) -> None:
    """Give VMs another priority, each with an entry of the log."""
    wanted = [Wanted(vm_id=VmId(vm_id), priority=10) for vm_id in vm_ids]
    with served.services.store.begin() as tx:
        set_priorities(tx, ADMIN, CLUSTER, wanted, now=present())


def removed_by_hand(page: Page, served: Served, name: str) -> str:
    """Return what is answered to a request that removes a user, made by hand."""
    token = {each["name"]: each["value"] for each in page.context.cookies()}[COOKIE]
    outputs = [
        {"id": "address", "property": "pathname"},
        {"id": "user-confirmed", "property": "error"},
    ]
    body: dict[str, Any] = {
        "output": callback_of(page, served, "user-remove.n_clicks"),
        "outputs": outputs,
        "inputs": [{"id": "user-remove", "property": "n_clicks", "value": 1}],
        "changedPropIds": ["user-remove.n_clicks"],
        "state": [
            {"id": "user-confirmed", "property": "value", "value": name},
            {"id": "user-name", "property": "children", "value": name},
        ],
    }
    address = f"{served.base}/_dash-update-component"
    return page.request.post(address, data=body, headers={"X-CSRF-Token": token}).text()


def callback_of(page: Page, served: Served, trigger: str) -> str:
    """Return the name of the callback that something sets off."""
    known = page.request.get(f"{served.base}/_dash-dependencies").json()
    return next(
        str(each["output"])
        for each in known
        if any(f"{one['id']}.{one['property']}" == trigger for one in each["inputs"])
    )
