"""Exponential smoothing, an opponent: it is the textbook's, and has an answer for every VM."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from forecast.baseline import Persistence
from forecast.exponential_smoothing import ExponentialSmoothing
from forecast.forecaster import HORIZON_BINS, QUANTILES
from forecast.history import BinState, Floats, History
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.units import NUM_RESOURCES, Resource, VmId
from tests.histories import DAY, make_history

CPU = Resource.CPU
ALPHA, SIGMA = 0.4, 0.02
"""Weight of a new reading in the level, and spread of the readings around it, in shares of a VM."""
AT = 3 * DAY
MEDIAN = QUANTILES.index(0.5)


def drifting(num_vms: int = 12, num_bins: int = 5 * DAY, seed: int = 1) -> Floats:
    """Return CPU whose level moves by ``ALPHA`` of every error: the ANN model itself."""
    rng = np.random.default_rng(seed)
    level = np.full(num_vms, 0.5)
    readings = np.zeros((NUM_RESOURCES, num_vms, num_bins), np.float32)
    for t in range(num_bins):
        error = SIGMA * rng.standard_normal(num_vms)
        readings[CPU, :, t] = 4000 * np.clip(level + error, 0, 1)
        # Pulled to the middle a little, lest it runs into the limits in five days.
        level += ALPHA * error + 0.002 * (0.5 - level)
    return readings


@pytest.fixture(scope="module")
def history() -> History:
    """Return five days of such VMs."""
    return make_history(drifting())


@pytest.fixture(scope="module")
def fitted(history: History) -> ExponentialSmoothing:
    """Return models of the first three days."""
    model = ExponentialSmoothing(resources=(CPU,))
    model.fit(history, until_bin=AT)
    return model


def test_bands_grow_with_the_horizon_as_the_textbook_says(
    fitted: ExponentialSmoothing, history: History
) -> None:
    """Variance after ``h`` steps is sigma² (1 + (h - 1) alpha²), around one mean for all steps."""
    values = fitted.forecast(history, at_bin=AT + 100, resources=[CPU]).values[CPU] / 4000
    middle = values[..., MEDIAN]
    assert np.ptp(middle, axis=1).max() < 0.05
    spread = (values[..., QUANTILES.index(0.95)] - middle) / NormalDist().inv_cdf(0.95)
    steps = np.array(HORIZON_BINS)
    expected = SIGMA * np.sqrt(1 + (steps - 1) * ALPHA**2)
    np.testing.assert_allclose(np.median(spread, axis=0), expected, rtol=0.1)


def test_what_comes_lies_within_the_bands(fitted: ExponentialSmoothing, history: History) -> None:
    """One reading in ten is above the 90 % quantile after an hour, one in twenty below the 5 %."""
    above, below = [], []
    for at_bin in range(AT + DAY // 2, 5 * DAY - 12, 11):
        values = fitted.forecast(history, at_bin=at_bin, resources=[CPU]).values[CPU, :, -1]
        actual = history.readings[CPU, :, at_bin + HORIZON_BINS[-1]]
        above.append(actual > values[:, QUANTILES.index(0.9)])
        below.append(actual < values[:, QUANTILES.index(0.05)])
    assert np.mean(above) == pytest.approx(0.1, abs=0.04)
    assert np.mean(below) == pytest.approx(0.05, abs=0.03)


def test_a_slow_model_begins_where_the_day_began() -> None:
    """Noise around a level that shifts days after the fit: the forecast lies at the new level."""
    rng = np.random.default_rng(2)
    readings = np.zeros((NUM_RESOURCES, 4, 6 * DAY), np.float32)
    readings[CPU] = 1000 + 100 * rng.standard_normal((4, 6 * DAY))
    readings[CPU, :, 4 * DAY :] += 2000
    history = make_history(readings)
    model = ExponentialSmoothing(resources=(CPU,))
    model.fit(history, until_bin=AT)
    values = model.forecast(history, at_bin=5 * DAY + 100, resources=[CPU]).values[CPU]
    np.testing.assert_allclose(values[..., MEDIAN], 3000, atol=100)
    assert (values[..., QUANTILES.index(0.95)] < 3400).all()


def test_a_fleet_that_cannot_be_fitted_is_refused(history: History) -> None:
    """Less than a day of readings, of every VM: said, and not forecast as something else."""
    model = ExponentialSmoothing(resources=(CPU,))
    with pytest.raises(NotEnoughHistoryError, match="could fit no VM of 12, 0 of which have a day"):
        model.fit(history, until_bin=DAY - 1)


def test_a_vm_it_was_not_fitted_for_is_smoothed_by_its_own_last_day(
    fitted: ExponentialSmoothing, history: History
) -> None:
    """Not as persistence has it: the level is a mean of the last readings."""
    strangers = replace(history, vm_ids=tuple(VmId(f"new{i}") for i in range(history.num_vms)))
    theirs = fitted.forecast(strangers, at_bin=AT + 100, resources=[CPU]).values[CPU]
    known = fitted.forecast(history, at_bin=AT + 100, resources=[CPU]).values[CPU]
    np.testing.assert_allclose(theirs[..., MEDIAN], known[..., MEDIAN], atol=0.04 * 4000)
    newest = history.readings[CPU, :, AT + 100]
    assert np.abs(theirs[:, 0, MEDIAN] - newest).max() > 0.01 * 4000


def test_gaps_are_bridged_and_what_is_hardly_read_is_left_to_persistence(history: History) -> None:
    """A VM with every third reading missing is smoothed; one with six readings is not."""
    readings, state = history.readings.copy(), history.state.copy()
    state[0, ::3] = BinState.MISSING
    state[1, : AT + 95] = BinState.ABSENT
    readings[:, state >= BinState.MISSING] = np.nan
    holed = replace(history, readings=readings, state=state)
    model = ExponentialSmoothing(resources=(CPU,))
    model.fit(holed, until_bin=AT)
    forecast = model.forecast(holed, at_bin=AT + 100, resources=[CPU])
    plain = Persistence().forecast(holed, at_bin=AT + 100, resources=[CPU])
    assert forecast.cold.tolist() == [False, True] + [False] * 10
    np.testing.assert_array_equal(forecast.values[CPU, 1], plain.values[CPU, 1])
    near = model.forecast(history, at_bin=AT + 100, resources=[CPU]).values[CPU, 0, :, MEDIAN]
    np.testing.assert_allclose(forecast.values[CPU, 0, :, MEDIAN], near, atol=0.05 * 4000)


def test_a_vm_that_never_changes_is_sure_of_itself() -> None:
    """Constant readings have no errors to fit: the band is the reading."""
    readings = np.zeros((NUM_RESOURCES, 2, 4 * DAY), np.float32)
    readings[CPU, 1] = 1000.0
    history = make_history(readings)
    model = ExponentialSmoothing(resources=(CPU,))
    model.fit(history, until_bin=AT)
    values = model.forecast(history, at_bin=AT, resources=[CPU]).values[CPU]
    np.testing.assert_allclose(values[0], 0.0, atol=1e-3)
    np.testing.assert_allclose(values[1], 1000.0, rtol=1e-3)
