"""Frames fit terminals of any size, and bars mean what they say."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from executor.states import MoveState
from service.demo.frame import Expected, Frame, HostFrame, MoveFrame, Suffered, Usage
from service.demo.view import bar, draw


def make_frame(num_hosts: int = 24, num_moves: int = 9) -> Frame:
    """Return a frame in which the last host is the hottest and every second move is done."""
    hosts = tuple(
        HostFrame(
            id=f"host{i + 1:02d}",
            num_vms=17,
            cpu=Usage(now=0.3 + i / 40, p50=0.4 + i / 40, p95=0.6 + i / 40),
            memory=Usage(now=0.5, p50=0.5, p95=0.52),
            score_host_s=1234.5 if i == num_hosts - 1 else 0.0,
            overload=0.99 if i == num_hosts - 1 else 0.0,
            outgoing=2 if i == num_hosts - 1 else 0,
        )
        for i in range(num_hosts)
    )
    moves = tuple(
        MoveFrame(
            vm_id=f"vm{i:04d}",
            priority=5,
            source_id="host24",
            destination_id="host01",
            state=MoveState.DONE if i % 2 else MoveState.RUNNING,
            fraction=1.0 if i % 2 else 0.5,
            reason="saves 12.3, costs 0.4; next best host02 +0.1",
        )
        for i in range(num_moves)
    )
    return Frame(
        now=datetime(2026, 3, 3, 8, 1, tzinfo=UTC),
        cycle=1,
        num_cycles=12,
        phase="moving",
        hosts=hosts,
        moves=moves,
        expected=Expected(without_plan=100.0, with_plan=10.0, num_paths=256),
        ours=Suffered(weighted_host_s=1.0),
        control=Suffered(weighted_host_s=2.0),
        engine="greedy",
    )


def drawn(frame: Frame, width: int, height: int) -> list[str]:
    """Return the lines of a frame in a terminal of some size."""
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(draw(frame, width, height))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("size", [(72, 16), (80, 24), (100, 40), (120, 50), (165, 40), (240, 60)])
def test_a_frame_fits(size: tuple[int, int]) -> None:
    """No frame is wider or higher than its terminal, and each shows plan and hottest host."""
    lines = drawn(make_frame(), *size)
    assert len(lines) <= size[1]
    assert max(map(len, lines)) <= size[0]
    text = "\n".join(lines)
    assert "host24 → host01" in text
    assert "1,234" in text
    assert "99%" in text


def test_all_hosts_in_a_terminal_of_100_by_40() -> None:
    """The size that most terminals have at least shows each of 24 hosts and both figures."""
    text = "\n".join(drawn(make_frame(), 100, 40))
    assert all(f"host{i + 1:02d}" in text for i in range(24))
    assert "cooler" not in text
    assert "expected in the next hour (256 paths)" in text
    assert "saves 12.3, costs 0.4; next best host02 +0.1" in text


def test_what_is_under_way_comes_first() -> None:
    """Where not all moves fit, those that are done give way."""
    lines = [line for line in drawn(make_frame(num_moves=30), 100, 40) if "→" in line]
    assert "done" not in lines[0]
    assert any("more" in line for line in drawn(make_frame(num_moves=30), 100, 40))


def test_a_bar_tells_now_later_and_capacity() -> None:
    """Solid is now, shaded the predicted p95, and a line marks the capacity."""
    assert bar(Usage(now=0.5, p95=0.75), 25).plain == "█" * 10 + "▒" * 5 + "·" * 5 + "│    "
    beyond = bar(Usage(now=1.5, p95=1.5), 25)
    assert beyond.plain == "█" * 25
    assert bar(Usage(now=0.0), 25).plain == "·" * 20 + "│    "


def test_no_plan_yet_and_nothing_to_move() -> None:
    """Before the first plan, and where nothing is worth moving, the panel says so."""
    frame = make_frame(num_moves=0)
    assert "nothing worth moving" in "\n".join(drawn(frame, 100, 40))
