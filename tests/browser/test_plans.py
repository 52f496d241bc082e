"""Plans as people look at them and decide on them."""

from __future__ import annotations

from playwright.sync_api import expect

from service.plans.document import with_entry
from service.store.base import PlanStage
from tests.browser.conftest import LogIn
from tests.browser.plans import NUM_STEPS, PLAN_ID, keep_plan, kept_plan
from tests.browser.served import CLUSTER, Served, present

PLANS = f"/clusters/{CLUSTER}/plans"


def test_plans_are_listed_and_lead_to_their_moves(served: Served, log_in: LogIn) -> None:
    """A viewer finds a plan in the list, and sees its moves and nothing to decide with."""
    keep_plan(served, present())
    visitor = log_in(served, "viewer", PLANS)
    page = visitor.page
    expect(page.get_by_text("4 moves would avoid 41.0 host-seconds of shortfall")).to_be_visible()
    visitor.look_at("plans")
    page.locator("table a").click()
    bars = page.locator(".js-plotly-plot .barlayer .point")
    # The charts' script is large: a busy machine takes its time to read it once.
    expect(bars).to_have_count(NUM_STEPS, timeout=30_000)
    expect(page.locator(".ag-row[row-id='3'] [col-id=vm]")).to_have_text("vm-00003")
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_hidden()
    visitor.look_at("plan")


def test_skip_a_move_approve_the_rest_and_watch(served: Served, log_in: LogIn) -> None:
    """An operator skips a move and approves the plan; how far it is appears by itself."""
    keep_plan(served, present())
    visitor = log_in(served, "operator", f"{PLANS}/{PLAN_ID}")
    page = visitor.page
    page.locator(".ag-row[row-id='2'] .ag-selection-checkbox input").check()
    page.get_by_role("button", name="Skip selected").click()
    expect(page.locator(".ag-row[row-id='2'] [col-id=state]")).to_have_text("skipped")
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_text("approved, about to begin")).to_be_visible()
    assert kept_plan(served).stage is PlanStage.APPROVED
    assert [e.action for e in served.audit("operator")] == ["plans.approve", "plans.skip_step"]
    run_half(served)
    expect(page.locator(".ag-row[row-id='0'] [col-id=state]")).to_have_text("running")
    expect(page.get_by_role("button", name="Abort")).to_be_visible()
    visitor.look_at("plan-running")


def test_ask_for_a_plan(served: Served, log_in: LogIn) -> None:
    """An operator asks for a plan; it stands in the list as one that is still to be made."""
    page = log_in(served, "operator", PLANS).page
    expect(page.get_by_text("No plan was made yet")).to_be_visible()
    page.get_by_role("button", name="Make a plan now").click()
    expect(page.get_by_text("to be made", exact=True)).to_be_visible()
    assert [e.action for e in served.audit("operator")] == ["plans.make"]


def run_half(served: Served) -> None:
    """Let the plan be as far as its first move half sent."""
    told = [{"state": "running", "fraction": 0.5}] + [{"state": "waiting"}] * (NUM_STEPS - 1)
    progress = {"state": "running", "reason": "", "steps": told}
    kept = kept_plan(served)
    with served.services.store.begin() as tx:
        running = with_entry(kept, PlanStage.RUNNING, progress=progress)
        tx.plans.put(running, expected_revision=kept.revision)
