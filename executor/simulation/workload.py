"""What the VMs of a simulated cluster want, bin by bin.

A workload knows demand and life (absent, running, stopped) of every VM in every bin; it knows no
hosts. Demand is constant within a bin, which lets the simulation integrate exactly.
"""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from solver.domain.cluster import require_unique, require_utc
from solver.domain.errors import InvalidInputError
from solver.domain.units import NUM_RESOURCES, VmId

FloatArray = npt.NDArray[np.float64]
BIN_SECONDS: Final = 300


class Life(enum.IntEnum):
    """Whether a VM exists and runs."""

    ABSENT = 0
    RUNNING = 1
    STOPPED = 2


class Workload(Protocol):
    """Demand and life of VMs over time.

    After the last bin the last one goes on: an executor may still have moves to bring home.
    """

    @property
    def vm_ids(self) -> tuple[VmId, ...]:
        """The VMs, in the order of every VM axis."""

    @property
    def start_at(self) -> datetime:
        """Start of bin 0, aware UTC."""

    @property
    def bin_seconds(self) -> int:
        """Length of a bin."""

    @property
    def num_bins(self) -> int:
        """Number of bins."""

    def demand_at(self, bin_idx: int) -> FloatArray:
        """Return demand, shape ``(num_vms, num_resources)``, in the units of ``Resource``.

        Finite, non-negative, zero for what does not run.
        """

    def life_at(self, bin_idx: int) -> npt.NDArray[np.int8]:
        """Return :class:`Life` of every VM, shape ``(num_vms,)``."""

    def footprint_at(self, bin_idx: int) -> npt.NDArray[np.int64] | None:
        """Return resident memory in MiB, shape ``(num_vms,)``, -1 where unknown.

        ``None`` if it is known of no VM.
        """


