"""A browser, a service with pages, and people of each role in front of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.requirements import axe, chromium
from tests.browser.served import PASSWORD, Served
from tests.browser.visitor import Visitor
from tests.schemas import keep_schemas

# Other tests run beside these: what takes a moment alone may then take several seconds.
expect.set_options(timeout=15_000)

LogIn = Callable[..., Visitor]


@pytest.fixture(scope="session", autouse=True)
def schemas_are_made_once() -> Iterator[None]:
    """Spare each service of a test the making of its schemas."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        keep_schemas(monkeypatch)
        yield


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium; skips where there is none, with CI=true fails."""
    try:
        program = chromium()
        axe()
    except FileNotFoundError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    with sync_playwright() as playwright:
        # Tests may run as root, where Chromium's own sandbox cannot.
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where screenshots are put, to be looked at."""
    folder = Path("build/pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Served]:
    """A service that knows people and no cluster."""
    served = Served(tmp_path / "foreswap.db")
    served.add_people()
    yield served
    served.stop()


@pytest.fixture
def served(empty: Served) -> Served:
    """A service with a cluster of 6 hosts and 300 VMs."""
    empty.add_cluster(num_hosts=6, num_vms=300)
    return empty


@pytest.fixture
def visit(browser: Browser, pictures: Path) -> Iterator[Callable[[Served, str], Visitor]]:
    """Return a person at an address of a service."""
    contexts = []

    def make(served: Served, path: str) -> Visitor:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        contexts.append(context)
        visitor = Visitor(page=context.new_page(), base=served.base, pictures=pictures)
        visitor.go(path)
        return visitor

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def log_in(visit: Callable[[Served, str], Visitor]) -> LogIn:
    """Return a person of a role who has logged in at an address."""

    def make(served: Served, role: str, path: str) -> Visitor:
        visitor = visit(served, path)
        visitor.log_in(role, PASSWORD)
        return visitor

    return make
