"""How fast telemetry comes in and is read again: minutes of 10,000 VMs, four weeks of 1,000.

Protocol: hosts deliver a minute each, one after the other, as JSON that is parsed as the service
parses it; every minute the store is tidied. Then four weeks of VMs are put and read: single ones,
and all of them at once. Nothing waits for the clock, so that what is measured is what a minute of
telemetry costs. One process; the database's own processes run beside it.

    python -m benchmarks.ingest [--url URL] [--json OUT]

Without a URL a SQLite file is made in ``--folder`` and removed afterwards; a URL names an empty
database, such as ``postgresql+psycopg://user@/bench?host=/run/postgresql``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from executor.counters import VmState
from executor.monitor import wire
from executor.monitor.sample import (
    HOST_FIGURES,
    VM_FIGURES,
    Figure,
    HostMinute,
    MinuteRecord,
    VmMinute,
)
from forecast.history import STEP_SECONDS, BinState, History
from service.replay.report import machine
from service.store.base import Retention
from service.store.sql import SqlStore, open_store
from solver.domain.units import NUM_RESOURCES, HostId, VmId

START: Final = datetime(2026, 3, 2, tzinfo=UTC)
WEEKS: Final = timedelta(days=28)
MINUTE: Final = timedelta(minutes=1)
VARIANTS: Final = 5
"""Different minutes of a host; real ones are no more alike than these."""


def made_up_minutes(host: int, num_vms: int, rng: np.random.Generator) -> list[MinuteRecord]:
    """Return minutes of one host whose every figure moves; sizes stay."""
    names = [name for name in VM_FIGURES if name != "dirty_mib_per_s"]
    records = []
    for _ in range(VARIANTS):
        drawn = np.sort(rng.gamma(2.0, 200.0, (num_vms, len(names), 3))).round(3)
        drawn[:, names.index("memory_current_mib")] = 4096.0
        of_host = np.sort(rng.gamma(2.0, 5000.0, (len(HOST_FIGURES), 3))).round(3)
        vms = tuple(
            VmMinute(
                vm_id=VmId(f"vm-{host * num_vms + number:06}"),
                name=f"vm-{host * num_vms + number:06}",
                uuid=f"{host * num_vms + number:032x}",
                state=VmState.RUNNING,
                num_vcpus=4,
                num_samples=6,
                figures=_figures(names, of_vm),
            )
            for number, of_vm in enumerate(drawn)
        )
        records.append(
            MinuteRecord(
                host_id=HostId(f"host-{host:03}"),
                minute_at=START,
                span_s=60.0,
                num_samples=6,
                host=HostMinute(
                    num_cpus=64,
                    memory_total_mib=524_288.0,
                    figures=_figures(HOST_FIGURES, of_host),
                    cpu_fractions=tuple(Figure(mean=0.5, p95=0.75, max=1.0) for _ in range(64)),
                ),
                vms=vms,
            )
        )
    return records


def _figures(names: Sequence[str], table: np.ndarray[Any, Any]) -> dict[str, Figure]:
    return {
        name: Figure(mean=mean, p95=p95, max=largest)
        for name, (mean, p95, largest) in zip(names, table.tolist(), strict=True)
    }


def measure_ingest(
    store: SqlStore, num_hosts: int, num_vms: int, num_minutes: int
) -> dict[str, float]:
    """Deliver minutes as fast as they are taken and return what a minute of telemetry costs."""
    rng = np.random.default_rng(0)
    hosts = [made_up_minutes(host, num_vms, rng) for host in range(num_hosts)]
    parse_s = receive_s = tidy_s = 0.0
    receive_ms, tidy_at_most_s = [], 0.0
    for number in range(num_minutes):
        at = START + number * MINUTE
        for minutes in hosts:
            # Writing the line is the monitor's work, not the service's.
            line = wire.encode(replace(minutes[number % VARIANTS], minute_at=at))
            begun_s = time.perf_counter()
            record = wire.decode(line)
            parsed_s = time.perf_counter()
            store.telemetry.receive(
                "bench", record.host_id, stream="bench", records=[(number + 1, record)]
            )
            ended_s = time.perf_counter()
            parse_s += parsed_s - begun_s
            receive_s += ended_s - parsed_s
            receive_ms.append((ended_s - parsed_s) * 1000)
        begun_s = time.perf_counter()
        store.telemetry.tidy(at + MINUTE, Retention())
        took_s = time.perf_counter() - begun_s
        tidy_s += took_s
        tidy_at_most_s = max(tidy_at_most_s, took_s)
    total_s = parse_s + receive_s + tidy_s
    num_records = num_hosts * num_vms * num_minutes
    return {
        "num_minutes": num_minutes,
        "vm_records": num_records,
        "parse_s_a_minute": parse_s / num_minutes,
        "receive_s_a_minute": receive_s / num_minutes,
        "tidy_s_a_minute": tidy_s / num_minutes,
        "tidy_longest_s": tidy_at_most_s,
        "receive_p99_ms": float(np.quantile(receive_ms, 0.99)),
        "vm_records_a_minute": 60 * num_records / total_s,
        "minute_bytes_a_vm": store.telemetry.size_bytes() / num_records,
    }


def made_up_history(num_vms: int) -> History:
    """Return four weeks of VMs with days, noise, and figures as meters give them."""
    rng = np.random.default_rng(1)
    num_bins = int(WEEKS.total_seconds()) // STEP_SECONDS
    day = 1.5 + np.sin(np.arange(num_bins) * (2 * np.pi / 288))
    shape = (NUM_RESOURCES, num_vms, num_bins)
    noise = rng.gamma(4.0, 50.0, shape).astype(np.float32)
    readings = np.round(noise * day.astype(np.float32), 1)
    return History(
        vm_ids=tuple(VmId(f"vm-{number:06}") for number in range(num_vms)),
        start_at=START,
        readings=readings,
        state=np.full((num_vms, num_bins), BinState.MEASURED, dtype=np.uint8),
        granted_mib=np.full((num_vms, num_bins), 4096.0, dtype=np.float32),
        vcpus=np.full(num_vms, 4, dtype=np.int64),
        memory_size_mib=np.full(num_vms, 4096, dtype=np.int64),
        app_types=(None,) * num_vms,
    )


def measure_reading(store: SqlStore, num_vms: int) -> dict[str, float]:
    """Put four weeks and return how long it takes to read them."""
    before = store.telemetry.size_bytes()
    history = made_up_history(num_vms)
    begun_s = time.perf_counter()
    store.telemetry.put_history("weeks", history)
    put_s = time.perf_counter() - begun_s
    size = store.telemetry.size_bytes() - before
    end_at = START + WEEKS
    one_ms = []
    for number in np.random.default_rng(2).integers(0, num_vms, 50):
        begun_s = time.perf_counter()
        store.telemetry.history("weeks", START, end_at, vm_ids=[VmId(f"vm-{number:06}")])
        one_ms.append((time.perf_counter() - begun_s) * 1000)
    begun_s = time.perf_counter()
    found = store.telemetry.history("weeks", START, end_at)
    all_s = time.perf_counter() - begun_s
    assert found.num_vms == num_vms
    return {
        "num_vms": num_vms,
        "put_s": put_s,
        "one_vm_median_ms": statistics.median(one_ms),
        "one_vm_longest_ms": max(one_ms),
        "all_vms_s": all_s,
        "bytes_a_vm_and_day": size / num_vms / WEEKS.days,
    }


def measure_recent(store: SqlStore, num_minutes: int) -> dict[str, float]:
    """Return how long one VM takes whose bins are all recent, and all VMs."""
    end_at = START + num_minutes // 5 * timedelta(minutes=5)
    begun_s = time.perf_counter()
    store.telemetry.history("bench", START, end_at, vm_ids=[VmId("vm-000007")])
    one_s = time.perf_counter() - begun_s
    begun_s = time.perf_counter()
    store.telemetry.history("bench", START, end_at)
    return {"one_vm_ms": 1000 * one_s, "all_vms_s": time.perf_counter() - begun_s}


def measure(url: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one database."""
    store = open_store(url, now=lambda: START + WEEKS)
    ingest = measure_ingest(store, arguments.hosts, arguments.vms, arguments.minutes)
    document = {
        "database": url.partition(":")[0],
        "hosts": arguments.hosts,
        "vms_per_host": arguments.vms,
        "ingest": ingest,
        "recent": measure_recent(store, arguments.minutes),
        "reading": measure_reading(store, arguments.read_vms),
        "machine": machine(),
    }
    store.close()
    return document


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--url", default="", help="an empty database; else a SQLite file")
    parser.add_argument("--folder", type=Path, default=None, help="where to make the SQLite file")
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--vms", type=int, default=100, help="VMs of each host")
    parser.add_argument("--minutes", type=int, default=15)
    parser.add_argument("--read-vms", type=int, default=1000, help="VMs with four weeks")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="foreswap-ingest-", dir=arguments.folder) as folder:
        document = measure(arguments.url or f"sqlite:///{folder}/store.db", arguments)
    text = json.dumps(document, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
