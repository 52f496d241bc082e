"""How good a distribution is: pinball loss, CRPS, coverage, width, PIT, and host sums.

Pure functions on arrays. What is averaged over which VMs is ``forecast.backtest``'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from solver.domain.errors import InvalidInputError

Array = npt.NDArray[np.floating[Any]]

CRPS_LEVELS: Final = 64
LEAST_ATOM: Final = 1e-12
"""Probability of a value below which it is no atom."""


def pinball(actual: Array, values: Array, quantiles: Sequence[float]) -> Array:
    """Return the quantile loss ``max(q·e, (q − 1)·e)`` with ``e = actual − value``.

    Parameters
    ----------
    actual
        Shape ``(...)``.
    values
        Shape ``(..., num_quantiles)``.

    Returns
    -------
    Array
        Shape of ``values``; NaN where ``actual`` is.

    References
    ----------
    .. [1] Koenker, Bassett (1978). Regression quantiles. Econometrica 46(1). doi:10.2307/1913643

    Examples
    --------
    >>> pinball(np.array([3.0]), np.array([[1.0]]), [0.9]).item()
    1.8
    """
    levels = np.asarray(quantiles)
    error = actual[..., None] - values
    return np.maximum(levels * error, (levels - 1.0) * error)


def crps(actual: Array, values: Array, quantiles: Sequence[float]) -> Array:
    """Return the continuous ranked probability score, approximated from quantiles.

    Twice the pinball loss, averaged over many levels between which the known quantiles are
    interpolated as in :func:`interpolation_weights`; the loss over the known levels alone is
    several per cent too small. Values are non-negative.

    Returns
    -------
    Array
        Shape of ``actual``.

    References
    ----------
    .. [1] Gneiting, Ranjan (2011). Comparing density forecasts using threshold- and
       quantile-weighted scoring rules. JBES 29(3). doi:10.1198/jbes.2010.08110
    """
    levels = (np.arange(CRPS_LEVELS) + 0.5) / CRPS_LEVELS
    fine = quantiles_at(values, quantiles, levels)
    return np.asarray(2.0 * pinball(actual, fine, levels.tolist()).mean(axis=-1))


def width(values: Array, quantiles: Sequence[float], *, low: float, high: float) -> Array:
    """Return the width of the band between two of the quantiles."""
    names = list(quantiles)
    if low not in names or high not in names:
        raise InvalidInputError(f"expected two of {names}, got {low} and {high}")
    return values[..., names.index(high)] - values[..., names.index(low)]


def interval_score(actual: Array, low: Array, high: Array, *, coverage: float) -> Array:
    """Return the interval score: width plus a penalty for what falls outside; lower is better.

    References
    ----------
    .. [1] Gneiting, Raftery (2007). Strictly proper scoring rules, prediction, and estimation.
       JASA 102(477). doi:10.1198/016214506000001437
    """
    penalty = 2.0 / (1.0 - coverage)
    below, above = np.maximum(low - actual, 0.0), np.maximum(actual - high, 0.0)
    return high - low + penalty * (below + above)


def cdf_bounds(
    actual: Array, values: Array, quantiles: Sequence[float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return ``F(actual−)`` and ``F(actual)`` of the piecewise linear distribution.

    Between quantiles the distribution function is linear; beyond the outermost two it decays
    exponentially, at the slope with which they are joined to their neighbours. Where quantiles
    coincide it jumps, and the two bounds differ: an atom. What :func:`below_zero` leaves below
    zero lies at zero, the floor of all demand, which idle VMs often read.

    Parameters
    ----------
    actual
        Shape ``(...)``.
    values
        Shape ``(..., num_quantiles)``, non-negative and non-decreasing along the last axis.

    Returns
    -------
    tuple of Arrays
        Each of the shape of ``actual``, NaN where it is.
    """
    levels = np.asarray(quantiles, dtype=np.float64)
    values = below_zero(values, levels)
    x = actual[..., None]
    below = np.count_nonzero(values < x, axis=-1)  # quantiles strictly below
    upto = np.count_nonzero(values <= x, axis=-1)  # quantiles at or below
    lower = _between(actual, values, levels, below)
    upper = np.where(upto > below, levels[np.maximum(upto - 1, 0)], lower)
    # An atom that reaches the lowest quantile holds all that lies below it, too: demand has a
    # lower bound, and a flat start of the quantile function means that it is reached.
    at_bottom = (upto > below) & (below == 0)
    first_level = np.where(at_bottom, 0.0, levels[np.minimum(below, len(levels) - 1)])
    lower = np.where(upto > below, first_level, lower)
    at_top = (upto > below) & (upto == len(levels)) & (upto - below > 1)
    upper = np.where(at_top, 1.0, upper)
    lower = np.where(actual <= 0.0, 0.0, lower)
    unknown = np.isnan(actual)
    return np.where(unknown, np.nan, lower), np.where(unknown, np.nan, upper)


