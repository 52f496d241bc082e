"""The service as a newcomer starts it, in a browser: from the first password to a finished plan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.visitor import Visitor
from tests.served import PASSWORD, UNTRAINED, served

SOON_MS = 150_000
"""A forecast and a plan on a machine that does other work, too."""


@pytest.fixture
def newcomer(browser: Browser, pictures: Path) -> Iterator[Visitor]:
    """Somebody whose browser has never been anywhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    # A browser draws nothing for tens of seconds on a machine that plans for others, too.
    context.set_default_timeout(SOON_MS)
    yield Visitor(page=context.new_page(), base="", pictures=pictures)
    context.close()


@pytest.mark.timeout(900)
def test_from_the_first_password_to_a_finished_plan(tmp_path: Path, newcomer: Visitor) -> None:
    """Log in, ask for a plan, drain a host, approve its plan, restart the service, see it end."""
    with served(tmp_path, "--demo", **UNTRAINED) as first:
        newcomer.base = first.url
        come_in(newcomer, first.first_password)
        plan_by_itself_seldom(newcomer)
        ask_for_a_plan(newcomer)
        host = drain_a_host(newcomer)
        approve_the_plan(newcomer)
        assert first.stop() == 0
        banner = newcomer.page.get_by_text("The service does not answer")
        expect(banner).to_be_visible(timeout=SOON_MS)
    port = first.url.rsplit(":", 1)[1]
    with served(tmp_path, "--port", port, **UNTRAINED) as again:
        expect(banner).to_be_hidden(timeout=SOON_MS)
        # The key of the time line says so, too, once the first move is done.
        stage = newcomer.page.locator("#plan-head").get_by_text("done", exact=True)
        expect(stage).to_be_visible(timeout=SOON_MS)
        # Requests to a service that is away are complaints of the browser itself.
        newcomer.console.clear()
        newcomer.look_at("demo-plan")
        look_around(newcomer)
        assert_told_by_api(newcomer, host)
        assert again.stop() == 0


def come_in(newcomer: Visitor, first_password: str) -> None:
    """Log in with the password of the first start, and choose another."""
    page = newcomer.page
    newcomer.go("/")
    page.get_by_label("User", exact=True).fill("admin")
    page.get_by_label("Password", exact=True).fill(first_password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Present password").fill(first_password)
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("New password again").fill(PASSWORD)
    page.get_by_role("button", name="Change it").click()
    page.get_by_role("link", name="Demonstration").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible(timeout=SOON_MS)


def ask_for_a_plan(newcomer: Visitor) -> None:
    """Ask for a plan and see it made, whatever it is worth."""
    page = newcomer.page
    page.get_by_role("link", name="Plans", exact=True).click()
    page.get_by_role("button", name="Make a plan now").click()
    made = page.get_by_role("row").filter(has_text="manual")
    expect(made).to_be_visible(timeout=SOON_MS)
    expect(made).not_to_contain_text("to be made", timeout=SOON_MS)


def drain_a_host(newcomer: Visitor) -> str:
    """Have the host with the fewest VMs emptied, so that there is something to be moved."""
    hosts = ask(newcomer, "/clusters/demo/hosts")["items"]
    host: str = min(hosts, key=lambda item: item["num_vms"])["id"]
    newcomer.page.get_by_role("link", name="Overview", exact=True).click()
    newcomer.page.get_by_role("button", name=f"Drain {host}").click()
    expect(newcomer.page.get_by_role("button", name=f"Return {host}")).to_be_visible(
        timeout=SOON_MS
    )
    return host


def approve_the_plan(newcomer: Visitor) -> None:
    """Read the plan that empties the host, and let it be carried out."""
    page = newcomer.page
    page.get_by_role("link", name="Plans", exact=True).click()
    made = page.get_by_role("row").filter(has_text="drain").filter(has_text="proposed")
    expect(made).to_be_visible(timeout=SOON_MS)
    made.get_by_role("link").click()
    page.get_by_role("button", name="Approve", exact=True).click()
    asked = page.get_by_role("dialog", name="Approve?")
    expect(asked.get_by_text("nothing real is touched")).to_be_visible(timeout=SOON_MS)
    asked.get_by_role("button", name="Yes").click()
    expect(page.get_by_text("Approved", exact=True)).to_be_visible(timeout=SOON_MS)
    expect(page.get_by_label("How far the plan is")).to_be_visible(timeout=SOON_MS)


def look_around(newcomer: Visitor) -> None:
    """See hosts and VMs of a cluster that lives."""
    for name, path, something in (
        ("overview", "/clusters/demo", "main a, main button"),
        ("vms", "/clusters/demo/vms", ".ag-row"),
    ):
        newcomer.go(path)
        expect(newcomer.page.locator(something).first).to_be_visible(timeout=SOON_MS)
        newcomer.look_at(f"demo-{name}")


def assert_told_by_api(newcomer: Visitor, host: str) -> None:
    """The plan's moves are made, the host is empty, and the audit log says by whom."""
    plans = ask(newcomer, "/clusters/demo/plans?stage=done")["items"]
    [plan] = [each for each in plans if each["trigger"] == "drain"]
    steps = ask(newcomer, f"/clusters/demo/plans/{plan['id']}")["steps"]
    assert steps
    assert {step["state"] for step in steps} == {"done"}
    hosts = {item["id"]: item for item in ask(newcomer, "/clusters/demo/hosts")["items"]}
    assert hosts[host]["num_vms"] == 0
    done = {(entry["actor"], entry["action"]) for entry in ask(newcomer, "/audit")["items"]}
    assert {("admin", "maintenance.set"), ("admin", "plans.approve")} <= done
    assert ("foreswap", "plans.done") in done


def plan_by_itself_seldom(newcomer: Visitor) -> None:
    """Have no other plan made meanwhile: on a busy machine it comes before one was read."""
    schedule = {"automation": "approve", "interval_minutes": 10_080}
    found = newcomer.page.request.get(f"{newcomer.base}/api/v1/clusters/demo/schedule")
    cookies = {each["name"]: each["value"] for each in newcomer.page.context.cookies()}
    headers = {"X-CSRF-Token": cookies["foreswap-csrf"], "If-Match": found.headers["etag"]}
    address = f"{newcomer.base}/api/v1/clusters/demo/schedule"
    answer = newcomer.page.request.put(address, data=schedule, headers=headers)
    assert answer.ok, answer.text()


def ask(newcomer: Visitor, path: str) -> Any:
    """Return what the API answers whoever sits at the browser."""
    answer = newcomer.page.request.get(f"{newcomer.base}/api/v1{path}")
    assert answer.ok, (path, answer.status, answer.text())
    return answer.json()
