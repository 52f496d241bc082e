"""The two consoles of every command: results on standard output, all else on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PIPED_WIDTH: Final = 120
"""Columns of tables that go into a file or a pipe, unless ``COLUMNS`` says otherwise."""


def out() -> Console:
    """Return the console of results."""
    return Console(width=_width(sys.stdout.isatty()), highlight=False)


def err() -> Console:
    """Return the console of progress and errors."""
    return Console(width=_width(sys.stderr.isatty()), highlight=False, stderr=True)


def note(text: str) -> None:
    """Print a remark on standard error; nothing if it is empty."""
    if text:
        err().print(text, soft_wrap=True)


def _width(is_terminal: bool) -> int | None:
    return None if is_terminal or "COLUMNS" in os.environ else PIPED_WIDTH


@contextmanager
def counted(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error; yield what is told how many are done, and of how many.

    The bar goes when the work is over; what does not go to a terminal gets none.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = err()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
