"""History from the real Prometheus: of real exporters, and of weeks that were filled in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from forecast.import_prometheus import read_prometheus
from forecast.prometheus.client import Access, PrometheusClient
from forecast.prometheus.hosts import read_hosts
from forecast.prometheus.settings import Settings, preset
from forecast.tidy import read_history
from service.cli import run
from solver.domain.units import Resource
from tests.exporters import FakeVm, Stay, scrape
from tests.fake_prometheus import STALE, FakePrometheus
from tests.integration.prometheus_programs import (
    RealPrometheus,
    backfill,
    exporter,
    prometheus,
    require_programs,
    wait_until,
)

BIN = 300.0
START = datetime(2026, 3, 2, tzinfo=UTC)
START_S = START.timestamp()


@pytest.fixture(autouse=True)
def _programs() -> None:
    """Every test here needs the real programs."""
    require_programs()


def settings(url: str) -> Settings:
    """Return the preset for Debian's exporter, with hosts by a label of the scrapes."""
    return replace(preset(), host_label="host", access=Access(url=url))


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPrometheus]:
    """A Prometheus in front of this machine, and of libvirt's test driver as two hosts."""
    require_programs()
    folder = tmp_path_factory.mktemp("live")
    uri = "--libvirt.uri=test:///default"
    with (
        exporter(folder, "prometheus-libvirt-exporter", uri) as libvirt,
        exporter(folder, "prometheus-node-exporter") as node,
        prometheus(
            folder, targets={"libvirt": [(libvirt, "h1")], "node": [(node, "h1")]}
        ) as server,
    ):
        count = 'count_over_time({__name__=~"libvirt_up|node_load1"}[1h])'
        wait_until(lambda: (server.value(f"min({count})") or 0) >= 22, "twenty scrapes are there")
        wait_until(lambda: server.value(f"count({count})") == 2.0, "of both exporters")
        yield server


def test_vms_of_the_real_exporter(live: RealPrometheus) -> None:
    """Libvirt's test driver has one VM, which uses a second a second and moves known bytes."""
    now = datetime.now(UTC)
    found = read_prometheus(
        settings(live.url), from_at=now - timedelta(seconds=17), until_at=now, step_seconds=5
    )
    history = found.history
    assert history.vm_ids == ("test",)
    assert history.step_seconds == 5
    assert history.vcpus.tolist() == [2]
    assert history.memory_size_mib.tolist() == [8192]
    whole = ~np.isnan(history.readings[Resource.CPU, 0])
    assert whole.sum() >= 2
    assert history.granted_mib[0, whole].tolist() == [2048.0] * int(whole.sum())
    # A CPU, 50 and 25 kB/s of its disk, 100 and 50 kB/s of its link.
    for resource, expected in (
        (Resource.CPU, 1000.0),
        (Resource.DISK_IO, 75_000 / 1024),
        (Resource.NET_IO, 150_000 / 1024),
    ):
        assert history.readings[resource, 0, whole] == pytest.approx(expected, rel=0.02), resource
    assert found.report.last_host == {"test": "h1"}
    assert found.report.absent == ()


def test_this_host_by_the_real_exporter(live: RealPrometheus) -> None:
    """What node_exporter tells of this machine is what the kernel says."""
    now = datetime.now(UTC)
    with PrometheusClient(Access(url=live.url)) as client:
        loads = read_hosts(
            client,
            settings(live.url),
            from_at=now - timedelta(seconds=17),
            until_at=now,
            step_seconds=5,
        )
    assert loads.host_ids == ("h1",)
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    total_kib = int(text.split()[text.split().index("MemTotal:") + 1])
    cpus = Path("/proc/stat").read_text(encoding="ascii").count("\ncpu")
    assert np.nanmax(loads.memory_mib) == pytest.approx(total_kib / 1024, rel=1e-6)
    assert np.nanmax(loads.cpu_cores) == cpus
    assert 0 < np.nanmean(loads.cpu_used) <= cpus * 1.02
    assert 0 < np.nanmean(loads.memory_used_mib) < np.nanmax(loads.memory_mib)
    assert np.nanmin(loads.disk_kib_per_s) >= 0


def openmetrics(fake: FakePrometheus, path: Path) -> None:
    """Write the samples of a fake as a file for promtool."""
    by_metric: dict[str, list[str]] = {}
    for series in fake.series:
        labels = {k: v for k, v in series.labels.items() if k != "__name__"}
        name = series.labels["__name__"]
        tags = ",".join(f'{k}="{v}"' for k, v in labels.items())
        by_metric.setdefault(name, []).extend(
            f"{name}{{{tags}}} {value!r} {at!r}"
            for at, value in zip(series.times, series.values, strict=True)
            if value is not STALE
        )
    with path.open("w", encoding="utf-8") as file:
        for name, lines in by_metric.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            file.write(f"# TYPE {name.removesuffix('_total')} {kind}\n" + "\n".join(lines) + "\n")
        file.write("# EOF\n")


