"""VMs that live on hosts, and what a libvirt exporter on each host would have told Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.fake_prometheus import STALE, FakePrometheus

MIB: Final = 1024.0 * 1024.0
CPU: Final = "libvirt_domain_info_cpu_time_seconds_total"
LEVELS: Final = {
    "libvirt_domain_info_virtual_cpus": "vcpus",
    "libvirt_domain_info_maximum_memory_bytes": "size_bytes",
    "libvirt_domain_info_memory_usage_bytes": "granted_bytes",
}
COUNTERS: Final = {
    "libvirt_domain_block_stats_read_bytes_total": "vda",
    "libvirt_domain_block_stats_write_bytes_total": "vda",
    "libvirt_domain_interface_stats_receive_bytes_total": "vnet0",
    "libvirt_domain_interface_stats_transmit_bytes_total": "vnet0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """A time that a VM spends on a host; ``arriving_s`` earlier it is there already, paused."""

    host: str
    start: float
    end: float
    arriving_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeVm:
    """A VM, where it ran, and what it used.

    ``used`` is the CPU time it has used in all up to an instant; bytes go in step with it.
    """

    uuid: str
    name: str
    stays: Sequence[Stay]
    used: Callable[[float], float]
    vcpus: float = 4.0
    size_bytes: float = 4096 * MIB
    granted_bytes: float = 2048 * MIB
    bytes_per_cpu_s: float = 1024.0
    labels: dict[str, str] = field(default_factory=dict)


def scrape(
    fake: FakePrometheus,
    vms: Sequence[FakeVm],
    *,
    start: float,
    end: float,
    interval: float = 15.0,
    offsets: dict[str, float] | None = None,
    failed: Callable[[str, float], bool] = lambda host, at: False,
) -> None:
    """Let a Prometheus scrape the exporters of all hosts from ``start`` to ``end``.

    Parameters
    ----------
    offsets
        When within an interval each host is scraped.
    failed
        Whether the scrape of a host at an instant fails.
    """
    hosts = sorted({stay.host for vm in vms for stay in vm.stays})
    for i, host in enumerate(hosts):
        offset = (offsets or {}).get(host, (1.3 + 3.7 * i) % interval)
        times = [start + offset + interval * k for k in range(int((end - start) / interval))]
        labels = {"instance": f"{host}:9177", "job": "libvirt"}
        good = [at for at in times if not failed(host, at)]
        fake.add("libvirt_up", labels, _ended([(at, 1.0) for at in good], times))
        for vm in vms:
            _tell(fake, vm, [s for s in vm.stays if s.host == host], good, times, labels)


def _tell(
    fake: FakePrometheus,
    vm: FakeVm,
    stays: Sequence[Stay],
    good: list[float],
    times: list[float],
    labels: dict[str, str],
) -> None:
    """Let one host's exporter tell of a VM while it is there."""
    there = {
        at: stay for stay in stays for at in good if stay.start - stay.arriving_s <= at < stay.end
    }
    seen = sorted(there)
    if not seen:
        return
    mine = {**labels, "domain": vm.name, "uuid": vm.uuid, **vm.labels}
    # Counters begin anew with the process that receives the VM.
    used = [(at, max(0.0, vm.used(at) - vm.used(there[at].start))) for at in seen]
    fake.add(CPU, mine, _ended(used, times))
    for metric, device in COUNTERS.items():
        moved = [(at, value * vm.bytes_per_cpu_s) for at, value in used]
        fake.add(metric, {**mine, "target_device": device}, _ended(moved, times))
    for metric, name in LEVELS.items():
        fake.add(metric, mine, _ended([(at, getattr(vm, name)) for at in seen], times))
    states = [(at, 1.0 if at >= there[at].start else 3.0) for at in seen]
    fake.add("libvirt_domain_state_code", mine, _ended(states, times))


def _ended(samples: list[tuple[float, float]], times: list[float]) -> list[tuple[float, Any]]:
    """Return the samples with a stale marker where a scrape lacks the series for the first time."""
    have = dict(samples)
    marked: list[tuple[float, Any]] = []
    for at in times:
        if at in have:
            marked.append((at, have[at]))
        elif marked and marked[-1][1] is not STALE:
            marked.append((at, STALE))
    return marked