def below_zero(values: Array, quantiles: Sequence[float] | npt.NDArray[np.float64]) -> Array:
    """Return quantiles of what demand would be if it had no floor: it is that, but at least zero.

    Quantiles that are zero tell only that the distribution is at its floor there. In their place
    stands the line through the two lowest positive quantiles, where it is below zero: between the
    last zero and the first positive quantile the floor is then left where that line crosses it, and
    not at the last zero, whose level is nothing but the grid's.

    Parameters
    ----------
    values
        Non-negative, shape ``(..., num_quantiles)``, non-decreasing along the last axis.

    Returns
    -------
    Array
        Shape of ``values``, non-decreasing; ``values`` itself where nothing is zero, or fewer than
        two quantiles are not.
    """
    zeros = np.count_nonzero(values <= 0.0, axis=-1)
    first = values.shape[-1] - 1
    told = (zeros > 0) & (zeros < first)
    if not told.any():
        return values
    levels = np.asarray(quantiles, dtype=np.float64)
    rows, left = values[told].astype(np.float64), zeros[told][:, None]
    low, high = (np.take_along_axis(rows, at, axis=-1) for at in (left, left + 1))
    slope = (high - low) / (levels[left + 1] - levels[left])
    line = np.minimum(low - slope * (levels[left] - levels), 0.0)
    latent = np.array(values, dtype=np.float64)
    latent[told] = np.where(np.arange(len(levels)) < left, line, rows)
    return latent


