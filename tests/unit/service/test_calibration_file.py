"""Measured moves are kept, and make the next schedule honest."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.report import MeasuredMove
from service.calibration_file import MAX_MOVES, add_moves, read_moves, read_parameters
from solver.domain.errors import InvalidInputError
from solver.domain.migration import DEFAULT_MIGRATION


def move(number: int) -> MeasuredMove:
    """Return a move of 1 GiB and some at half of the bandwidth that was granted."""
    mib = 1000 + 100 * (number % 7)
    return MeasuredMove(
        footprint_mib=mib,
        dirty_mib_per_s=0,
        bandwidth_mib_per_s=100,
        duration_ms=1000 + mib * 20,
        transferred_mib=mib,
        downtime_ms=60,
        iterations=2,
    )


def test_what_is_added_is_read_again(tmp_path: Path) -> None:
    """Moves of several plans, oldest first."""
    path = tmp_path / "moves.json"
    assert read_moves(path) == ()
    add_moves(path, [move(0), move(1)])
    add_moves(path, [move(2)])
    assert read_moves(path) == (move(0), move(1), move(2))


def test_the_estimator_learns_from_the_file(tmp_path: Path) -> None:
    """Half of the bandwidth carries pages; too few moves change nothing."""
    path = tmp_path / "moves.json"
    add_moves(path, [move(0)])
    assert read_parameters(path) == DEFAULT_MIGRATION
    fit = add_moves(path, [move(number) for number in range(1, 20)])
    assert fit.parameters.wire_efficiency == pytest.approx(0.5, rel=0.05)
    assert read_parameters(path) == fit.parameters


def test_old_moves_give_way(tmp_path: Path) -> None:
    """The newest are kept."""
    path = tmp_path / "moves.json"
    add_moves(path, [move(number) for number in range(MAX_MOVES + 3)])
    assert len(read_moves(path)) == MAX_MOVES
    assert read_moves(path)[-1] == move(MAX_MOVES + 2)


def test_a_wrong_file_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    """Nothing is lost to a mistake of the hand."""
    path = tmp_path / "moves.json"
    text = '{"foreswap": "calibration", "version": 1, "moves": [{"duration_ms": "long"}]}'
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"moves\[0\]\..*moves\.json"):
        add_moves(path, [move(0)])
    assert path.read_text(encoding="utf-8") == text
