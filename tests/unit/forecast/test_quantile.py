"""The boosted model: where it is fitted makes no difference to what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from distributed import Client, LocalCluster

from forecast.history import Floats
from forecast.quantile import QuantileModel, TrainingSettings
from solver.domain.units import Resource
from tests.histories import DAY, make_history

SMALL = TrainingSettings(rows_per_resource=3000, rows_per_instant=30, iterations=8, seed=4)


def trained(settings: TrainingSettings) -> Floats:
    """Return what a model fitted so forecasts."""
    history = make_history(num_vms=30, num_bins=4 * DAY)
    model = QuantileModel(resources=(Resource.CPU,), training=settings)
    model.fit(history, until_bin=3 * DAY)
    at_bin = 3 * DAY + 100
    return model.forecast(history, at_bin=at_bin, resources=[Resource.CPU]).values[Resource.CPU]


@pytest.mark.slow
def test_two_worker_processes_of_dask_fit_the_same_models() -> None:
    """As joblib's own processes do."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as workers,
        Client(workers),
    ):
        by_dask = trained(replace(SMALL, backend="dask"))
    np.testing.assert_array_equal(by_dask, trained(SMALL))
