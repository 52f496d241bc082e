"""Pages by keyboard alone, and on a tablet."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from service.security.principal import Principal, Role
from service.web.router import offered
from tests.browser.conftest import LogIn
from tests.browser.outlooks import keep_outlook
from tests.browser.plans import keep_plan
from tests.browser.served import CLUSTER, PASSWORD, Served, present
from tests.browser.visitor import Visitor

ROOT = f"/clusters/{CLUSTER}"
TABLET = 820
MOST_TABS = 40


def test_a_priority_is_set_without_a_mouse(
    served: Served, visit: Callable[[Served, str], Visitor]
) -> None:
    """Log in, find a VM and give it a priority by Tab, arrows, Enter and typing."""
    page = visit(served, f"{ROOT}/vms").page
    tab_to(page, page.get_by_label("User", exact=True))
    page.keyboard.type("operator")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    cell = page.locator(".ag-row[row-id='vm-00003'] [col-id=priority]")
    expect(cell).to_have_text("4")
    # From the head of a column down to its filter, in, and out to the rows that are left.
    tab_to(page, page.locator(".ag-header-cell[col-id=id]"))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.type("vm-00003")
    expect(page.locator(".ag-center-cols-container .ag-row")).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    for _ in range(MOST_TABS):
        if focused(cell):
            break
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+A")
    page.keyboard.type("9")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 VM was given a priority")).to_be_visible()
    assert served.priority("vm-00003") == 9


def test_no_page_scrolls_sideways_on_a_tablet(served: Served, log_in: LogIn) -> None:
    """Every page of the navigation fits 820 pixels; grids scroll within themselves."""
    keep_plan(served, present())
    keep_outlook(served, present())
    visitor = log_in(served, "admin", ROOT)
    page = visitor.page
    page.set_viewport_size({"width": TABLET, "height": 1180})
    admin = Principal(name="admin", role=Role.ADMIN)
    for label, address in offered(admin, ROOT):
        if address == "/":
            continue
        page.get_by_label("Pages").get_by_role("link", name=label, exact=True).click()
        expect(page).to_have_url(f"{served.base}{address}")
        expect(page.locator("main h1").first).to_be_visible()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= TABLET, f"{label} is {width} pixels wide"
    page.screenshot(path=visitor.pictures / "tablet-light.png")


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until one of what is wanted has the focus."""
    for _ in range(MOST_TABS):
        if focused(wanted):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} is not reached by {MOST_TABS} times Tab")


def focused(wanted: Locator) -> bool:
    """Return whether one of what is wanted has the focus."""
    return bool(wanted.evaluate_all("found => found.includes(document.activeElement)"))
