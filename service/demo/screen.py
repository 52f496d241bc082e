"""Where frames go: a terminal that is redrawn, or plain lines where there is none."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from service.demo.frame import Frame
from service.demo.view import draw, host_table

LEAST_WIDTH: Final = 72
LEAST_HEIGHT: Final = 16
"""A smaller terminal gets plain lines."""


class Screen(Protocol):
    """Shows frames, and words about what takes time before the first."""

    def tell(self, words: str) -> None:
        """Say what takes time next."""
        ...

    def show(self, frame: Frame) -> None:
        """Show a frame for as long as it asks for."""
        ...

    def __enter__(self) -> Screen: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def make_screen(console: Console) -> Screen:
    """Return the screen that suits a console."""
    size = console.size
    if console.is_terminal and not console.is_dumb_terminal:
        if size.width >= LEAST_WIDTH and size.height >= LEAST_HEIGHT:
            return LiveScreen(console)
        console.print(
            f"(a terminal of {LEAST_WIDTH}×{LEAST_HEIGHT} or more shows the cluster itself)",
            style="dim",
        )
    return PlainScreen(console)


class LiveScreen:
    """Redraws the whole terminal, and leaves it as it was."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._due_s = 0.0

    def __enter__(self) -> LiveScreen:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def tell(self, words: str) -> None:
        """Show a few words alone."""
        self._live.update(Text(f"foreswap demo: {words} …"), refresh=True)

    def show(self, frame: Frame) -> None:
        """Draw a frame and hold it; time that drawing and planning took is not held again."""
        size = self._console.size
        self._live.update(draw(frame, size.width, size.height), refresh=True)
        now_s = time.monotonic()
        self._due_s = max(self._due_s, now_s - frame.hold_s) + frame.hold_s
        time.sleep(max(0.0, self._due_s - now_s))


class PlainScreen:
    """Prints what happens as lines, at once: nobody watches a file."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._first = True

    def __enter__(self) -> PlainScreen:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave nothing to be undone."""

    def tell(self, words: str) -> None:
        """Print a line."""
        self._print(f"{words} …")

    def show(self, frame: Frame) -> None:
        """Print what is new; the hosts once, as the first plan finds them."""
        if self._first and frame.expected.num_paths:
            self._first = False
            width = self._console.width
            self._console.print(host_table(frame.hosts, width, len(frame.hosts) + 1))
            self._print("")
        for note in frame.notes:
            stamp = "" if note.startswith(" ") else f"{frame.now:%H:%M} "
            self._print(f"{stamp}{note}")

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)
