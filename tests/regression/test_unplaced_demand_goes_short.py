"""A VM that should run and has no host goes short of everything it wants."""

from __future__ import annotations

import pytest

from solver.domain.units import Resource, VmId
from tests.builders import make_cluster, make_host, make_vm
from tests.executor_builders import make_workload, simulate


def test_demand_without_a_host_is_shortfall() -> None:
    """It was counted in time alone and in no figure of shortfall.

    A policy that filled the hosts so that arrivals found no room then looked better than one that
    kept room: nobody is short who does not run. Here the second VM wants 5 and then 10 cores of a
    reference host of 10 from the second bin on, at priority 7, which weighs 2.
    """
    vms = [
        make_vm("v1", memory_gib=60, priority=5),
        make_vm("v2", None, memory_gib=60, priority=7),
    ]
    cluster = make_cluster([make_host("h1", cores=10, memory_gib=100)], vms)
    cores = {"v1": [1.0] * 3, "v2": [0.0, 5.0, 10.0]}
    workload = make_workload(vms, cores=cores, state=[[0, 0, 0], [255, 0, 0]], num_bins=3)
    driver, clock = simulate(cluster, workload)
    clock.advance(300)
    assert driver.account().total_shortfall_host_s == 0
    # In the middle of a bin: the integral is exact, whatever the instant.
    clock.advance(450)
    report = driver.account()
    assert driver.snapshot().placement[VmId("v2")] is None
    expected = 0.5 * 300 + 1.0 * 150
    assert report.unplaced_shortfall_host_s[Resource.CPU] == pytest.approx(expected)
    assert report.unplaced_weighted_shortfall_host_s[Resource.CPU] == pytest.approx(2 * expected)
    assert report.shortfall_host_s.sum() == 0
    assert report.total_shortfall_host_s == pytest.approx(expected)
    assert report.total_weighted_shortfall_host_s == pytest.approx(2 * expected)
    assert report.total_proportional_shortfall_host_s == pytest.approx(2 * expected)
    assert report.unplaced_vm_s == pytest.approx(450)