class TraceWorkload:
    """Replays recorded readings.

    VMs appear at their first row and vanish after their last, are stopped while the trace says
    off, and keep their last demand where it says missing.

    Parameters
    ----------
    start_at
        Start of bin 0 of the arrays.
    readings
        Mean demand, shape ``(num_resources, num_vms, num_bins)``; NaN where missing or never
        collected (which counts as 0 until there is a reading).
    state
        Shape ``(num_vms, num_bins)``: 0 measured, 1 interpolated, 2 off, 3 missing, 255 absent.
    granted_mib
        Memory handed out by the hypervisor, shape ``(num_vms, num_bins)``, NaN where unknown; it
        is what is resident. ``None`` leaves the footprints of the VMs as they are.
    first_bin
        Bin of the arrays that becomes the workload's bin 0. What stands before it is not replayed;
        it only tells the demand and memory that are kept where the replay begins with missing.

    Raises
    ------
    InvalidInputError
        If shapes disagree, a state is not known, a VM is named twice, demand is negative, or
        ``first_bin`` is none of the arrays' bins.
    """

    def __init__(
        self,
        *,
        vm_ids: tuple[VmId, ...],
        start_at: datetime,
        readings: npt.ArrayLike,
        state: npt.ArrayLike,
        granted_mib: npt.ArrayLike | None = None,
        bin_seconds: int = BIN_SECONDS,
        first_bin: int = 0,
    ) -> None:
        require_utc(start_at, "workload", "start_at")
        require_unique(vm_ids, "vm_ids")
        values = np.asarray(readings)
        states = np.asarray(state)
        if states.ndim != 2 or states.shape[0] != len(vm_ids) or states.shape[1] < 1:
            raise InvalidInputError(
                f"expected shape ({len(vm_ids)}, bins), got {states.shape}", path="state"
            )
        if values.shape != (NUM_RESOURCES, *states.shape):
            raise InvalidInputError(
                f"expected shape {(NUM_RESOURCES, *states.shape)}, got {values.shape}",
                path="readings",
            )
        unknown = ~np.isin(states, (0, 1, 2, 3, 255))
        if unknown.any():
            raise InvalidInputError(
                f"expected 0, 1, 2, 3 or 255, got {states[unknown][0]}", path="state"
            )
        if bin_seconds < 1:
            raise InvalidInputError(f"expected at least 1, got {bin_seconds}", path="bin_seconds")
        if not 0 <= first_bin < states.shape[1]:
            raise InvalidInputError(
                f"expected 0..{states.shape[1] - 1}, got {first_bin}", path="first_bin"
            )
        with np.errstate(invalid="ignore"):
            if (values < 0).any() or np.isinf(values).any():
                raise InvalidInputError("expected 0 or more, all finite", path="readings")
        self._vm_ids = vm_ids
        self._start_at = start_at + timedelta(seconds=first_bin * bin_seconds)
        self._bin_seconds = bin_seconds
        replayed = states[:, first_bin:]
        self._life = np.select(
            [replayed == 255, replayed == 2], [Life.ABSENT, Life.STOPPED], default=Life.RUNNING
        ).astype(np.int8)
        runs = self._life == Life.RUNNING
        measured = (states == 0) | (states == 1)
        # Bin first: a bin is then one contiguous block, which is what the simulation asks for.
        shape = (replayed.shape[1], len(vm_ids), NUM_RESOURCES)
        self._demand = np.empty(shape, dtype=np.float32)
        for r in range(NUM_RESOURCES):
            held = _hold(values[r], measured, 0.0, first_bin)
            self._demand[:, :, r] = np.where(runs, held, 0.0).T
        self._footprint: npt.NDArray[np.int64] | None = None
        if granted_mib is not None:
            granted = np.asarray(granted_mib)
            if granted.shape != states.shape:
                raise InvalidInputError(
                    f"expected shape {states.shape}, got {granted.shape}", path="granted_mib"
                )
            held = _hold(granted, measured, -1.0, first_bin)
            self._footprint = np.ceil(held).astype(np.int64).T.copy()

    @property
    def vm_ids(self) -> tuple[VmId, ...]:
        """The VMs, in the order of every VM axis."""
        return self._vm_ids

    @property
    def start_at(self) -> datetime:
        """Start of bin 0, aware UTC."""
        return self._start_at

    @property
    def bin_seconds(self) -> int:
        """Length of a bin."""
        return self._bin_seconds

    @property
    def num_bins(self) -> int:
        """Number of bins."""
        return int(self._demand.shape[0])

    def demand_at(self, bin_idx: int) -> FloatArray:
        """Return demand in a bin, shape ``(num_vms, num_resources)``."""
        demand: FloatArray = self._demand[self._clip(bin_idx)].astype(np.float64)
        return demand

    def life_at(self, bin_idx: int) -> npt.NDArray[np.int8]:
        """Return :class:`Life` of every VM in a bin."""
        return np.ascontiguousarray(self._life[:, self._clip(bin_idx)])

    def footprint_at(self, bin_idx: int) -> npt.NDArray[np.int64] | None:
        """Return resident memory in MiB in a bin, if it was recorded."""
        return None if self._footprint is None else self._footprint[self._clip(bin_idx)]

    def _clip(self, bin_idx: int) -> int:
        if bin_idx < 0:
            raise InvalidInputError(f"expected bin 0 or later, got {bin_idx}", path="bin_idx")
        return min(bin_idx, self.num_bins - 1)


def _hold(
    values: npt.NDArray[np.floating],
    measured: npt.NDArray[np.bool_],
    unknown: float,
    first_bin: int,
) -> npt.NDArray[np.floating]:
    """Return readings from ``first_bin`` on, gaps filled by the last good one, else ``unknown``.

    The last good one may lie before ``first_bin``: all bins are looked at, few are kept.
    """
    good = measured & np.isfinite(values)
    last = np.where(good, np.arange(values.shape[1], dtype=np.int32), np.int32(-1))
    np.maximum.accumulate(last, axis=1, out=last)
    last = last[:, first_bin:]
    held = np.take_along_axis(values, np.maximum(last, 0), axis=1)
    return np.where(last >= 0, held, unknown)
