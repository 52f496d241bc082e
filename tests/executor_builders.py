"""Small simulated clusters and plans for tests of the executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from executor.clock import ManualClock
from executor.drivers.simulated import SimulatedDriver
from executor.simulation.workload import TraceWorkload
from solver.domain.cluster import VM, Cluster
from solver.domain.migration import estimate
from solver.domain.plan import Plan, Step, StepKind
from solver.domain.units import NUM_RESOURCES, HostId, Resource, VmId
from tests.builders import NOW


def make_workload(
    vms: Sequence[VM],
    *,
    cores: float | Mapping[str, Sequence[float]] = 0.5,
    num_bins: int = 12,
    state: Sequence[Sequence[int]] | None = None,
) -> TraceWorkload:
    """Return constant CPU demand of ``cores`` per VM, or one row of bins per VM."""
    readings = np.zeros((NUM_RESOURCES, len(vms), num_bins))
    for v, vm in enumerate(vms):
        row = cores[vm.id] if isinstance(cores, Mapping) else cores
        readings[Resource.CPU, v] = np.asarray(row) * 1000
    states = np.zeros((len(vms), num_bins), dtype=np.uint8) if state is None else np.array(state)
    return TraceWorkload(
        vm_ids=tuple(vm.id for vm in vms), start_at=NOW, readings=readings, state=states
    )


def simulate(
    cluster: Cluster, workload: TraceWorkload | None = None, **more: Any
) -> tuple[SimulatedDriver, ManualClock]:
    """Return a simulated cluster at ``NOW`` and the clock it lives by."""
    clock = ManualClock(NOW)
    return SimulatedDriver(cluster, workload or make_workload(cluster.vms), clock, **more), clock


def migrate(
    vm: str, source: str, destination: str, *, at_s: float = 0, mib_per_s: int = 1000
) -> Step:
    """Return the step that migrates a VM of 4 GiB, as long as the estimator says."""
    start_ms = round(at_s * 1000)
    course = estimate(4096, 0, mib_per_s)
    return Step(
        kind=StepKind.MIGRATE,
        vm_id=VmId(vm),
        source_id=HostId(source),
        destination_id=HostId(destination),
        start_ms=start_ms,
        end_ms=start_ms + int(course.duration_ms),
        bandwidth_mib_per_s=mib_per_s,
        transferred_mib=int(course.transferred_mib),
    )


def start(vm: str, host: str, *, at_s: float = 0) -> Step:
    """Return the step that starts a VM."""
    start_ms = round(at_s * 1000)
    return Step(
        kind=StepKind.START,
        vm_id=VmId(vm),
        source_id=None,
        destination_id=HostId(host),
        start_ms=start_ms,
        end_ms=start_ms + 1000,
    )


def make_plan(*steps: Step) -> Plan:
    """Return a plan made at ``NOW``."""
    return Plan(made_at=NOW, steps=tuple(sorted(steps, key=lambda step: step.start_ms)))
