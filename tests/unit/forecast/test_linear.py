"""The linear opponents: they know a line when they see one, and how far readings stray from it."""

from __future__ import annotations

import numpy as np
import pytest

from forecast.features import MODELLED_BINS
from forecast.forecaster import HORIZON_BINS, HORIZON_MINUTES, QUANTILES
from forecast.linear import LinearQuantiles, RidgeAutoregression
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.units import NUM_RESOURCES, Resource
from tests.histories import DAY, make_history

IN_15_MINUTES = HORIZON_MINUTES.index(15)
MEDIAN = QUANTILES.index(0.5)


def repeating_days(num_vms: int = 20, num_days: int = 5, noise: float = 0.0) -> np.ndarray:
    """Return CPU that is each day the same, different for every VM, with noise around it."""
    rng = np.random.default_rng(4)
    day = 0.2 + 0.6 * rng.random((num_vms, DAY))
    share = np.tile(day, num_days) + noise * rng.standard_normal((num_vms, DAY * num_days))
    readings = np.zeros((NUM_RESOURCES, num_vms, DAY * num_days), np.float32)
    readings[0] = 4000 * np.clip(share, 0, 1)
    return readings


def test_autoregression_finds_that_days_repeat() -> None:
    """Nothing but yesterday tells the next reading: it gets all the weight, and is right."""
    history = make_history(repeating_days())
    model = RidgeAutoregression(resources=(Resource.CPU,), penalty=1e-3)
    model.fit(history, until_bin=4 * DAY)
    forecast = model.forecast(history, at_bin=4 * DAY + 50, resources=[Resource.CPU])
    for bins in MODELLED_BINS:
        h = HORIZON_BINS.index(bins)
        actual = history.readings[Resource.CPU, :, 4 * DAY + 50 + bins]
        np.testing.assert_allclose(forecast.values[Resource.CPU, :, h, MEDIAN], actual, rtol=0.02)


def test_gaussian_bands_are_as_wide_as_errors_were() -> None:
    """Of readings with noise, one in ten is above the 90 % quantile."""
    history = make_history(repeating_days(noise=0.05))
    model = RidgeAutoregression(resources=(Resource.CPU,))
    model.fit(history, until_bin=3 * DAY)
    above = []
    for at_bin in range(4 * DAY, 5 * DAY - 12, 7):
        forecast = model.forecast(history, at_bin=at_bin, resources=[Resource.CPU])
        actual = history.readings[Resource.CPU, :, at_bin + HORIZON_BINS[0]]
        above.append(actual > forecast.values[Resource.CPU, :, 0, QUANTILES.index(0.9)])
    assert np.mean(above) == pytest.approx(0.1, abs=0.03)


def test_vms_that_are_off_teach_nothing() -> None:
    """Half of the fleet at zero leaves the model as it is without them."""
    readings = repeating_days(num_vms=20)
    alone = RidgeAutoregression(resources=(Resource.CPU,), penalty=1e-3)
    alone.fit(make_history(readings), until_bin=4 * DAY)
    both = np.concatenate([readings, np.zeros_like(readings)], axis=1)
    state = np.zeros(both.shape[1:], np.uint8)
    state[20:] = 2
    with_off = RidgeAutoregression(resources=(Resource.CPU,), penalty=1e-3)
    with_off.fit(make_history(both, state=state), until_bin=4 * DAY)
    for ours, theirs in zip(
        alone.models_[Resource.CPU], with_off.models_[Resource.CPU], strict=True
    ):
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-3)


def test_quantiles_fan_out() -> None:
    """Of readings with noise, one in four is below the lower quartile, also for a few VMs."""
    history = make_history(repeating_days(num_vms=8, noise=0.05))
    model = LinearQuantiles(resources=(Resource.CPU,), rows_per_horizon=700, num_jobs=1)
    model.fit(history, until_bin=3 * DAY)
    below = []
    for at_bin in range(4 * DAY, 5 * DAY - 12, 7):
        forecast = model.forecast(history, at_bin=at_bin, resources=[Resource.CPU])
        actual = history.readings[Resource.CPU, :, at_bin + HORIZON_BINS[IN_15_MINUTES]]
        quartile = forecast.values[Resource.CPU, :, IN_15_MINUTES, QUANTILES.index(0.25)]
        below.append(actual < quartile)
    assert np.mean(below) == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize("model", [LinearQuantiles(num_jobs=1), RidgeAutoregression()])
def test_too_little_to_learn_from(model: LinearQuantiles | RidgeAutoregression) -> None:
    """An hour of readings is not enough, and the error says how many there were."""
    with pytest.raises(NotEnoughHistoryError, match=r"cpu_millicores: only 0.*expected at least"):
        model.fit(make_history(num_vms=4, num_bins=20), until_bin=12)
