"""One reading as Prometheus text, for the node exporter's textfile collector or for people.

Counters are handed on as they are, so that Prometheus makes the rates.

References
----------
.. [1] https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from executor.counters import VmCounters
from executor.monitor.rates import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the monitor itself does; ``None`` and 0 where nothing is delivered."""

    pending: int = 0
    pending_bytes: int = 0
    delivered: int = 0
    refused: int = 0
    dropped: int = 0
    damaged: int = 0
    failures: int = 0
    clock_skew_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A metric and its values by labels."""

    name: str
    kind: str
    about: str
    values: tuple[tuple[dict[str, str], float], ...] = field(default=())


_VM_FAMILIES: Final = (
    ("cpu_seconds_total", "counter", "Processor time of the VM.", "cpu_time_ns", 1e-9),
    (
        "vcpu_delay_seconds_total",
        "counter",
        "Time virtual processors were ready and waited for a processor.",
        "vcpu_delay_ns",
        1e-9,
    ),
    ("vcpus", "gauge", "Virtual processors.", "num_vcpus", 1),
    ("memory_current_bytes", "gauge", "Memory the guest has.", "balloon_current_kib", 1024),
    ("memory_unused_bytes", "gauge", "What the guest leaves unused.", "balloon_unused_kib", 1024),
    (
        "memory_usable_bytes",
        "gauge",
        "What the guest could use without swapping.",
        "balloon_usable_kib",
        1024,
    ),
    ("memory_rss_bytes", "gauge", "Memory of the host it holds.", "balloon_rss_kib", 1024),
    ("disk_read_bytes_total", "counter", "Read from its disks.", "disk_read_bytes", 1),
    ("disk_written_bytes_total", "counter", "Written to its disks.", "disk_write_bytes", 1),
    ("disk_reads_total", "counter", "Reads of its disks.", "disk_read_requests", 1),
    ("disk_writes_total", "counter", "Writes to its disks.", "disk_write_requests", 1),
    ("network_receive_bytes_total", "counter", "Received.", "net_rx_bytes", 1),
    ("network_transmit_bytes_total", "counter", "Sent.", "net_tx_bytes", 1),
    (
        "dirty_bytes_per_second",
        "gauge",
        "Memory written when last measured.",
        "dirty_mib_per_s",
        2**20,
    ),
)

_MONITOR_FAMILIES: Final = (
    ("pending_records", "gauge", "Records that wait for delivery.", "pending"),
    ("pending_bytes", "gauge", "Bytes of the outbox on disk.", "pending_bytes"),
    ("delivered_records_total", "counter", "Records the service accepted.", "delivered"),
    ("refused_records_total", "counter", "Records the service will never take.", "refused"),
    ("dropped_records_total", "counter", "Records dropped to keep within bounds.", "dropped"),
    ("damaged_records_total", "counter", "Records that did not read back.", "damaged"),
    ("delivery_failures", "gauge", "Tries since the last success.", "failures"),
)


def exposition(reading: Reading, health: Health) -> str:
    """Return a reading as text of version 0.0.4 of the format."""
    families = (*_host_families(reading), *_vm_families(reading), *_health_families(health))
    return "".join(line + "\n" for family in families for line in _lines(family))


def write_atomically(path: Path, text: str) -> None:
    """Write a file beside its place and rename it, so that no scrape meets half of one.

    :raises OSError: if it cannot be written; what stood there before still does
    """
    # The collector reads *.prom only.
    partial = path.with_name(f".{path.name}.new")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.chmod(0o644)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _host_families(reading: Reading) -> Iterator[Family]:
    host = reading.host
    modes = [
        ({"cpu": str(number), "mode": mode}, value)
        for number, cpu in enumerate(host.cpus)
        for mode, value in (
            ("busy", cpu.busy_s),
            ("steal", cpu.steal_s),
            ("iowait", cpu.iowait_s),
        )
    ]
    about = "Time of each processor by what it did."
    yield _family("host_cpu_seconds_total", "counter", about, modes)
    for name, kind, about, value in (
        ("load1", "gauge", "Load over a minute.", host.load_1min),
        ("memory_total_bytes", "gauge", "Memory.", host.memory_total_mib * 2**20),
        ("memory_available_bytes", "gauge", "Not needed.", host.memory_available_mib * 2**20),
        ("swap_used_bytes", "gauge", "In swap.", host.swap_used_mib * 2**20),
        ("swap_in_bytes_total", "counter", "Read from swap.", host.swap_in_bytes),
        ("swap_out_bytes_total", "counter", "Written to swap.", host.swap_out_bytes),
        ("disk_read_bytes_total", "counter", "Read from disks.", host.disk_read_bytes),
        ("disk_written_bytes_total", "counter", "Written to disks.", host.disk_write_bytes),
        ("disk_requests_total", "counter", "Reads and writes.", host.disk_requests),
        ("network_receive_bytes_total", "counter", "Received.", host.net_rx_bytes),
        ("network_transmit_bytes_total", "counter", "Sent.", host.net_tx_bytes),
    ):
        yield _family(f"host_{name}", kind, about, [({}, value)])
    stalled = [
        ({"resource": resource, "share": share}, total_us / 1e6)
        for (resource, share), total_us in host.pressure_us.items()
    ]
    yield _family("host_pressure_seconds_total", "counter", "Time tasks stalled.", stalled)


def _vm_families(reading: Reading) -> Iterator[Family]:
    vms = reading.vms
    about = "Whether the hypervisor could be asked."
    yield _family("vm_source_up", "gauge", about, [({}, float(vms is not None))])
    states = [({**_labels(vm), "state": vm.state.value}, 1.0) for vm in vms or ()]
    yield _family("vm_info", "gauge", "State of the VM.", states)
    for name, kind, about, field_name, scale in _VM_FAMILIES:
        values = [
            (_labels(vm), value * scale)
            for vm in vms or ()
            if (value := getattr(vm, field_name)) is not None
        ]
        yield _family(f"vm_{name}", kind, about, values)


def _health_families(health: Health) -> Iterator[Family]:
    for name, kind, about, field_name in _MONITOR_FAMILIES:
        yield _family(f"monitor_{name}", kind, about, [({}, getattr(health, field_name))])
    if health.clock_skew_s is not None:
        about = "The service's clock minus the host's."
        yield _family("monitor_clock_skew_seconds", "gauge", about, [({}, health.clock_skew_s)])


def _family(
    name: str, kind: str, about: str, values: Iterable[tuple[dict[str, str], float]]
) -> Family:
    return Family(name=f"foreswap_{name}", kind=kind, about=about, values=tuple(values))


def _labels(vm: VmCounters) -> dict[str, str]:
    return {"vm": vm.name, "uuid": vm.uuid}


def _lines(family: Family) -> Iterator[str]:
    """Yield a family's lines; none if it has no values."""
    if not family.values:
        return
    yield f"# HELP {family.name} {family.about}"
    yield f"# TYPE {family.name} {family.kind}"
    for labels, value in family.values:
        inner = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        yield (
            f"{family.name}{{{inner}}} {_number(value)}"
            if inner
            else (f"{family.name} {_number(value)}")
        )


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
