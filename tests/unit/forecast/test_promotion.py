"""A new model goes live only if it is not worse on the latest days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from forecast.baseline import Persistence, WindowQuantiles
from forecast.forecaster import QuantileForecast
from forecast.history import History
from forecast.promotion import Verdict, compare
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.units import Resource
from tests.histories import DAY, make_history

CPU = (Resource.CPU,)


class Doubled(Persistence):
    """Persistence that takes all demand for twice as large."""

    def forecast(
        self, history: History, *, at_bin: int, resources: Sequence[Resource]
    ) -> QuantileForecast:
        """Return twice the quantiles."""
        forecast = Persistence.forecast(self, history, at_bin=at_bin, resources=resources)
        return replace(forecast, values=2.0 * forecast.values)


@pytest.fixture(scope="module")
def history() -> History:
    """Four days of thirty VMs."""
    return make_history(num_vms=30, num_bins=4 * DAY)


def test_a_model_is_not_worse_than_itself(history: History) -> None:
    """The same losses, a ratio of one."""
    verdict = compare(Persistence(), Persistence(), history, from_bin=3 * DAY, resources=CPU)
    assert verdict.candidate == verdict.current
    assert verdict.ratio == 1.0
    assert verdict.accepted


def test_a_spoilt_model_is_refused_and_its_opposite_taken(history: History) -> None:
    """Whichever of the two is the candidate."""
    worse = compare(Doubled(), Persistence(), history, from_bin=3 * DAY, resources=CPU)
    better = compare(Persistence(), Doubled(), history, from_bin=3 * DAY, resources=CPU)
    assert not worse.accepted
    assert better.accepted
    assert worse.ratio == pytest.approx(1.0 / better.ratio)
    assert worse.to_json()["accepted"] is False


def test_both_are_judged_on_the_same(history: History) -> None:
    """The loss of one does not depend on whom it is compared with."""
    first = compare(Persistence(), Doubled(), history, from_bin=3 * DAY, resources=CPU)
    other = compare(Persistence(), WindowQuantiles(), history, from_bin=3 * DAY, resources=CPU)
    assert first.candidate == other.candidate
    assert first.num_origins == other.num_origins == 40


def test_noise_is_not_worse() -> None:
    """Up to one per cent more loss passes."""
    losses = {"cpu": 1.0}
    fine = Verdict(candidate=losses, current=losses, ratio=1.009, num_origins=9)
    assert fine.accepted
    assert not replace(fine, ratio=1.011).accepted


def test_no_time_to_judge_on(history: History) -> None:
    """An hour is needed to see what became of a forecast."""
    with pytest.raises(NotEnoughHistoryError, match="more than an hour"):
        compare(Persistence(), Persistence(), history, from_bin=4 * DAY - 12, resources=CPU)


def test_nothing_judged_is_not_accepted(history: History) -> None:
    """No resource in common, or no VM that did anything, is an error and no verdict."""
    with pytest.raises(NotEnoughHistoryError, match="to judge a model by"):
        compare(Persistence(), Persistence(), history, from_bin=3 * DAY, resources=())
    idle = make_history(np.zeros((4, 5, 4 * DAY), np.float32))
    with pytest.raises(NotEnoughHistoryError, match="to judge a model by"):
        compare(Persistence(), Persistence(), idle, from_bin=3 * DAY, resources=CPU)
