"""Fakes of the monitor's surroundings: time that a test winds, and hosts and VMs it makes up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from executor.counters import VmCounters, VmState
from executor.monitor.host import CpuTimes, HostCounters
from solver.domain.errors import TemporaryError
from solver.domain.units import VmId

START_AT = datetime(2026, 3, 3, 8, 0, tzinfo=UTC)
MIB = 2**20


class WoundTime:
    """A wall clock and a steady clock that move only when told to."""

    def __init__(self, at: datetime = START_AT) -> None:
        self._at = at
        self._elapsed_s = 1000.0

    def now(self) -> datetime:
        """Return the wall clock."""
        return self._at

    def elapsed_s(self) -> float:
        """Return the steady clock."""
        return self._elapsed_s

    def wait(self, seconds: float) -> None:
        """Let time pass at once."""
        self._at += timedelta(seconds=seconds)
        self._elapsed_s += seconds

    def step(self, seconds: float) -> None:
        """Put the wall clock right."""
        self._at += timedelta(seconds=seconds)


def make_host_counters(
    *,
    busy_s: float = 0.0,
    steal_s: float = 0.0,
    num_cpus: int = 2,
    disk_bytes: int = 0,
    net_bytes: int = 0,
    stalled_us: int = 0,
) -> HostCounters:
    """Return counters of a host of 1,024 MiB, each processor as busy as the other."""
    cpu = CpuTimes(busy_s=busy_s, steal_s=steal_s, iowait_s=0.0)
    return HostCounters(
        cpus=(cpu,) * num_cpus,
        load_1min=0.5,
        memory_total_mib=1024.0,
        memory_available_mib=600.0,
        swap_used_mib=0.0,
        swap_in_bytes=0,
        swap_out_bytes=0,
        disk_read_bytes=disk_bytes,
        disk_write_bytes=0,
        disk_requests=disk_bytes // 4096,
        net_rx_bytes=net_bytes,
        net_tx_bytes=net_bytes,
        pressure_us={("cpu", "some"): stalled_us},
    )


def make_vm_counters(
    name: str = "vm1",
    *,
    cpu_s: float = 0.0,
    delay_s: float | None = 0.0,
    state: VmState = VmState.RUNNING,
    num_vcpus: int = 1,
    disk_bytes: int = 0,
    net_bytes: int = 0,
) -> VmCounters:
    """Return counters of a VM of 128 MiB, of which the guest needs 96."""
    return VmCounters(
        vm_id=VmId(name),
        name=name,
        uuid=f"uuid-of-{name}",
        state=state,
        cpu_time_ns=round(cpu_s * 1e9),
        vcpu_delay_ns=None if delay_s is None else round(delay_s * 1e9),
        num_vcpus=num_vcpus,
        balloon_current_kib=128 * 1024,
        balloon_usable_kib=32 * 1024,
        balloon_rss_kib=140 * 1024,
        disk_read_bytes=disk_bytes,
        disk_write_bytes=0,
        disk_read_requests=disk_bytes // 4096,
        disk_write_requests=0,
        net_rx_bytes=net_bytes,
        net_tx_bytes=0,
    )


class MadeUpHost:
    """A host whose processors are each half busy, by the clock it lives on."""

    def __init__(self, time: WoundTime, *, busy_fraction: float = 0.5) -> None:
        self._time = time
        self._busy_fraction = busy_fraction

    def read(self) -> HostCounters:
        """Return its counters."""
        return make_host_counters(busy_s=self._time.elapsed_s() * self._busy_fraction)


class MadeUpVms:
    """VMs that each use a quarter of a processor and wait for a tenth.

    ``away`` makes the hypervisor refuse to answer; ``takes_s`` says how long an answer takes.
    """

    def __init__(self, time: WoundTime, names: Iterable[str] = ("vm1",)) -> None:
        self._time = time
        self.names = list(names)
        self.away = False
        self.takes_s: Callable[[], float] = lambda: 0.0

    def read(self) -> tuple[VmCounters, ...]:
        """Return their counters."""
        if self.away:
            raise TemporaryError("libvirt cannot be asked: connection refused", delay_s=5.0)
        elapsed_s = self._time.elapsed_s()
        self._time.wait(self.takes_s())
        return tuple(
            make_vm_counters(name, cpu_s=elapsed_s * 0.25, delay_s=elapsed_s * 0.1)
            for name in self.names
        )
