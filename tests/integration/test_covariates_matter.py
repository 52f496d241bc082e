"""What is known beside the meters makes forecasts better, where it decides demand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecast.forecaster import HORIZON_BINS, HORIZON_MINUTES, QUANTILES
from forecast.history import BinState, History
from forecast.metrics import pinball
from forecast.quantile import QuantileModel, TrainingSettings
from solver.domain.units import Resource
from tests.histories import DAY, activity_leads_demand, type_decides_the_day

TRAINED_UNTIL = 4 * DAY
AT_30 = HORIZON_MINUTES.index(30)


def loss_at_30_minutes(history: History) -> float:
    """Return the mean pinball loss over the days after training, of VMs that run."""
    training = TrainingSettings(
        rows_per_resource=9_000, rows_per_instant=15, iterations=50, num_jobs=1
    )
    model = QuantileModel(resources=(Resource.CPU,), training=training)
    model.fit(history, until_bin=TRAINED_UNTIL)
    losses = []
    for at_bin in range(TRAINED_UNTIL, history.num_bins - max(HORIZON_BINS), 13):
        forecast = model.forecast(history, at_bin=at_bin, resources=[Resource.CPU])
        target = at_bin + HORIZON_BINS[AT_30]
        judged = (history.state[:, target] == BinState.MEASURED) & forecast.present
        actual = history.readings[Resource.CPU, judged, target]
        losses.append(pinball(actual, forecast.values[Resource.CPU, judged, AT_30], QUANTILES))
    return float(np.concatenate(losses).mean())


@pytest.mark.slow
@pytest.mark.parametrize("case", ["activity", "application type"])
def test_covariates_lower_the_loss_by_a_third(case: str) -> None:
    """Sessions half an hour before the work; VMs whose type decides when they work."""
    if case == "activity":
        history = activity_leads_demand()
        without = replace(history, activity={})
    else:
        history = type_decides_the_day()
        without = replace(history, app_types=(None,) * history.num_vms)
    assert loss_at_30_minutes(history) < 0.7 * loss_at_30_minutes(without)
