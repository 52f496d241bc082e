"""What every forecaster promises, checked on all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecast.baseline import Persistence, SeasonalNaive, WindowQuantiles
from forecast.completed import CompletedModel
from forecast.exponential_smoothing import ExponentialSmoothing
from forecast.forecaster import HORIZON_MINUTES, NUM_QUANTILES, Forecaster
from forecast.history import BinState, History
from forecast.linear import LinearQuantiles, RidgeAutoregression
from forecast.quantile import QuantileModel, TrainingSettings
from solver.domain.errors import InvalidInputError
from solver.domain.units import Resource
from tests.histories import DAY, make_history

RESOURCES = (Resource.CPU, Resource.MEMORY)
AT = 3 * DAY
SMALL = TrainingSettings(rows_per_resource=3000, rows_per_instant=10, iterations=15, num_jobs=1)


@pytest.fixture(scope="module")
def history() -> History:
    """Four days of ten VMs: one is switched off, one missing, one young, one gone."""
    whole = make_history(num_vms=10)
    state, readings = whole.state.copy(), whole.readings.copy()
    state[6, AT - 20 :] = BinState.OFF
    state[7, AT - 40 : AT + 40] = BinState.MISSING
    state[8, : AT - 2] = BinState.ABSENT
    state[9, AT - 50 :] = BinState.ABSENT
    readings[:, state == BinState.OFF] = 0
    readings[:, state >= BinState.MISSING] = np.nan
    return replace(whole, state=state, readings=readings)


@pytest.fixture(
    scope="module",
    params=[
        Persistence(),
        WindowQuantiles(),
        SeasonalNaive(),
        QuantileModel(training=SMALL, resources=RESOURCES),
        pytest.param(
            CompletedModel(QuantileModel(training=SMALL, resources=(Resource.MEMORY,))),
            id="completed",
        ),
        LinearQuantiles(resources=RESOURCES, rows_per_horizon=480, num_jobs=1),
        RidgeAutoregression(num_rows=4_000),
        ExponentialSmoothing(resources=RESOURCES),
    ],
    ids=lambda forecaster: forecaster.name,
)
def forecaster(request: pytest.FixtureRequest, history: History) -> Forecaster:
    """Every forecaster, fitted on the first three days."""
    fitted: Forecaster = request.param
    fitted.fit(history, until_bin=AT)
    return fitted


def test_shapes_and_time(forecaster: Forecaster, history: History) -> None:
    """The forecast covers every VM and horizon, and begins where the last bin ends."""
    forecast = forecaster.forecast(history, at_bin=AT, resources=RESOURCES)
    assert forecast.values.shape == (4, 10, len(HORIZON_MINUTES), NUM_QUANTILES)
    assert forecast.values.dtype == np.float32
    assert forecast.at == history.time_of(AT + 1)
    assert forecast.vm_ids == history.vm_ids
    assert not np.isnan(forecast.values[list(RESOURCES)]).any()
    assert np.isnan(forecast.values[Resource.DISK_IO]).all()


def test_quantiles_rise_within_limits(forecaster: Forecaster, history: History) -> None:
    """Quantiles never cross, are never negative and never beyond what a VM can demand."""
    forecast = forecaster.forecast(history, at_bin=AT, resources=RESOURCES)
    values = forecast.values[list(RESOURCES)]
    assert (np.diff(values, axis=-1) >= 0).all()
    assert (values >= 0).all()
    assert (values <= forecast.limits[list(RESOURCES), :, None, None]).all()


def test_reads_nothing_of_the_future(forecaster: Forecaster, history: History) -> None:
    """What comes after the bin changes nothing, and need not even be there."""
    readings, state = history.readings.copy(), history.state.copy()
    readings[:, :, AT + 1 :] = 12345.0
    state[:, AT + 1 :] = BinState.MEASURED
    other = replace(history, readings=readings, state=state)
    seen = forecaster.forecast(history, at_bin=AT, resources=RESOURCES).values
    for future in (other, history.until(AT + 1)):
        again = forecaster.forecast(future, at_bin=AT, resources=RESOURCES).values
        np.testing.assert_array_equal(seen, again)


def test_off_and_gone_demand_nothing(forecaster: Forecaster, history: History) -> None:
    """VMs that are off or no longer there are forecast at zero, and told apart."""
    forecast = forecaster.forecast(history, at_bin=AT, resources=RESOURCES)
    assert (forecast.values[list(RESOURCES)][:, [6, 9]] == 0).all()
    assert forecast.present[6]
    assert not forecast.present[9]


def test_young_vm_is_marked(forecaster: Forecaster, history: History) -> None:
    """A VM with three readings gets an answer around its level, and is marked as cold."""
    forecast = forecaster.forecast(history, at_bin=AT, resources=RESOURCES)
    assert forecast.cold[8]
    assert not forecast.cold[2]
    assert forecast.values[Resource.CPU, 8, 0, -1] > 0


def test_missing_readings_get_an_answer(forecaster: Forecaster, history: History) -> None:
    """A VM without recent readings is still forecast."""
    forecast = forecaster.forecast(history, at_bin=AT, resources=RESOURCES)
    assert not np.isnan(forecast.values[list(RESOURCES)][:, 7]).any()


@pytest.mark.parametrize("at_bin", [0, 5, 7, 100, 200, 284, 300])
def test_first_bins(forecaster: Forecaster, history: History, at_bin: int) -> None:
    """From the very first reading there is an answer, however short the past is."""
    forecast = forecaster.forecast(history, at_bin=at_bin, resources=RESOURCES)
    assert (forecast.values[Resource.CPU, :6, :, -1] > 0).all()


def test_same_call_same_answer(forecaster: Forecaster, history: History) -> None:
    """Forecasting draws no lots."""
    first = forecaster.forecast(history, at_bin=AT, resources=RESOURCES).values
    second = forecaster.forecast(history, at_bin=AT, resources=RESOURCES).values
    np.testing.assert_array_equal(first, second)


def test_a_vm_never_seen(forecaster: Forecaster, history: History) -> None:
    """VMs that were not in training are forecast by their own readings."""
    strangers = make_history(num_vms=5, num_bins=2 * DAY, seed=7)
    forecast = forecaster.forecast(strangers, at_bin=DAY + 50, resources=RESOURCES)
    now = strangers.readings[Resource.CPU, :, DAY + 50]
    assert (np.abs(forecast.values[Resource.CPU, :, 0, 3] - now) < 1200).all()


def test_outside_the_history(forecaster: Forecaster, history: History) -> None:
    """A bin outside the history is refused."""
    with pytest.raises(InvalidInputError, match="expected a bin of the history"):
        forecaster.forecast(history, at_bin=history.num_bins, resources=RESOURCES)
