"""What user activity says of the demand to come.

Users come before load: sessions are opened, then work is done. For each VM the last day shows how
its demand followed a series of activity, and after how long; what that says of a horizon is the
line through them [1]_, at the newest activity that is early enough. Models take it as one predictor
among others, beside how well it fitted, so that a series that explains nothing costs nothing.

References
----------
.. [1] Box, Jenkins, Reinsel, Ljung (2015). Time Series Analysis, ch. 12: transfer functions. Wiley.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.history import Floats

LAGS: Final = (0, 3, 6, 9)
"""How much earlier than necessary activity may be looked at, in bins: up to 45 minutes."""
MIN_PAIRS: Final = 36
"""Pairs of readings, three hours, below which a line is no evidence."""


def implied_by_activity(day: Floats, series: Sequence[Floats], bins: int) -> list[Floats]:
    """Return what activity implies for a horizon.

    Parameters
    ----------
    day
        Demand of the last bins on the common scale, the present last, shape ``(num_vms, n)``.
    series
        Activity of the same bins and at least as many as ``bins`` and the longest lag before,
        each of shape ``(num_vms, n + more)``.
    bins
        The horizon.

    Returns
    -------
    list
        The demand implied, and the correlation of demand and activity, each of shape
        ``(num_vms,)``; NaN where nothing can be said.
    """
    num_vms, width = day.shape
    best = np.zeros(num_vms, dtype=np.float32)
    implied = np.full(num_vms, np.nan, dtype=np.float32)
    for activity in series:
        if np.isnan(activity).all():
            continue
        for lag in LAGS:
            first = activity.shape[1] - width - bins - lag
            earlier = activity[:, first : first + width]
            now = activity[:, -1 - lag]
            line, correlation = _line(earlier, day, now)
            better = ~np.isnan(line) & (np.abs(correlation) > np.abs(best))
            best = np.where(better, correlation, best)
            implied = np.where(better, line, implied)
    implied = np.maximum(implied, 0.0)
    return [implied, np.where(np.isnan(implied), np.nan, best)]


def _line(x: Floats, y: Floats, at: Floats) -> tuple[Floats, Floats]:
    """Return the least-squares line of ``y`` on ``x`` at a point, and their correlation, by row."""
    known = ~(np.isnan(x) | np.isnan(y))
    count = known.sum(axis=1)
    enough = count >= MIN_PAIRS
    size = np.maximum(count, 1)
    mean_x, mean_y = (_sums(values, known) / size for values in (x, y))
    # Centred before they are multiplied: counts of users are large, and float32 is short.
    dx = np.where(known, x - mean_x[:, None], 0.0)
    dy = np.where(known, y - mean_y[:, None], 0.0)
    xx, yy = np.einsum("ij,ij->i", dx, dx), np.einsum("ij,ij->i", dy, dy)
    xy = np.einsum("ij,ij->i", dx, dy)
    varies = enough & (xx > 1e-12 * size * np.square(mean_x)) & (yy > 1e-12) & (xx > 0)
    slope = xy / np.where(varies, xx, 1.0)
    correlation = xy / np.sqrt(np.where(varies, xx * yy, 1.0))
    line = np.where(varies, mean_y + slope * (at - mean_x), np.nan)
    return line.astype(np.float32), np.where(varies, correlation, 0.0).astype(np.float32)


def _sums(values: Floats, known: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    return np.asarray(np.where(known, values, 0.0).sum(axis=1, dtype=np.float64))
