"""What one minute's record holds. Its form as JSON is ``wire``'s.

A record tells, of the host and of each of its VMs, the mean, the 95th percentile and the maximum
of every figure over the minute's samples. A figure that could not be read is missing, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from executor.counters import VmState
from solver.domain.units import HostId, VmId

SCHEMA: Final = 1

NO_VMS: Final = "vms_unavailable"
"""The hypervisor could not be asked for a part of the minute."""
GAP: Final = "gap"
"""Samples were so far apart that what happened between them is left out."""
CLOCK_STEPPED: Final = "clock_stepped"
"""The host's wall clock was put right within the minute."""
CLOCK_SKEWED: Final = "clock_skewed"
"""The host's wall clock is not the service's; ``clock_skew_s`` tells by how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure over a minute.

    Parameters
    ----------
    mean
        Weighted by the time that each sample stands for.
    p95
        Interpolated between the two samples nearest to it.
    max
        The largest sample.
    """

    mean: float
    p95: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMinute:
    """The host over a minute.

    Parameters
    ----------
    num_cpus, memory_total_mib
        At the last sample.
    figures
        By name with unit, see ``HOST_FIGURES``.
    cpu_fractions
        How busy each processor was, 0 to 1, in the kernel's order; empty if processors came or
        went within the minute.
    """

    num_cpus: int
    memory_total_mib: float
    figures: Mapping[str, Figure]
    cpu_fractions: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VmMinute:
    """A VM over a minute.

    Parameters
    ----------
    state, num_vcpus
        At the last sample.
    num_samples
        How many samples its rates stand on; fewer than the host's when it came or went, was
        started anew, or could not be asked.
    figures
        By name with unit, see ``VM_FIGURES``.
    """

    vm_id: VmId
    name: str
    uuid: str
    state: VmState
    num_vcpus: int | None = None
    num_samples: int = 0
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteRecord:
    """What the monitor saw within one minute.

    Parameters
    ----------
    minute_at
        Start of the minute, aware UTC. After a restart or a step of the clock a minute may come in
        two records.
    span_s
        Seconds that the samples stand for together.
    flags
        What to know before trusting it, see the constants of this module.
    clock_skew_s
        The service's clock minus the host's when they were compared last; ``None`` before.
    """

    host_id: HostId
    minute_at: datetime
    span_s: float
    num_samples: int
    host: HostMinute
    vms: tuple[VmMinute, ...] = ()
    flags: frozenset[str] = field(default_factory=frozenset)
    clock_skew_s: float | None = None
    schema: int = SCHEMA


HOST_FIGURES: Final = (
    "cpu_used_millicores",
    "cpu_steal_millicores",
    "cpu_iowait_millicores",
    "load_1min",
    "memory_used_mib",
    "memory_available_mib",
    "swap_used_mib",
    "swap_in_kib_per_s",
    "swap_out_kib_per_s",
    "disk_read_kib_per_s",
    "disk_write_kib_per_s",
    "disk_io_kib_per_s",
    "disk_requests_per_s",
    "net_rx_kib_per_s",
    "net_tx_kib_per_s",
    "net_io_kib_per_s",
    "pressure_cpu_some_fraction",
    "pressure_memory_some_fraction",
    "pressure_memory_full_fraction",
    "pressure_io_some_fraction",
    "pressure_io_full_fraction",
)

VM_FIGURES: Final = (
    "cpu_used_millicores",
    "cpu_waited_millicores",
    "cpu_demand_millicores",
    "memory_current_mib",
    "memory_used_mib",
    "memory_rss_mib",
    "disk_read_kib_per_s",
    "disk_write_kib_per_s",
    "disk_io_kib_per_s",
    "disk_requests_per_s",
    "net_rx_kib_per_s",
    "net_tx_kib_per_s",
    "net_io_kib_per_s",
    "dirty_mib_per_s",
)
"""``cpu_demand_millicores`` is what the VM used and what it waited for; ``memory_used_mib`` what
the guest itself says it needs."""
