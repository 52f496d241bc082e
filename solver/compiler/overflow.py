"""Whether every total an engine may meet fits 64 bits; refused here, once, where not."""

from __future__ import annotations

import numpy as np

from solver.domain.check import SEVERITY_ONE
from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.migration import MigrationParameters, migration_cost
from solver.domain.score import capacity_array, host_loads
from solver.domain.units import Resource
from solver.domain.weights import MAX_COST, UNITS_PER_HOST_S, Weights, reference_amounts
from solver.problem import NOWHERE, IntArray, Problem


def refuse_overflow(
    problem: Problem,
    cluster: Cluster,
    expected: IntArray,
    weights: Weights,
    parameters: MigrationParameters,
) -> None:
    """Raise ``InvalidInputError`` when a placement could cost more than ``MAX_COST``."""
    worst = _worst_placing(problem) + _worst_moving(problem, cluster, expected, weights, parameters)
    if not worst <= MAX_COST:
        raise InvalidInputError(
            f"the worst placement costs {worst / UNITS_PER_HOST_S:.3g} host-seconds, at most "
            f"{MAX_COST / UNITS_PER_HOST_S:.3g} can be told apart; expected smaller weights or "
            "demands",
            path="weights",
        )


def _worst_placing(problem: Problem) -> float:
    """Return an upper bound, in cost units, on everything but moves.

    Of what is hard no placement breaks more than the start does. What a search breaks in passing,
    by the few VMs it tries together, has the other half of the 64 bits.
    """
    columns = problem.future
    per_band = np.array(
        [
            columns.demand[problem.band == b].clip(min=0).sum(axis=0, dtype=np.float64)
            for b in range(problem.num_bands)
        ]
    )
    at_least = np.cumsum(per_band[::-1], axis=0)[::-1]
    # A threshold below zero is exceeded by an empty host already.
    at_least += np.maximum(0, -columns.threshold).sum(axis=0, dtype=np.float64)
    soft = float((at_least * columns.prices).sum())
    groups = float(
        sum(
            rule.price * (len(rule.vms) + rule.bound if rule.limit is None else rule.limit)
            for rule in problem.group_rules
        )
    )
    excess = np.maximum(0, problem.reserved_limit - problem.capacity).astype(np.float64)
    severity = (excess > 0) * problem.broken_ppm + excess * SEVERITY_ONE / problem.reference
    capacity = float(severity.sum()) * problem.repair_price
    return soft + float(_dearest_places(problem).sum(dtype=np.float64)) + groups + capacity


def _dearest_places(problem: Problem) -> IntArray:
    """Return the most that each VM's place may cost, shape ``(V,)``."""
    places, start = problem.places, problem.start
    kinds, kind = np.unique(
        np.column_stack([places.allowed_class, places.price_class]), axis=0, return_inverse=True
    )
    dearest: IntArray = np.array(
        [
            places.price_rows[price].max(initial=0, where=places.allowed_rows[allowed])
            for allowed, price in kinds.tolist()
        ],
        dtype=np.int64,
    )[kind.reshape(-1)]
    at_start = np.where(
        start == NOWHERE, problem.nowhere_prices, places.price_rows[places.price_class, start]
    )
    return np.maximum(dearest, at_start)


def _worst_moving(
    problem: Problem,
    cluster: Cluster,
    expected: IntArray,
    weights: Weights,
    parameters: MigrationParameters,
) -> float:
    """Return an upper bound, in cost units, on the cost of moving every VM."""
    if not cluster.vms:
        return 0.0
    capacity = np.maximum(capacity_array(cluster), 1).astype(np.float64)
    loads = host_loads(expected, problem.start, len(cluster.hosts))
    fullest = float((loads / capacity).max(initial=0.0))
    utilisation = fullest + (expected / capacity.min(axis=0)).max(axis=1, initial=0.0)
    network = cluster.network
    links = [
        network.same_zone,
        network.other_zone,
        *network.zones.values(),
        *network.hosts.values(),
    ]
    slowest = min(
        *(host.migration_bandwidth_mib_per_s for host in cluster.hosts),
        *(link.bandwidth_mib_per_s for link in links),
    )
    with np.errstate(invalid="ignore"):  # beyond 64 bits: found below
        costs = migration_cost(
            footprint_mib=[vm.memory_footprint_mib for vm in cluster.vms],
            dirty_mib_per_s=[vm.dirty_mib_per_s for vm in cluster.vms],
            cpu_demand_millicores=expected[:, Resource.CPU],
            priority=[vm.priority for vm in cluster.vms],
            bandwidth_mib_per_s=slowest,
            latency_us=max(link.latency_us for link in links),
            distance=max(link.distance for link in links),
            utilisation_difference=utilisation,
            reference_cpu_millicores=reference_amounts(cluster)[Resource.CPU],
            weights=weights,
            parameters=parameters,
        )
    terms = (costs.utilisation, costs.transfer, costs.downtime, costs.latency)
    if any(term.min() < 0 for term in terms):  # a term that left 64 bits
        return float("inf")
    moving = sum(float(term.sum(dtype=np.float64)) for term in terms)
    return moving + float(problem.disruption_price) * problem.num_vms
