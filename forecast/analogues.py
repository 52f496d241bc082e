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

from forecast.gaps import FILL_BINS, held
from forecast.history import Floats

COMPARED: Final = {"30m": 6, "80m": 16, "2h": 24}
"""Last readings that two moments are compared by; what is alike for long is rarer and says more."""
NUM_NEAREST: Final = 12
"""Moments whose sequel is told."""
_VMS_AT_A_TIME: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analogues:
    """The moments most like the present; a row for each VM.

    Parameters
    ----------
    changes
        How demand went on from each of them to each horizon, nearest moment first, shape
        ``(num_vms, NUM_NEAREST, num_horizons)``; NaN where there are fewer.
    distances
        Weighted mean of how far apart the readings are, shape ``(num_vms, NUM_NEAREST)``.
    """

    changes: Floats
    distances: Floats


def find_analogues(
    window: Floats, horizons: Sequence[int], compared: Sequence[int]
) -> tuple[Analogues, ...]:
    """Search the past of each VM for the moments most like the present.

    A moment counts if what followed was read at all horizons, and its own readings are known; of
    these one may stand in for missing ones for an hour. The newest readings count most. Of moments
    equally like the present the later ones count.

    Parameters
    ----------
    window
        Readings on the common scale, the present last, shape ``(num_vms, num_bins)``.
    horizons
        In bins.
    compared
        By how many last readings moments are compared; each is a search of its own.
    """
    num_vms, num_bins = window.shape
    shape = (num_vms, NUM_NEAREST)
    found = tuple(
        Analogues(
            changes=np.full((*shape, len(horizons)), np.nan, dtype=np.float32),
            distances=np.full(shape, np.nan, dtype=np.float32),
        )
        for _ in compared
    )
    # A few VMs at a time: what is worked on stays near the processor.
    for first in range(0, num_vms, _VMS_AT_A_TIME):
        some = slice(first, first + _VMS_AT_A_TIME)
        missing = np.isnan(window[some])
        readings = held(window[some], at_most_bins=FILL_BINS)
        rows = np.arange(len(readings))[:, None]
        for num_compared, into in zip(compared, found, strict=True):
            if num_bins - max(horizons) - num_compared + 1 < NUM_NEAREST:
                continue
            at, apart = _nearest(readings, missing, horizons, num_compared)
            for h, bins in enumerate(horizons):
                into.changes[some, :, h] = readings[rows, at + bins] - readings[rows, at]
            unknown = np.isinf(apart)
            into.changes[some][unknown] = np.nan
            into.distances[some] = np.where(unknown, np.float32(np.nan), apart)
    return found


def _nearest(
    readings: Floats, missing: npt.NDArray[np.bool_], horizons: Sequence[int], num_compared: int
) -> tuple[npt.NDArray[np.intp], Floats]:
    """Return the last bins of the moments most like the present, and how far apart they are.

    Parameters
    ----------
    missing
        Which readings were not read, and are no sequel.

    Returns
    -------
    tuple
        Two arrays of shape ``(num_vms, NUM_NEAREST)``, the nearest first; infinitely far where
        readings are not known.
    """
    last = num_compared - 1
    weights = np.arange(1, num_compared + 1, dtype=np.float32) / np.float32(
        num_compared * (num_compared + 1) / 2
    )
    num_moments = readings.shape[1] - max(horizons) - last
    distances = np.zeros((len(readings), num_moments), dtype=np.float32)
    apart = np.empty_like(distances)
    for k, weight in enumerate(weights):
        now = readings[:, k - num_compared, None]
        np.abs(np.subtract(readings[:, k : k + num_moments], now, out=apart), out=apart)
        distances += np.multiply(apart, weight, out=apart)
    if missing.any():
        for bins in horizons:
            distances[missing[:, last + bins : last + bins + num_moments]] = np.inf
        distances[np.isnan(distances)] = np.inf
    # Numbers that are not negative are ordered as their bits are; below these the age decides,
    # so that equals are chosen alike on every machine.
    ages = np.arange(num_moments - 1, -1, -1, dtype=np.uint64)
    keys = (distances.view(np.uint32).astype(np.uint64) << np.uint64(32)) | ages
    nearest = np.sort(np.partition(keys, NUM_NEAREST - 1, axis=1)[:, :NUM_NEAREST], axis=1)
    moments = num_moments - 1 - (nearest & np.uint64(0xFFFFFFFF)).astype(np.intp)
    return moments + last, (nearest >> np.uint64(32)).astype(np.uint32).view(np.float32)
