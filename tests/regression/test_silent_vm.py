"""A VM that was not read for hours is not taken for one that needs nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecast.baseline import Persistence, SeasonalNaive, WindowQuantiles
from forecast.forecaster import HORIZON_MINUTES, NUM_HORIZONS, QUANTILES, Forecaster
from forecast.history import BinState, History
from forecast.online import OnlineForecaster
from forecast.quantile import QuantileModel, TrainingSettings
from solver.domain.units import Resource
from tests.histories import DAY, make_history

AT = 3 * DAY
RESOURCES = (Resource.CPU, Resource.MEMORY, Resource.NET_IO)
MEDIAN = QUANTILES.index(0.5)
SMALL = TrainingSettings(rows_per_resource=6000, rows_per_instant=10, iterations=5, num_jobs=1)


@pytest.fixture(scope="module")
def history() -> History:
    """VM 2 is silent for two hours, VM 3 for two days, VM 4 was never read."""
    whole = make_history(num_vms=8)
    state, readings = whole.state.copy(), whole.readings.copy()
    for vm, first in ((2, AT - 23), (3, AT - 2 * DAY), (4, 0)):
        state[vm, first:] = BinState.MISSING
        readings[:, vm, first:] = np.nan
    return replace(whole, state=state, readings=readings)


@pytest.mark.parametrize(
    "forecaster",
    [
        Persistence(),
        SeasonalNaive(),
        WindowQuantiles(window_bins=12),
        QuantileModel(training=SMALL, resources=RESOURCES),
    ],
    ids=lambda forecaster: forecaster.name,
)
def test_the_last_known_reading_stands_in(forecaster: Forecaster, history: History) -> None:
    """After an hour of silence the forecast was centred on zero; now on what was last known.

    Of a VM never read, half of its size is assumed. Both are marked cold, with wide bands.
    """
    forecaster.fit(history, until_bin=AT)
    forecast = forecaster.forecast(history, at_bin=AT, resources=RESOURCES)
    assert forecast.cold[[3, 4]].all()
    median = forecast.values[list(RESOURCES)][:, :, :, MEDIAN]
    for k, resource in enumerate(RESOURCES):
        last = history.readings[resource, 3, AT - 2 * DAY - 1]
        assert median[k, 3] == pytest.approx(np.full(NUM_HORIZONS, last), rel=1e-3)
    assert median[0, 4] == pytest.approx(np.full(NUM_HORIZONS, 2000.0))
    assert median[1, 4] == pytest.approx(np.full(NUM_HORIZONS, 8192.0))
    assert (median > 0).all()
    quarter = HORIZON_MINUTES.index(15)
    bands = forecast.values[Resource.CPU, :, quarter]
    width = bands[:, -1] - bands[:, 0]
    assert width[4] > 3000
    assert width[3] > 1000
    if not isinstance(forecaster, SeasonalNaive):  # which has yesterday to go by
        assert forecast.cold[2]
        assert median[0, 2] == pytest.approx(
            np.full(NUM_HORIZONS, history.readings[Resource.CPU, 2, AT - 24]), rel=1e-3
        )


def test_the_present_of_a_silent_vm(history: History) -> None:
    """Step 0 of the scenarios was zero, too."""
    online = OnlineForecaster(forecaster=Persistence(), resources=RESOURCES)
    _, scenarios = online.scenarios(
        history, at_bin=AT, num_scenarios=4, rng=np.random.default_rng(0)
    )
    now = scenarios.demand[0, :, Resource.CPU, 0]
    assert now[2] == round(float(history.readings[Resource.CPU, 2, AT - 24]))
    assert now[3] == round(float(history.readings[Resource.CPU, 3, AT - 2 * DAY - 1]))
    assert now[4] == 2000
