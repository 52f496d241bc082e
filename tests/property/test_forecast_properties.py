"""What holds for any telemetry: promises of forecasts, scenarios, scores and files."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forecast.baseline import Persistence, SeasonalNaive, WindowQuantiles
from forecast.forecaster import QUANTILES, Forecaster
from forecast.history import BinState, History
from forecast.metrics import below_zero, cdf_bounds, hit_share, quantiles_at
from forecast.online import OnlineForecaster
from forecast.reduction import reduce_paths
from forecast.tidy import read_history
from solver.domain.units import Resource
from tests.histories import START, make_history, tidy_table

FORECASTERS: tuple[Forecaster, ...] = (Persistence(), WindowQuantiles(), SeasonalNaive())


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw short histories with gaps, shutdowns, late starts and readings of any size."""
    num_vms, num_bins = draw(st.integers(1, 4)), draw(st.integers(20, 60))
    state = draw(
        hnp.arrays(np.uint8, (num_vms, num_bins), elements=st.sampled_from([0, 0, 0, 1, 2, 3]))
    )
    for vm in range(num_vms):
        state[vm, : draw(st.integers(0, 10))] = BinState.ABSENT
    size = st.floats(0, 4400, width=32, allow_subnormal=False)
    readings = draw(hnp.arrays(np.float32, (4, num_vms, num_bins), elements=size))
    readings[:, state == BinState.OFF] = 0.0
    readings[:, state >= BinState.MISSING] = np.nan
    return make_history(readings, state=state)


@given(histories(), st.sampled_from(FORECASTERS), st.integers(0, 19))
def test_forecasts_keep_their_promises(
    history: History, forecaster: Forecaster, at_bin: int
) -> None:
    """Quantiles rise, stay within 0 and the limits, and are zero for what is off or absent."""
    resources = tuple(Resource)
    forecast = forecaster.forecast(history, at_bin=at_bin, resources=resources)
    values = forecast.values
    assert not np.isnan(values).any()
    assert (np.diff(values, axis=-1) >= 0).all()
    assert (values >= 0).all()
    assert (values <= forecast.limits[:, :, None, None]).all()
    stopped = history.state[:, at_bin] == BinState.OFF
    assert (values[:, stopped | ~forecast.present] == 0).all()


@given(histories(), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_scenarios_from_any_history(history: History, num_scenarios: int, seed: int) -> None:
    """Whatever the telemetry, scenarios are whole, their weights exact, and they repeat."""
    made = []
    for _ in range(2):
        online = OnlineForecaster(forecaster=Persistence(), resources=(Resource.CPU,))
        for at_bin in (3, 4, 18):
            rng = np.random.default_rng(seed)
            forecast, scenarios = online.scenarios(
                history, at_bin=at_bin, num_scenarios=num_scenarios, rng=rng
            )
        made.append(scenarios)
    assert sum(made[0].probability_ppm) == 1_000_000
    assert (made[0].demand[:, ~forecast.present] == 0).all()
    np.testing.assert_array_equal(made[0].demand, made[1].demand)


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(8, 40), st.integers(1, 2), st.integers(1, 30), st.just(4)),
        elements=st.floats(0, 1e6, width=32),
    ),
    st.integers(1, 8),
    st.integers(0, 1000),
)
def test_reduction_chooses_distinct_paths(paths: Any, num_scenarios: int, seed: int) -> None:
    """Each kept path is one of the given ones, none twice, and the weights add up."""
    rng = np.random.default_rng(seed)
    chosen, ppm = reduce_paths(paths, num_scenarios=num_scenarios, rng=rng)
    assert len(set(chosen.tolist())) == num_scenarios
    assert 0 <= chosen.min() <= chosen.max() < len(paths)
    assert sum(ppm) == 1_000_000
    assert min(ppm) > 0


@given(
    hnp.arrays(np.float64, 8, elements=st.floats(0, 1000)).map(np.sort),
    st.integers(0, 8),
    st.floats(0.001, 0.999),
)
def test_distribution_and_quantiles_are_inverse(values: Any, num_zeros: int, level: float) -> None:
    """The value at a level has that level between its two bounds, at an atom at zero too."""
    values[:num_zeros] = 0.0
    at = quantiles_at(values, QUANTILES, np.array([level])).astype(float)
    low, high = cdf_bounds(at, values[None], QUANTILES)
    assert 0 <= low[0] <= high[0] <= 1
    gap = np.diff(values[max(num_zeros - 1, 0) :])
    if (gap > 1e-2).all():
        assert low[0] - 1e-2 <= level <= high[0] + 1e-2


@given(
    st.integers(0, 8),
    hnp.arrays(np.float64, 8, elements=st.floats(0.001, 1000)).map(np.sort),
)
def test_below_zero_changes_nothing_above_it(num_zeros: int, values: Any) -> None:
    """It stays sorted, and cut off at zero it is what it was."""
    values[:num_zeros] = 0.0
    latent = below_zero(values, QUANTILES)
    assert (np.diff(latent) >= 0).all()
    assert np.maximum(latent, 0.0).tolist() == values.tolist()


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_hit_shares_rise_with_the_level(first: float, second: float, level: float) -> None:
    """A share is a probability and never falls as the level rises."""
    low, high = np.array([min(first, second)]), np.array([max(first, second)])
    shares = [hit_share(low, high, x)[0] for x in sorted((level, first, second, 0.0, 1.0))]
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1


@given(st.integers(1, 4), st.integers(1, 12), st.randoms(use_true_random=False))
def test_order_of_vms_in_a_file_is_free(num_vms: int, num_bins: int, random: Any) -> None:
    """Rows of different VMs may be interleaved in any way; each VM's readings are the same."""
    table = tidy_table(num_vms=num_vms, num_bins=num_bins)
    owners = [vm for vm in range(num_vms) for _ in range(num_bins)]
    random.shuffle(owners)
    taken = [0] * num_vms
    rows = []
    for vm in owners:
        rows.append(vm * num_bins + taken[vm])
        taken[vm] += 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.parquet"
        pq.write_table(table.take(rows), path, row_group_size=5)
        mixed = read_history(path, now=START + timedelta(days=365))
    order = mixed.positions([f"vm{i}" for i in range(num_vms)])
    expected = 1000 * (1.0 + 0.1 * np.arange(num_bins))
    for i in order:
        np.testing.assert_allclose(mixed.readings[Resource.CPU, i], expected, rtol=1e-5)
