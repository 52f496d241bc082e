"""Hosts from node_exporter's series: what they have, what they use, and what does not count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from forecast.prometheus.client import Access, PrometheusClient
from forecast.prometheus.hosts import HostLoads, read_hosts
from forecast.prometheus.settings import Settings, preset
from solver.domain.errors import InvalidInputError, TelemetrySourceError
from tests.fake_prometheus import FakePrometheus

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
START_S = START.timestamp()
MIB = 1024.0 * 1024.0


@pytest.fixture
def fake() -> Iterator[FakePrometheus]:
    """A Prometheus that scrapes one host of two CPUs, with a guest and a disk."""
    with FakePrometheus() as server:
        host(server, "h1")
        yield server


def host(fake: FakePrometheus, name: str, *, port: int = 9100) -> None:
    """Let a host be told of for ten bins: 1.2 of 2 CPUs, 3 of 8 GiB, 300 KiB/s, 50 KiB/s."""
    instance = {"instance": f"{name}:{port}", "job": "node"}
    times = [START_S - 300 + 15 * k + 2 for k in range(200)]

    def counter(metric: str, per_s: float, **labels: str) -> None:
        samples = [(at, per_s * (at - START_S + 1000)) for at in times]
        fake.add(metric, {**instance, **labels}, samples)

    for cpu in ("0", "1"):
        for mode, share in (("idle", 0.3), ("iowait", 0.1), ("user", 0.4), ("system", 0.2)):
            counter("node_cpu_seconds_total", share, cpu=cpu, mode=mode)
        # The guest's time is in the user's already.
        counter("node_cpu_guest_seconds_total", 0.4, cpu=cpu, mode="user")
    for metric, value in (("MemTotal", 8192.0), ("MemAvailable", 5120.0)):
        fake.add(f"node_memory_{metric}_bytes", instance, [(at, value * MIB) for at in times])
    for device in ("sda", "dm-0", "loop3"):
        counter("node_disk_read_bytes_total", 102_400.0, device=device)
        counter("node_disk_written_bytes_total", 204_800.0, device=device)
    for device in ("eth0", "lo", "vnet7", "br0", "eth0.12"):
        counter("node_network_receive_bytes_total", 20_480.0, device=device)
        counter("node_network_transmit_bytes_total", 30_720.0, device=device)


def read(fake: FakePrometheus, settings: Settings | None = None) -> HostLoads:
    """Read six bins."""
    with PrometheusClient(Access(url=fake.url, attempts=1)) as client:
        return read_hosts(
            client,
            settings or preset(),
            from_at=START,
            until_at=START + timedelta(minutes=30),
        )


def test_a_host(fake: FakePrometheus) -> None:
    """Busy time is neither idle nor waiting; layered devices and guests' links do not count."""
    loads = read(fake)
    assert loads.host_ids == ("h1",)
    assert loads.start_at == START
    expected = {
        "cpu_cores": 2.0,
        "cpu_used": 1.2,
        "memory_mib": 8192.0,
        "memory_used_mib": 3072.0,
        "disk_kib_per_s": 300.0,
        "net_kib_per_s": 50.0,
    }
    for name, value in expected.items():
        assert getattr(loads, name)[0] == pytest.approx([value] * 6, rel=1e-6), name


def test_one_exporter_of_two_jobs(fake: FakePrometheus) -> None:
    """Scraped twice, a host is as large as before."""
    for series in list(fake.series):
        labels = {**series.labels, "job": "again"}
        fake.add(labels.pop("__name__"), labels, zip(series.times, series.values, strict=True))
    loads = read(fake)
    assert loads.cpu_cores[0].tolist() == [2.0] * 6
    assert loads.cpu_used[0] == pytest.approx([1.2] * 6)


def test_gaps_are_unknown(fake: FakePrometheus) -> None:
    """A bin that was mostly not scraped is unknown in every quantity."""
    for series in fake.series:
        kept = [
            (t, v)
            for t, v in zip(series.times, series.values, strict=True)
            if not 290 < t - START_S < 520
        ]
        series.times, series.values = [t for t, _ in kept], [v for _, v in kept]
    loads = read(fake)
    for name in ("cpu_cores", "cpu_used", "memory_mib", "disk_kib_per_s"):
        assert np.isnan(getattr(loads, name)[0]).tolist() == [False, True, *[False] * 4], name


def test_two_exporters_of_one_host(fake: FakePrometheus) -> None:
    """Which of them is right cannot be known: an error, unless the settings choose."""
    host(fake, "h1", port=9200)
    with pytest.raises(InvalidInputError, match="host 'h1' is told of by two exporters"):
        read(fake)
    chosen = replace(preset(), host_select='instance="h1:9100"')
    assert read(fake, chosen).host_ids == ("h1",)


def test_no_host(fake: FakePrometheus) -> None:
    """The error has time and query."""
    with pytest.raises(TelemetrySourceError, match="expected samples of every host"):
        read(fake, replace(preset(), host_select='job="other"'))
