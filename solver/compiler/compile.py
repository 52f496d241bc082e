"""The door of the compiler: a cluster and its demand become one ``Problem``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from solver.compiler.columns import (
    banded_prices,
    knee_columns,
    shortfall_columns,
    side_by_side,
    stranded_columns,
)
from solver.compiler.groups import clumps, compile_groups, rules_of_vms
from solver.compiler.moves import compile_moves
from solver.compiler.overflow import refuse_overflow
from solver.compiler.places import compile_places
from solver.compiler.reservations import compile_reservations
from solver.domain.check import SEVERITY_ONE
from solver.domain.cluster import Cluster
from solver.domain.migration import DEFAULT_MIGRATION, MigrationParameters
from solver.domain.scenario import ScenarioSet
from solver.domain.score import (
    UNLIMITED,
    capacity_array,
    disruption_price,
    expected_demand,
    imbalance_prices,
    repair_price,
)
from solver.domain.stranded import stranding
from solver.domain.units import HostId
from solver.domain.weights import Weights, objective_steps
from solver.problem import NOWHERE, IntArray, Problem, frozen


def compile_problem(
    cluster: Cluster,
    scenarios: ScenarioSet,
    weights: Weights,
    parameters: MigrationParameters = DEFAULT_MIGRATION,
    *,
    counted_ppm: Sequence[int] | None = None,
) -> Problem:
    """Compile a cluster and its demand into the arrays that engines read.

    Parameters
    ----------
    scenarios
        Demand of at least the cluster's VMs, in any order.
    counted_ppm
        By which scenarios count in contention, where not by their own probabilities: where only
        the worst ones do (``weights.tail_share``), which those are depends on the placement.

    Raises
    ------
    InvalidInputError
        If a VM has no demand, or the worst case exceeds what 64 bits hold.
    """
    scenarios = scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
    position: dict[HostId | None, int] = {host.id: h for h, host in enumerate(cluster.hosts)}
    position[None] = NOWHERE
    start = frozen(np.array([position[vm.host_id] for vm in cluster.vms], dtype=np.int64))
    full_capacity = capacity_array(cluster)
    limited = np.flatnonzero((full_capacity != UNLIMITED).any(axis=0))
    capacity = full_capacity[:, limited]
    expected = expected_demand(scenarios)
    band, by_band = banded_prices(cluster, scenarios, weights, counted_ppm)
    future = shortfall_columns(scenarios, by_band, capacity, limited, objective_steps(scenarios))
    knees = knee_columns(
        expected[:, limited],
        capacity,
        imbalance_prices(cluster, scenarios, weights)[limited],
        weights.knees,
        num_bands=by_band.shape[0],
    )
    stranded = stranded_columns(
        stranding(cluster, scenarios, weights, expected), num_bands=by_band.shape[0]
    )
    reservations = compile_reservations(cluster, limited, start)
    groups = compile_groups(cluster, weights, start)
    problem = Problem(
        vm_ids=tuple(vm.id for vm in cluster.vms),
        host_ids=tuple(host.id for host in cluster.hosts),
        start=start,
        places=compile_places(cluster, weights, start),
        nowhere_prices=frozen(
            np.full(len(cluster.vms), repair_price(weights) * SEVERITY_ONE, dtype=np.int64)
        ),
        future=side_by_side(future, knees, stranded),
        present=shortfall_columns(scenarios, by_band, capacity, limited, slice(0, 1)),
        band=frozen(band),
        resource_names=reservations.resource_names,
        capacity=reservations.capacity,
        host_class=reservations.host_class,
        reserved=reservations.reserved,
        reserved_limit=reservations.reserved_limit,
        held=frozen(np.zeros(len(reservations.resource_names), dtype=np.bool_)),
        reference=reservations.reference,
        broken_ppm=reservations.broken_ppm,
        repair_price=repair_price(weights),
        group_rules=groups,
        app_group=frozen(_app_groups(cluster)),
        disruption_price=disruption_price(weights),
        max_moves=cluster.budget.max_moves,
        max_moves_per_host=cluster.budget.max_moves_per_host,
        move_costs=compile_moves(cluster, expected, weights, parameters, start),
        rules_of_vm=rules_of_vms(groups),
        clumps=clumps(groups),
    )
    refuse_overflow(problem, cluster, expected, weights, parameters)
    return problem


def _app_groups(cluster: Cluster) -> IntArray:
    names: dict[str, int] = {}
    return np.array(
        [names.setdefault(vm.group, len(names)) if vm.group else -1 for vm in cluster.vms],
        dtype=np.int64,
    )
