"""Where moves stand on the time line."""

from __future__ import annotations

from typing import Any

from executor.states import MoveState
from service.web.plan_chart import COLORS, colors, height_px, kind_of, kinds_shown, lanes, time_line


def move(i: int, source: str, destination: str, start_s: float, state: str = "planned") -> Any:
    """Return the row of a move of ten seconds."""
    return {
        "step": i,
        "vm": f"v{i}",
        "source": source,
        "destination": destination,
        "start_s": start_s,
        "duration_s": 10.0,
        "bandwidth": 500,
        "state": state,
    }


def test_hosts_have_a_line_each_way() -> None:
    """What leaves a host stands above what arrives; each move stands on two lines."""
    found = lanes([move(0, "a", "b", 0), move(1, "b", "a", 0)])
    assert found.names == {0: "a out", 1: "a in", 2: "b out", 3: "b in"}
    assert sorted((bar.row, bar.lane) for bar in found.bars) == [(0, 0), (0, 3), (1, 1), (1, 2)]


def test_moves_at_the_same_time_stand_below_one_another() -> None:
    """A line is used again as soon as the move on it has ended."""
    rows = [move(0, "a", "b", 0), move(1, "a", "c", 5), move(2, "a", "d", 10)]
    found = lanes(rows)
    assert {bar.row: bar.lane for bar in found.bars if bar.lane < 2} == {0: 0, 1: 1, 2: 0}
    assert found.names[2] == "b in"


def test_a_start_leaves_no_host() -> None:
    """It stands on one line alone."""
    assert len(lanes([move(0, "", "b", 0)]).bars) == 1


def test_every_state_has_its_colour() -> None:
    """The key tells the colours there are, each once."""
    for state in MoveState:
        assert kind_of(state.value.replace("_", " ")) in COLORS
    rows = [move(0, "a", "b", 0, "done"), move(1, "b", "a", 0, "running")]
    assert kinds_shown(rows) == ["under way", "done"]
    assert colors(rows) == [
        COLORS["done"],
        COLORS["under way"],
        COLORS["under way"],
        COLORS["done"],
    ]


def test_more_moves_than_can_be_told_apart_are_not_drawn() -> None:
    """Several hundred are, in a chart that grows with its lines."""
    rows = [move(i, f"h{i % 50}", f"h{(i + 1) % 50}", i // 50) for i in range(600)]
    figure = time_line(rows)
    assert len(figure.data[0].x) == 1_000
    assert len(colors(rows)) == 1_000
    assert height_px(rows) > height_px(rows[:100])
