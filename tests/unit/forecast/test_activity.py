"""Activity of users: how demand that follows it is foreseen, and that nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from forecast.activity import LAGS, implied_by_activity
from forecast.features import MODELLED_BINS
from forecast.history import Floats

WIDTH = 288
EARLIER = max(MODELLED_BINS) + max(LAGS)


def following(lead_bins: int, num_vms: int = 5, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Return a day of demand, activity back to before it, and demand as it goes on."""
    rng = np.random.default_rng(seed)
    activity = rng.gamma(2.0, 1000.0, (num_vms, EARLIER + WIDTH + max(MODELLED_BINS)))
    demand = 0.1 + 0.0001 * np.roll(activity, lead_bins, axis=1)
    seen = slice(EARLIER, EARLIER + WIDTH)
    return (
        demand[:, seen].astype(np.float32),
        activity[:, : EARLIER + WIDTH].astype(np.float32),
        demand[:, EARLIER + WIDTH :].astype(np.float32),
    )


@pytest.mark.parametrize("bins", MODELLED_BINS)
@pytest.mark.parametrize("lead_bins", [6, 12])
def test_demand_that_follows_activity_is_known_in_advance(bins: int, lead_bins: int) -> None:
    """As far ahead as activity leads, exactly; beyond that nothing fits."""
    day, activity, ahead = following(lead_bins)
    implied, correlation = implied_by_activity(day, [activity], bins)
    if lead_bins - bins in LAGS:
        np.testing.assert_allclose(implied, ahead[:, bins - 1], rtol=1e-3)
        assert (correlation > 0.999).all()
    elif lead_bins < bins:
        assert (np.abs(correlation) < 0.5).all()


def test_the_series_that_fits_best_speaks() -> None:
    """Of several series the one that demand follows; one that says nothing changes nothing."""
    day, activity, _ = following(6)
    noise = np.random.default_rng(9).random(activity.shape).astype(np.float32)
    nothing = np.full_like(activity, np.nan)
    alone = implied_by_activity(day, [activity], 6)
    among = implied_by_activity(day, [noise, nothing, activity], 6)
    np.testing.assert_array_equal(alone, among)


def test_gaps_are_left_out() -> None:
    """Missing counts, and missing demand, are no evidence and do not spoil the rest."""
    day, activity, ahead = following(6)
    rng = np.random.default_rng(2)
    activity[:, :-10][rng.random(activity[:, :-10].shape) < 0.2] = np.nan
    day[:, :-10][rng.random(day[:, :-10].shape) < 0.2] = np.nan
    implied, _ = implied_by_activity(day, [activity], 6)
    np.testing.assert_allclose(implied, ahead[:, 5], rtol=1e-3)


@pytest.mark.parametrize("case", ["none", "constant", "short", "unknown"])
def test_nothing_is_said_without_evidence(case: str) -> None:
    """No series, one that never changes, two hours of it, or none of its newest readings."""
    day, activity, _ = following(6)
    series = [activity]
    if case == "none":
        series = []
    elif case == "constant":
        activity[:] = 7.0
    elif case == "short":
        activity[:, :-36] = np.nan
    else:
        activity[:, -1 - max(LAGS) :] = np.nan
    found = implied_by_activity(day, series, 6)
    assert all(np.isnan(column).all() for column in found)


def test_large_counts_keep_their_digits() -> None:
    """Billions of requests that vary by a per mille are told apart."""
    day, activity, ahead = following(6)
    implied, correlation = implied_by_activity(day, [activity * 1e6], 6)
    np.testing.assert_allclose(implied, ahead[:, 5], rtol=1e-3)
    assert (correlation > 0.999).all()
