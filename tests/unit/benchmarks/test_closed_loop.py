"""What a policy is worth over several draws."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks.closed_loop import MEASURE, worth


def draw(reactive: float, policy: float, oracle: float) -> dict[str, Any]:
    """Return the figures of one draw."""
    shortfall = {"reactive": reactive, "policy": policy, "oracle": oracle}
    return {name: {MEASURE: value} for name, value in shortfall.items()}


def test_worth_lies_between_the_balancer_and_the_oracle() -> None:
    """As good as one, as bad as the other, and half-way."""
    for policy, expected in ((0.0, 1.0), (100.0, 0.0), (50.0, 0.5), (150.0, -0.5)):
        share, low, high = worth([draw(100.0, policy, 0.0)] * 4, "policy")
        assert (share, low, high) == pytest.approx((expected, expected, expected))


def test_the_interval_tells_how_draws_differ() -> None:
    """Nothing in one half and everything in the other: wide, around the half."""
    draws = [draw(100.0, 0.0, 0.0), draw(100.0, 100.0, 0.0)] * 4
    share, low, high = worth(draws, "policy")
    assert share == pytest.approx(0.5)
    assert 0.05 < low < 0.35
    assert 0.65 < high < 0.95


def test_a_draw_without_shortfall_says_nothing() -> None:
    """It neither divides by zero nor counts; none with any is not a number."""
    idle = draw(0.0, 0.0, 0.0)
    share, low, high = worth([draw(100.0, 20.0, 0.0), idle, idle], "policy")
    assert (share, low, high) == pytest.approx((0.8, 0.8, 0.8))
    assert math.isnan(worth([draw(5.0, 5.0, 5.0)], "policy")[0])
