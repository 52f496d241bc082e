"""Sort VMs by how they use their CPU, so that no report hides hard ones behind idle ones.

Classes are fixed on a training window and never recomputed on what is being judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.features import DAY, SATURATED
from forecast.history import BinState, Floats, History
from forecast.scaling import scale, unit_of
from solver.domain.errors import InvalidInputError
from solver.domain.units import Resource, VmId

CLASSES: Final = ("idle", "low", "bursty", "diurnal", "saturated")
NUM_CLASSES: Final = len(CLASSES)
IDLE, LOW, BURSTY, DIURNAL, SATURATED_CLASS = range(NUM_CLASSES)

IDLE_P99: Final = 0.05
BUSY_P99: Final = 0.10
SATURATED_SHARE: Final = 0.05
"""A VM at its size in more than this share of its readings hides its true demand too often."""
DIURNAL_CORRELATION: Final = 0.4
"""Correlation of the hourly means with those a day earlier, from which a day cycle is clear."""
MIN_READINGS: Final = DAY
"""With less than a day of readings a VM counts as bursty: the class with the widest bands."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VmClasses:
    """Class of each VM.

    Parameters
    ----------
    codes
        Index into ``CLASSES``, shape ``(num_vms,)``.
    busy
        Whether the 99th percentile of CPU exceeds 10 % of the vCPUs.
    known
        Whether there were enough readings to tell.
    """

    codes: npt.NDArray[np.int64]
    busy: npt.NDArray[np.bool_]
    known: npt.NDArray[np.bool_]

    def by_vm(self, vm_ids: Sequence[VmId]) -> dict[VmId, int]:
        """Return the code of each VM by its name, given the names in the order of ``codes``."""
        return dict(zip(vm_ids, self.codes.tolist(), strict=True))


def classify(history: History, *, until_bin: int) -> VmClasses:
    """Classify VMs by their measured CPU readings before a bin.

    Idle: 99th percentile below 5 % of the vCPUs. Saturated: at 98 % or more in over 5 % of the
    readings. Diurnal: hourly means correlate with those a day earlier by 0.4 or more. Low: 99th
    percentile at most 10 %. Bursty: the rest, and whatever is too young to tell.

    Raises
    ------
    InvalidInputError
        If the bin lies outside the history.
    """
    if not 0 < until_bin <= history.num_bins:
        raise InvalidInputError(f"expected a bin in 1..{history.num_bins}, got {until_bin}")
    resource = Resource.CPU
    unit = unit_of(history, resource)
    cpu = scale(history.readings[resource, :, :until_bin], unit, resource)
    clean = np.where(history.state[:, :until_bin] == BinState.MEASURED, cpu, np.nan)
    count = np.count_nonzero(~np.isnan(clean), axis=1)
    known = count >= MIN_READINGS
    p99 = _p99(clean, count)
    saturated = (clean >= SATURATED).sum(axis=1) > SATURATED_SHARE * np.maximum(count, 1)
    diurnal = day_correlation(clean) >= DIURNAL_CORRELATION
    codes = np.select(
        [~known, p99 < IDLE_P99, saturated, diurnal, p99 <= BUSY_P99],
        [BURSTY, IDLE, SATURATED_CLASS, DIURNAL, LOW],
        default=BURSTY,
    )
    return VmClasses(codes=codes.astype(np.int64), busy=known & (p99 > BUSY_P99), known=known)


def _p99(clean: Floats, count: npt.NDArray[np.intp]) -> Floats:
    ordered = np.sort(clean, axis=1)
    position = np.rint(0.99 * np.maximum(count - 1, 0)).astype(np.intp)
    return np.nan_to_num(np.take_along_axis(ordered, position[:, None], axis=1)[:, 0])


def day_correlation(readings: Floats) -> Floats:
    """Return the correlation of hourly means with those a day earlier, shape ``(num_vms,)``.

    Zero where there are less than two days in common, or no variation.
    """
    num_hours = readings.shape[1] // 12
    if num_hours < 48:
        return np.zeros(len(readings), dtype=np.float32)
    hours = readings[:, : num_hours * 12].reshape(len(readings), num_hours, 12)
    known = np.count_nonzero(~np.isnan(hours), axis=2)
    means = np.where(known > 0, np.nansum(hours, axis=2) / np.maximum(known, 1), np.nan)
    now, before = means[:, 24:], means[:, :-24]
    both = ~np.isnan(now) & ~np.isnan(before)
    count = both.sum(axis=1)
    now, before = _centred(now, both), _centred(before, both)
    spread = np.sqrt((now**2).sum(axis=1) * (before**2).sum(axis=1))
    enough = (count >= 24) & (spread > 1e-12)
    product = (now * before).sum(axis=1)
    return np.where(enough, product / np.where(enough, spread, 1.0), 0.0).astype(np.float32)


def _centred(values: Floats, both: npt.NDArray[np.bool_]) -> Floats:
    zeroed = np.where(both, values, 0.0)
    mean = zeroed.sum(axis=1) / np.maximum(both.sum(axis=1), 1)
    return np.where(both, zeroed - mean[:, None], 0.0)
