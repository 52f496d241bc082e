"""Scores of distributions, on cases small enough to do by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from forecast.forecaster import QUANTILES
from forecast.metrics import (
    cdf_bounds,
    coverage,
    crps,
    group_bands,
    interpolation_weights,
    interval_score,
    pinball,
    quantiles_at,
    random_groups,
    randomised_pit,
    weighted_quantile,
    width,
)
from solver.domain.errors import InvalidInputError

CENTRE = 10.0
NORMAL = CENTRE + np.array([-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645, 2.326])
"""Far enough from zero, below which there is no demand."""


def test_pinball_by_hand() -> None:
    """Too low costs the level, too high costs the rest."""
    loss = pinball(np.array([3.0]), np.array([[1.0, 5.0]]), [0.9, 0.9])
    assert_allclose(loss, [[1.8, 0.2]])


def test_pinball_is_least_at_the_quantile() -> None:
    """On average no other value beats the true quantile."""
    sample = np.random.default_rng(0).normal(size=20000)
    candidates = np.linspace(0.5, 2.0, 31)
    losses = pinball(sample[:, None], np.repeat(candidates[:, None], 1, axis=1), [0.9])
    best = candidates[np.argmin(losses.mean(axis=(0, 2)))]
    assert best == pytest.approx(1.28, abs=0.06)


def test_crps_of_a_certain_forecast_is_the_distance() -> None:
    """A forecast of one value scores its absolute error."""
    assert_allclose(crps(np.array([3.0]), np.full((1, 8), 5.0), QUANTILES), [2.0], rtol=0.02)


def test_crps_of_a_normal() -> None:
    """The score of a normal at its centre is near its exact value, 0.2337 deviations."""
    assert_allclose(crps(np.array([CENTRE]), NORMAL[None], QUANTILES), [0.2337], rtol=0.1)


def test_width_and_unknown_levels() -> None:
    """A band is named by two of the quantiles."""
    assert width(NORMAL, QUANTILES, low=0.05, high=0.95) == pytest.approx(3.29)
    with pytest.raises(InvalidInputError, match=r"got 0\.3"):
        width(NORMAL, QUANTILES, low=0.3, high=0.95)


def test_interval_score_by_hand() -> None:
    """Width inside; outside ten times 2 for each unit missed by a 90 % band."""
    score = interval_score(np.array([5.0, 12.0]), np.zeros(2), np.full(2, 10.0), coverage=0.9)
    assert_allclose(score, [10.0, 50.0])


def test_cdf_inverts_the_quantiles() -> None:
    """Between, below and above the known quantiles, F undoes what interpolation does."""
    levels = np.array([0.001, 0.03, 0.05, 0.3, 0.5, 0.93, 0.99, 0.9995])
    values = quantiles_at(NORMAL, QUANTILES, levels)
    low, high = cdf_bounds(values, np.broadcast_to(NORMAL, (8, 8)), QUANTILES)
    assert_allclose(low, levels, atol=1e-4)
    assert_allclose(high, levels, atol=1e-4)


def test_weights_reproduce_known_levels() -> None:
    """At the known levels each quantile stands for itself; rows always add up to one."""
    assert_allclose(interpolation_weights(np.array(QUANTILES), QUANTILES), np.eye(8), atol=1e-6)
    middle = (np.arange(64) + 0.5) / 64
    assert_allclose(interpolation_weights(middle, QUANTILES).sum(axis=1), 1.0, atol=1e-5)


def test_atom_at_zero() -> None:
    """A reading of zero may lie anywhere below the level at which quantiles leave zero.

    A line through the two lowest of those that do leave it says which that is.
    """
    values = np.array([[0, 0, 0, 0, 1, 2, 3, 4.0]])
    low, high = cdf_bounds(np.array([0.0]), values, QUANTILES)
    assert (low[0], high[0]) == (0.0, pytest.approx(0.6))
    values = np.array([[0, 0, 0, 0, 0, 0, 0, 4.0]])
    low, high = cdf_bounds(np.array([0.0]), values, QUANTILES)
    assert (low[0], high[0]) == (0.0, 0.95)


def test_constant_vm() -> None:
    """A forecast that is certain and right covers every level in proportion."""
    low, high = cdf_bounds(np.array([7.0]), np.full((1, 8), 7.0), QUANTILES)
    assert (low[0], high[0]) == (0.0, 1.0)
    assert_allclose(coverage(low, high, QUANTILES), QUANTILES)


def test_pit_is_uniform_with_atoms() -> None:
    """Half zeros, half uniform: forecast truly, every level is covered as it should be."""
    rng = np.random.default_rng(1)
    actual = np.where(rng.random(20000) < 0.5, 0.0, rng.random(20000))
    truth = np.maximum(0.0, (np.array(QUANTILES) - 0.5) * 2)
    values = np.broadcast_to(truth, (20000, 8))
    pit = randomised_pit(actual, values, QUANTILES, rng)
    assert_allclose(np.quantile(pit, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.015)
    low, high = cdf_bounds(actual, values, QUANTILES)
    assert_allclose(coverage(low, high, QUANTILES), QUANTILES, atol=0.01)


def test_an_atom_between_two_levels_is_found() -> None:
    """Zero with a chance of 0.4, where 0.25 and 0.5 are the levels that are known.

    The atom was taken to end at 0.25, and a reading of zero counted at or below the 10 % quantile
    in four of ten cases instead of one of four: memory of busy VMs seemed 8 points off.
    """
    rng = np.random.default_rng(1)
    actual = np.where(rng.random(20000) < 0.4, 0.0, rng.random(20000))
    truth = np.maximum(0.0, (np.array(QUANTILES) - 0.4) / 0.6)
    values = np.broadcast_to(truth, (20000, 8))
    low, high = cdf_bounds(actual, values, QUANTILES)
    assert high[actual == 0.0] == pytest.approx(0.4)
    assert_allclose(coverage(low, high, QUANTILES), QUANTILES, atol=0.01)
    drawn = quantiles_at(truth, QUANTILES, (np.arange(1000) + 0.5) / 1000)
    assert np.mean(drawn == 0.0) == pytest.approx(0.4, abs=0.002)


def test_unknown_readings_are_left_out() -> None:
    """NaN readings count neither for nor against."""
    low, high = cdf_bounds(np.array([np.nan, 7.0]), np.full((2, 8), 7.0), QUANTILES)
    assert np.isnan(low[0])
    assert_allclose(coverage(low, high, QUANTILES), QUANTILES)
    assert np.isnan(coverage(low[:1], high[:1], QUANTILES)).all()


def test_groups_are_host_sized_and_disjoint() -> None:
    """Random groups have 15 to 25 VMs, and no VM is in two."""
    groups = random_groups(200, np.random.default_rng(0))
    assert all(15 <= len(group) <= 25 for group in groups)
    together = np.concatenate(groups)
    assert len(set(together.tolist())) == len(together) > 180


def test_group_bands() -> None:
    """The band of a sum is taken over the sums of whole paths."""
    paths = np.tile(np.arange(101.0)[:, None], (1, 4))
    low, high = group_bands(paths, [np.array([0, 1]), np.array([2, 3])])
    assert_allclose(low, [10, 10])
    assert_allclose(high, [190, 190])


def test_weighted_quantile() -> None:
    """Weights count like repeated samples."""
    samples = np.array([[1.0], [2.0], [3.0]])
    assert weighted_quantile(samples, 0.5, np.array([1, 1, 8])) == [3.0]
    assert weighted_quantile(samples, 0.05, np.array([1, 1, 8])) == [1.0]
