"""Questions about what would be, as people ask them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from service.solving.pool import PoolSettings, SolverPool
from tests.browser.conftest import LogIn
from tests.browser.served import CLUSTER, Served

WHATIF = f"/clusters/{CLUSTER}/whatif"


@pytest.fixture
def solving(served: Served) -> Iterator[Served]:
    """The service with a worker that solves."""
    pool = SolverPool(PoolSettings())
    pool.start()
    served.solve_with(pool)
    yield served
    pool.close()


@pytest.mark.timeout(300)  # The first solve on a machine compiles its kernels.
def test_ask_what_a_lost_host_would_mean(solving: Served, log_in: LogIn) -> None:
    """Slips stand at their fields; the answer compares before and after; the address leads to it.

    A viewer may ask: nothing is changed.
    """
    visitor = log_in(solving, "viewer", WHATIF)
    page = visitor.page
    page.get_by_label("Times").fill("5000")
    page.get_by_role("textbox", name="Like VM").fill("nobody")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_text("expected at most 1000.0, got 5000")).to_be_visible()
    page.get_by_label("Times").fill("1.2")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_text("expected a VM of the cluster, got 'nobody'")).to_be_visible()
    page.get_by_role("textbox", name="Like VM").fill("")
    page.get_by_role("textbox", name="Lost").click()
    page.get_by_role("option", name="host-001").click()
    page.keyboard.press("Escape")
    page.get_by_role("textbox", name="Judged by").click()
    page.get_by_role("option", name="All that VMs were promised").click()
    page.get_by_label("Seconds of search").fill("1")
    page.get_by_role("button", name="Ask").click()
    # Whoever asks first waits for the solver's kernels to be compiled.
    expect(page.get_by_text("It can be done")).to_be_visible(timeout=100_000)
    expect(page.get_by_text("50 starts")).to_be_visible()
    expect(page.locator(".ag-row").first).to_be_visible()
    visitor.look_at("whatif")
    asked = json.loads(parse_qs(urlsplit(page.url).query)["ask"][0])
    assert asked["lost_host_ids"] == ["host-001"]
    assert asked["demand_factors"] == [{"factor": 1.2}]
    page.reload()
    expect(page.get_by_text("It can be done")).to_be_visible()
    expect(page.get_by_label("Times")).to_have_value("1.2")


def test_a_question_is_cancelled(served: Served, log_in: LogIn) -> None:
    """A search that waits for its worker is shown as that, and ends when told to."""
    # No worker of this pool was ever started.
    served.solve_with(SolverPool(PoolSettings()))
    page = log_in(served, "operator", WHATIF).page
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_text("Waiting for a free worker")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled before anything was found")).to_be_visible()
    assert [e.action for e in served.audit("operator")] == ["jobs.cancel"]
