"""Libvirt's bulk statistics become counters."""

from __future__ import annotations

from typing import Any

import pytest

from executor.counters import VmCounters, VmState
from executor.kvm.stats import vm_counters
from solver.domain.units import VmId

RUNNING: dict[str, Any] = {
    "state.state": 1,
    "state.reason": 1,
    "cpu.time": 3_140_000_000,
    "balloon.current": 98304,
    "balloon.unused": 40000,
    "balloon.usable": 50000,
    "balloon.rss": 191036,
    "vcpu.current": 2,
    "vcpu.maximum": 3,
    "vcpu.0.state": 1,
    "vcpu.0.delay": 600,
    "vcpu.2.delay": 99,
    "net.count": 2,
    "net.0.rx.bytes": 10,
    "net.0.tx.bytes": 1,
    "net.1.rx.bytes": 20,
    "net.1.tx.bytes": 2,
    "block.count": 2,
    "block.0.rd.bytes": 512,
    "block.0.rd.reqs": 1,
    "block.0.wr.bytes": 1024,
    "block.0.wr.reqs": 2,
    "block.1.name": "sda",
    "dirtyrate.calc_status": 2,
    "dirtyrate.megabytes_per_second": 7,
}


def counters(record: dict[str, Any]) -> VmCounters:
    """Return the counters of a record."""
    return vm_counters(record, vm_id=VmId("a"), name="a", uuid="u")


def test_figures_are_taken_and_summed() -> None:
    """Devices and virtual processors are summed, also when their numbers have holes."""
    assert counters(RUNNING) == VmCounters(
        vm_id=VmId("a"),
        name="a",
        uuid="u",
        state=VmState.RUNNING,
        cpu_time_ns=3_140_000_000,
        vcpu_delay_ns=699,
        num_vcpus=2,
        balloon_current_kib=98304,
        balloon_unused_kib=40000,
        balloon_usable_kib=50000,
        balloon_rss_kib=191036,
        disk_read_bytes=512,
        disk_write_bytes=1024,
        disk_read_requests=1,
        disk_write_requests=2,
        net_rx_bytes=30,
        net_tx_bytes=3,
        dirty_mib_per_s=7,
    )


def test_what_is_not_told_is_unknown() -> None:
    """A record without statistics has no figure, rather than zeros."""
    found = counters({})
    assert found == VmCounters(vm_id=VmId("a"), name="a", uuid="u", state=VmState.UNKNOWN)


def test_no_devices_are_zero() -> None:
    """A guest without disks and cards reads and sends nothing, and that is known."""
    found = counters({"state.state": 1, "block.count": 0, "net.count": 0})
    assert (found.disk_read_bytes, found.net_tx_bytes) == (0, 0)


def test_disks_of_a_guest_that_is_off_tell_nothing() -> None:
    """Libvirt lists the disks of a guest that is off, but has no counters of them."""
    found = counters({"state.state": 5, "block.count": 1, "block.0.name": "vda"})
    assert found.state is VmState.OFF
    assert found.disk_read_bytes is None


@pytest.mark.parametrize("value", [-1, 2**64 - 1, "7", True, None, 1.5])
def test_values_that_mean_nothing_are_unknown(value: object) -> None:
    """Counters are whole numbers from 0; a hypervisor's -1 may come without its sign."""
    assert counters({"state.state": 1, "cpu.time": value}).cpu_time_ns is None


def test_a_dirty_rate_counts_once_measured() -> None:
    """Before a measurement has ended its rate means nothing."""
    assert counters(RUNNING | {"dirtyrate.calc_status": 1}).dirty_mib_per_s is None


@pytest.mark.parametrize(
    ("number", "state"),
    [(3, VmState.PAUSED), (6, VmState.CRASHED), (7, VmState.SUSPENDED), (99, VmState.UNKNOWN)],
)
def test_states_have_names(number: int, state: VmState) -> None:
    """States of libvirt are named, those of later versions are unknown."""
    assert counters({"state.state": number}).state is state
