"""Plans as people look at them and decide on them."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import expect

from service.plans.document import with_entry
from service.store.base import PlanStage
from tests.browser.conftest import LogIn
from tests.browser.plans import NUM_STEPS, PLAN_ID, keep_plan, kept_plan, let_act
from tests.browser.served import CLUSTER, Served, present

PLANS = f"/clusters/{CLUSTER}/plans"


def test_plans_are_listed_and_lead_to_their_moves(served: Served, log_in: LogIn) -> None:
    """A viewer finds a plan and what came of it, sees all of a move, and decides nothing."""
    keep_plan(served, present())
    write(served, PlanStage.DONE, observed={"1h": observed(), "5m": observed()})
    visitor = log_in(served, "viewer", PLANS)
    page = visitor.page
    expect(page.get_by_text("4 moves would avoid 41.0 host-seconds of shortfall")).to_be_visible()
    expect(page.get_by_role("heading", name="Scorecard")).to_be_visible()
    visitor.look_at("plans")
    page.locator("table a").first.click()
    bars = page.locator("#plan-time-line .barlayer .point")
    # The charts' script is large: a busy machine takes its time to read it once.
    expect(bars).to_have_count(2 * NUM_STEPS, timeout=60_000)
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_hidden()
    page.locator("#plan-steps .ag-row[row-id='3'] [col-id=vm]").click()
    expect(page.get_by_role("link", name="vm-00003")).to_be_visible()
    expect(page.get_by_text("Next best host")).to_be_visible()
    expect(page.get_by_role("heading", name="What came of it")).to_be_visible()
    visitor.page.set_viewport_size({"width": 1280, "height": 2000})
    visitor.look_at("plan")
    visitor.page.set_viewport_size({"width": 820, "height": 2000})
    visitor.look_at("plan-tablet")


def test_skip_a_move_approve_the_rest_and_watch(served: Served, log_in: LogIn) -> None:
    """An operator skips a move, is asked before the rest is begun, and watches it by itself.

    A recommendation cannot be approved, and the page says what to change.
    """
    keep_plan(served, present())
    visitor = log_in(served, "operator", f"{PLANS}/{PLAN_ID}")
    page = visitor.page
    expect(page.get_by_text("A recommendation: cluster")).to_be_visible()
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_hidden()
    visitor.look_at("plan-recommended")
    let_act(served)
    page.reload()
    page.locator(".ag-row[row-id='2'] .ag-selection-checkbox input").check()
    page.get_by_role("button", name="Skip selected").click()
    expect(page.locator(".ag-row[row-id='2'] [col-id=state]")).to_have_text("skipped")
    page.get_by_role("button", name="Approve", exact=True).click()
    asked = page.get_by_role("dialog", name="Approve?")
    expect(asked.get_by_text("3 moves on 5 hosts, 4.4 GiB to be sent.")).to_be_visible()
    visitor.look_at("plan-confirm")
    asked.get_by_role("button", name="Cancel").click()
    expect(asked).to_be_hidden()
    assert kept_plan(served).stage is PlanStage.PROPOSED
    page.get_by_role("button", name="Approve", exact=True).click()
    asked.get_by_label("Reason, for the audit log").fill("as agreed")
    asked.get_by_role("button", name="Yes").click()
    expect(page.get_by_text("approved, about to begin")).to_be_visible()
    assert kept_plan(served).stage is PlanStage.APPROVED
    assert [e.action for e in served.audit("operator")] == ["plans.approve", "plans.skip_step"]
    assert served.audit("operator")[0].after == {"stage": "approved", "reason": "as agreed"}
    run_half(served)
    expect(page.locator("#plan-steps .ag-row[row-id='0'] [col-id=state]")).to_have_text("running")
    # The switch in the dialog for aborting speaks of what is under way, too.
    expect(page.get_by_text("under way", exact=True)).to_be_visible()
    page.get_by_role("button", name="Abort").click()
    page.get_by_label("Let what is under way come to its end").check()
    page.get_by_role("dialog", name="Abort?").get_by_role("button", name="Yes").click()
    # What approving said may still be there.
    expect(page.locator(".mantine-Notification-title", has_text="Abort")).to_be_visible()
    assert kept_plan(served).document["wanted"]["abort"]["cancel_running"] is False
    page.get_by_label("Close").evaluate_all("buttons => buttons.forEach(each => each.click())")
    expect(page.locator(".mantine-Notification-title")).to_have_count(0)
    visitor.look_at("plan-running")


def test_ask_for_a_plan(served: Served, log_in: LogIn) -> None:
    """An operator asks for a plan; it stands in the list as one that is still to be made."""
    page = log_in(served, "operator", PLANS).page
    expect(page.get_by_text("No plan was made yet")).to_be_visible()
    page.get_by_role("button", name="Make a plan now").click()
    expect(page.get_by_text("to be made", exact=True)).to_be_visible()
    assert [e.action for e in served.audit("operator")] == ["plans.make"]


def observed() -> dict[str, Any]:
    """Return what a plan came to."""
    return {
        "without_host_s": 50.0,
        "with_host_s": 12.0,
        "saved_host_s": 38.0,
        "minutes": 60,
        "num_paths": 1,
        "saved_by_steps": [10.0, 12.5, 8.0, 7.5],
    }


def write(served: Served, stage: PlanStage, **entries: Any) -> None:
    """Write a plan as the runtime does."""
    kept = kept_plan(served)
    with served.services.store.begin() as tx:
        tx.plans.put(with_entry(kept, stage, **entries), expected_revision=kept.revision)


def run_half(served: Served) -> None:
    """Let the plan be as far as its first move half sent."""
    told = [{"state": "running", "fraction": 0.5}] + [{"state": "waiting"}] * (NUM_STEPS - 1)
    progress = {"state": "running", "reason": "", "steps": told}
    write(served, PlanStage.RUNNING, progress=progress)
