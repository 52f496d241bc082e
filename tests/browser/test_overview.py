"""A cluster at a glance."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import LogIn
from tests.browser.outlooks import keep_outlook
from tests.browser.plans import keep_plan
from tests.browser.served import CLUSTER, Served, present

OVERVIEW = f"/clusters/{CLUSTER}"


def test_what_is_known_what_lies_ahead_and_a_host_drained(served: Served, log_in: LogIn) -> None:
    """Promises at first; a forecast and a plan appear by themselves; an operator drains a host."""
    visitor = log_in(served, "operator", OVERVIEW)
    page = visitor.page
    expect(page).to_have_title("Overview · c1 · foreswap")
    expect(page.get_by_text("There is no forecast yet")).to_be_visible()
    expect(page.get_by_text("This cluster was not looked at yet.")).to_be_visible()
    keep_plan(served, present())
    keep_outlook(served, present())
    expect(page.get_by_text("4 moves would avoid 41 host-seconds of shortfall by")).to_be_visible()
    expect(page.get_by_text("not for 1 of 6 hosts, host-000 the worst")).to_be_visible()
    expect(page.get_by_role("img", name="CPU of host-001: 72 % now")).to_be_visible()
    expect(page.get_by_role("link", name="host-001")).to_have_attribute(
        "href", f"{OVERVIEW}/hosts/host-001"
    )
    visitor.look_at("overview")
    page.get_by_role("button", name="Drain host-001").click()
    page.get_by_role("button", name="Return host-001").click()
    expect(page.get_by_role("button", name="Drain host-001")).to_be_visible()
    assert [e.subject for e in served.audit("operator")] == ["hosts/host-001"] * 2
