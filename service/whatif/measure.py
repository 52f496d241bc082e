"""What a placement means for its VMs: contention, shortfall, room. Judged from scratch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solver.domain.check import Violation, check_placement
from solver.domain.cluster import Cluster, HostState, Placement, reserved_amounts
from solver.domain.scenario import PROBABILITY_PPM, ScenarioSet
from solver.domain.score import (
    UNLIMITED,
    HostContention,
    Score,
    capacity_array,
    host_contention,
    host_loads,
    host_positions,
    score_placement,
)
from solver.domain.units import FIELDS, NUM_RESOURCES
from solver.domain.weights import Weights, objective_steps, to_host_s

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One placement, judged.

    Parameters
    ----------
    contention_host_s
        Priority-weighted shortfall over the horizon, of what runs.
    shortfall
        Per resource, the expected mean of what VMs will want and not get, in the resource's unit;
        VMs that run nowhere get nothing.
    overload_ppm
        Probability that any host is short of anything at any step.
    total_host_s
        The whole objective, moves included.
    """

    contention_host_s: float
    shortfall: dict[str, float]
    overload_ppm: int
    total_host_s: float
    hosts: tuple[HostContention, ...]
    violations: tuple[Violation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """What is left of one resource on all hosts that are up.

    Parameters
    ----------
    capacity
        What VMs may use; ``None`` where some host has no limit, and then nothing else is known.
    promised
        What is reserved for them.
    expected, peak
        What they are expected to use, and use at most, at one step of one future, all together.
    """

    capacity: int | None
    promised: int
    expected: float
    peak: int


def measure(
    cluster: Cluster, scenarios: ScenarioSet, weights: Weights, placement: Placement
) -> Measure:
    """Return what a placement means."""
    scenarios = scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
    violations = check_placement(cluster, placement)
    score: Score = score_placement(cluster, scenarios, weights, placement, violations=violations)
    short, overload_ppm = _shortfall(cluster, scenarios, placement)
    return Measure(
        contention_host_s=to_host_s(score.contention),
        shortfall={name: float(value) for name, value in zip(FIELDS, short, strict=True)},
        overload_ppm=overload_ppm,
        total_host_s=to_host_s(score.total),
        hosts=host_contention(cluster, scenarios, weights, placement),
        violations=violations,
    )


def headroom(cluster: Cluster, scenarios: ScenarioSet, placement: Placement) -> dict[str, Headroom]:
    """Return what is left per resource on hosts that are up."""
    scenarios = scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
    up = {host.id: host for host in cluster.hosts if host.state is HostState.UP}
    promised = np.zeros(NUM_RESOURCES, dtype=np.int64)
    for vm in cluster.vms:
        host_id = placement.get(vm.id)
        if host_id in up:
            promised += np.array(reserved_amounts(vm, up[host_id]), dtype=np.int64)
    judged = scenarios.demand[..., objective_steps(scenarios)]
    there = np.array([placement.get(vm.id) in up for vm in cluster.vms], dtype=np.bool_)
    totals = judged[:, there].sum(axis=1)  # scenarios, resources, steps
    expected = _mean(totals.mean(axis=2), scenarios)
    capacities = [_sum([host.usable()[r] for host in up.values()]) for r in range(NUM_RESOURCES)]
    return {
        name: Headroom(
            capacity=capacities[r],
            promised=int(promised[r]),
            expected=float(expected[r]),
            peak=int(totals[:, r].max(initial=0)),
        )
        for r, name in enumerate(FIELDS)
    }


def _shortfall(
    cluster: Cluster, scenarios: ScenarioSet, placement: Placement
) -> tuple[FloatArray, int]:
    """Return what goes short per resource, and the probability that any host is overloaded."""
    positions = host_positions(cluster, placement)
    judged = np.moveaxis(scenarios.demand[..., objective_steps(scenarios)], 1, 0)
    loads = host_loads(judged, positions, len(cluster.hosts))
    capacity = capacity_array(cluster)[:, None, :, None]
    over = np.where(capacity == UNLIMITED, 0, np.maximum(0, loads - capacity))
    nowhere = judged[positions < 0].sum(axis=0)
    short = over.sum(axis=0) + nowhere  # scenarios, resources, steps
    overloaded = over.any(axis=(0, 2, 3))
    overload_ppm = int(np.array(scenarios.probability_ppm)[overloaded].sum())
    return _mean(short.mean(axis=2), scenarios), overload_ppm


def _mean(by_scenario: FloatArray, scenarios: ScenarioSet) -> FloatArray:
    weights = np.array(scenarios.probability_ppm) / PROBABILITY_PPM
    return np.asarray(weights @ by_scenario)


def _sum(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
