"""What a browser waits for: every page with 100 hosts and 10,000 VMs, filters, updates, bytes.

Protocol: the pages' application on a store of its own in a temporary folder, in this process; 30
hours of readings of every VM, 60 plans, 40 rules, 20 users. A Chromium beside it, 1280 × 800, with
a profile on disk as people have it, logged in as admin. A page is visited a few times with an empty
cache, then again and again. A visit is over when what its page is for is drawn; where something
follows, such as a chart, that is told as well. Of VMs: typing a filter until the rows that fit
stand there alone, and a priority set by somebody else until it is in its cell. Bytes are those that
came over the network, packed. Medians are told, the longest, and all values; beside them what a
fixed piece of work took just before, by which one sees whether others had the processors.

    python -m benchmarks.web_pages [--hosts 100] [--vms 10000] [--repeats 5] [--firsts 3]
        [--only vms,plan] [--json OUT] [--table FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import BrowserContext, Page, sync_playwright

from benchmarks.visits import PATIENCE_MS, Place, Visits, Wire, visit
from service.inventory.priorities import Wanted, set_priorities
from service.inventory.rules import put_rule
from service.replay.report import machine
from service.security import users
from service.security.principal import Role
from service.security.users import User
from solver.domain.rules import AntiAffinity
from solver.domain.units import VmId
from tests.browser.outlooks import keep_outlook
from tests.browser.past import HOST, VM, add_past
from tests.browser.plans import PLAN_ID, kept_plan
from tests.browser.requirements import chromium
from tests.browser.served import ADMIN, CLUSTER, PASSWORD, Served

ROOT: Final = f"/clusters/{CLUSTER}"
CHART: Final = ".js-plotly-plot .main-svg"
FILTERED: Final = "vm-0002"
"""Ten VMs begin so, of 30 or of ten thousand."""
NUM_PLANS, NUM_RULES, NUM_USERS = 60, 40, 20

PLACES: Final = {
    "clusters": Place(path="/", content=f"main a[href='{ROOT}']"),
    "overview": Place(path=ROOT, content="main a[title='host-099']"),
    "vms": Place(path=f"{ROOT}/vms", content=".ag-row[row-id='vm-00000'] [col-id=priority]"),
    "vm": Place(
        path=f"{ROOT}/vms/{VM}",
        content=f"#vm-facts a[href='{ROOT}/hosts/{HOST}']",
        rest=(CHART, "#vm-migrations .ag-root"),
    ),
    "host": Place(
        path=f"{ROOT}/hosts/{HOST}", content="#host-facts p", rest=(CHART, "#host-vms .ag-row")
    ),
    "plans": Place(path=f"{ROOT}/plans", content="main table a"),
    "plan": Place(
        path=f"{ROOT}/plans/{PLAN_ID}", content="#plan-head h1", rest=(CHART, "#plan-steps .ag-row")
    ),
    "whatif": Place(path=f"{ROOT}/whatif", content="main label"),
    "rules": Place(path=f"{ROOT}/rules", content="main .ag-row"),
    "schedule": Place(path=f"{ROOT}/schedule", content="main label"),
    "settings": Place(path=f"{ROOT}/settings", content="main label"),
    "audit": Place(path=f"{ROOT}/audit", content="main table td"),
    "all changes": Place(path="/audit", content="main table td"),
    "users": Place(path="/users", content="main table a"),
    "user": Place(path="/users/operator", content="main label"),
    "tokens": Place(path="/tokens", content="main label"),
    "connect": Place(path="/clusters/new", content="main label"),
    "password": Place(path="/password", content="main input[type=password]"),
}

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


_SEE: Final = """text => {
  window.seenAt = new Promise(done => {
    const look = () => {
      const cell = document.querySelector(".ag-row[row-id='vm-00003'] [col-id=priority]");
      cell?.textContent === text ? done(Date.now()) : requestAnimationFrame(look);
    };
    look();
  });
}"""


def measure(context: BrowserContext, served: Served, arguments: argparse.Namespace) -> Any:
    """Return figures of the pages that are asked for."""
    log_in(context, served)
    only = arguments.only.split(",") if arguments.only else list(PLACES)
    return {
        name: {"yardstick_s": yardstick_s()} | _page(context, served, name, arguments)
        for name in only
    }


def yardstick_s() -> float:
    """Return the seconds of five million additions: 0.2 to 0.3 where nobody else is at work."""
    begin_s = time.perf_counter()
    total = 0
    for i in range(5_000_000):
        total += i
    return round(time.perf_counter() - begin_s, 2)


def _page(
    context: BrowserContext, served: Served, name: str, arguments: argparse.Namespace
) -> dict[str, Any]:
    first, repeat, found = Visits(), Visits(), {}
    for _ in range(arguments.firsts):
        visit(context, served.base, PLACES[name], first, empty=True).close()
    updates: dict[str, list[float]] = {"filter": [], "live_update": [], "live_update_ki": []}
    for i in range(arguments.repeats):
        page = visit(context, served.base, PLACES[name], repeat, empty=False)
        if name == "vms":
            updates["filter"].append(filter_s(page))
            sent = Wire(session=context.new_cdp_session(page))
            updates["live_update"].append(live_update_s(page, served, 1 + i % 9))
            updates["live_update_ki"].append(round(sent.received / 1024, 1))
        page.close()
    if name == "vms":
        found = {f"{key}_s": _told(each) for key, each in updates.items()}
    return found | {"first": first.document(), "repeat": repeat.document()}


def _told(values: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "longest": max(values), "all": values}


def live_update_s(page: Page, served: Served, priority: int) -> float:
    """Return the seconds until a priority that somebody else sets is in its cell."""
    page.get_by_label("VM Filter Input").fill("vm-00003")
    page.evaluate(_SEE, str(priority))
    with served.services.store.begin() as tx:
        wanted = [Wanted(vm_id=VmId("vm-00003"), priority=priority)]
        set_priorities(tx, ADMIN, CLUSTER, wanted, now=datetime.now(UTC))
    begin_s = time.time()
    return round(float(page.evaluate("() => window.seenAt")) / 1000 - begin_s, 3)


def filter_s(page: Page) -> float:
    """Return the seconds from typing a filter until only what fits is drawn."""
    return round(float(page.evaluate(_FILTER, FILTERED)) / 1000, 3)


def log_in(context: BrowserContext, served: Served) -> None:
    """Log in."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(served.base + "/")
    page.get_by_label("User", exact=True).fill("admin")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()
    page.close()


