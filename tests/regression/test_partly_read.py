"""VMs and fleets of which not all resources are read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from forecast.baseline import Persistence
from forecast.completed import CompletedModel
from forecast.history import History
from forecast.quantile import QuantileModel, TrainingSettings
from solver.domain.units import Resource
from tests.histories import DAY, make_history

AT = 3 * DAY
BOTH = (Resource.CPU, Resource.NET_IO)
SMALL = TrainingSettings(rows_per_resource=6000, rows_per_instant=10, iterations=5, num_jobs=1)


@pytest.fixture(scope="module")
def history() -> History:
    """VM 3's network was never read."""
    whole = make_history(num_vms=8)
    readings = whole.readings.copy()
    readings[Resource.NET_IO, 3] = np.nan
    return replace(whole, readings=readings)


def _fitted(history: History, *resources: Resource) -> QuantileModel:
    model = QuantileModel(training=SMALL, resources=resources)
    model.fit(history, until_bin=AT)
    return model


def test_an_unread_network_takes_no_model_from_the_cpu(history: History) -> None:
    """Only what was not read is forecast from what is assumed of it.

    One resource that a VM's host did not tell of had all of them forecast by persistence.
    """
    model = _fitted(history, *BOTH)
    both = model.forecast(history, at_bin=AT, resources=BOTH)
    alone = model.forecast(history, at_bin=AT, resources=[Resource.CPU])
    stand_in = Persistence().forecast(history, at_bin=AT, resources=BOTH)
    assert_array_equal(both.values[Resource.CPU], alone.values[Resource.CPU])
    assert not np.allclose(both.values[Resource.CPU, 3], stand_in.values[Resource.CPU, 3])
    assert_array_equal(both.values[Resource.NET_IO, 3], stand_in.values[Resource.NET_IO, 3])
    assert both.cold.tolist() == [v == 3 for v in range(8)]


def test_a_resource_without_a_model_takes_none_from_the_others(history: History) -> None:
    """What was trained on is forecast by the model, what was not by persistence.

    A model of the CPU alone was thrown away as soon as memory, too, was to be forecast, and
    another one was trained, again and again.
    """
    model = _fitted(history, Resource.CPU)
    completed = CompletedModel(model)
    both = completed.forecast(history, at_bin=AT, resources=BOTH)
    alone = model.forecast(history, at_bin=AT, resources=[Resource.CPU])
    stand_in = Persistence().forecast(history, at_bin=AT, resources=BOTH)
    assert both.resources == BOTH
    assert_array_equal(both.values[Resource.CPU], alone.values[Resource.CPU])
    assert_array_equal(both.values[Resource.NET_IO], stand_in.values[Resource.NET_IO])
    assert both.cold.tolist() == stand_in.cold.tolist() == [v == 3 for v in range(8)]
    only = completed.forecast(history, at_bin=AT, resources=[Resource.NET_IO])
    assert only.cold.tolist() == stand_in.cold.tolist()
    assert (completed.name, completed.trained_until_) == (model.name, model.trained_until_)
