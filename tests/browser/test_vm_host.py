"""The pages of one VM and of one host, as a tenant and an operator use them."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import LogIn
from tests.browser.past import HOST, VM, add_past
from tests.browser.served import CLUSTER, Served

VMS = f"/clusters/{CLUSTER}/vms"
PNG = b"\x89PNG"


def test_a_tenant_looks_at_a_vm_and_sets_its_priority(served: Served, log_in: LogIn) -> None:
    """What is outside the bounds is refused at the field; of hosts, rules and plans nothing is."""
    add_past(served)
    visitor = log_in(served, "owner", f"{VMS}/{VM}")
    page = visitor.page
    expect(page).to_have_title(f"VM · {VM} · {CLUSTER} · foreswap")
    expect(page.get_by_text("diurnal")).to_be_visible()
    expect_lines(page, 2)
    page.get_by_label("Priority", exact=True).fill("9")
    page.get_by_role("button", name="Set priority").click()
    expect(page.get_by_text("within its bounds 3..7")).to_be_visible()
    visitor.look_at("vm-owner")
    page.get_by_label("Priority", exact=True).fill("7")
    page.get_by_role("button", name="Set priority").click()
    expect(page.get_by_text("7 (bounds 3–7)")).to_be_visible()
    assert served.priority(VM) == 7
    for heading in ("Why it is here", "Rules that name it", "Migrations by plans"):
        expect(page.get_by_role("heading", name=heading)).to_have_count(0)
    visitor.go(f"{VMS}/vm-00299")
    expect(page.get_by_role("heading", name="Not there")).to_be_visible()


def test_an_operator_goes_from_a_vm_to_its_host(
    served: Served, log_in: LogIn, tmp_path: Path
) -> None:
    """From the table to the VM, why it is where it is, to its host, which is drained."""
    add_past(served)
    visitor = log_in(served, "operator", VMS)
    page = visitor.page
    page.get_by_role("link", name=VM, exact=True).click()
    expect(page.get_by_role("heading", name=f"VM {VM}")).to_be_visible()
    expect_lines(page, 2)
    page.get_by_role("button", name="Why not elsewhere?").click()
    expect(page.get_by_text("3 of 5 other hosts could take it")).to_be_visible()
    barred = page.locator("[col-id=in_the_way]", has_text="rule 'old-hosts' (ban)")
    expect(barred).to_be_visible()
    expect(page.locator("[col-id=outcome]", has_text="done")).to_be_visible()
    choose_span(page, "Last 7 days")
    visitor.look_at("vm")
    assert b'"Host","Zone"' in saved(page, tmp_path, "Export CSV")
    page.locator(".js-plotly-plot").hover()
    assert saved_chart(page, tmp_path).startswith(PNG)
    page.get_by_role("link", name=HOST, exact=True).first.click()
    expect(page.get_by_role("heading", name=f"Host {HOST}")).to_be_visible()
    expect_lines(page, 2)
    page.get_by_label("Reason for maintenance").fill("new memory")
    page.get_by_role("button", name="Drain").click()
    expect(page.get_by_text("maintenance: new memory")).to_be_visible()
    visitor.look_at("host")
    page.get_by_role("button", name="Return to service").click()
    expect(page.get_by_role("button", name="Drain")).to_be_visible()
    subjects = [entry.subject for entry in served.audit("operator")]
    assert [s.rpartition("/")[2] for s in subjects] == [HOST, HOST]


def expect_lines(page: Page, number: int) -> None:
    """Wait until the chart shows so many resources."""
    # The charts' script is large: a busy machine takes its time to read it once.
    expect(page.locator(".js-plotly-plot .cartesianlayer .subplot")).to_have_count(
        number, timeout=30_000
    )


def choose_span(page: Page, name: str) -> None:
    """Choose how far back the page looks."""
    page.get_by_role("textbox", name="How far back").click()
    page.get_by_role("option", name=name).click()


def saved(page: Page, folder: Path, button: str) -> bytes:
    """Press a button and return the file it gives."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button).first.click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path.read_bytes()


def saved_chart(page: Page, folder: Path) -> bytes:
    """Press the camera above the chart and return the picture."""
    with page.expect_download() as download:
        page.locator(".modebar-btn[data-title^='Download plot']").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    (Path("build/pictures") / "exported-chart.png").write_bytes(path.read_bytes())
    return path.read_bytes()
