"""A browser's visits to pages: when what matters is drawn, what came over the network, complaints.

The clock is the browser's own, from the navigation on. It is read in the picture after the one in
which the content is there, by a script that looks once a picture; nothing else of this module runs
in the page meanwhile.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.sync_api import BrowserContext, CDPSession, ConsoleMessage, Page

PATIENCE_MS: Final = 120_000
_AFTERWARDS_MS: Final = 400
"""What comes so soon after all is drawn still belongs to the visit: bytes, and complaints."""

_WATCH: Final = """
const shown = {};
for (const [name, selectors] of Object.entries(%s)) {
  shown[name] = new Promise((done) => {
    const isThere = (selector) => document.querySelector(selector)?.getClientRects().length;
    const look = () => {
      const there = selectors.every(isThere);
      requestAnimationFrame(there ? () => done(performance.now()) : look);
    };
    look();
  });
}
window.drawnAt = async (name) => shown[name];
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A page to visit.

    Parameters
    ----------
    content
        Selector of what a visitor came for.
    rest
        Selectors of what follows; none where that is all.
    """

    path: str
    content: str
    rest: tuple[str, ...] = ()


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
    rest_seconds: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    console: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return medians, and all."""
        told: dict[str, Any] = {
            "content_s": statistics.median(self.seconds),
            "longest_s": max(self.seconds),
            "mib": statistics.median(self.mib),
            "requests": statistics.median(self.requests),
            "console": self.console,
            "all_s": self.seconds,
        }
        if self.rest_seconds:
            told["rest_s"] = statistics.median(self.rest_seconds)
        return told


def visit(context: BrowserContext, base: str, place: Place, into: Visits, *, empty: bool) -> Page:
    """Open a page, wait until it is drawn, and note figures.

    Parameters
    ----------
    empty
        Whether the browser keeps nothing of visits before.
    """
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("console", lambda message: _note_console(into, message))
    page.on("pageerror", lambda error: into.console.append(f"error: {error}"))
    session = context.new_cdp_session(page)
    if empty:
        session.send("Network.clearBrowserCache")
    watched = {"content": [place.content], "rest": place.rest}
    page.add_init_script(_WATCH % json.dumps(watched))
    wire = Wire(session=session)
    page.goto(base + place.path, wait_until="commit")
    into.seconds.append(_drawn_s(session, "content"))
    if place.rest:
        into.rest_seconds.append(_drawn_s(session, "rest"))
    page.wait_for_timeout(_AFTERWARDS_MS)
    into.mib.append(round(wire.received / 2**20, 3))
    into.requests.append(wire.requests)
    return page


def _drawn_s(session: CDPSession, name: str) -> float:
    asked = {"expression": f"drawnAt('{name}')", "awaitPromise": True, "returnByValue": True}
    answer = session.send("Runtime.evaluate", asked)
    return round(float(answer["result"]["value"]) / 1000, 3)


def _note_console(into: Visits, message: ConsoleMessage) -> None:
    if message.type in ("error", "warning"):
        into.console.append(f"{message.type}: {message.text}")