def with_service(folder: Path, hosts: int, vms: int, run: Callable[[Served], Any]) -> Any:
    """Return what is found with a service of a filled store."""
    served = Served(folder / "foreswap.db")
    try:
        fill(served, hosts, vms)
        return run(served)
    finally:
        served.stop()


def fill(served: Served, hosts: int, vms: int) -> None:
    """Let a service know a cluster with a past, plans, rules and people."""
    served.add_people()
    served.add_cluster(num_hosts=hosts, num_vms=vms)
    add_past(served, [f"vm-{i:05d}" for i in range(vms)], vms // hosts)
    keep_outlook(served, datetime.now(UTC))
    done = kept_plan(served)
    with served.services.store.begin() as tx:
        for i in range(1, NUM_PLANS):
            at = done.made_at - timedelta(minutes=15 * i)
            older = dataclasses.replace(done, id=f"{at:%Y%m%dT%H%M%S}-{i:06d}", made_at=at)
            tx.plans.put(older, expected_revision=0)
        for i in range(NUM_RULES):
            rule = AntiAffinity(id=f"apart-{i}", vm_ids=(_vm(2 * i), _vm(2 * i + 1)))
            now = served.services.now()
            put_rule(tx, ADMIN, CLUSTER, rule, proposal=None, expected_revision=None, now=now)
        for i in range(NUM_USERS):
            users.put(tx, ADMIN, _user(i), expected_revision=0, now=served.services.now())


def _vm(i: int) -> VmId:
    return VmId(f"vm-{i:05d}")


def _user(i: int) -> User:
    return User(
        name=f"viewer-{i}",
        role=Role.VIEWER,
        owner="",
        password_hash="none",
        must_change_password=False,
    )


def table(pages: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figures as lines to read."""
    names = f"{'first':>16} {'again':>16} {'then all':>9} {'MiB first':>9} {'again':>6}"
    lines = [f"{'':12} {names}  console  yardstick"]
    for name, of in pages.items():
        first, again = of["first"], of["repeat"]
        rest = f"{again['rest_s']:.2f}" if "rest_s" in again else ""
        complaints = len(first["console"]) + len(again["console"])
        lines.append(
            f"{name:12} {_seconds(first):>16} {_seconds(again):>16} {rest:>9}"
            f" {first['mib']:9.2f} {again['mib']:6.2f}  {complaints or 'clean':7}"
            f"  {of['yardstick_s']:.2f} s"
        )
        lines += [
            f"{name:12} {key.removesuffix('_s').replace('_', ' ')}: {value['median']:.2f} s"
            f" (longest {value['longest']:.2f})"
            for key, value in of.items()
            if key in ("filter_s", "live_update_s")
        ]
    return "\n".join(lines) + "\n"


def _seconds(of: Mapping[str, Any]) -> str:
    return f"{of['content_s']:.2f} s (≤ {of['longest_s']:.2f})"


def main() -> None:
    """Measure, show and write; of pages that are not measured, what the file has is kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--vms", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5, help="visits after the first ones")
    parser.add_argument("--firsts", type=int, default=3, help="visits with an empty cache")
    parser.add_argument("--only", default="", help=f"of {','.join(PLACES)}")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            Path(folder) / "profile",
            executable_path=chromium(),
            args=["--no-sandbox"],
            viewport={"width": 1280, "height": 800},
        )
        found = with_service(
            Path(folder),
            arguments.hosts,
            arguments.vms,
            lambda served: measure(context, served, arguments),
        )
        context.close()
    if arguments.json is not None:
        before = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
        pages = before.get("pages", {}) | found
        pages = {name: pages[name] for name in PLACES if name in pages}
        text = json.dumps({"machine": machine(), "pages": pages}, indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")
        found = pages
    print(table(found), end="")
    if arguments.table is not None:
        arguments.table.write_text(table(found), encoding="utf-8")


if __name__ == "__main__":
    main()
