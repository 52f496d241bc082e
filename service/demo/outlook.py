"""What the next hour may bring to hosts and cluster, on joint paths that the solver never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.demo.frame import Expected
from solver.domain.cluster import Cluster
from solver.domain.plan import Plan
from solver.domain.plan_score import score_plan
from solver.domain.scenario import ScenarioSet
from solver.domain.score import capacity_array, host_loads
from solver.domain.weights import Weights, to_host_s

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outlook:
    """The next hour of each host if VMs stay where they are.

    Parameters
    ----------
    p50, p95
        Quantiles over the paths of the highest step's demand over usable capacity, shape
        ``(num_hosts, num_resources)``; 0 where a resource is unlimited.
    overload
        Share of the paths on which some resource is short at some step, shape ``(num_hosts,)``.
    """

    p50: FloatArray
    p95: FloatArray
    overload: FloatArray


def look_ahead(cluster: Cluster, paths: ScenarioSet) -> Outlook:
    """Return the outlook of a cluster.

    Parameters
    ----------
    paths
        Equally likely futures of every VM.
    """
    ordered = paths.for_vms(tuple(vm.id for vm in cluster.vms))
    position = {host.id: h for h, host in enumerate(cluster.hosts)}
    hosts = np.array(
        [-1 if vm.host_id is None else position[vm.host_id] for vm in cluster.vms], dtype=np.int64
    )
    future = np.moveaxis(ordered.demand[..., 1:], 1, 0)
    loads = host_loads(future, hosts, len(cluster.hosts))
    used = loads / np.maximum(1, capacity_array(cluster))[:, None, :, None]
    highest = used.max(axis=3)
    return Outlook(
        p50=np.quantile(highest, 0.5, axis=1),
        p95=np.quantile(highest, 0.95, axis=1),
        overload=np.asarray((highest > 1.0).any(axis=2).mean(axis=1)),
    )


def expect(cluster: Cluster, paths: ScenarioSet, plan: Plan) -> Expected:
    """Return the expected shortfall of the next hour, without and with a plan."""
    without, with_plan = score_plan(cluster, paths, Weights(), plan)
    return Expected(
        without_plan=to_host_s(without),
        with_plan=to_host_s(with_plan),
        num_paths=paths.num_scenarios,
    )
