"""The file in which measured moves are kept, so that the next plan's schedule is honest.

Whoever executes plans adds to it, whoever plans reads it. It holds the moves, not only what was
fitted to them, so that a better fit can be made of the same moves later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from executor.calibration import Calibration, calibrate
from executor.report import MeasuredMove
from solver.domain.errors import InvalidInputError
from solver.domain.migration import DEFAULT_MIGRATION, MigrationParameters
from solver.instances import naming_file, write_document
from solver.schema import Strict, parse_json, validate

MAX_MOVES: Final = 500
"""Most moves kept: networks change, and older moves say less about them."""

Whole = Annotated[int, Field(ge=0)]


class MoveEntry(Strict):
    """One completed migration."""

    footprint_mib: Whole
    dirty_mib_per_s: Whole
    bandwidth_mib_per_s: Whole
    duration_ms: Whole
    transferred_mib: Whole
    downtime_ms: Whole
    iterations: Whole | None = None


class CalibrationDocument(Strict):
    """Measured moves, oldest first, and what was fitted to them."""

    foreswap: Literal["calibration"]
    version: Literal[1]
    parameters: dict[str, float] = Field(default={})
    moves: list[MoveEntry] = Field(default=[])


def read_moves(path: Path) -> tuple[MeasuredMove, ...]:
    """Return the moves of a file; none if there is no such file.

    Raises
    ------
    InvalidInputError
        If the file is wrong.
    """
    if not path.exists():
        return ()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"file {str(path)!r}: expected a calibration, got: {error}"
        ) from error
    with naming_file(path):
        document = validate(CalibrationDocument, parse_json(text), kind="calibration")
    return tuple(MeasuredMove(**move.model_dump()) for move in document.moves)


def read_parameters(path: Path) -> MigrationParameters:
    """Return what fits the moves of a file best; raises like ``read_moves``."""
    return calibrate(read_moves(path), DEFAULT_MIGRATION).parameters


def add_moves(path: Path, moves: Iterable[MeasuredMove]) -> Calibration:
    """Add moves to a file, whole or not at all, and return what fits them all best.

    Raises
    ------
    InvalidInputError
        If the file is wrong or cannot be written; it is as it was before.
    """
    kept = (*read_moves(path), *moves)[-MAX_MOVES:]
    fit = calibrate(kept, DEFAULT_MIGRATION)
    document = {
        "foreswap": "calibration",
        "version": 1,
        "parameters": {name: float(value) for name, value in asdict(fit.parameters).items()},
        "moves": [asdict(move) for move in kept],
    }
    write_document(path, document)
    return fit
