"""The host's own counters, by psutil and the kernel's pressure files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

PRESSURES: Final = (
    ("cpu", "some"),
    ("memory", "some"),
    ("memory", "full"),
    ("io", "some"),
    ("io", "full"),
)
"""Resource and share of tasks that stall; all tasks at once cannot wait for a processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTimes:
    """Seconds of one processor since the host started.

    Parameters
    ----------
    busy_s
        Working, for guests too.
    steal_s
        Ready to work while a hypervisor below this host did something else.
    iowait_s
        Idle while a disk was waited for.
    """

    busy_s: float
    steal_s: float
    iowait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCounters:
    """A host at one instant; counters rise from 0 since it started.

    Parameters
    ----------
    cpus
        One entry per processor that is on.
    load_1min
        Tasks that ran, were ready or waited for a disk, averaged by the kernel.
    memory_total_mib, memory_available_mib, swap_used_mib
        At present.
    swap_in_bytes, swap_out_bytes
        Moved from and to swap.
    disk_read_bytes, disk_write_bytes, disk_requests
        Summed over physical disks, so that partitions and volumes on them do not count again.
    net_rx_bytes, net_tx_bytes
        Summed over physical network cards, so that bridges and guests' taps do not count again.
    pressure_us
        Microseconds stalled, by resource and share; without the pairs that the kernel lacks.
    """

    cpus: tuple[CpuTimes, ...]
    load_1min: float
    memory_total_mib: float
    memory_available_mib: float
    swap_used_mib: float
    swap_in_bytes: int
    swap_out_bytes: int
    disk_read_bytes: int
    disk_write_bytes: int
    disk_requests: int
    net_rx_bytes: int
    net_tx_bytes: int
    pressure_us: Mapping[tuple[str, str], int]


class PsutilHost:
    """Reads the host this process runs on.

    Parameters
    ----------
    proc, sys
        Where the kernel tells of pressure, and of what is physical.
    """

    def __init__(self, *, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        self._proc = proc
        self._sys = sys

    def read(self) -> HostCounters:
        """Return the host's counters."""
        memory = psutil.virtual_memory()
        swap = psutil.swap_memory()
        disks = self._physical("block", psutil.disk_io_counters(perdisk=True) or {})
        nets = self._physical("class/net", psutil.net_io_counters(pernic=True) or {})
        return HostCounters(
            cpus=tuple(_cpu_times(times) for times in psutil.cpu_times(percpu=True)),
            load_1min=psutil.getloadavg()[0],
            memory_total_mib=_mib(memory.total),
            memory_available_mib=_mib(memory.available),
            swap_used_mib=_mib(swap.used),
            swap_in_bytes=swap.sin,
            swap_out_bytes=swap.sout,
            disk_read_bytes=sum(disk.read_bytes for disk in disks),
            disk_write_bytes=sum(disk.write_bytes for disk in disks),
            disk_requests=sum(disk.read_count + disk.write_count for disk in disks),
            net_rx_bytes=sum(net.bytes_recv for net in nets),
            net_tx_bytes=sum(net.bytes_sent for net in nets),
            pressure_us=read_pressure(self._proc / "pressure"),
        )

    def _physical(self, kind: str, counters: Mapping[str, Any]) -> list[Any]:
        """Return the counters of what is a device; of everything whole where nothing is one."""
        folder = self._sys / kind
        whole = [name for name in counters if name != "lo" and (folder / name).exists()]
        devices = [name for name in whole if (folder / name / "device").exists()]
        return [counters[name] for name in devices or whole]


def read_pressure(folder: Path) -> dict[tuple[str, str], int]:
    """Return the microseconds stalled since the host started, of each of ``PRESSURES`` it tells.

    Kernels without pressure stall information, or with it turned off, tell none.
    """
    found = {}
    for resource in dict.fromkeys(resource for resource, _ in PRESSURES):
        try:
            lines = (folder / resource).read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        for share, total_us in _totals(lines):
            if (resource, share) in PRESSURES:
                found[resource, share] = total_us
    return found


def _totals(lines: Iterable[str]) -> Iterable[tuple[str, int]]:
    for line in lines:
        share, _, averages = line.partition(" ")
        total = averages.rpartition("total=")[2]
        if total.isdigit():
            yield share, int(total)


def _cpu_times(times: Any) -> CpuTimes:
    # The kernel counts the time of guests in `user` and `nice` already.
    busy_s = times.user + times.nice + times.system + times.irq + times.softirq
    return CpuTimes(busy_s=busy_s, steal_s=times.steal, iowait_s=times.iowait)


def _mib(num_bytes: int) -> float:
    return num_bytes / 2**20
