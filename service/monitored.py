"""Turns what monitors deliver into bins, and bins into the history that forecasters read.

Records are minutes of one host; bins are five minutes of one VM, wherever it ran. A VM that moved
within a bin is in the records of two hosts, each counted by the samples it has of the running VM.
This is the only place that counts so: the store rolls up by it, and files are read by it.

Not by ``forecast.series_history``, whose rules are of meters read every five minutes: here a
bin without a figure for one resource still has the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from executor.counters import VmState
from executor.monitor.sample import Figure, MinuteRecord
from forecast.history import STEP_SECONDS, BinState, History
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.units import NUM_RESOURCES, Resource, VmId

Numbers = npt.NDArray[np.floating[Any]]

_FIGURE: Final = {
    Resource.CPU: ("cpu_demand_millicores", "cpu_used_millicores"),
    Resource.MEMORY: ("memory_used_mib", "memory_current_mib"),
    Resource.DISK_IO: ("disk_io_kib_per_s",),
    Resource.NET_IO: ("net_io_kib_per_s",),
}
"""Which figure tells the demand for a resource; the second where the first is not told."""

_GRANTED: Final = ("memory_rss_mib", "memory_current_mib")

GRANTED: Final = NUM_RESOURCES
"""Position of granted memory among a bin's quantities, behind the resources."""
NUM_QUANTITIES: Final = NUM_RESOURCES + 1
MEAN, P95, MAX = range(3)
"""Positions of what is told of each quantity."""
NUM_STATISTICS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sheet:
    """The VMs of one record as arrays, or its host as if it were one.

    Parameters
    ----------
    minute_at_s
        Start of the minute, seconds since 1970.
    counted
        Whether it is the VM: a copy that is being filled at its destination stands still there.
    active
        Whether it is not switched off.
    weights_s
        For how long of the minute each was seen.
    num_vcpus
        0 where not told.
    memory_mib
        Its size; NaN where not told.
    names, figures
        Mean, p95 and maximum by figure: shape ``(len(names), 3, len(ids))``; NaN where not told.
    """

    minute_at_s: int
    ids: tuple[str, ...]
    counted: npt.NDArray[np.bool_]
    active: npt.NDArray[np.bool_]
    weights_s: Numbers
    num_vcpus: npt.NDArray[np.int64]
    memory_mib: Numbers
    names: tuple[str, ...]
    figures: Numbers

    def first_told(self, names: Iterable[str]) -> Numbers:
        """Return the first of some figures that is told of each, shape ``(3, len(ids))``."""
        found = np.full((NUM_STATISTICS, len(self.ids)), np.nan)
        for name in names:
            if name in self.names:
                told = self.figures[self.names.index(name)]
                found = np.where(np.isnan(found[MEAN]), told, found)
        return found

    def quantities(self) -> Numbers:
        """Return demand and granted memory, shape ``(3, NUM_QUANTITIES, len(ids))``."""
        sources = [*(_FIGURE[resource] for resource in Resource), _GRANTED]
        return np.stack([self.first_told(names) for names in sources], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenVm:
    """What a record tells of a VM beside its figures."""

    id: str
    state: VmState
    num_vcpus: int | None
    num_samples: int


def sheet_of_vms(record: MinuteRecord) -> Sheet:
    """Return the VMs of a record."""
    names, figures = figure_table([vm.figures for vm in record.vms])
    vms = [
        SeenVm(id=v.vm_id, state=v.state, num_vcpus=v.num_vcpus, num_samples=v.num_samples)
        for v in record.vms
    ]
    return vm_sheet(record.minute_at, record.span_s, record.num_samples, vms, names, figures)


def vm_sheet(
    minute_at: datetime,
    span_s: float,
    num_samples: int,
    vms: Sequence[SeenVm],
    names: tuple[str, ...],
    figures: Numbers,
) -> Sheet:
    """Return the VMs of a minute; each counts by the share of the host's samples it has."""
    shares = [vm.num_samples / max(1, num_samples) for vm in vms]
    memory_mib = np.full(len(vms), np.nan)
    if "memory_current_mib" in names:
        memory_mib = figures[names.index("memory_current_mib"), MAX]
    return Sheet(
        minute_at_s=int(minute_at.timestamp()),
        ids=tuple(vm.id for vm in vms),
        counted=np.array([vm.state is not VmState.PAUSED for vm in vms], dtype=bool),
        active=np.array([vm.state.active for vm in vms], dtype=bool),
        weights_s=span_s * np.array(shares, dtype=np.float64),
        num_vcpus=np.array([vm.num_vcpus or 0 for vm in vms], dtype=np.int64),
        memory_mib=memory_mib,
        names=names,
        figures=figures,
    )


def host_sheet(
    host_id: str,
    minute_at: datetime,
    span_s: float,
    num_cpus: int,
    memory_mib: float,
    names: tuple[str, ...],
    figures: Numbers,
) -> Sheet:
    """Return the host of a minute as if it were one VM, always on."""
    return Sheet(
        minute_at_s=int(minute_at.timestamp()),
        ids=(host_id,),
        counted=np.ones(1, dtype=bool),
        active=np.ones(1, dtype=bool),
        weights_s=np.array([span_s]),
        num_vcpus=np.array([num_cpus], dtype=np.int64),
        memory_mib=np.array([memory_mib]),
        names=names,
        figures=figures,
    )


def figure_table(told: Sequence[Mapping[str, Figure]]) -> tuple[tuple[str, ...], Numbers]:
    """Return the names of all figures, and the figures of each as ``Sheet`` holds them."""
    names = tuple(sorted({name for figures in told for name in figures}))
    position = {name: number for number, name in enumerate(names)}
    table = np.full((len(names), NUM_STATISTICS, len(told)), np.nan)
    for number, figures in enumerate(told):
        for name, figure in figures.items():
            table[position[name], :, number] = figure.mean, figure.p95, figure.max
    return names, table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bins:
    """What was seen of VMs, or of hosts, in bins of a grid that starts in 1970.

    Parameters
    ----------
    ids
        In rising order.
    first
        Number of the first bin.
    figures
        ``float32`` of shape ``(3, NUM_QUANTITIES, len(ids), num_bins)``; NaN where not known. The
        p95 of a bin is the mean of its minutes' by time, its maximum their largest.
    state
        :class:`BinState` as ``uint8``, shape ``(len(ids), num_bins)``; absent where no record
        tells of the VM.
    vcpus, memory_size_mib
        The newest that was told.
    """

    ids: tuple[str, ...]
    first: int
    figures: npt.NDArray[np.float32]
    state: npt.NDArray[np.uint8]
    vcpus: npt.NDArray[np.int64]
    memory_size_mib: npt.NDArray[np.int64]

    def history(self, step_seconds: int = STEP_SECONDS) -> History:
        """Return the means as a history; what lies between a VM's records is missing."""
        return History(
            vm_ids=tuple(VmId(each) for each in self.ids),
            start_at=datetime.fromtimestamp(self.first * step_seconds, UTC),
            readings=self.figures[MEAN, :NUM_RESOURCES].copy(),
            state=with_gaps(self.state),
            granted_mib=self.figures[MEAN, GRANTED].copy(),
            vcpus=self.vcpus,
            memory_size_mib=self.memory_size_mib,
            app_types=tuple(None for _ in self.ids),
            step_seconds=step_seconds,
        )


def with_gaps(state: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return states in which what lies between a VM's first and last record is missing."""
    seen = state != BinState.ABSENT
    begun = np.maximum.accumulate(seen, axis=1)
    going_on = np.maximum.accumulate(seen[:, ::-1], axis=1)[:, ::-1]
    gap = ~seen & begun & going_on
    return np.where(gap, np.uint8(BinState.MISSING), state)


def history_of_minutes(
    records: Iterable[MinuteRecord], *, step_seconds: int = STEP_SECONDS
) -> History:
    """Return the history of every VM in the records, which may come in any order.

    A bin is measured if any minute of it has figures; off if the VM was seen switched off and not
    running; missing otherwise, between the VM's first and last record.

    Parameters
    ----------
    records
        Each once: whoever receives them drops what was delivered twice.
    step_seconds
        Length of a bin.

    Raises
    ------
    NotEnoughHistoryError
        If no record tells of a VM.
    """
    bins = bins_of((sheet_of_vms(record) for record in records), step_seconds=step_seconds)
    if bins is None:
        raise NotEnoughHistoryError("expected records of at least one VM, got none")
    return bins.history(step_seconds)


def bins_of(sheets: Iterable[Sheet], *, step_seconds: int = STEP_SECONDS) -> Bins | None:
    """Return the bins of all VMs in the sheets, which may come in any order; ``None`` if of none.

    A bin is measured if any minute of it has figures; off if the VM was seen switched off and not
    running; missing if it was seen without either.
    """
    ordered = sorted((sheet for sheet in sheets if sheet.ids), key=lambda each: each.minute_at_s)
    ids = sorted({vm for s in ordered for vm, yes in zip(s.ids, s.counted, strict=True) if yes})
    if not ids:
        return None
    position = {vm: number for number, vm in enumerate(ids)}
    rows = [np.array([position.get(vm, -1) for vm in sheet.ids]) for sheet in ordered]
    numbers = [sheet.minute_at_s // step_seconds for sheet in ordered if sheet.counted.any()]
    first, num_bins = min(numbers), max(numbers) - min(numbers) + 1
    cells = [
        row * num_bins + sheet.minute_at_s // step_seconds - first
        for row, sheet in zip(rows, ordered, strict=True)
    ]
    figures, state = _averaged(ordered, cells, (len(ids), num_bins))
    vcpus, memory_mib = _sizes(ordered, rows, len(ids))
    return Bins(
        ids=tuple(ids),
        first=first,
        figures=figures,
        state=state,
        vcpus=vcpus,
        memory_size_mib=memory_mib,
    )


def _averaged(
    sheets: Sequence[Sheet], cells: Sequence[npt.NDArray[np.int64]], shape: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Return figures and states of all cells, each a VM in a bin."""
    counted = np.concatenate([sheet.counted for sheet in sheets])
    cell = np.concatenate(cells)[counted]
    active = np.concatenate([sheet.active for sheet in sheets])[counted]
    weights = np.concatenate([sheet.weights_s for sheet in sheets])[counted]
    values = np.concatenate([sheet.quantities() for sheet in sheets], axis=2)[:, :, counted]
    figures = np.full((NUM_STATISTICS, NUM_QUANTITIES, shape[0] * shape[1]), np.nan, np.float32)
    for quantity in range(NUM_QUANTITIES):
        known = active & ~np.isnan(values[MEAN, quantity])
        where, weight, told = cell[known], weights[known], values[:, quantity, known]
        span = np.bincount(where, weight, figures.shape[2])
        seen = span > 0
        for statistic in (MEAN, P95):
            total = np.bincount(where, weight * told[statistic], figures.shape[2])
            figures[statistic, quantity, seen] = total[seen] / span[seen]
        largest = np.full(figures.shape[2], -np.inf)
        np.maximum.at(largest, where, told[MAX])
        figures[MAX, quantity, seen] = largest[seen]
    state = _states(figures, cell, active)
    return figures.reshape(*figures.shape[:2], *shape), state.reshape(shape)


def _states(
    figures: npt.NDArray[np.float32], cell: npt.NDArray[np.int64], active: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Return the state of each cell, and make its figures agree with it."""
    state = np.full(figures.shape[2], BinState.ABSENT, dtype=np.uint8)
    state[cell] = BinState.MISSING
    state[cell[~active]] = BinState.OFF
    measured = ~np.isnan(figures[MEAN, Resource.CPU])
    state[measured] = BinState.MEASURED
    figures[:, :, ~measured] = np.nan
    figures[:, :NUM_RESOURCES, state == BinState.OFF] = 0.0
    return state


def _sizes(
    sheets: Sequence[Sheet], rows: Sequence[npt.NDArray[np.int64]], num: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the newest size of each VM; 0 where none was told."""
    vcpus = np.zeros(num, dtype=np.int64)
    memory_mib = np.zeros(num, dtype=np.int64)
    for sheet, row in zip(sheets, rows, strict=True):
        told = (row >= 0) & (sheet.num_vcpus > 0)
        vcpus[row[told]] = sheet.num_vcpus[told]
        told = (row >= 0) & ~np.isnan(sheet.memory_mib)
        memory_mib[row[told]] = np.round(sheet.memory_mib[told])
    return vcpus, memory_mib
