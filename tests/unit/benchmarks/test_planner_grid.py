"""Which settings a grid runs, and that each reaches the planner."""

from __future__ import annotations

from datetime import timedelta

import pytest

from benchmarks.planner_grid import cooldown, settings, solving
from service.cooldown import CooldownParams
from solver.domain.weights import Weights
from solver.params import SolveParams


def test_every_combination_once() -> None:
    """The last axis runs fastest; no axis at all is the defaults alone."""
    assert list(settings(["act=5,20", "moves=1,4"])) == [
        {"act": 5.0, "moves": 1.0},
        {"act": 5.0, "moves": 4.0},
        {"act": 20.0, "moves": 1.0},
        {"act": 20.0, "moves": 4.0},
    ]
    assert list(settings([])) == [{}]


@pytest.mark.parametrize("text", ["speed=1", "resources=1", "act=fast"])
def test_what_cannot_be_varied_is_refused(text: str) -> None:
    """Unknown names, weights that are not one number, and what is no number."""
    with pytest.raises(ValueError, match=r"expected one of|could not convert"):
        list(settings([text]))


def test_settings_reach_the_planner() -> None:
    """``moves`` multiplies the weights of moving, whatever else is set."""
    default = Weights()
    params = solving({"moves": 4.0, "transfer": 2.0, "act": 20.0, "stop": 2.0}, seed=3)
    assert params.weights.transfer == 8.0
    assert params.weights.downtime == 4 * default.downtime
    assert params.weights.contention == default.contention
    assert (params.act_threshold_host_s, params.stop_threshold_host_s) == (20.0, 2.0)
    assert params.seed == 3


def test_no_setting_is_the_default() -> None:
    """And a low threshold to act takes the one to stop with it."""
    assert solving({}, seed=0).weights == Weights()
    assert solving({}, seed=0).act_threshold_host_s == SolveParams().act_threshold_host_s
    assert solving({"act": 0.5}, seed=0).stop_threshold_host_s == 0.5
    assert cooldown({}) == CooldownParams()
    assert cooldown({"cooldown": 60}).first == timedelta(hours=1)
