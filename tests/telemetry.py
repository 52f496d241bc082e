"""Minutes of telemetry as monitors deliver them, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from executor.counters import VmState
from executor.monitor.sample import HOST_FIGURES, Figure, HostMinute, MinuteRecord, VmMinute
from solver.domain.units import HostId, VmId


def flat(value: float) -> Figure:
    """Return a figure that did not move."""
    return Figure(mean=value, p95=value, max=value)


def vm_minute(
    vm_id: str,
    cpu: float | Figure | None = None,
    *,
    state: VmState = VmState.RUNNING,
    num_samples: int = 6,
    num_vcpus: int | None = 2,
    **figures: float | Figure,
) -> VmMinute:
    """Return a VM's minute; ``cpu`` is its demand."""
    told = dict(figures) if cpu is None else {"cpu_demand_millicores": cpu, **figures}
    return VmMinute(
        vm_id=VmId(vm_id),
        name=vm_id,
        uuid=vm_id,
        state=state,
        num_vcpus=num_vcpus,
        num_samples=num_samples,
        figures={n: v if isinstance(v, Figure) else flat(v) for n, v in told.items()},
    )


def host_minute(
    host_id: str,
    at: datetime,
    *vms: VmMinute,
    span_s: float = 60.0,
    figures: Mapping[str, Figure] | None = None,
) -> MinuteRecord:
    """Return a host's record."""
    return MinuteRecord(
        host_id=HostId(host_id),
        minute_at=at,
        span_s=span_s,
        num_samples=6,
        host=HostMinute(
            num_cpus=4,
            memory_total_mib=8192.0,
            figures={"cpu_used_millicores": flat(1000.0)} if figures is None else figures,
            cpu_fractions=(flat(0.25), flat(0.5)),
        ),
        vms=vms,
        flags=frozenset({"gap"}),
        clock_skew_s=0.25,
    )


class Fleet:
    """Hosts full of VMs whose every figure moves a little each minute."""

    def __init__(self, num_hosts: int, vms_per_host: int, *, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self.hosts: Sequence[str] = [f"host-{number:03}" for number in range(num_hosts)]
        self.vms = {
            host: [f"vm-{number * vms_per_host + each:05}" for each in range(vms_per_host)]
            for number, host in enumerate(self.hosts)
        }

    def record(self, host: str, at: datetime) -> MinuteRecord:
        """Return what one host tells of a minute."""
        names = (
            "cpu_demand_millicores",
            "cpu_used_millicores",
            "cpu_waited_millicores",
            "memory_current_mib",
            "memory_used_mib",
            "memory_rss_mib",
            "disk_io_kib_per_s",
            "disk_read_kib_per_s",
            "disk_write_kib_per_s",
            "disk_requests_per_s",
            "net_io_kib_per_s",
            "net_rx_kib_per_s",
            "net_tx_kib_per_s",
        )
        drawn = np.sort(self._rng.gamma(2.0, 200.0, (len(self.vms[host]), len(names), 3)))
        drawn[:, 3] = 4096.0
        vms = [
            replace(
                vm_minute(vm_id),
                figures={n: _figure(row) for n, row in zip(names, of_vm, strict=True)},
            )
            for vm_id, of_vm in zip(self.vms[host], drawn.round(3), strict=True)
        ]
        of_host = np.sort(self._rng.gamma(2.0, 5000.0, (len(HOST_FIGURES), 3))).round(3)
        figures = {n: _figure(row) for n, row in zip(HOST_FIGURES, of_host, strict=True)}
        return host_minute(host, at, *vms, figures=figures)


def _figure(numbers: np.ndarray) -> Figure:
    mean, p95, largest = numbers.tolist()
    return Figure(mean=mean, p95=p95, max=largest)
