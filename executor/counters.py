"""Raw readings of VMs: counters as the hypervisor tells them, before anyone makes rates of them.

Whoever asks a hypervisor returns these; whoever turns them into usage reads them. A figure that
the hypervisor does not tell is ``None``, never 0.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from solver.domain.units import VmId


class VmState(enum.Enum):
    """What a VM does, by libvirt's names."""

    UNKNOWN = "unknown"
    RUNNING = "running"
    BLOCKED = "blocked"
    PAUSED = "paused"
    SHUTTING_DOWN = "shutting_down"
    OFF = "off"
    CRASHED = "crashed"
    SUSPENDED = "suspended"

    @property
    def active(self) -> bool:
        """Whether a process of the hypervisor holds the VM, so that its counters go on."""
        return self not in (VmState.OFF, VmState.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class VmCounters:
    """One VM at one instant; counters rise from 0 since the VM came to this host.

    Parameters
    ----------
    vm_id, name, uuid
        Who it is: to foreswap, to people, and to the hypervisor for ever.
    cpu_time_ns
        Processor time of the VM, its device emulation included.
    vcpu_delay_ns
        Time that its virtual processors were ready to run and waited for a processor, summed.
    num_vcpus
        Virtual processors at present.
    balloon_current_kib
        Memory that the guest has at present.
    balloon_unused_kib, balloon_usable_kib
        Of it, what the guest leaves unused, and what it could use without swapping; told only by
        guests with a balloon driver that reports.
    balloon_rss_kib
        Memory of the host that the VM's process holds.
    disk_read_bytes, disk_write_bytes, disk_read_requests, disk_write_requests
        Summed over its disks.
    net_rx_bytes, net_tx_bytes
        Summed over its network cards.
    dirty_mib_per_s
        Memory written per second when that was measured last.
    """

    vm_id: VmId
    name: str
    uuid: str
    state: VmState
    cpu_time_ns: int | None = None
    vcpu_delay_ns: int | None = None
    num_vcpus: int | None = None
    balloon_current_kib: int | None = None
    balloon_unused_kib: int | None = None
    balloon_usable_kib: int | None = None
    balloon_rss_kib: int | None = None
    disk_read_bytes: int | None = None
    disk_write_bytes: int | None = None
    disk_read_requests: int | None = None
    disk_write_requests: int | None = None
    net_rx_bytes: int | None = None
    net_tx_bytes: int | None = None
    dirty_mib_per_s: int | None = None
