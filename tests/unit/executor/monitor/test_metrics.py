"""Prometheus text can be read by Prometheus, whatever a VM is called."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from executor.counters import VmCounters
from executor.monitor.metrics import Health, exposition, write_atomically
from executor.monitor.rates import Reading
from tests.monitoring import START_AT, make_host_counters, make_vm_counters

SAMPLE = re.compile(
    r'^[a-z_][a-z0-9_]*(\{([a-z]+="(?:[^"\\\n]|\\[\\n"])*",?)+\})? -?[0-9.]+(e[-+]?[0-9]+)?$'
)


def reading(*vms: VmCounters, known: bool = True) -> Reading:
    """Return a reading with some VMs."""
    host = make_host_counters(busy_s=5.25, disk_bytes=4096, stalled_us=1_500_000)
    return Reading(at=START_AT, host=host, host_s=0.0, vms=vms if known else None, vms_s=0.0)


def test_every_line_is_of_the_format() -> None:
    """Each family says once what it is, then come its values, each with its labels once."""
    text = exposition(
        reading(make_vm_counters("a", cpu_s=1.5), make_vm_counters("b")), Health(clock_skew_s=-0.5)
    )
    assert text.endswith("\n")
    family = ""
    told: set[str] = set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            assert family not in told
            told.add(family)
        elif line.startswith("# TYPE "):
            assert line.split()[2:] in ([family, "counter"], [family, "gauge"])
            assert line.endswith("counter") == family.endswith("_total")
        else:
            assert SAMPLE.match(line), line
            assert re.split(r"[{ ]", line)[0] == family
    lines = text.splitlines()
    assert len(lines) == len(set(lines))
    assert 'foreswap_vm_cpu_seconds_total{vm="a",uuid="uuid-of-a"} 1.5' in lines
    assert 'foreswap_host_cpu_seconds_total{cpu="1",mode="busy"} 5.25' in lines
    assert 'foreswap_host_pressure_seconds_total{resource="cpu",share="some"} 1.5' in lines
    assert "foreswap_monitor_clock_skew_seconds -0.5" in lines


def test_names_are_escaped() -> None:
    """Quotes, backslashes and line ends in a name break no line."""
    vm = replace(make_vm_counters(), name='a"b\\c\nd')
    text = exposition(reading(vm), Health())
    assert r'foreswap_vm_vcpus{vm="a\"b\\c\nd",uuid="uuid-of-vm1"} 1' in text.splitlines()


def test_what_is_not_known_is_left_out() -> None:
    """A hypervisor that is away shows as such, and no VM as idle."""
    text = exposition(reading(known=False), Health())
    assert "foreswap_vm_source_up 0" in text.splitlines()
    assert "foreswap_vm_cpu" not in text


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Nothing is left beside it, and everyone may read it."""
    path = tmp_path / "foreswap.prom"
    path.write_text("old")
    write_atomically(path, "new\n")
    assert path.read_text() == "new\n"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The caller decides; nothing is left behind."""
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "absent" / "foreswap.prom", "new")
