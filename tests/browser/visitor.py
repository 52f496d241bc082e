"""A person at a browser, who notices errors in the console, requests to elsewhere, and barriers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Page, Request, expect

from tests.browser.requirements import axe

BAD: Final = ("serious", "critical")

_RUN_AXE: Final = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations.map(v => [v.impact, v.id, v.nodes.map(n => n.html.slice(0, 200))]);
}"""


@dataclass
class Visitor:
    """A person, with what they noticed.

    Parameters
    ----------
    pictures
        Folder of screenshots.
    """

    page: Page
    base: str
    pictures: Path
    console: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.console.append(f"error: {error}"))
        self.page.on("request", self._note_request)

    def go(self, path: str) -> None:
        """Open an address of the service."""
        self.page.goto(self.base + path)

    def log_in(self, user: str, password: str) -> None:
        """Log in at whatever address is open."""
        self.page.get_by_label("User", exact=True).fill(user)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Log in").click()
        expect(self.page.get_by_role("button", name="Log out")).to_be_visible()

    def use_dark(self, dark: bool) -> None:
        """Choose dark or light, as a person does."""
        switch = self.page.get_by_label("Dark", exact=True)
        if switch.is_checked() != dark:
            switch.evaluate("element => element.click()")
        scheme = "dark" if dark else "light"
        expect(self.page.locator(f"html[data-mantine-color-scheme={scheme}]")).to_be_attached()

    def barriers(self) -> list[Any]:
        """Return what axe-core finds serious or critical on the page."""
        self.page.evaluate(axe().read_text())
        return [found for found in self.page.evaluate(_RUN_AXE) if found[0] in BAD]

    def look_at(self, name: str) -> None:
        """Take a picture in light and dark, and fail on any barrier or complaint."""
        for dark in (False, True):
            self.use_dark(dark)
            scheme = "dark" if dark else "light"
            # Colours fade over for a moment; axe would measure them half-way.
            self.page.wait_for_timeout(300)
            self.page.screenshot(path=self.pictures / f"{name}-{scheme}.png")
            found = self.barriers()
            assert found == [], f"{name}, {scheme}: {found}"
        self.use_dark(False)
        assert self.console == []
        assert self.outside == []

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.console.append(f"{message.type}: {message.text}")

    def _note_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("data", "blob"):
            return
        if f"{parts.scheme}://{parts.netloc}" != self.base:
            self.outside.append(request.url)
