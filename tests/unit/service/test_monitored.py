"""Minutes of hosts become bins of VMs."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from executor.counters import VmState
from executor.monitor.sample import Figure, HostMinute, MinuteRecord, VmMinute
from forecast.history import BinState
from service.monitored import history_of_minutes
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.units import HostId, Resource, VmId
from tests.builders import NOW

HOST = HostMinute(num_cpus=4, memory_total_mib=1000.0, figures={})


def vm(
    name: str,
    *,
    state: VmState = VmState.RUNNING,
    vcpus: int = 2,
    num_samples: int = 6,
    **figures: float,
) -> VmMinute:
    """Return a VM's minute; figures are means."""
    told = {key: Figure(mean=value, p95=value, max=value) for key, value in figures.items()}
    return VmMinute(
        vm_id=VmId(name),
        name=name,
        uuid=name,
        state=state,
        num_vcpus=vcpus,
        num_samples=num_samples,
        figures=told,
    )


def minute(number: int, *vms: VmMinute, host: str = "h1", span_s: float = 60.0) -> MinuteRecord:
    """Return a host's record of a minute after ``NOW``."""
    return MinuteRecord(
        host_id=HostId(host),
        minute_at=NOW + timedelta(minutes=number),
        span_s=span_s,
        num_samples=6,
        host=HOST,
        vms=vms,
    )


def test_minutes_are_averaged_by_the_time_they_stand_for() -> None:
    """A short minute counts less; what the VM waited for is part of its demand."""
    history = history_of_minutes(
        [
            minute(0, vm("a", cpu_demand_millicores=1000, memory_used_mib=400), span_s=60),
            minute(1, vm("a", cpu_demand_millicores=400, memory_used_mib=100), span_s=30),
        ]
    )
    assert history.start_at == NOW
    assert history.readings[Resource.CPU, 0].tolist() == [800.0]
    assert history.readings[Resource.MEMORY, 0].tolist() == [300.0]
    assert np.isnan(history.readings[Resource.DISK_IO, 0, 0])
    assert history.state.tolist() == [[BinState.MEASURED]]


def test_a_vm_that_moved_is_one_vm() -> None:
    """Each host tells of its part of the time, and the order of delivery does not matter."""
    records = [
        minute(6, vm("a", cpu_demand_millicores=300), host="h2"),
        minute(0, vm("a", cpu_demand_millicores=100), host="h1"),
        minute(1, vm("a", cpu_demand_millicores=200), host="h2"),
    ]
    history = history_of_minutes(records)
    assert history.vm_ids == ("a",)
    assert history.readings[Resource.CPU, 0].tolist() == [150.0, 300.0]


def test_each_host_counts_by_the_samples_it_has_of_the_running_vm() -> None:
    """Not by the whole minute, and not the copy that stands still while it is being filled."""
    history = history_of_minutes(
        [
            minute(0, vm("a", num_samples=5, cpu_demand_millicores=1000), host="h1"),
            minute(0, vm("a", num_samples=1, cpu_demand_millicores=100), host="h2"),
            minute(1, vm("a", state=VmState.PAUSED, cpu_demand_millicores=0), host="h2"),
        ]
    )
    assert history.readings[Resource.CPU, 0].tolist() == [850.0]


def test_bins_without_a_record_are_missing_only_between_records() -> None:
    """Before its first and after its last record a VM is absent."""
    history = history_of_minutes(
        [
            minute(0, vm("a", cpu_demand_millicores=1)),
            minute(5, vm("b", cpu_demand_millicores=1)),
            minute(10, vm("a", cpu_demand_millicores=1)),
        ]
    )
    absent, missing, measured = BinState.ABSENT, BinState.MISSING, BinState.MEASURED
    assert history.state.tolist() == [
        [measured, missing, measured],
        [absent, measured, absent],
    ]


def test_a_vm_that_is_off_demands_nothing() -> None:
    """And one that ran for a part of the bin is measured."""
    off = vm("a", state=VmState.OFF)
    history = history_of_minutes(
        [minute(0, off), minute(5, off), minute(6, vm("a", cpu_used_millicores=5))]
    )
    assert history.state.tolist() == [[BinState.OFF, BinState.MEASURED]]
    assert history.readings[Resource.CPU, 0].tolist() == [0.0, 5.0]


def test_the_newest_size_counts() -> None:
    """A VM that was given more is as large as it is now."""
    history = history_of_minutes(
        [
            minute(5, vm("a", vcpus=8, cpu_demand_millicores=1, memory_current_mib=4096)),
            minute(0, vm("a", vcpus=2, cpu_demand_millicores=1, memory_current_mib=2048)),
        ]
    )
    assert history.vcpus.tolist() == [8]
    assert history.memory_size_mib.tolist() == [4096]


def test_without_vms_there_is_no_history() -> None:
    """Nothing can be forecast of nobody."""
    with pytest.raises(NotEnoughHistoryError):
        history_of_minutes([minute(0)])
