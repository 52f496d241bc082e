"""Gather part by part what is known of each VM, and close the story of each at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.import_grid import Series
from forecast.prometheus.columns import SIZES, fill, tidy_columns
from forecast.prometheus.pieces import Joined
from forecast.prometheus.queries import Stretch
from forecast.tidy_columns import LIMITS
from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId, VmId

MIN_COVERED: Final = 0.5
"""A bin of which less was seen is missing."""
MIN_TWIN_BINS: Final = 12
"""A migration may take an hour; a VM that two hosts have for longer, and mostly, is two."""

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """What was found while reading.

    Parameters
    ----------
    absent
        Quantities of the settings of which Prometheus has nothing.
    moves
        How often a VM was seen on another host than before.
    twin_bins
        Bins in which two hosts told of a VM all the time, as in a long migration.
    implausible
        Values that are infinite, negative or absurdly large, taken as unknown.
    brief
        VMs that were seen for less than half of any bin; they are left out.
    last_host
        Where each VM was seen last.
    """

    absent: tuple[str, ...]
    moves: int
    twin_bins: int
    implausible: int
    brief: int
    last_host: Mapping[VmId, HostId]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VmReadings:
    """Readings of every VM, by its name, and what was found."""

    series: tuple[Series, ...]
    report: SourceReport


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """What was read of some bins, from bin ``first`` of the whole on.

    Parameters
    ----------
    vms
        Identity of each VM, in the order of ``joined``.
    names
        What each was called last in this part.
    """

    first: int
    vms: tuple[str, ...]
    names: tuple[str, ...]
    joined: Joined


@dataclass(slots=True, kw_only=True, eq=False)
class _Vm:
    """What is known so far of one VM, over the whole time."""

    columns: dict[str, npt.NDArray[np.float32]]
    seen: Flags
    off: Flags
    host: npt.NDArray[np.int32]
    name: str = ""
    twins: int = 0

    @property
    def is_known(self) -> bool:
        """Tell whether anything is known of it in any bin."""
        used = self.columns["cpu_used"]
        return bool(self.off.any() or (used >= 0).any())

    @property
    def last_seen(self) -> int:
        """Return its last bin, -1 if there is none."""
        seen = np.flatnonzero(self.seen)
        return int(seen[-1]) if len(seen) else -1


@dataclass(slots=True, kw_only=True, eq=False)
class Assembly:
    """The VMs of the whole time while they are gathered.

    Parameters
    ----------
    hosts
        Position of each host.
    up
        When each host answered, by position.
    """

    whole: Stretch
    hosts: dict[str, int] = field(default_factory=dict)
    up: dict[int, Flags] = field(default_factory=dict)
    _vms: dict[str, _Vm] = field(default_factory=dict)

    def host(self, name: str) -> int:
        """Return the position of a host, a new one if it is."""
        return self.hosts.setdefault(name, len(self.hosts))

    def last_host(self, vm_id: str) -> int:
        """Return the position of the host that had a VM last, -1 if none had."""
        known = self._vms[vm_id].host if vm_id in self._vms else np.empty(0, dtype=np.int32)
        return int(known[known >= 0][-1]) if (known >= 0).any() else -1

    def answered(self, host: int, first: int, ok: Flags) -> None:
        """Note in which bins a host answered."""
        known = self.up.setdefault(host, np.zeros(self.whole.num_bins, dtype=bool))
        known[first : first + len(ok)] |= ok

    def add(self, part: Part) -> None:
        """Add what was read of some bins."""
        columns = tidy_columns(part.joined.values)
        place = slice(part.first, part.first + part.joined.seen.shape[1])
        enough = part.joined.covered_s >= MIN_COVERED * self.whole.step_seconds
        for row, (vm_id, name) in enumerate(zip(part.vms, part.names, strict=True)):
            vm = self._vms.setdefault(vm_id, self._new())
            if part.joined.seen[row].any():
                vm.name = name
            vm.twins += int(part.joined.twins[row])
            vm.seen[place] = part.joined.seen[row]
            vm.off[place] = part.joined.off[row]
            vm.host[place] = part.joined.host[row]
            for column, values in columns.items():
                kept = vm.columns.setdefault(
                    column, np.full(self.whole.num_bins, np.nan, dtype=np.float32)
                )
                kept[place] = np.where(enough[row], values[row], np.nan)

    def _new(self) -> _Vm:
        shape = self.whole.num_bins
        return _Vm(
            columns={},
            seen=np.zeros(shape, dtype=bool),
            off=np.zeros(shape, dtype=bool),
            host=np.full(shape, -1, dtype=np.int32),
        )

    def finished(self, *, absent: tuple[str, ...], implausible: int) -> VmReadings:
        """Return the readings, once every part has been added.

        Raises
        ------
        InvalidInputError
            If a VM is mostly on two hosts at once.
        """
        vms = {vm_id: vm for vm_id, vm in self._vms.items() if vm.is_known}
        self._check_twins(vms)
        names, columns = _names(vms), _common_columns(vms)
        hosts = list(self.hosts)
        everyone = self._everyone_answered()
        series, last_host, moves = [], {}, 0
        for vm_id, vm in vms.items():
            self._infer_off(vm, everyone)
            series.append(self._series(names[vm_id], vm, columns))
            on = vm.host[vm.host >= 0]
            moves += int((np.diff(on) != 0).sum())
            if len(on):
                last_host[VmId(names[vm_id])] = HostId(hosts[on[-1]])
        report = SourceReport(
            absent=absent,
            moves=moves,
            twin_bins=sum(vm.twins for vm in vms.values()),
            implausible=implausible,
            brief=sum(bool(vm.seen.any()) for vm in self._vms.values()) - len(vms),
            last_host=last_host,
        )
        return VmReadings(series=tuple(series), report=report)

    def _check_twins(self, vms: Mapping[str, _Vm]) -> None:
        for vm_id, vm in vms.items():
            seen = int(vm.seen.sum())
            if vm.twins >= MIN_TWIN_BINS and vm.twins > seen // 2:
                host = list(self.hosts)[vm.host[vm.host >= 0][-1]]
                raise InvalidInputError(
                    f"VM {vm_id!r} is on two hosts at once in {vm.twins} of {seen} bins, {host!r} "
                    "is one of them; expected one host. Two VMs may have one name: choose another "
                    "label by labels.vm; or one host is scraped twice: leave one out by select.vm"
                )

    def _everyone_answered(self) -> Flags:
        """Tell when every host answered that was there: between its first answer and its last."""
        all_did = np.full(self.whole.num_bins, bool(self.up))
        for ok in self.up.values():
            there = np.flatnonzero(ok)
            if len(there):
                inside = slice(int(there[0]), int(there[-1]) + 1)
                all_did[inside] &= ok[inside]
        return all_did

    def _infer_off(self, vm: _Vm, everyone: Flags) -> None:
        """Take a VM for off where no host has it while all answer, its own two above all."""
        seen = np.flatnonzero(vm.seen)
        for before in np.flatnonzero(np.diff(seen) > 1):
            gap = slice(int(seen[before]) + 1, int(seen[before + 1]))
            left, right = vm.host[: gap.start], vm.host[gap.stop :]
            own = (left[left >= 0][-1:].tolist(), right[right >= 0][:1].tolist())
            if all(host and host[0] in self.up for host in own):
                vm.off[gap] |= everyone[gap] & self.up[own[0][0]][gap] & self.up[own[1][0]][gap]

    def _series(self, name: str, vm: _Vm, columns: tuple[str, ...]) -> Series:
        first = int(np.argmax(vm.seen))
        bins = slice(first, vm.last_seen + 1)
        nothing = np.full(self.whole.num_bins, np.nan, dtype=np.float32)
        values = {
            column: vm.columns.get(column, nothing)[bins].astype(np.float64) for column in columns
        }
        fill(values, measured=~np.isnan(values["cpu_used"]))
        off = vm.off[bins]
        for column, numbers in values.items():
            if column not in SIZES:
                numbers[off] = 0.0
        values["cpu_cores"][off] = 0.0
        seconds = self.whole.start_s + self.whole.step_seconds * np.arange(bins.start, bins.stop)
        return Series(vm=name, seconds=seconds.astype(np.int64), values=values)


def _names(vms: Mapping[str, _Vm]) -> dict[str, str]:
    """Return what each VM is called: of several of one name the one seen last has it."""
    holder: dict[str, str] = {}
    for vm_id, vm in sorted(vms.items(), key=lambda item: item[1].last_seen):
        holder[vm.name] = vm_id
    return {
        vm_id: vm.name if holder[vm.name] == vm_id else f"{vm.name} ({vm_id})"
        for vm_id, vm in vms.items()
    }


def _common_columns(vms: Mapping[str, _Vm]) -> tuple[str, ...]:
    """Return the columns of which any VM has something, in the order of tidy files."""
    found = {name for vm in vms.values() for name, a in vm.columns.items() if (a >= 0).any()}
    return tuple(name for name in LIMITS if name in found or name in ("cpu_cores", "cpu_used"))
