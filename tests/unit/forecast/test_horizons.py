"""Horizons: some are modelled, the others lie between them."""

from __future__ import annotations

import numpy as np

from forecast.features import MODELLED_BINS, MODELLED_MINUTES
from forecast.forecaster import HORIZON_BINS, HORIZON_MINUTES, interpolated


def test_every_five_minutes_of_an_hour_has_a_forecast() -> None:
    """Twelve horizons; those the quality is promised for are modelled directly."""
    assert HORIZON_MINUTES == (5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60)
    assert {15, 30, 45, 60} <= set(MODELLED_MINUTES)
    assert [HORIZON_BINS[HORIZON_MINUTES.index(m)] for m in MODELLED_MINUTES] == list(MODELLED_BINS)


def test_modelled_horizons_are_kept_and_others_lie_on_lines() -> None:
    """A straight line stays one; a kink is at a modelled horizon."""
    minutes = np.array(MODELLED_MINUTES, dtype=np.float32)
    straight = np.broadcast_to((10.0 * minutes)[None, :, None], (3, len(minutes), 8))
    np.testing.assert_allclose(
        interpolated(np.ascontiguousarray(straight), MODELLED_MINUTES)[1, :, 5],
        10.0 * np.array(HORIZON_MINUTES),
        rtol=1e-6,
    )
    bent = np.random.default_rng(0).random((3, len(minutes), 8)).astype(np.float32)
    every = interpolated(bent, MODELLED_MINUTES)
    kept = [HORIZON_MINUTES.index(m) for m in MODELLED_MINUTES]
    np.testing.assert_allclose(every[:, kept], bent, rtol=1e-6)
    at_20 = every[:, HORIZON_MINUTES.index(20)]
    np.testing.assert_allclose(at_20, bent[:, 1] + (bent[:, 2] - bent[:, 1]) / 3, rtol=1e-5)
