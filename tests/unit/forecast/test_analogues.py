"""Moments like the present: found where they are, and what followed them told as it was."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.analogues import COMPARED_BINS, NUM_NEAREST, find_analogues
from forecast.history import Floats

HORIZONS = (1, 3, 6, 9, 12)


def series_of_jobs(num_bins: int) -> Floats:
    """Return a VM that works for an hour and rests for forty minutes."""
    return np.where(np.arange(num_bins) % 20 < 12, 1.0, 0.0).astype(np.float32)


def by_hand(row: Floats) -> list[tuple[float, list[float]]]:
    """Return distance and changes of all moments of one VM, nearest first; none of too few."""
    known = list(row)
    for i, reading in enumerate(known):
        if math.isnan(reading) and i:
            known[i] = known[i - 1]
    weights = [i + 1 for i in range(COMPARED_BINS)]
    found = []
    for at in range(COMPARED_BINS - 1, len(known) - max(HORIZONS)):
        then, now = known[at - COMPARED_BINS + 1 : at + 1], known[-COMPARED_BINS:]
        apart = sum(w * abs(a - b) for w, a, b in zip(weights, then, now, strict=True))
        if not math.isnan(apart):
            changes = [float(known[at + bins] - known[at]) for bins in HORIZONS]
            found.append((apart / sum(weights), changes))
    return sorted(found) if len(known) >= COMPARED_BINS + max(HORIZONS) + NUM_NEAREST - 1 else []


def test_the_end_of_a_job_is_foretold_by_those_before_it() -> None:
    """Eleven bins into a job of twelve it ends with the next one, as the others did."""
    found = find_analogues(series_of_jobs(20 * 15 + 11)[None], HORIZONS)
    np.testing.assert_array_equal(found.distances, 0.0)
    # One bin on it still works; it rests for eight, and works again after that.
    np.testing.assert_array_equal(found.changes[0], [[0.0, -1.0, -1.0, -1.0, 0.0]] * NUM_NEAREST)


@given(seed=st.integers(0, 10_000), num_bins=st.integers(24, 110), missing=st.floats(0.0, 0.6))
def test_the_nearest_moments_are_those_of_a_search_by_hand(
    seed: int, num_bins: int, missing: float
) -> None:
    """Whatever the readings and gaps: distances agree, changes are those of a moment as near."""
    rng = np.random.default_rng(seed)
    window = rng.random((3, num_bins)).astype(np.float32)
    window[rng.random(window.shape) < missing] = np.nan
    found = find_analogues(window, HORIZONS)
    for row, distances, changes in zip(window, found.distances, found.changes, strict=True):
        expected = by_hand(row)
        nearest = [apart for apart, _ in expected[:NUM_NEAREST]]
        padded = nearest + [math.nan] * (NUM_NEAREST - len(nearest))
        np.testing.assert_allclose(distances, padded, rtol=1e-5, atol=1e-6)
        for mine, near in zip(changes, nearest, strict=False):
            as_near = [theirs for apart, theirs in expected if abs(apart - near) < 1e-5]
            assert any(np.allclose(mine, theirs, atol=1e-6) for theirs in as_near)
        assert np.isnan(changes[len(nearest) :]).all()


@pytest.mark.parametrize("num_bins", [1, COMPARED_BINS, COMPARED_BINS + 13])
def test_a_short_past_has_none(num_bins: int) -> None:
    """Too few moments with an hour after them: nothing is told, nothing fails."""
    found = find_analogues(np.ones((2, num_bins), np.float32), HORIZONS)
    assert np.isnan(found.changes).all()
    assert np.isnan(found.distances).all()
    assert found.changes.shape == (2, NUM_NEAREST, len(HORIZONS))


def test_a_vm_that_was_never_read_has_none() -> None:
    """Nothing known is no distance of zero."""
    window = np.full((2, 100), np.nan, np.float32)
    window[1] = 0.5
    found = find_analogues(window, HORIZONS)
    assert np.isnan(found.distances[0]).all()
    np.testing.assert_array_equal(found.distances[1], 0.0)
    np.testing.assert_array_equal(found.changes[1], 0.0)


def test_the_readings_are_left_as_they_are() -> None:
    """Gaps are bridged in a copy."""
    window = np.random.default_rng(0).random((2, 60)).astype(np.float32)
    window[:, 20:25] = np.nan
    before = window.copy()
    find_analogues(window, HORIZONS)
    np.testing.assert_array_equal(window, before)