def wavering(uuid: str, stays: list[Stay], period_s: float) -> FakeVm:
    """Return a VM whose load swings between 0.2 and 1.8 CPUs."""

    def used(at: float) -> float:
        phase = 2 * np.pi * (at - START_S) / period_s
        return float(at - START_S + 1e6 - 0.8 * period_s / (2 * np.pi) * np.cos(phase))

    return FakeVm(uuid=uuid, name=uuid, stays=stays, used=used)


def test_the_fake_is_as_the_real_one(tmp_path: Path) -> None:
    """On the same samples, with moves and outages, both answer alike in every bin and quantity.

    Only what a scrape that fails notes about series cannot be filled in, so here nobody does.
    """

    def at(bins: float) -> float:
        return START_S + bins * BIN

    vms = [
        wavering("stays", [Stay(host="h1", start=0, end=at(99))], 3000.0),
        wavering(
            "moves",
            [Stay(host="h1", start=0, end=at(5.4)), Stay(host="h2", start=at(5.4), end=at(99))],
            2000.0,
        ),
        wavering(
            "slowly",
            [
                Stay(host="h2", start=0, end=at(8.6)),
                Stay(host="h1", start=at(8.6), end=at(99), arriving_s=1000.0),
            ],
            1000.0,
        ),
        wavering("comes", [Stay(host="h2", start=at(3.3), end=at(15.8))], 1500.0),
    ]
    with FakePrometheus() as fake:
        scrape(
            fake,
            vms,
            start=at(-2),
            end=at(25),
            failed=lambda host, when: host == "h1" and at(12.3) < when < at(13.9),
        )
        for series in fake.series:
            kept = [
                (t, v) for t, v in zip(series.times, series.values, strict=True) if v is not STALE
            ]
            series.times, series.values = [t for t, _ in kept], [v for _, v in kept]
        openmetrics(fake, tmp_path / "samples.txt")
        backfill(tmp_path, tmp_path / "samples.txt")
        until_at = START + timedelta(seconds=24 * BIN)
        chosen = replace(preset(), access=Access(url=fake.url))
        expected = read_prometheus(chosen, from_at=START, until_at=until_at)
    with prometheus(tmp_path, retention="100y") as server:
        chosen = replace(chosen, access=Access(url=server.url))
        found = read_prometheus(chosen, from_at=START, until_at=until_at)
    assert found.report.last_host == expected.report.last_host
    order = found.history.positions(expected.history.vm_ids)
    assert found.history.state[order].tolist() == expected.history.state.tolist()
    assert np.allclose(
        found.history.readings[:, order], expected.history.readings, rtol=1e-5, equal_nan=True
    )
    assert found.report.moves == expected.report.moves == 2


@pytest.mark.slow
def test_four_weeks_of_fifty_vms(tmp_path: Path) -> None:
    """Four weeks are read at the cost of a minute at most, and become the usual tidy file."""
    weeks = 28 * 288
    vms = [
        wavering(f"vm{i:02}", [Stay(host=f"h{i % 4}", start=0, end=1e11)], 3600.0 * (2 + i))
        for i in range(50)
    ]
    with FakePrometheus() as fake:
        scrape(fake, vms, start=START_S - BIN, end=START_S + weeks * BIN, interval=120.0)
        fake.series = [s for s in fake.series if "interface" not in s.labels["__name__"]]
        openmetrics(fake, tmp_path / "samples.txt")
    backfill(tmp_path, tmp_path / "samples.txt")
    target = tmp_path / "telemetry.parquet"
    until = START + timedelta(seconds=weeks * BIN)
    with prometheus(tmp_path, retention="100y") as server:
        begun_s, used_s = time.monotonic(), time.process_time()
        words = f"import --prometheus {server.url} --from {START:%Y-%m-%d} --until {until:%Y-%m-%d}"
        assert run([*words.split(), str(target)]) == 0
        used_s = time.process_time() - used_s
        print(f"read in {time.monotonic() - begun_s:.1f} s, {used_s:.1f} s of them its own")
    history = read_history(target)
    assert (history.num_vms, history.num_bins) == (50, weeks)
    assert history.report.missing == 0
    hours = np.arange(weeks) * BIN / 3600.0
    middle = hours + BIN / 7200.0
    row = history.positions(["vm10"])[0]
    expected = 1000.0 + 800.0 * np.sin(2 * np.pi * middle / 12.0)
    # The last bin was not seen to its end.
    assert np.allclose(history.readings[Resource.CPU, row, :-1], expected[:-1], atol=25.0)
    assert used_s < 60.0
