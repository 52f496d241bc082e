"""Turns what monitors deliver into the history that forecasters read.

Records are minutes of one host; bins are five minutes of one VM, wherever it ran. A VM that moved
within a bin is in the records of two hosts, each counted by the samples it has of the running VM.

Not by ``forecast.series_history``, whose rules are of meters read every five minutes: here a
bin without a figure for one resource still has the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np

from executor.counters import VmState
from executor.monitor.sample import MinuteRecord, VmMinute
from forecast.history import STEP_SECONDS, BinState, History
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.units import NUM_RESOURCES, Resource, VmId

_FIGURE: Final = {
    Resource.CPU: ("cpu_demand_millicores", "cpu_used_millicores"),
    Resource.MEMORY: ("memory_used_mib", "memory_current_mib"),
    Resource.DISK_IO: ("disk_io_kib_per_s",),
    Resource.NET_IO: ("net_io_kib_per_s",),
}
"""Which figure tells the demand for a resource; the second where the first is not told."""

_GRANTED: Final = ("memory_rss_mib", "memory_current_mib")


@dataclass(slots=True)
class _Mean:
    """A mean over time."""

    total: float = 0.0
    span_s: float = 0.0

    def add(self, value: float, span_s: float) -> None:
        self.total += value * span_s
        self.span_s += span_s

    @property
    def value(self) -> float:
        return self.total / self.span_s if self.span_s else float("nan")


@dataclass(slots=True)
class _Bin:
    """One VM in one bin."""

    demand: dict[Resource, _Mean] = field(default_factory=lambda: defaultdict(_Mean))
    granted: _Mean = field(default_factory=_Mean)
    off: bool = False


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
    bins: defaultdict[VmId, dict[int, _Bin]] = defaultdict(dict)
    sizes: dict[VmId, tuple[datetime, int, float]] = {}
    for record in records:
        number = int(record.minute_at.timestamp()) // step_seconds
        for vm in record.vms:
            # A copy that is being filled at its destination stands still there; it is not the VM.
            if vm.state is not VmState.PAUSED:
                share = vm.num_samples / max(1, record.num_samples)
                _add(bins[vm.vm_id].setdefault(number, _Bin()), vm, record.span_s * share)
            _note_size(sizes, vm, record.minute_at)
    if not bins:
        raise NotEnoughHistoryError("expected records of at least one VM, got none")
    return _gathered(bins, sizes, step_seconds)


def _add(into: _Bin, vm: VmMinute, span_s: float) -> None:
    if not vm.state.active:
        into.off = True
        return
    for resource, names in _FIGURE.items():
        value = _first(vm, names)
        if value is not None:
            into.demand[resource].add(value, span_s)
    granted = _first(vm, _GRANTED)
    if granted is not None:
        into.granted.add(granted, span_s)


def _first(vm: VmMinute, names: tuple[str, ...]) -> float | None:
    return next((vm.figures[name].mean for name in names if name in vm.figures), None)


def _note_size(sizes: dict[VmId, tuple[datetime, int, float]], vm: VmMinute, at: datetime) -> None:
    """Remember the newest size of a VM."""
    before_at, num_vcpus, memory_mib = sizes.get(vm.vm_id, (at, 0, 0.0))
    if at < before_at:
        return
    told = vm.figures.get("memory_current_mib")
    sizes[vm.vm_id] = (at, vm.num_vcpus or num_vcpus, memory_mib if told is None else told.max)


def _gathered(
    bins: dict[VmId, dict[int, _Bin]],
    sizes: dict[VmId, tuple[datetime, int, float]],
    step_seconds: int,
) -> History:
    vm_ids = tuple(sorted(bins))
    first = min(min(of_vm) for of_vm in bins.values())
    num_bins = max(max(of_vm) for of_vm in bins.values()) - first + 1
    readings = np.full((NUM_RESOURCES, len(vm_ids), num_bins), np.nan, dtype=np.float32)
    granted = np.full((len(vm_ids), num_bins), np.nan, dtype=np.float32)
    state = np.full((len(vm_ids), num_bins), BinState.ABSENT, dtype=np.uint8)
    for v, vm_id in enumerate(vm_ids):
        of_vm = bins[vm_id]
        state[v, min(of_vm) - first : max(of_vm) - first + 1] = BinState.MISSING
        for number, seen in of_vm.items():
            b = number - first
            if Resource.CPU in seen.demand:
                state[v, b] = BinState.MEASURED
                granted[v, b] = seen.granted.value
                for resource, mean in seen.demand.items():
                    readings[resource, v, b] = mean.value
            elif seen.off:
                state[v, b] = BinState.OFF
                readings[:, v, b] = 0.0
    return History(
        vm_ids=vm_ids,
        start_at=datetime.fromtimestamp(first * step_seconds, UTC),
        readings=readings,
        state=state,
        granted_mib=granted,
        vcpus=np.array([sizes[vm_id][1] for vm_id in vm_ids], dtype=np.int64),
        memory_size_mib=np.array([round(sizes[vm_id][2]) for vm_id in vm_ids], dtype=np.int64),
        app_types=tuple(None for _ in vm_ids),
        step_seconds=step_seconds,
    )
