"""Rates from the differences of counters, and what makes a difference mean nothing.

A counter that went backwards (started anew, a disk taken out) tells nothing this time. A VM seen
for the first time, or whose processor time went backwards, was not there before: its next reading
is the first that counts. Readings too far apart say too little about what happened between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from executor.counters import VmCounters
from executor.monitor.host import PRESSURES, CpuTimes, HostCounters
from executor.monitor.sample import CLOCK_STEPPED, GAP, NO_VMS

STEP_S: Final = 1.0
"""A wall clock that gains or loses more between two readings was put right, not slewed."""

CPU_TOLERANCE: Final = 1.05
"""Counters of processor time are read a little apart from the clock; beyond this they jumped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Host and VMs as read at one time.

    Parameters
    ----------
    at
        The wall clock when the host was read, aware UTC.
    host_s, vms_s
        The steady clock when each was read.
    vms
        ``None`` if the hypervisor could not be asked; ``reason`` says why.
    """

    at: datetime
    host: HostCounters
    host_s: float
    vms: tuple[VmCounters, ...] | None
    vms_s: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSample:
    """A VM between two readings.

    Parameters
    ----------
    span_s
        Between the two.
    figures
        By name of ``sample.VM_FIGURES``; without what is not known.
    """

    vm: VmCounters
    span_s: float
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Host and VMs between two readings.

    Parameters
    ----------
    middle_at
        Half-way between the two.
    end_at
        Of the later.
    cpu_fractions
        How busy each processor was; empty if processors came or went.
    """

    middle_at: datetime
    end_at: datetime
    span_s: float
    host: HostCounters
    figures: Mapping[str, float]
    cpu_fractions: tuple[float, ...]
    vms: tuple[VmSample, ...]
    flags: frozenset[str] = field(default_factory=frozenset)


class Differences:
    """Turns one reading after the other into samples.

    Parameters
    ----------
    max_span_s
        Readings further apart than this are a gap.
    """

    def __init__(self, *, max_span_s: float) -> None:
        self._max_span_s = max_span_s
        self._last: Reading | None = None
        self._vms: dict[str, tuple[VmCounters, float]] = {}
        # What there is to say about time that no sample stands for.
        self._flags: set[str] = set()

    def sample(self, reading: Reading) -> Sample | None:
        """Return what happened since the reading before; ``None`` if nothing can be said."""
        last, self._last = self._last, reading
        vms = self._vm_samples(reading, num_cpus=len(reading.host.cpus))
        if last is None:
            return None
        span_s = reading.host_s - last.host_s
        if abs((reading.at - last.at).total_seconds() - span_s) > STEP_S:
            self._flags.add(CLOCK_STEPPED)
        if reading.vms is None:
            self._flags.add(NO_VMS)
        if not 0 < span_s <= self._max_span_s:
            self._flags.add(GAP)
            return None
        flags, self._flags = frozenset(self._flags), set()
        return Sample(
            middle_at=reading.at - timedelta(seconds=span_s / 2),
            end_at=reading.at,
            span_s=span_s,
            host=reading.host,
            figures=host_figures(last.host, reading.host, span_s),
            cpu_fractions=_cpu_fractions(last.host.cpus, reading.host.cpus, span_s),
            vms=vms,
            flags=flags,
        )

    def _vm_samples(self, reading: Reading, *, num_cpus: int) -> tuple[VmSample, ...]:
        if reading.vms is None:
            return ()
        before = self._vms
        self._vms = {vm.uuid: (vm, reading.vms_s) for vm in reading.vms if vm.state.active}
        samples = []
        for uuid, (vm, read_s) in self._vms.items():
            known = before.get(uuid)
            if known is None or not 0 < read_s - known[1] <= self._max_span_s:
                continue
            span_s = read_s - known[1]
            figures = vm_figures(known[0], vm, span_s, num_cpus=num_cpus)
            if figures is not None:
                samples.append(VmSample(vm=vm, span_s=span_s, figures=figures))
        return tuple(samples)


