"""Sums over hosts: the common factor is found, and single VMs keep their distribution."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from numpy.testing import assert_allclose

from forecast.error_memory import ErrorMemory
from forecast.forecaster import NUM_HORIZONS, QUANTILES, QuantileForecast
from forecast.history import Floats
from forecast.host_sums import MAX_SHARE, START_SHARE, SumCalibrator
from forecast.scenarios import sample_paths, with_common_factor
from solver.domain.errors import InvalidInputError
from solver.domain.units import Resource, VmId
from tests.histories import START

NUM_VMS = 60
NORMAL = np.array([-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645, 2.326])


def forecast_at(hours: float) -> QuantileForecast:
    """Return a normal forecast of spread 100 around 1000 millicores."""
    values = np.full((4, NUM_VMS, NUM_HORIZONS, len(QUANTILES)), np.nan, np.float32)
    values[Resource.CPU] = 1000 + 100 * NORMAL
    return QuantileForecast(
        vm_ids=tuple(VmId(f"vm{i}") for i in range(NUM_VMS)),
        at=START + timedelta(hours=hours),
        resources=(Resource.CPU,),
        values=values,
        limits=np.full((4, NUM_VMS), 4000, np.float32),
        present=np.ones(NUM_VMS, bool),
        cold=np.zeros(NUM_VMS, bool),
        recent_coverage=np.full((4, NUM_HORIZONS, len(QUANTILES)), np.nan, np.float32),
    )


def learn(common: float, *, hours: int = 150) -> SumCalibrator:
    """Observe readings whose deviations are common to this share; nothing is remembered."""
    rng, calibrator = np.random.default_rng(0), SumCalibrator()
    for hour in range(hours):
        noise = np.sqrt(common) * rng.standard_normal((1, NUM_HORIZONS)) + np.sqrt(
            1 - common
        ) * rng.standard_normal((NUM_VMS, NUM_HORIZONS))
        actual = np.full((4, NUM_VMS, NUM_HORIZONS), np.nan, np.float32)
        actual[Resource.CPU] = 1000 + 100 * noise
        calibrator.observe(forecast_at(hour), actual, ErrorMemory(), rng=rng, hours_since_last=1.0)
    return calibrator


def test_a_common_factor_is_found() -> None:
    """Where VMs move together and the memory does not say so, the share rises to cover the sums."""
    calibrator = learn(0.5)
    assert (calibrator.share[Resource.CPU] > 0.2).all()
    assert_allclose(calibrator.coverage()[Resource.CPU], 0.9, atol=0.07)


def test_independent_vms_need_none() -> None:
    """Where VMs do not move together the share sinks."""
    assert learn(0.0).share[Resource.CPU].mean() < START_SHARE


def test_what_was_not_forecast_stays() -> None:
    """Resources without forecasts keep their share, and have no coverage."""
    calibrator = learn(0.5, hours=5)
    assert_allclose(calibrator.share[Resource.NET_IO], START_SHARE)
    assert np.isnan(calibrator.coverage()[Resource.NET_IO]).all()


def test_share_is_bounded() -> None:
    """Sums that are never covered drive the share to its bound and not beyond."""
    calibrator, rng = SumCalibrator(), np.random.default_rng(0)
    actual = np.full((4, NUM_VMS, NUM_HORIZONS), 4000, np.float32)
    for hour in range(60):
        calibrator.observe(forecast_at(hour), actual, ErrorMemory(), rng=rng, hours_since_last=1.0)
    assert_allclose(calibrator.share[Resource.CPU], MAX_SHARE)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_single_vms_keep_their_distribution(share: float) -> None:
    """Whatever is shared, each VM's quantiles are those forecast."""
    paths = cpu_paths(share)
    reached = np.quantile(paths[:, :, 0], QUANTILES[:-1], axis=0)
    expected = np.broadcast_to((1000 + 100 * NORMAL[:-1])[:, None], reached.shape)
    assert_allclose(reached, expected, atol=8)


def test_sums_widen_with_the_share() -> None:
    """The more is shared, the wider the sum spreads."""
    spreads = [cpu_paths(share)[:, :, 2].sum(axis=1).std() for share in (0.0, 0.2, 0.6)]
    assert spreads[0] < spreads[1] < spreads[2]


def test_the_factor_is_held_over_steps() -> None:
    """A path that is high for all VMs at 15 minutes is so at an hour."""
    positions = np.random.default_rng(0).random((256, 1, 50, NUM_HORIZONS), dtype=np.float32)
    mixed = with_common_factor(
        positions, np.full((1, NUM_HORIZONS), 0.5, np.float32), np.random.default_rng(1)
    )
    total = mixed.sum(axis=(1, 2))
    assert np.corrcoef(total[:, 0], total[:, 3])[0, 1] > 0.8


def cpu_paths(share: float) -> Floats:
    """Return CPU paths of shape (paths, vms, steps) with an empty memory."""
    return sample_paths(
        forecast_at(0),
        ErrorMemory(),
        num_paths=256,
        rng=np.random.default_rng(0),
        common_share=np.full((4, NUM_HORIZONS), share, np.float32),
    )[:, Resource.CPU]


def test_time_must_pass() -> None:
    """An observation without time since the last is refused."""
    actual = np.full((4, NUM_VMS, NUM_HORIZONS), 1000, np.float32)
    rng = np.random.default_rng(0)
    with pytest.raises(InvalidInputError, match="positive time"):
        SumCalibrator().observe(
            forecast_at(0), actual, ErrorMemory(), rng=rng, hours_since_last=0.0
        )
