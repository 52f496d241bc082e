"""Two measures of effort, one clock that the test moves."""

from __future__ import annotations

import math

from solver.limit import Allowance


class Hands:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_wall_time_runs_out() -> None:
    """What is left shrinks with the clock and never below zero."""
    clock = Hands()
    allowance = Allowance(2.0, clock=clock)
    clock.now_s += 1.5
    assert (allowance.elapsed_s, allowance.left_s, allowance.over()) == (1.5, 0.5, False)
    clock.now_s += 1.0
    assert (allowance.left_s, allowance.over(), allowance.late()) == (0.0, True, True)
    assert math.isinf(allowance.left_work)


def test_work_runs_out_whatever_the_clock_says() -> None:
    """Work ends a solve without the clock having moved."""
    allowance = Allowance(2.0, 0.5, clock=Hands())
    allowance.spend(0.3)
    assert not allowance.over()
    allowance.spend(0.3)
    assert allowance.over()
    assert not allowance.late()
    assert allowance.left_work == 0.0


def test_time_is_held_back_but_never_more_than_half() -> None:
    """What comes after the search has its time, and the search keeps the larger part."""
    allowance = Allowance(4.0, clock=Hands())
    allowance.hold_back(1.0)
    assert allowance.left_s == 3.0
    allowance.hold_back(9.0)
    assert allowance.left_s == 1.5
