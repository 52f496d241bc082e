"""Prices of moves, taken apart into what VM, link and host contribute."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from solver.domain.cluster import Cluster, Host
from solver.domain.migration import MigrationParameters, migration_cost
from solver.domain.score import UNLIMITED, capacity_array, host_loads
from solver.domain.units import Resource
from solver.domain.weights import UNITS_PER_HOST_S, Weights, reference_amounts
from solver.problem import NOWHERE, FloatArray, IntArray, MoveCosts, frozen


def compile_moves(
    cluster: Cluster,
    expected: IntArray,
    weights: Weights,
    parameters: MigrationParameters,
    start: IntArray,
) -> MoveCosts:
    """Return prices equal to ``solver.domain.score.pair_costs``.

    Parameters
    ----------
    expected
        Mean demand of each VM, shape ``(V, resources)``.
    """
    link_class, bandwidth, latency_us, distance = _links(cluster)
    rates, rate_of = np.unique(bandwidth, return_inverse=True)
    reference_cpu = reference_amounts(cluster)[Resource.CPU]
    priority = np.array([vm.priority for vm in cluster.vms], dtype=np.int64)
    with np.errstate(invalid="ignore"):  # beyond 64 bits: found and refused by the caller
        by_rate = migration_cost(
            footprint_mib=np.array([[vm.memory_footprint_mib] for vm in cluster.vms]).reshape(
                -1, 1
            ),
            dirty_mib_per_s=np.array([[vm.dirty_mib_per_s] for vm in cluster.vms]).reshape(-1, 1),
            cpu_demand_millicores=expected[:, Resource.CPU, None],
            priority=priority[:, None],
            bandwidth_mib_per_s=rates[None, :],
            latency_us=0,
            distance=0,
            utilisation_difference=0.0,
            reference_cpu_millicores=reference_cpu,
            weights=weights,
            parameters=parameters,
        )
    unit = 2.0 ** ((priority - 5.0) / weights.priority_steps_per_doubling) * UNITS_PER_HOST_S
    capacity = capacity_array(cluster)
    limits = np.where(capacity == UNLIMITED, np.inf, np.maximum(capacity, 1).astype(np.float64))
    loads = host_loads(expected, start, len(cluster.hosts))
    return MoveCosts(
        link_class=frozen(link_class),
        rate_of=frozen(rate_of.reshape(bandwidth.shape).astype(np.int64)),
        by_rate=frozen(by_rate.total),
        round_trips_s=_real(latency_us * 1e-6 * parameters.handover_round_trips),
        border=_real(distance * weights.zone_border_host_s),
        latency_price=_real(unit * weights.latency),
        cpu_share=frozen(expected[:, Resource.CPU].astype(np.float64) / reference_cpu),
        fill_price=_real(unit * weights.utilisation),
        left=frozen(_left_behind(expected, loads, limits, start)),
        load=frozen(loads),
        capacity=frozen(limits),
        demand=frozen(expected.copy()),
    )


def _real(values: npt.ArrayLike) -> FloatArray:
    return frozen(np.asarray(values, dtype=np.float64))


def _left_behind(
    expected: IntArray, loads: IntArray, limits: FloatArray, start: IntArray
) -> FloatArray:
    """Return how full each VM's start is without it, shape ``(V,)``."""
    left = np.zeros(len(start))
    running = np.flatnonzero(start != NOWHERE)
    source = start[running]
    left[running] = ((loads[source] - expected[running]) / limits[source]).max(axis=1)
    return left


def _links(cluster: Cluster) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Return the class of each host's links; bandwidth, latency and distance between classes.

    Hosts of one zone and one bandwidth are alike, unless the network names them.
    """
    named = {host_id for pair in cluster.network.hosts for host_id in pair}
    number: dict[tuple[str, int, str], int] = {}
    examples: list[tuple[Host, Host]] = []
    link_class = np.zeros(len(cluster.hosts), dtype=np.int64)
    for h, host in enumerate(cluster.hosts):
        key = (host.zone, host.migration_bandwidth_mib_per_s, host.id if host.id in named else "")
        c = link_class[h] = number.setdefault(key, len(number))
        if c == len(examples):
            examples.append((host, host))
        examples[c] = examples[c][0], host
    shape = (len(examples), len(examples))
    bandwidth, latency_us, distance = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    for i, (one, _) in enumerate(examples):
        for j, (_, other) in enumerate(examples):
            link = cluster.network.link(one, other)
            bandwidth[i, j] = link.narrowest_mib_per_s(one, other)
            latency_us[i, j], distance[i, j] = link.latency_us, link.distance
    return link_class, bandwidth, latency_us, distance
