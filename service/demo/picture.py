"""A picture of a real run: the frame with most moves under way, as SVG."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from rich.console import Console

from executor.states import MoveState
from service.demo.frame import Frame
from service.demo.view import draw
from service.files import write_text

WIDTH: Final = 112
HEIGHT: Final = 46


class Picture:
    """Keeps the frame worth a picture while others pass by."""

    def __init__(self) -> None:
        self._best: Frame | None = None
        self._liveliness = -1.0

    def consider(self, frame: Frame) -> None:
        """Keep the frame if more is going on in it than in those before."""
        running = [move.fraction for move in frame.moves if move.state is MoveState.RUNNING]
        liveliness = sum(0.5 + fraction * (1 - fraction) for fraction in running)
        if liveliness > self._liveliness:
            self._best, self._liveliness = frame, liveliness

    def save(self, path: Path) -> None:
        """Write the picture.

        Raises
        ------
        InvalidInputError
            If the file cannot be written.
        """
        if self._best is None:
            return
        console = Console(
            record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True
        )
        console.print(draw(self._best, WIDTH, HEIGHT))
        write_text(path, console.export_svg(title="foreswap demo", unique_id="foreswap-demo"))
