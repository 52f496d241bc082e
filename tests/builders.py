"""Small, readable builders of domain objects for tests.

Every builder gives a valid object with round numbers; a test names only what it is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from solver.domain.cluster import VM, Cluster, Host
from solver.domain.scenario import ScenarioSet, equal_probabilities
from solver.domain.units import NUM_RESOURCES, Amounts, HostId, Limits, Resource, VmId

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def make_host(
    name: str = "h1", *, cores: float | None = 10, memory_gib: float | None = 100, **more: Any
) -> Host:
    """Return a host with CPU and memory limits and unlimited disk and network."""
    return Host(
        id=HostId(name),
        capacity=Limits(
            cpu_millicores=None if cores is None else round(cores * 1000),
            memory_mib=None if memory_gib is None else round(memory_gib * 1024),
        ),
        **more,
    )


def make_vm(
    name: str = "v1",
    host: str | None = "h1",
    *,
    cores: float = 2,
    memory_gib: float = 4,
    **more: Any,
) -> VM:
    """Return a VM of ``cores`` vCPUs and ``memory_gib`` on ``host``."""
    return VM(
        id=VmId(name),
        host_id=None if host is None else HostId(host),
        allocation=Amounts(cpu_millicores=round(cores * 1000), memory_mib=round(memory_gib * 1024)),
        **more,
    )


def make_cluster(hosts: Sequence[Host], vms: Sequence[VM], **more: Any) -> Cluster:
    """Return a cluster observed at ``NOW``."""
    return Cluster(observed_at=NOW, hosts=tuple(hosts), vms=tuple(vms), **more)


def make_scenarios(
    cluster: Cluster,
    cpu_cores: Mapping[str, float | Sequence[float] | Sequence[Sequence[float]]],
    *,
    memory_gib: Mapping[str, float] | None = None,
    step_seconds: int = 900,
    num_steps: int = 4,
    present: Mapping[str, float] | None = None,
) -> ScenarioSet:
    """Return scenarios of CPU demand in cores per VM.

    A number is the demand at every future step of the only scenario; a list of numbers gives one
    constant per scenario; a list of lists one row of steps per scenario. The present (step 0) is
    ``present``, else the first future step of the first scenario.
    """
    ids = [vm.id for vm in cluster.vms]
    paths = {}
    for vm_id in ids:
        value = cpu_cores.get(vm_id, 0.0)
        rows = value if isinstance(value, Sequence) else [value]
        paths[vm_id] = [
            list(row) if isinstance(row, Sequence) else [row] * num_steps for row in rows
        ]
    num_scenarios = max(len(rows) for rows in paths.values()) if paths else 1
    demand = np.zeros((num_scenarios, len(ids), NUM_RESOURCES, 1 + num_steps), dtype=np.int64)
    for v, vm_id in enumerate(ids):
        rows = paths[vm_id] * (num_scenarios if len(paths[vm_id]) == 1 else 1)
        future = np.rint(np.array(rows) * 1000).astype(np.int64)
        demand[:, v, Resource.CPU, 1:] = future
        now = future[0, 0] if present is None else round(1000 * present.get(vm_id, 0.0))
        demand[:, v, Resource.CPU, 0] = now
        if memory_gib is not None:
            demand[:, v, Resource.MEMORY, :] = round(1024 * memory_gib.get(vm_id, 0.0))
    return ScenarioSet(
        vm_ids=tuple(ids),
        start_at=NOW,
        step_seconds=step_seconds,
        probability_ppm=equal_probabilities(num_scenarios),
        demand=demand,
    )
