"""What followed when a VM's readings last looked as they do now.

Jobs come in series, and one ends as the one before it did; the clock tells neither. So the recent
past of each VM is searched for the moments whose last readings come nearest to the present ones,
and what followed those is a predictor among others: forecasting by analogues [1]_, [2]_.

References
----------
.. [1] Lorenz (1969). Atmospheric predictability as revealed by naturally occurring analogues.
   Journal of the Atmospheric Sciences 26(4).
.. [2] Farmer, Sidorowich (1987). Predicting chaotic time series. Physical Review Letters 59(8).
   doi:10.1103/PhysRevLett.59.845
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.history import Floats

COMPARED_BINS: Final = 16
"""Readings that two moments are compared by: 80 minutes."""
NUM_NEAREST: Final = 12
"""Moments whose sequel is told."""
_WEIGHTS: Final = np.arange(1, COMPARED_BINS + 1, dtype=np.float32) / np.float32(
    COMPARED_BINS * (COMPARED_BINS + 1) / 2
)
"""The newest readings count most."""
_VMS_AT_A_TIME: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analogues:
    """The moments most like the present; a row for each VM.

    Parameters
    ----------
    changes
        How demand went on from each of them to each horizon, nearest moment first, shape
        ``(num_vms, NUM_NEAREST, num_horizons)``; NaN where readings are not known.
    distances
        Weighted mean of how far apart the readings are, shape ``(num_vms, NUM_NEAREST)``.
    """

    changes: Floats
    distances: Floats


def find_analogues(window: Floats, horizons: Sequence[int]) -> Analogues:
    """Search the past of each VM for the moments most like the present.

    A moment must have been followed by readings up to the longest horizon. A missing reading is
    taken to be the one before it. Where there are not ``NUM_NEAREST`` moments, none is told.

    Parameters
    ----------
    window
        Readings on the common scale, the present last, shape ``(num_vms, num_bins)``.
    horizons
        In bins.
    """
    num_vms, num_bins = window.shape
    readings = _without_gaps(window)
    num_moments = num_bins - max(horizons) - COMPARED_BINS + 1
    if num_moments < NUM_NEAREST:
        return Analogues(
            changes=np.full((num_vms, NUM_NEAREST, len(horizons)), np.nan, dtype=np.float32),
            distances=np.full((num_vms, NUM_NEAREST), np.nan, dtype=np.float32),
        )
    # A few VMs at a time: what is worked on stays near the processor.
    parts = [
        _nearest(readings[first : first + _VMS_AT_A_TIME], num_moments)
        for first in range(0, num_vms, _VMS_AT_A_TIME)
    ]
    nearest, distances = (np.concatenate(part) for part in zip(*parts, strict=True))
    rows, at = np.arange(num_vms)[:, None], nearest + COMPARED_BINS - 1
    changes = np.stack(
        [readings[rows, at + bins] - readings[rows, at] for bins in horizons], axis=2
    )
    unlike = np.isinf(distances)
    changes[unlike], distances[unlike] = np.nan, np.nan
    return Analogues(changes=changes, distances=distances)


def _nearest(readings: Floats, num_moments: int) -> tuple[npt.NDArray[np.intp], Floats]:
    """Return the first bin of the readings nearest to the last ones, and their distance.

    Returns
    -------
    tuple
        Two arrays of shape ``(num_vms, NUM_NEAREST)``, the nearest first; infinitely far where a
        reading is not known.
    """
    distances = np.zeros((len(readings), num_moments), dtype=np.float32)
    apart = np.empty_like(distances)
    for k, weight in enumerate(_WEIGHTS):
        now = readings[:, k - COMPARED_BINS, None]
        np.abs(np.subtract(readings[:, k : k + num_moments], now, out=apart), out=apart)
        distances += np.multiply(apart, weight, out=apart)
    distances[np.isnan(distances)] = np.inf
    nearest = np.argpartition(distances, NUM_NEAREST - 1, axis=1)[:, :NUM_NEAREST]
    found = np.take_along_axis(distances, nearest, axis=1)
    order = np.argsort(found, axis=1, kind="stable")
    return np.take_along_axis(nearest, order, axis=1), np.take_along_axis(found, order, axis=1)


def _without_gaps(window: Floats) -> Floats:
    """Return readings with the newest one in place of missing ones; NaN before the first."""
    known = ~np.isnan(window)
    if known.all():
        return window
    columns: npt.NDArray[np.intp] = np.where(known, np.arange(window.shape[1]), 0)
    newest = np.maximum.accumulate(columns, axis=1)
    return np.take_along_axis(window, newest, axis=1)
