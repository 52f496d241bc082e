"""Telemetry on a regular grid: what every VM used, bin by bin.

A ``History`` is plain arrays with their meaning fixed; every forecaster reads it and none changes
it. Reading files into one is ``forecast.tidy``'s job, converting foreign archives
``forecast.importers``'; deriving predictors is ``forecast.features``'.

Demand
------
CPU
    Millicores used. Meters count against the nominal clock, so a VM at full turbo reads a few per
    cent above its vCPUs; that is real work and is kept up to ``CPU_CLIP`` times the vCPUs. What is
    beyond is a meter's fault: clipped and counted.
Memory
    MiB *active*: the working set that would swap if the host ran short, clipped to the VM's size.
    What the hypervisor has granted, touched recently or not, is the footprint, which a migration
    must carry and a host must hold; it stands apart in ``granted_mib``.
Disk, network
    KiB/s, both directions together.

A VM that is powered off demands nothing: its readings are zero. A missing reading is NaN.

What users do with a VM (sessions, requests) may be known beside what it uses: such series stand in
``activity``, in units of their own. They are read to forecast demand and never forecast themselves.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from solver.domain.errors import InvalidInputError
from solver.domain.units import NUM_RESOURCES, Resource, VmId

STEP_SECONDS: Final = 300
MAX_FILLED_BINS: Final = 3
"""Longest gap that readers fill, by lines between the readings on both sides."""
CPU_CLIP: Final = 1.1
"""CPU readings are kept up to this multiple of the vCPUs (turbo clocks), and clipped beyond."""

Floats = npt.NDArray[np.float32]


class BinState(enum.IntEnum):
    """What is known of one VM in one bin."""

    MEASURED = 0
    INTERPOLATED = 1
    """Filled over a gap of at most ``MAX_FILLED_BINS``; once that is over good as input, never as
    truth to be judged by."""
    OFF = 2
    MISSING = 3
    ABSENT = 255
    """Before the VM's first record or after its last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmDefects:
    """What was wrong with the telemetry of one VM; counts are of rows or bins.

    Parameters
    ----------
    missing
        Bins between the VM's first and last record without a reading.
    repeated, disordered, off_grid, future, astray
        Rows for a bin that a later row told as well, rows older than the one before, rows between
        two bins, rows later than now, and rows years older than the newest, as of a clock that was
        reset. Only readers that mend find any; they look at the whole file.
    implausible
        Rows with a value that is negative, not a number or absurdly large, taken as missing. Only
        readers that mend find any.
    zero_cores
        Rows without cores that did not say the VM is off.
    resized
        Rows with another number of cores than the one before.
    clipped
        Readings beyond the VM's size.
    """

    missing: int = 0
    repeated: int = 0
    disordered: int = 0
    off_grid: int = 0
    future: int = 0
    astray: int = 0
    implausible: int = 0
    zero_cores: int = 0
    resized: int = 0
    clipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryReport:
    """What was found, mended or left out while reading; counts are of VM-bins.

    ``unknown_memory_size`` names the VMs whose size was not given and was taken from the largest
    grant seen; ``by_vm`` holds the VMs with any defect.
    """

    rows: int = 0
    measured: int = 0
    interpolated: int = 0
    off: int = 0
    missing: int = 0
    clipped_cpu: int = 0
    clipped_memory: int = 0
    zero_core_rows: int = 0
    unknown_memory_size: tuple[str, ...] = ()
    by_vm: Mapping[str, VmDefects] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """Readings of many VMs on one grid; arrays are made read-only.

    Parameters
    ----------
    vm_ids
        The VMs, in the order of every VM axis; each once.
    start_at
        Start of the first bin, aware UTC.
    readings
        ``float32`` of shape ``(num_resources, num_vms, num_bins)``, each the bin's mean demand in
        the unit of its :class:`~solver.domain.units.Resource`; zero when off, NaN when missing,
        absent or never collected. Non-negative.
    state
        :class:`BinState` as ``uint8``, shape ``(num_vms, num_bins)``.
    granted_mib
        Memory the hypervisor has handed out, ``float32`` of shape ``(num_vms, num_bins)``; NaN
        where unknown.
    vcpus, memory_size_mib
        Size of each VM, ``int64`` of shape ``(num_vms,)``; memory 0 when nothing told it.
    app_types
        Category of each VM, ``None`` when not known.
    activity
        By name, a series of user activity of every VM, ``float32`` of shape
        ``(num_vms, num_bins)``; NaN where unknown.
    step_seconds
        Length of a bin.
    report
        What reading it found.

    Raises
    ------
    InvalidInputError
        If shapes or types disagree, or a VM is named twice.
    """

    vm_ids: tuple[VmId, ...]
    start_at: datetime
    readings: Floats
    state: npt.NDArray[np.uint8]
    granted_mib: Floats
    vcpus: npt.NDArray[np.int64]
    memory_size_mib: npt.NDArray[np.int64]
    app_types: tuple[str | None, ...]
    activity: Mapping[str, Floats] = field(default_factory=dict)
    step_seconds: int = STEP_SECONDS
    report: HistoryReport = field(default_factory=HistoryReport)

    def __post_init__(self) -> None:
        if self.start_at.utcoffset() != timedelta(0):
            raise InvalidInputError(f"expected aware UTC, got {self.start_at!r}", path="start_at")
        if len(set(self.vm_ids)) != len(self.vm_ids):
            raise InvalidInputError("a VM is named more than once", path="vm_ids")
        if self.state.ndim != 2 or self.state.dtype != np.uint8:
            raise InvalidInputError(
                f"expected uint8 of two axes, got {self.state.dtype} {self.state.shape}",
                path="state",
            )
        num_vms, num_bins = len(self.vm_ids), self.state.shape[1]
        expected = {
            "readings": ((NUM_RESOURCES, num_vms, num_bins), np.float32),
            "state": ((num_vms, num_bins), np.uint8),
            "granted_mib": ((num_vms, num_bins), np.float32),
            "vcpus": ((num_vms,), np.int64),
            "memory_size_mib": ((num_vms,), np.int64),
        }
        arrays: dict[str, npt.NDArray[np.generic]] = {n: getattr(self, n) for n in expected}
        for series, values in self.activity.items():
            expected[f"activity.{series}"] = ((num_vms, num_bins), np.float32)
            arrays[f"activity.{series}"] = values
        for name, (shape, dtype) in expected.items():
            array = arrays[name]
            if array.shape != shape or array.dtype != dtype:
                raise InvalidInputError(
                    f"expected {np.dtype(dtype)} of shape {shape}, "
                    f"got {array.dtype} of shape {array.shape}",
                    path=name,
                )
            array.flags.writeable = False
        if len(self.app_types) != num_vms:
            raise InvalidInputError(
                f"expected {num_vms} entries, got {len(self.app_types)}", path="app_types"
            )

    @property
    def num_vms(self) -> int:
        """Number of VMs."""
        return len(self.vm_ids)

    @property
    def num_bins(self) -> int:
        """Number of bins on the grid."""
        return int(self.state.shape[1])

    @property
    def end_at(self) -> datetime:
        """End of the last bin."""
        return self.time_of(self.num_bins)

    def time_of(self, bin_idx: int) -> datetime:
        """Return the start of a bin; also of bins outside the history."""
        return self.start_at + timedelta(seconds=int(bin_idx) * self.step_seconds)

    def bin_at(self, at: datetime) -> int:
        """Return the index of the bin that contains an instant; may lie outside the history.

        Raises
        ------
        InvalidInputError
            If the instant carries no time zone.
        """
        if at.tzinfo is None:
            raise InvalidInputError(f"expected a time with its zone, got {at!r}")
        return int((at - self.start_at) // timedelta(seconds=self.step_seconds))

    def window(self, first_bin: int, end_bin: int) -> History:
        """Return bins ``first_bin`` to ``end_bin - 1`` as a view; nothing is copied.

        Raises
        ------
        InvalidInputError
            If the window leaves the history or is empty.
        """
        if not 0 <= first_bin < end_bin <= self.num_bins:
            raise InvalidInputError(
                f"expected a window inside bins 0..{self.num_bins}, got {first_bin}..{end_bin}"
            )
        return replace(
            self,
            start_at=self.time_of(first_bin),
            readings=self.readings[:, :, first_bin:end_bin],
            state=self.state[:, first_bin:end_bin],
            granted_mib=self.granted_mib[:, first_bin:end_bin],
            activity={name: a[:, first_bin:end_bin] for name, a in self.activity.items()},
        )

    def until(self, end_bin: int) -> History:
        """Return all bins before ``end_bin`` as a view."""
        return self.window(0, end_bin)

    def select(self, vm_positions: Sequence[int] | npt.NDArray[np.intp]) -> History:
        """Return the VMs at the given positions, in that order (arrays are copied)."""
        chosen = np.asarray(vm_positions, dtype=np.intp)
        return replace(
            self,
            vm_ids=tuple(self.vm_ids[i] for i in chosen),
            readings=self.readings[:, chosen],
            state=self.state[chosen],
            granted_mib=self.granted_mib[chosen],
            vcpus=self.vcpus[chosen],
            memory_size_mib=self.memory_size_mib[chosen],
            app_types=tuple(self.app_types[i] for i in chosen),
            activity={name: a[chosen] for name, a in self.activity.items()},
        )

    def positions(self, vm_ids: Sequence[str]) -> npt.NDArray[np.intp]:
        """Return the position of each named VM.

        Raises
        ------
        InvalidInputError
            If a VM has no history.
        """
        where = {str(vm_id): i for i, vm_id in enumerate(self.vm_ids)}
        missing = [vm_id for vm_id in vm_ids if vm_id not in where]
        if missing:
            raise InvalidInputError(
                f"VM {missing[0]!r} has no history ({len(missing)} of {len(vm_ids)} VMs missing)"
            )
        return np.array([where[vm_id] for vm_id in vm_ids], dtype=np.intp)

    def has(self, resource: Resource) -> bool:
        """Tell whether the resource was ever read."""
        return not bool(np.isnan(self.readings[resource]).all())

    @property
    def resources(self) -> tuple[Resource, ...]:
        """The resources that were ever read."""
        return tuple(resource for resource in Resource if self.has(resource))

    def limits(self) -> Floats:
        """Return the most a VM can demand, shape ``(num_resources, num_vms)``.

        ``CPU_CLIP`` times the vCPUs, the memory size, and infinity for disk and network or where
        the size is not known.
        """
        limits = np.full((NUM_RESOURCES, self.num_vms), np.inf, dtype=np.float32)
        limits[Resource.CPU] = 1000.0 * CPU_CLIP * self.vcpus
        limits[Resource.MEMORY] = np.where(self.memory_size_mib > 0, self.memory_size_mib, np.inf)
        return limits

    def with_present(self, vm_ids: Sequence[str], at_bin: int) -> History:
        """Return a history in which the named VMs exist at a bin, read there or not.

        A file can only tell when a VM was last read. Who knows better that it exists still, as a
        snapshot of the cluster does, says so here: bins from the VM's last record to ``at_bin``
        become missing ones instead of absent, and its demand is unknown instead of zero.

        Raises
        ------
        InvalidInputError
            If a VM has no history, or the bin lies outside it.
        """
        if not 0 <= at_bin < self.num_bins:
            raise InvalidInputError(
                f"expected a bin of the history, 0..{self.num_bins - 1}, got {at_bin}"
            )
        state = self.state.copy()
        for vm in self.positions(vm_ids):
            recorded = np.flatnonzero(self.state[vm, : at_bin + 1] != BinState.ABSENT)
            # A VM without any record exists now; since when is not known.
            first = recorded[-1] + 1 if len(recorded) else at_bin
            state[vm, first : at_bin + 1] = BinState.MISSING
        return replace(self, state=state)

    def present(self, at_bin: int) -> npt.NDArray[np.bool_]:
        """Tell which VMs exist in a bin, whether running, off or without a reading."""
        return np.asarray(self.state[:, at_bin] != BinState.ABSENT)

    def is_off(self, at_bin: int) -> npt.NDArray[np.bool_]:
        """Tell which VMs are powered off in a bin."""
        return np.asarray(self.state[:, at_bin] == BinState.OFF)

    def last_read_bin(self, at_bin: int) -> npt.NDArray[np.intp]:
        """Return each VM's newest bin up to ``at_bin`` that was read (or off), -1 for none."""
        read = self.state[:, at_bin::-1] <= BinState.OFF
        return np.where(read.any(axis=1), at_bin - np.argmax(read, axis=1), -1)

    def filled_ahead(self, at_bin: int) -> npt.NDArray[np.bool_]:
        """Tell which of the last bins up to ``at_bin`` lie in a gap that goes on there.

        They were filled by a reading that is later than ``at_bin``: nobody knows them at that time.

        Returns
        -------
        npt.NDArray[np.bool_]
            Shape ``(num_vms, MAX_FILLED_BINS)``, or fewer bins where the history begins.
        """
        first = max(0, at_bin + 1 - MAX_FILLED_BINS)
        filled = self.state[:, first : at_bin + 1] == BinState.INTERPOLATED
        return np.logical_and.accumulate(filled[:, ::-1], axis=1)[:, ::-1]

    def hide_ahead(
        self, rows: Floats, at_bin: int, *, positions: npt.NDArray[np.intp] | None = None
    ) -> Floats:
        """Set to NaN what nobody knows yet in rows that end with a bin, see ``filled_ahead``.

        Parameters
        ----------
        rows
            Shape ``(num_chosen_vms, n)``; changed in place, and returned.
        positions
            VMs of the rows; all if ``None``.
        """
        ahead = self.filled_ahead(at_bin)
        ahead = ahead if positions is None else ahead[positions]
        width = min(ahead.shape[1], rows.shape[1])
        rows[:, rows.shape[1] - width :][ahead[:, ahead.shape[1] - width :]] = np.nan
        return rows

    def latest(self, at_bin: int, *, max_age_bins: int = 12) -> Floats:
        """Return the newest known reading of every VM at a bin.

        Parameters
        ----------
        at_bin
            The last bin that may be read.
        max_age_bins
            How many earlier bins may stand in when the newest are missing.

        Returns
        -------
        Floats
            Shape ``(num_resources, num_vms)``, NaN where nothing recent is known.
        """
        first = max(0, at_bin - max_age_bins)
        recent = self.readings[:, :, first : at_bin + 1][:, :, ::-1]
        known = ~np.isnan(recent)
        ahead = self.filled_ahead(at_bin)[:, ::-1][:, : recent.shape[2]]
        known[:, :, : ahead.shape[1]] &= ~ahead
        newest = np.argmax(known, axis=2)[:, :, None]
        readings = np.take_along_axis(recent, newest, axis=2)
        is_known = np.take_along_axis(known, newest, axis=2)
        return np.where(is_known, readings, np.float32(np.nan))[:, :, 0]


def utc(at: datetime) -> datetime:
    """Return the instant in UTC.

    Raises
    ------
    InvalidInputError
        If it carries no time zone.
    """
    if at.tzinfo is None:
        raise InvalidInputError(f"expected a time with its zone, got {at!r}")
    return at.astimezone(UTC)
