"""Moments like the present: found where they are, and what followed them told as it was."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.analogues import COMPARED, NUM_NEAREST, Analogues
from forecast.analogues import find_analogues as find_all
from forecast.gaps import FILL_BINS
from forecast.history import Floats

HORIZONS = (1, 3, 6, 9, 12)
COMPARED_BINS = COMPARED["80m"]


def find_analogues(window: Floats, horizons: tuple[int, ...]) -> Analogues:
    """Return those of one search, beside which others go on."""
    found = find_all(window, horizons, (6, COMPARED_BINS, 24))
    return found[1]


def series_of_jobs(num_bins: int) -> Floats:
    """Return a VM that works for an hour and rests for forty minutes."""
    return np.where(np.arange(num_bins) % 20 < 12, 1.0, 0.0).astype(np.float32)


def by_hand(row: Floats) -> list[tuple[float, int, list[float]]]:
    """Return distance, age and changes of all moments of a VM, the ones most alike first."""
    known = list(row)
    for i, reading in enumerate(row):
        earlier = [row[j] for j in range(max(0, i - FILL_BINS), i) if not math.isnan(row[j])]
        if math.isnan(reading) and earlier:
            known[i] = earlier[-1]
    weights = [i + 1 for i in range(COMPARED_BINS)]
    found = []
    for at in range(COMPARED_BINS - 1, len(known) - max(HORIZONS)):
        then, now = known[at - COMPARED_BINS + 1 : at + 1], known[-COMPARED_BINS:]
        apart = sum(w * abs(a - b) for w, a, b in zip(weights, then, now, strict=True))
        changes = [float(row[at + bins] - known[at]) for bins in HORIZONS]
        if not any(math.isnan(number) for number in (apart, *changes)):
            found.append((float(apart) / sum(weights), len(known) - at, changes))
    moments = len(known) - max(HORIZONS) - COMPARED_BINS + 1
    return sorted(found) if moments >= NUM_NEAREST else []


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
        nearest = [apart for apart, _, _ in expected[:NUM_NEAREST]]
        padded = nearest + [math.nan] * (NUM_NEAREST - len(nearest))
        np.testing.assert_allclose(distances, padded, rtol=1e-5, atol=1e-6)
        for mine, near in zip(changes, nearest, strict=False):
            as_near = [theirs for apart, _, theirs in expected if abs(apart - near) < 1e-5]
            assert any(np.allclose(mine, theirs, atol=1e-6) for theirs in as_near)
        assert np.isnan(changes[len(nearest) :]).all()


@pytest.mark.parametrize(("jump_at", "seen"), [(105, 0.0), (383, 0.5)])
def test_of_moments_as_near_the_latest_count(jump_at: int, seen: float) -> None:
    """A VM that stands still but for one jump: only if that was lately does it follow."""
    row = np.full(400, 0.5, np.float32)
    row[jump_at] = 1.0
    found = find_analogues(row[None], HORIZONS)
    np.testing.assert_array_equal(found.distances, 0.0)
    assert found.changes.max() == seen


def test_a_long_gap_is_no_calm() -> None:
    """What nobody read for hours neither resembles the present nor follows what does."""
    rng = np.random.default_rng(3)
    row = rng.random(300).astype(np.float32)
    # A calm in the middle would be nearer to noise than other noise is.
    row[99] = 0.5
    row[100:172] = np.nan
    found = find_analogues(row[None], HORIZONS)
    hidden = [change for _, _, change in by_hand(row)[:NUM_NEAREST]]
    np.testing.assert_allclose(found.changes[0], hidden, atol=1e-6)
    assert (np.abs(found.changes).max(axis=2) > 0).all()


@pytest.mark.parametrize("num_bins", [1, COMPARED_BINS, 12 + COMPARED_BINS + NUM_NEAREST - 2])
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


@pytest.mark.parametrize("missing", [slice(0), slice(20, 25)])
def test_the_readings_are_left_as_they_are(missing: slice) -> None:
    """With and without gaps."""
    window = np.random.default_rng(0).random((2, 60)).astype(np.float32)
    window[:, missing] = np.nan
    before = window.copy()
    find_analogues(window, HORIZONS)
    np.testing.assert_array_equal(window, before)
