"""How loaded a plan leaves the hosts that it touches, by futures that the solver never saw."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from solver.domain.cluster import Cluster
from solver.domain.plan import Plan
from solver.domain.scenario import ScenarioSet
from solver.domain.score import UNLIMITED, IntArray, capacity_array, host_loads, host_positions
from solver.domain.units import Resource
from solver.domain.weights import objective_steps


def predicted_loads(cluster: Cluster, paths: ScenarioSet, plan: Plan) -> list[dict[str, Any]]:
    """Return the peak load of each host that a plan touches, as things are and after it.

    A peak is the highest demand of the horizon over usable capacity, told by its median and its
    95th percentile over all futures. Resources without a limit are left out.

    Parameters
    ----------
    cluster
        Before the plan.
    paths
        Equally likely futures of every VM.
    """
    ends = {end for step in plan.steps for end in (step.source_id, step.destination_id) if end}
    touched = np.array([h for h, host in enumerate(cluster.hosts) if host.id in ends], dtype=int)
    if not touched.size:
        return []
    before = host_positions(cluster, cluster.placement)
    after = host_positions(cluster, plan.placement_after(cluster.placement))
    # Only VMs on these hosts: the futures of all would fill memory for nothing.
    vms = np.flatnonzero(np.isin(before, touched) | np.isin(after, touched))
    positions = {vm_id: i for i, vm_id in enumerate(paths.vm_ids)}
    rows = [positions[cluster.vms[v].id] for v in vms]
    demand = np.moveaxis(paths.demand[:, rows], 1, 0)[..., objective_steps(paths)]
    capacity = capacity_array(cluster)[touched]
    peaks = [_peaks(demand, _local(where[vms], touched), capacity) for where in (before, after)]
    limited = capacity != UNLIMITED
    return [
        {
            "host_id": cluster.hosts[h].id,
            "before": _told(peaks[0][:, i], limited[i]),
            "after": _told(peaks[1][:, i], limited[i]),
        }
        for i, h in enumerate(touched)
    ]


def _local(where: IntArray, touched: IntArray) -> IntArray:
    """Return positions among the touched hosts; -1 for any other."""
    found = np.searchsorted(touched, where)
    same = touched[np.minimum(found, len(touched) - 1)] == where
    return np.where(same, found, -1)


def _peaks(demand: IntArray, where: IntArray, capacity: IntArray) -> npt.NDArray[np.float64]:
    """Return median and 95th percentile, shape ``(2, num_hosts, num_resources)``."""
    highest = host_loads(demand, where, len(capacity)).max(axis=3)
    fractions = highest / np.maximum(1, capacity)[:, None, :]
    return np.asarray(np.quantile(fractions, (0.5, 0.95), axis=1))


def _told(peaks: npt.NDArray[np.float64], limited: npt.NDArray[np.bool_]) -> dict[str, Any]:
    return {
        resource.name.lower(): {
            "p50": round(float(peaks[0, resource]), 4),
            "p95": round(float(peaks[1, resource]), 4),
        }
        for resource in Resource
        if limited[resource]
    }
