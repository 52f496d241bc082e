"""The schedule as people look at it and change it."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import expect

from service.runtime.kept import RUNTIME
from service.store.base import Kind
from tests.browser.conftest import LogIn
from tests.browser.served import CLUSTER, Served, present

SCHEDULE = f"/clusters/{CLUSTER}/schedule"


def test_set_a_schedule(served: Served, log_in: LogIn) -> None:
    """An operator sees what holds runs back, is told slips where they are, saves, and pauses."""
    tell_status(served)
    visitor = log_in(served, "operator", SCHEDULE)
    page = visitor.page
    expect(page.get_by_text("telemetry is stale")).to_be_visible()
    expect(page.get_by_text("No plan is old enough")).to_be_visible()
    page.get_by_label("Or by cron").fill("0 2 * *")
    page.get_by_label("Every so many minutes").fill("")
    page.get_by_label("Tries more").fill("99")
    page.get_by_role("button", name="Add a blackout").click()
    page.get_by_label("Until", exact=True).fill("6 o'clock")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("expected at most 10, got 99")).to_be_visible()
    expect(page.get_by_text("expected a time such as 22:00")).to_be_visible()
    visitor.look_at("schedule-slips")
    page.get_by_label("Tries more").fill("2")
    page.get_by_label("Until", exact=True).fill("06:00")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("expected five fields")).to_be_visible()
    page.get_by_label("Or by cron").fill("0 12 * * *")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("held back until the blackout is over").first).to_be_visible()
    expect(page.get_by_text("expected five fields")).to_be_hidden()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Nothing is planned by itself")).to_be_visible()
    visitor.look_at("schedule")
    kept = schedule(served)
    assert (kept["cron"], kept["retries"], kept["paused"]) == ("0 12 * * *", 2, True)
    assert kept["blackouts"][0]["end"] == "06:00"
    assert [e.action for e in served.audit("operator")] == ["schedule.put"] * 2


def test_a_viewer_sees_the_schedule_alone(served: Served, log_in: LogIn) -> None:
    """Nothing can be typed, and pausing by hand is refused."""
    visitor = log_in(served, "viewer", SCHEDULE)
    page = visitor.page
    expect(page.get_by_label("Or by cron")).not_to_be_editable()
    expect(page.get_by_role("button", name="Save")).to_be_hidden()
    page.locator("#schedule-pause").evaluate("element => element.click()")
    expect(page.get_by_text("schedule.put is for admin, operator")).to_be_visible()
    assert schedule(served) == {}
    visitor.look_at("schedule-viewer")


def schedule(served: Served) -> dict[str, Any]:
    """Return the schedule as it is kept; empty for none."""
    with served.services.store.begin(read_only=True) as tx:
        found = tx.items.find(Kind.SCHEDULE, CLUSTER, [CLUSTER])
    return dict(found[CLUSTER].document) if found else {}


def tell_status(served: Served) -> None:
    """Let a leader have looked at the cluster."""
    told = {
        "seen_at": present().isoformat(),
        "forecast_at": present().isoformat(),
        "forecaster": "persistence",
        "objections": ["telemetry is stale: its newest reading ended 40 minutes ago"],
        "last_run_at": present().isoformat(),
        "last_outcome": "no host is contended",
    }
    with served.services.store.begin() as tx:
        tx.blobs.put(CLUSTER, RUNTIME, present(), json.dumps(told).encode())
