"""Differences of counters become rates, or are left out where they mean nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.counters import VmCounters, VmState
from executor.monitor.host import HostCounters
from executor.monitor.rates import Differences, Reading, percentile, vm_figures
from executor.monitor.sample import CLOCK_STEPPED, GAP, HOST_FIGURES, NO_VMS, VM_FIGURES
from tests.monitoring import START_AT, make_host_counters, make_vm_counters


def reading(
    at_s: float,
    *vms: VmCounters,
    host: HostCounters | None = None,
    stepped_s: float = 0.0,
    vms_known: bool = True,
) -> Reading:
    """Return a reading so many seconds after the start."""
    return Reading(
        at=START_AT + timedelta(seconds=at_s + stepped_s),
        host=host or make_host_counters(),
        host_s=at_s,
        vms=vms if vms_known else None,
        vms_s=at_s,
    )


def test_the_first_reading_says_nothing() -> None:
    """Rates need two readings."""
    assert Differences(max_span_s=35).sample(reading(0)) is None


def test_host_figures_are_rates() -> None:
    """Processor time, disks, networks and pressure are per second."""
    differences = Differences(max_span_s=35)
    differences.sample(reading(0))
    after = make_host_counters(
        busy_s=5.0, steal_s=1.0, disk_bytes=40960, net_bytes=20480, stalled_us=2_000_000
    )
    sample = differences.sample(reading(10, host=after))
    assert sample is not None
    assert sample.span_s == 10
    assert sample.figures["cpu_used_millicores"] == pytest.approx(1000)
    assert sample.figures["cpu_steal_millicores"] == pytest.approx(200)
    assert sample.figures["disk_io_kib_per_s"] == pytest.approx(4)
    assert sample.figures["disk_requests_per_s"] == pytest.approx(1)
    assert sample.figures["net_io_kib_per_s"] == pytest.approx(4)
    assert sample.figures["memory_used_mib"] == pytest.approx(424)
    assert sample.figures["pressure_cpu_some_fraction"] == pytest.approx(0.2)
    assert "pressure_io_full_fraction" not in sample.figures
    assert sample.cpu_fractions == pytest.approx((0.5, 0.5))
    assert set(sample.figures) <= set(HOST_FIGURES)


def test_demand_is_used_and_waited() -> None:
    """What a VM would use is what it used plus what it was ready for and waited."""
    before = make_vm_counters(cpu_s=1, delay_s=1)
    after = make_vm_counters(cpu_s=3, delay_s=2, disk_bytes=40960, net_bytes=10240)
    figures = vm_figures(before, after, 10, num_cpus=2)
    assert figures is not None
    assert figures["cpu_used_millicores"] == pytest.approx(200)
    assert figures["cpu_waited_millicores"] == pytest.approx(100)
    assert figures["cpu_demand_millicores"] == pytest.approx(300)
    assert figures["memory_used_mib"] == pytest.approx(96)
    assert figures["disk_io_kib_per_s"] == pytest.approx(4)
    assert figures["net_io_kib_per_s"] == pytest.approx(1)
    assert set(figures) <= set(VM_FIGURES)


def test_without_a_delay_no_demand_is_told() -> None:
    """What was waited for is unknown then, and so is the sum."""
    before = make_vm_counters(cpu_s=1, delay_s=None)
    after = make_vm_counters(cpu_s=2, delay_s=None)
    figures = vm_figures(before, after, 10, num_cpus=2)
    assert figures is not None
    assert "cpu_used_millicores" in figures
    assert "cpu_demand_millicores" not in figures


def test_vms_come_and_go() -> None:
    """A VM counts from its second reading on, and one that has gone no more."""
    differences = Differences(max_span_s=35)
    differences.sample(reading(0, make_vm_counters("old")))
    second = differences.sample(reading(10, make_vm_counters("old"), make_vm_counters("new")))
    third = differences.sample(reading(20, make_vm_counters("new")))
    assert second is not None
    assert third is not None
    assert [each.vm.name for each in second.vms] == ["old"]
    assert [each.vm.name for each in third.vms] == ["new"]


def test_a_vm_started_anew_counts_from_then() -> None:
    """Processor time that went backwards is another life of the VM."""
    differences = Differences(max_span_s=35)
    differences.sample(reading(0, make_vm_counters(cpu_s=100)))
    anew = differences.sample(reading(10, make_vm_counters(cpu_s=1)))
    later = differences.sample(reading(20, make_vm_counters(cpu_s=2)))
    assert anew is not None
    assert later is not None
    assert anew.vms == ()
    assert later.vms[0].figures["cpu_used_millicores"] == pytest.approx(100)


def test_a_resized_vm_goes_on() -> None:
    """More virtual processors change the size that is told, not the rate."""
    differences = Differences(max_span_s=35)
    differences.sample(reading(0, make_vm_counters(cpu_s=0, num_vcpus=1)))
    sample = differences.sample(reading(10, make_vm_counters(cpu_s=15, num_vcpus=2)))
    assert sample is not None
    assert sample.vms[0].vm.num_vcpus == 2
    assert sample.vms[0].figures["cpu_used_millicores"] == pytest.approx(1500)


def test_one_counter_backwards_costs_one_figure() -> None:
    """A disk that was taken out leaves the sum smaller; everything else still counts."""
    before = make_vm_counters(cpu_s=1, disk_bytes=100_000)
    after = make_vm_counters(cpu_s=2, disk_bytes=4096)
    figures = vm_figures(before, after, 10, num_cpus=2)
    assert figures is not None
    assert "disk_read_kib_per_s" not in figures
    assert "disk_io_kib_per_s" not in figures
    assert figures["cpu_used_millicores"] == pytest.approx(100)


def test_a_counter_that_jumps_is_left_out() -> None:
    """Nobody uses more processors than the host has."""
    after = make_vm_counters(cpu_s=1000)
    figures = vm_figures(make_vm_counters(), after, 10, num_cpus=2)
    assert figures is not None
    assert "cpu_used_millicores" not in figures


def test_a_vm_that_is_off_is_not_sampled() -> None:
    """Nothing holds it; its figures would be zeros that mean nothing."""
    differences = Differences(max_span_s=35)
    off = make_vm_counters(state=VmState.OFF)
    differences.sample(reading(0, off))
    sample = differences.sample(reading(10, off))
    assert sample is not None
    assert sample.vms == ()


def test_a_hypervisor_that_is_away_costs_its_vms_only() -> None:
    """The host goes on; once back, VMs count over the whole time since they were read last."""
    differences = Differences(max_span_s=35)
    differences.sample(reading(0, make_vm_counters(cpu_s=0)))
    away = differences.sample(reading(10, vms_known=False))
    back = differences.sample(reading(20, make_vm_counters(cpu_s=4)))
    assert away is not None
    assert back is not None
    assert away.vms == ()
    assert away.flags == {NO_VMS}
    assert back.flags == frozenset()
    assert back.vms[0].span_s == 20
    assert back.vms[0].figures["cpu_used_millicores"] == pytest.approx(200)


def test_a_long_gap_is_left_out_and_told() -> None:
    """What happened in ten minutes of silence cannot be given to any of them."""
    differences = Differences(max_span_s=35)
    differences.sample(reading(0, make_vm_counters()))
    assert differences.sample(reading(600, make_vm_counters(cpu_s=60))) is None
    sample = differences.sample(reading(610, make_vm_counters(cpu_s=61)))
    assert sample is not None
    assert sample.flags == {GAP}
    assert sample.vms[0].figures["cpu_used_millicores"] == pytest.approx(100)


@pytest.mark.parametrize("stepped_s", [-3600, 3600])
def test_a_clock_that_steps_changes_no_rate(stepped_s: float) -> None:
    """Rates go by the steady clock, and the record says that the wall clock was put right."""
    differences = Differences(max_span_s=35)
    differences.sample(reading(0, make_vm_counters()))
    sample = differences.sample(reading(10, make_vm_counters(cpu_s=1), stepped_s=stepped_s))
    assert sample is not None
    assert sample.flags == {CLOCK_STEPPED}
    assert sample.vms[0].figures["cpu_used_millicores"] == pytest.approx(100)


def test_processors_that_come_leave_out_one_sample_of_them() -> None:
    """Which is which is unknown until the next reading."""
    differences = Differences(max_span_s=35)
    differences.sample(reading(0))
    sample = differences.sample(reading(10, host=make_host_counters(num_cpus=4)))
    assert sample is not None
    assert sample.cpu_fractions == ()
    assert "cpu_used_millicores" not in sample.figures


def test_a_kernel_counter_that_slips_back_is_no_use() -> None:
    """The kernel's waiting times may step back by a tick; use never becomes negative."""
    differences = Differences(max_span_s=35)
    differences.sample(reading(0, host=make_host_counters(busy_s=5, steal_s=1)))
    sample = differences.sample(reading(10, host=make_host_counters(busy_s=6, steal_s=0.99)))
    assert sample is not None
    assert sample.figures["cpu_steal_millicores"] == 0


@given(
    st.lists(st.integers(min_value=-5, max_value=50), min_size=1, max_size=20),
    st.lists(st.sampled_from([0.5, 10, 20, 100]), min_size=20, max_size=20),
)
def test_rates_are_never_negative_whatever_counters_do(
    steps: list[int], spans: list[float]
) -> None:
    """Resets, jumps and gaps of any order leave figures that could be true."""
    differences = Differences(max_span_s=35)
    at_s, cpu_s = 0.0, 10.0
    for step, span_s in zip(steps, spans, strict=False):
        at_s += span_s
        cpu_s = max(0.0, cpu_s + step)
        vm = replace(make_vm_counters(cpu_s=cpu_s), disk_read_bytes=round(cpu_s * 1000))
        sample = differences.sample(reading(at_s, vm))
        for each in sample.vms if sample else ():
            assert all(value >= 0 for value in each.figures.values())
            assert each.figures.get("cpu_used_millicores", 0) <= 2 * 1000 * 1.05


def test_percentiles_lie_between_readings() -> None:
    """Six samples have their 95th percentile between the two largest."""
    assert percentile([0, 10, 20, 30, 40, 50], 0.95) == pytest.approx(47.5)
    assert percentile([7], 0.95) == 7
