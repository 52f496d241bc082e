"""The host's own counters are those of the kernel."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from executor.monitor.host import PsutilHost, read_pressure

PRESSURE = "some avg10=86.42 avg60=49.30 avg300=35.33 total=26063340592\n"


def test_pressure_is_read(tmp_path: Path) -> None:
    """Totals by resource and share, of the pairs that mean something."""
    (tmp_path / "cpu").write_text(PRESSURE + PRESSURE.replace("some", "full"))
    (tmp_path / "io").write_text(PRESSURE + "full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n")
    assert read_pressure(tmp_path) == {
        ("cpu", "some"): 26063340592,
        ("io", "some"): 26063340592,
        ("io", "full"): 5,
    }


def test_a_kernel_without_pressure_tells_none(tmp_path: Path) -> None:
    """Older kernels have no such files, others have them and refuse to read them."""
    (tmp_path / "memory").mkdir()
    assert read_pressure(tmp_path) == {}


def test_only_devices_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bridges, taps, partitions and volumes carry what a device below them carries already."""
    for name in ("block/sda/device", "block/dm-0", "class/net/eth0/device", "class/net/br0"):
        (tmp_path / name).mkdir(parents=True)
    disk = SimpleNamespace(read_bytes=1, write_bytes=2, read_count=3, write_count=4)
    net = SimpleNamespace(bytes_recv=5, bytes_sent=6)
    monkeypatch.setattr(
        "psutil.disk_io_counters", lambda **_: {"sda": disk, "sda1": disk, "dm-0": disk}
    )
    monkeypatch.setattr("psutil.net_io_counters", lambda **_: {"lo": net, "eth0": net, "br0": net})
    host = PsutilHost(sys=tmp_path).read()
    assert (host.disk_read_bytes, host.disk_write_bytes, host.disk_requests) == (1, 2, 7)
    assert (host.net_rx_bytes, host.net_tx_bytes) == (5, 6)


def test_where_nothing_is_a_device_everything_whole_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container no card has a device below it."""
    (tmp_path / "class/net/eth0").mkdir(parents=True)
    net = SimpleNamespace(bytes_recv=5, bytes_sent=6)
    monkeypatch.setattr("psutil.disk_io_counters", lambda **_: None)
    monkeypatch.setattr("psutil.net_io_counters", lambda **_: {"lo": net, "eth0": net})
    host = PsutilHost(sys=tmp_path).read()
    assert (host.net_rx_bytes, host.disk_read_bytes) == (5, 0)


def test_figures_are_those_of_proc() -> None:
    """Processor time and memory agree with the kernel's files within 2 %."""
    stat = Path("/proc/stat")
    hz = os.sysconf("SC_CLK_TCK")
    host = PsutilHost().read()
    columns = [int(word) for word in stat.read_text().splitlines()[0].split()[1:]]
    user, nice, system, _, iowait, irq, softirq, steal = columns[:8]
    busy_s = (user + nice + system + irq + softirq) / hz
    assert sum(cpu.busy_s for cpu in host.cpus) == pytest.approx(busy_s, rel=0.02)
    assert sum(cpu.steal_s for cpu in host.cpus) == pytest.approx(steal / hz, rel=0.02, abs=0.5)
    assert sum(cpu.iowait_s for cpu in host.cpus) == pytest.approx(iowait / hz, rel=0.02, abs=0.5)
    memory = dict(
        line.split()[:2] for line in Path("/proc/meminfo").read_text().splitlines() if " kB" in line
    )
    assert host.memory_total_mib == pytest.approx(int(memory["MemTotal:"]) / 1024, rel=0.001)
    assert host.memory_available_mib == pytest.approx(int(memory["MemAvailable:"]) / 1024, rel=0.02)
    load = float(Path("/proc/loadavg").read_text().split()[0])
    assert host.load_1min == pytest.approx(load, rel=0.1, abs=0.2)
