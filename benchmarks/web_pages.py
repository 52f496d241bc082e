"""What a browser waits for: pages of 100 hosts and 10,000 VMs, filters, live updates, bytes.

Protocol: the pages' application on a store of its own in a temporary folder, in this process; a
Chromium beside it, 1280 × 800, one context that has logged in, so that scripts are cached. A visit
ends when the content named below is drawn. Of VMs: typing a filter until the rows that fit stand
there alone, and a priority set by somebody else until it is in its cell. Bytes are those that came
over the network, packed. Each visit is made a few times; medians are told, and all values.

Overview: the last host's cell. VMs: a row of the table. Plans: the list's first row.

    python -m benchmarks.web_pages [--hosts 100] [--vms 10000] [--repeats 3] [--json OUT]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, sync_playwright

from service.inventory.priorities import Wanted, set_priorities
from service.replay.report import machine
from solver.domain.units import VmId
from tests.browser.outlooks import keep_outlook
from tests.browser.plans import keep_plan
from tests.browser.requirements import chromium
from tests.browser.served import ADMIN, CLUSTER, PASSWORD, Served

PATIENCE_MS: Final = 120_000
ROOT: Final = f"/clusters/{CLUSTER}"
FILTERED: Final = "vm-0002"
"""Ten VMs begin so, of 30 or of ten thousand."""

_SINCE_OPENED: Final = "() => performance.now()"
_FILTER: Final = """text => new Promise(done => {
  const input = document.querySelector("input[aria-label='VM Filter Input']");
  const begun = performance.now();
  const shown = () => [...document.querySelectorAll(".ag-center-cols-container .ag-row")];
  const look = () => {
    const names = shown().map(row => row.getAttribute("row-id"));
    const fits = names.length > 0 && names.every(name => name.startsWith(text));
    fits ? done(performance.now() - begun) : requestAnimationFrame(look);
  };
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  set.call(input, text);
  input.dispatchEvent(new Event("input", { bubbles: true }));
  look();
})"""


@dataclass
class Wire:
    """Counts what comes over the network of one page."""

    session: CDPSession
    received: int = 0
    requests: int = 0

    def __post_init__(self) -> None:
        self.session.send("Network.enable")
        self.session.on("Network.loadingFinished", self._note)

    def _note(self, event: dict[str, Any]) -> None:
        self.received += int(event["encodedDataLength"])
        self.requests += event["encodedDataLength"] > 0


@dataclass
class Visits:
    """Figures of the visits of one page."""

    seconds: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return first visit, median of the others, and all."""
        return {
            "first_s": self.seconds[0],
            "repeat_s": statistics.median(self.seconds[1:]),
            "first_mib": self.mib[0],
            "repeat_mib": statistics.median(self.mib[1:]),
            "repeat_requests": statistics.median(self.requests[1:]),
            "all_s": self.seconds,
        }


def visit(context: BrowserContext, served: Served, path: str, content: str, into: Visits) -> Page:
    """Open a page, wait until its content is drawn, and note figures."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    wire = Wire(session=context.new_cdp_session(page))
    page.goto(served.base + path, wait_until="commit")
    page.locator(content).first.wait_for()
    into.seconds.append(round(page.evaluate(_SINCE_OPENED) / 1000, 3))
    into.mib.append(round(wire.received / 2**20, 3))
    into.requests.append(wire.requests)
    return page


def live_update_s(page: Page, served: Served, priority: int) -> float:
    """Return the seconds until a priority that somebody else sets is in its cell."""
    page.get_by_label("VM Filter Input").fill("vm-00003")
    cell = page.locator(f".ag-row[row-id='vm-00003'] [col-id=priority]:text-is('{priority}')")
    with served.services.store.begin() as tx:
        wanted = [Wanted(vm_id=VmId("vm-00003"), priority=priority)]
        set_priorities(tx, ADMIN, CLUSTER, wanted, now=datetime.now(UTC))
    begin_s = time.perf_counter()
    cell.wait_for()
    return round(time.perf_counter() - begin_s, 3)


def measure(browser: Browser, served: Served, repeats: int) -> dict[str, Any]:
    """Return figures of every page."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    last = f"text=host-{len(_hosts(served)) - 1:03d}"
    log_in(context, served)
    pages = {
        "overview": (ROOT, last),
        "vms": (f"{ROOT}/vms", ".ag-row[row-id='vm-00000'] [col-id=priority]"),
        "plans": (f"{ROOT}/plans", "main table a"),
    }
    found: dict[str, Any] = {}
    for name, (path, content) in pages.items():
        visits = Visits()
        for _ in range(1 + repeats):
            page = visit(context, served, path, content, visits)
            if name == "vms":
                found.setdefault("filter_s", []).append(filter_s(page))
                sent = Wire(session=context.new_cdp_session(page))
                seconds = live_update_s(page, served, 1 + len(visits.seconds))
                found.setdefault("live_update_s", []).append(seconds)
                found.setdefault("live_update_kib", []).append(round(sent.received / 1024, 1))
            page.close()
        found[name] = visits.document()
    context.close()
    return found


def filter_s(page: Page) -> float:
    """Return the seconds from typing a filter until only what fits is drawn."""
    return round(float(page.evaluate(_FILTER, FILTERED)) / 1000, 3)


def log_in(context: BrowserContext, served: Served) -> None:
    """Log in, which fills the browser's cache with scripts, too."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(served.base + "/")
    page.get_by_label("User", exact=True).fill("operator")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()
    page.close()


def _hosts(served: Served) -> tuple[Any, ...]:
    with served.services.store.begin(read_only=True) as tx:
        found = tx.snapshots.get(CLUSTER)
    assert found is not None
    return tuple(found.document["hosts"])


def with_service(folder: Path, hosts: int, vms: int, run: Callable[[Served], Any]) -> Any:
    """Return what is found with a service of a filled store."""
    served = Served(folder / "foreswap.db")
    try:
        served.add_people()
        served.add_cluster(num_hosts=hosts, num_vms=vms)
        keep_plan(served, datetime.now(UTC))
        keep_outlook(served, datetime.now(UTC))
        return run(served)
    finally:
        served.stop()


def main() -> None:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--vms", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3, help="visits after the first")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        found = with_service(
            Path(folder),
            arguments.hosts,
            arguments.vms,
            lambda served: measure(browser, served, arguments.repeats),
        )
        browser.close()
    text = json.dumps({"machine": machine(), **found}, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