def _between(
    actual: Array, values: Array, levels: npt.NDArray[np.float64], below: npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    """Return F at a point that equals no quantile, ``below`` of which lie under it."""
    last = len(levels) - 1
    left, right = np.clip(below - 1, 0, last), np.clip(below, 0, last)
    v_left = np.take_along_axis(values, left[..., None], axis=-1)[..., 0].astype(np.float64)
    v_right = np.take_along_axis(values, right[..., None], axis=-1)[..., 0].astype(np.float64)
    gap = np.where(v_right > v_left, v_right - v_left, 1.0)
    inside = levels[left] + (levels[right] - levels[left]) * (actual - v_left) / gap
    high_scale, low_scale = tail_scales(values, levels)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        beyond_high = 1.0 - (1.0 - levels[-1]) * np.exp(-(actual - values[..., -1]) / high_scale)
        beyond_low = levels[0] * np.exp((actual - values[..., 0]) / low_scale)
    return np.where(below == 0, beyond_low, np.where(below > last, beyond_high, inside))


def tail_scales(
    values: Array, levels: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the scale of the exponential tail above and below, each at least a tiny amount.

    An exponential tail through the two outermost quantiles: ``Q(τ) = q_n + s·ln((1−τ_n)/(1−τ))``.
    """
    high = (values[..., -1] - values[..., -2]) / np.log((1 - levels[-2]) / (1 - levels[-1]))
    low = (values[..., 1] - values[..., 0]) / np.log(levels[1] / levels[0])
    tiny = 1e-6 * np.maximum(np.abs(values[..., -1]), 1e-3)
    return np.maximum(high, tiny), np.maximum(low, tiny)


def interpolation_weights(
    levels: npt.NDArray[np.float64], quantiles: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Return what each known quantile contributes to the quantiles at other levels.

    Linear between the known quantiles and exponential beyond them, as in :func:`cdf_bounds`.
    Both are linear in the quantiles' values, so any number of VMs is one matrix product.

    Parameters
    ----------
    levels
        In 0..1 exclusive, shape ``(num_levels,)``.

    Returns
    -------
    Array
        Shape ``(num_levels, num_quantiles)``; each row adds up to 1.
    """
    known = np.asarray(quantiles, dtype=np.float64)
    right = np.clip(np.searchsorted(known, levels), 1, len(known) - 1)
    share = (levels - known[right - 1]) / (known[right] - known[right - 1])
    low_reach = np.log(known[0] / np.minimum(levels, known[0])) / np.log(known[1] / known[0])
    high_reach = np.log((1 - known[-1]) / (1 - np.maximum(levels, known[-1])))
    high_reach /= np.log((1 - known[-2]) / (1 - known[-1]))
    share = np.where(levels < known[0], -low_reach, share)
    share = np.where(levels > known[-1], 1.0 + high_reach, share)
    weights = np.zeros((len(levels), len(known)))
    rows = np.arange(len(levels))
    weights[rows, right] = share
    weights[rows, right - 1] = 1.0 - share
    return weights.astype(np.float32)


def quantiles_at(
    values: Array, quantiles: Sequence[float], levels: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Return quantiles at other levels, the inverse of :func:`cdf_bounds`.

    Parameters
    ----------
    values
        Shape ``(..., num_quantiles)``, non-negative and non-decreasing along the last axis.
    levels
        In 0..1 exclusive, shape ``(num_levels,)``.

    Returns
    -------
    Array
        Shape ``(..., num_levels)``, non-negative.
    """
    latent = below_zero(values, quantiles).astype(np.float32, copy=False)
    found = latent @ interpolation_weights(levels, quantiles).T
    return np.asarray(np.maximum(found, np.float32(0)))


def randomised_pit(
    actual: Array, values: Array, quantiles: Sequence[float], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the probability integral transform, drawn uniformly over the jump at an atom.

    Uniform on 0..1 if and only if the forecast is calibrated, also where demand is often exactly
    zero.

    Returns
    -------
    Array
        Shape of ``actual``, NaN where it is.

    References
    ----------
    .. [1] Czado, Gneiting, Held (2009). Predictive model assessment for count data. Biometrics
       65(4). doi:10.1111/j.1541-0420.2009.01191.x
    """
    low, high = cdf_bounds(actual, values, quantiles)
    return low + (high - low) * rng.random(low.shape)


def coverage(
    low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], quantiles: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Return the share of readings at or below each quantile, atoms counted in proportion.

    The expectation of the randomised PIT's coverage, hence without its noise.

    Parameters
    ----------
    low, high
        From :func:`cdf_bounds`, any shape; NaN is left out.

    Returns
    -------
    Array
        Shape ``(num_quantiles,)``; NaN if nothing is known.
    """
    known = ~np.isnan(low)
    if not known.any():
        return np.full(len(quantiles), np.nan)
    return np.array([hit_share(low[known], high[known], q).mean() for q in quantiles])


def hit_share(
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    level: float | npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return the probability that the randomised PIT is at or below a level."""
    jump = high - low
    atom = jump > LEAST_ATOM
    inside = np.clip((level - low) / np.where(atom, jump, 1.0), 0.0, 1.0)
    return np.asarray(np.where(atom, inside, (low <= level).astype(np.float64)))


def random_groups(
    num_vms: int, rng: np.random.Generator, *, smallest: int = 15, largest: int = 25
) -> list[npt.NDArray[np.intp]]:
    """Split VMs at random into groups the size of a host's load; a small rest is left out."""
    order = rng.permutation(num_vms)
    groups, at = [], 0
    while num_vms - at >= smallest:
        size = min(int(rng.integers(smallest, largest + 1)), num_vms - at)
        groups.append(order[at : at + size])
        at += size
    return groups


def group_bands(
    paths: Array,
    groups: Sequence[npt.NDArray[np.intp]],
    *,
    levels: tuple[float, float] = (0.05, 0.95),
    weights: Array | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the band of each group's summed demand under joint paths.

    Parameters
    ----------
    paths
        Shape ``(num_paths, num_vms)``.
    weights
        Probability of each path, shape ``(num_paths,)``; equal if ``None``.

    Returns
    -------
    tuple of Arrays
        Lower and upper end, each of shape ``(num_groups,)``.
    """
    sums = np.stack([paths[:, group].sum(axis=1, dtype=np.float64) for group in groups], axis=1)
    low, high = (weighted_quantile(sums, level, weights) for level in levels)
    return low, high


def weighted_quantile(
    samples: npt.NDArray[np.float64], level: float, weights: Array | None
) -> npt.NDArray[np.float64]:
    """Return a quantile along axis 0 of samples with weights; plain if ``None``."""
    if weights is None:
        return np.asarray(np.quantile(samples, level, axis=0))
    order = np.argsort(samples, axis=0)
    mass = np.cumsum(np.asarray(weights, dtype=np.float64)[order], axis=0)
    where = np.argmax(mass >= level * mass[-1], axis=0)
    return np.asarray(
        np.take_along_axis(samples, np.take_along_axis(order, where[None], axis=0), axis=0)[0]
    )
