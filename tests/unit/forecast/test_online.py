"""The forecaster at work: it learns from the past only, and the same way every time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from forecast.baseline import Persistence
from forecast.history import History
from forecast.online import OnlineForecaster
from solver.domain.errors import InvalidInputError
from solver.domain.units import Resource
from tests.histories import DAY, make_history

RESOURCES = (Resource.CPU, Resource.MEMORY)


@pytest.fixture(scope="module")
def history() -> History:
    """Four days of twelve VMs."""
    return make_history(num_vms=12)


def online() -> OnlineForecaster:
    """Return an online persistence forecaster."""
    return OnlineForecaster(forecaster=Persistence(), resources=RESOURCES)


def test_warm_up_fills_memory_and_coverage(history: History) -> None:
    """After warming up, errors are remembered and the coverage is known."""
    forecaster = online()
    made = forecaster.warm_up(history, until_bin=3 * DAY, days=1.0, every_bins=7)
    assert made == 41
    # The last hour's forecasts are still to be settled.
    assert len(forecaster.memory) == made - 2
    forecast = forecaster.forecast(history, at_bin=3 * DAY)
    assert not np.isnan(forecast.recent_coverage[Resource.CPU]).any()
    assert np.abs(forecast.recent_coverage[Resource.CPU, 0, 3] - 0.5) < 0.15


def test_nothing_is_learned_from_the_future(history: History) -> None:
    """Readings after the bin asked about change neither forecast nor scenarios."""
    readings = history.readings.copy()
    readings[:, :, 2 * DAY + 1 :] = 4000.0
    answers = []
    for shown in (history, replace(history, readings=readings)):
        forecaster = online()
        forecaster.warm_up(shown, until_bin=2 * DAY, days=1.0)
        rng = np.random.default_rng(0)
        answers.append(
            forecaster.scenarios(shown, at_bin=2 * DAY, num_scenarios=8, rng=rng)[1].demand
        )
    assert_array_equal(answers[0], answers[1])


def test_present_is_step_zero(history: History) -> None:
    """The scenarios begin with the reading at hand, and at the end of its bin."""
    rng = np.random.default_rng(0)
    forecast, scenarios = online().scenarios(history, at_bin=500, num_scenarios=4, rng=rng)
    assert scenarios.start_at == forecast.at == history.time_of(501)
    now = np.rint(history.readings[:, :, 500]).T
    assert_array_equal(scenarios.demand[0, :, :, 0], now)
    # Network was not forecast and stays as it is.
    assert_array_equal(scenarios.demand[2, :, Resource.NET_IO, 4], now[:, Resource.NET_IO])


def test_vms_come_and_go(history: History) -> None:
    """The set of VMs may change between calls; those that stay keep what was learned."""
    forecaster = online()
    forecaster.warm_up(history, until_bin=2 * DAY, days=0.5)
    fewer = history.select([5, 4, 3])
    for at_bin in range(2 * DAY, 2 * DAY + 40, 10):
        forecast = forecaster.forecast(fewer, at_bin=at_bin)
    assert forecast.vm_ids == ("vm5", "vm4", "vm3")
    assert forecaster.memory.vm_ids == fewer.vm_ids


def test_a_history_that_forgot_its_begin(history: History) -> None:
    """A later window of the same history goes on where the earlier one ended."""
    forecaster = online()
    for at_bin in (DAY, DAY + 30):
        forecaster.forecast(history, at_bin=at_bin)
    later = history.window(DAY + 40, history.num_bins)
    forecaster.forecast(later, at_bin=60)
    assert len(forecaster.memory) == 1  # what the last forecast was about is gone


def test_time_runs_forwards(history: History) -> None:
    """Asking about an earlier bin than before is refused."""
    forecaster = online()
    forecaster.forecast(history, at_bin=300)
    with pytest.raises(InvalidInputError, match="later time"):
        forecaster.forecast(history, at_bin=300)


def test_what_a_move_does_is_not_taken_for_demand(history: History) -> None:
    """A VM that stands still while it is moved teaches nothing; the same drop unmoved does.

    Without this, every plan would widen the bands of the VMs it moved, and so call for more moves.
    """
    readings = history.readings.copy()
    dropped = slice(2 * DAY + 1, 2 * DAY + 3)
    readings[:, 4, dropped] = 0.0
    shown = replace(history, readings=readings)
    learned = []
    for seen, moved in ((history, False), (shown, False), (shown, True)):
        forecaster = online()
        forecaster.warm_up(seen, until_bin=2 * DAY, days=1.0)
        forecaster.forecast(seen, at_bin=2 * DAY)
        if moved:
            began_at = seen.time_of(dropped.start)
            forecaster.note_move(seen.vm_ids[4], began_at, began_at + timedelta(minutes=4))
        forecaster.forecast(seen, at_bin=2 * DAY + 14)
        learned.append((forecaster.accuracy.recent_loss.copy(), forecaster.after_moves))
    (calm, none), (unnoted, _), (noted, apart) = learned
    cpu = Resource.CPU
    assert unnoted[cpu] > calm[cpu]
    assert abs(noted[cpu] - calm[cpu]) < (unnoted[cpu] - calm[cpu]) / 2
    # Two bins at zero and one more until it has settled, as two forecasts saw them.
    assert apart.num_readings[cpu] == 6
    assert -0.8 < apart.mean_off()[cpu] < -0.5
    assert np.isnan(none.mean_off()).all()


def test_only_readings_of_the_move_are_left_out(history: History) -> None:
    """Those of the moved VM that end after the move began, until it has worked off what waited."""
    forecaster = online()
    forecast = forecaster.forecast(history, at_bin=2 * DAY)
    at = forecast.at
    forecaster.note_move(history.vm_ids[4], at + timedelta(minutes=12), at + timedelta(minutes=14))
    forecaster.note_move(history.vm_ids[5], at - timedelta(hours=1), at - timedelta(minutes=10))
    disturbed = forecaster._disturbed(forecast)
    assert np.argwhere(disturbed).tolist() == [[4, 2], [4, 3], [4, 4]]


def test_a_move_cannot_end_before_it_began(history: History) -> None:
    """Such a report is refused, naming the VM, and nothing is noted."""
    forecaster = online()
    at = history.start_at
    with pytest.raises(InvalidInputError, match="'vm1': expected a move that ends no earlier"):
        forecaster.note_move(history.vm_ids[1], at, at - timedelta(seconds=1))
    assert not forecaster._moves


def test_another_model_goes_on_with_what_was_learned(history: History) -> None:
    """Corrections and joint errors stay; how good forecasts are is asked of the new model alone."""
    forecaster = online()
    forecaster.warm_up(history, until_bin=2 * DAY, days=1.0)
    shift, dates = forecaster.calibrator.shift.copy(), len(forecaster.memory)
    assert shift.any()
    assert np.isfinite(forecaster.calibrator.coverage()).any()
    forecaster.go_on_with(Persistence(window_bins=2 * DAY))
    assert np.array_equal(forecaster.calibrator.shift, shift)
    assert len(forecaster.memory) == dates
    assert np.isnan(forecaster.calibrator.coverage()).all()
    forecaster.forecast(history, at_bin=2 * DAY + 6)
    forecaster.forecast(history, at_bin=2 * DAY + 12)
    # Readings have come for forecasts of the model before, and for none of the new one yet.
    assert not forecaster.accuracy.recent_loss.any()
    forecaster.forecast(history, at_bin=2 * DAY + 18)
    assert forecaster.accuracy.recent_loss.any()