def host_figures(before: HostCounters, after: HostCounters, span_s: float) -> dict[str, float]:
    """Return the host's figures by name of ``sample.HOST_FIGURES``."""
    figures: dict[str, float | None] = {
        "load_1min": after.load_1min,
        "memory_used_mib": after.memory_total_mib - after.memory_available_mib,
        "memory_available_mib": after.memory_available_mib,
        "swap_used_mib": after.swap_used_mib,
        "disk_requests_per_s": _rate(before.disk_requests, after.disk_requests, span_s),
    }
    for name in ("swap_in", "swap_out", "disk_read", "disk_write", "net_rx", "net_tx"):
        old, new = getattr(before, f"{name}_bytes"), getattr(after, f"{name}_bytes")
        figures[f"{name}_kib_per_s"] = _rate(old, new, span_s, unit=1024)
    figures["disk_io_kib_per_s"] = _total(
        figures["disk_read_kib_per_s"], figures["disk_write_kib_per_s"]
    )
    figures["net_io_kib_per_s"] = _total(figures["net_rx_kib_per_s"], figures["net_tx_kib_per_s"])
    for key in PRESSURES:
        stalled = _rate(before.pressure_us.get(key), after.pressure_us.get(key), span_s, unit=1e6)
        figures[f"pressure_{key[0]}_{key[1]}_fraction"] = stalled
    for name, field_name in (("used", "busy_s"), ("steal", "steal_s"), ("iowait", "iowait_s")):
        figures[f"cpu_{name}_millicores"] = _cpu_sum(before.cpus, after.cpus, field_name, span_s)
    return _known(figures)


def vm_figures(
    before: VmCounters, after: VmCounters, span_s: float, *, num_cpus: int
) -> dict[str, float] | None:
    """Return the VM's figures by name of ``sample.VM_FIGURES``.

    ``None`` if it was started anew between the two. A demand is told only where both what was used
    and what was waited for are known.

    Parameters
    ----------
    num_cpus
        Of the host: nobody uses more.
    """
    used = _rate(before.cpu_time_ns, after.cpu_time_ns, span_s, unit=1e6)
    if used is None and before.cpu_time_ns is not None and after.cpu_time_ns is not None:
        return None
    if used is not None and used > num_cpus * 1000 * CPU_TOLERANCE:
        used = None
    waited = _rate(before.vcpu_delay_ns, after.vcpu_delay_ns, span_s, unit=1e6)
    figures: dict[str, float | None] = {
        "cpu_used_millicores": used,
        "cpu_waited_millicores": waited,
        "cpu_demand_millicores": _total(used, waited),
        "memory_current_mib": _mib(after.balloon_current_kib),
        "memory_used_mib": _mib(_guest_used_kib(after)),
        "memory_rss_mib": _mib(after.balloon_rss_kib),
        "dirty_mib_per_s": after.dirty_mib_per_s,
    }
    for name in ("disk_read", "disk_write", "net_rx", "net_tx"):
        old, new = getattr(before, f"{name}_bytes"), getattr(after, f"{name}_bytes")
        figures[f"{name}_kib_per_s"] = _rate(old, new, span_s, unit=1024)
    figures["disk_io_kib_per_s"] = _total(
        figures["disk_read_kib_per_s"], figures["disk_write_kib_per_s"]
    )
    figures["net_io_kib_per_s"] = _total(figures["net_rx_kib_per_s"], figures["net_tx_kib_per_s"])
    figures["disk_requests_per_s"] = _total(
        _rate(before.disk_read_requests, after.disk_read_requests, span_s),
        _rate(before.disk_write_requests, after.disk_write_requests, span_s),
    )
    return _known(figures)


def _guest_used_kib(vm: VmCounters) -> int | None:
    """Return what a guest says it needs: all but what it could give away without swapping."""
    spare_kib = (
        vm.balloon_usable_kib if vm.balloon_usable_kib is not None else vm.balloon_unused_kib
    )
    if vm.balloon_current_kib is None or spare_kib is None:
        return None
    return max(0, vm.balloon_current_kib - spare_kib)


def _cpu_sum(
    before: tuple[CpuTimes, ...], after: tuple[CpuTimes, ...], field_name: str, span_s: float
) -> float | None:
    if len(before) != len(after):
        return None
    # The kernel's idle and waiting times may step back by a tick.
    seconds: float = sum(
        max(0.0, getattr(new, field_name) - getattr(old, field_name))
        for old, new in zip(before, after, strict=True)
    )
    return seconds / span_s * 1000


def _cpu_fractions(
    before: tuple[CpuTimes, ...], after: tuple[CpuTimes, ...], span_s: float
) -> tuple[float, ...]:
    if len(before) != len(after):
        return ()
    return tuple(
        min(1.0, max(0.0, (new.busy_s - old.busy_s) / span_s))
        for old, new in zip(before, after, strict=True)
    )


def _rate(
    before: float | None, after: float | None, span_s: float, *, unit: float = 1
) -> float | None:
    """Return units per second; ``None`` if a counter is not told or went backwards."""
    if before is None or after is None or after < before:
        return None
    return (after - before) / unit / span_s


def _total(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def _mib(kib: int | None) -> float | None:
    return None if kib is None else kib / 1024


def _known(figures: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if value is not None}


def percentile(values: Iterable[float], fraction: float) -> float:
    """Return the percentile of at least one value, interpolated between the two nearest."""
    ordered = sorted(values)
    place = fraction * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
