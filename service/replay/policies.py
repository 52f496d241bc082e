"""The deciders that a replay compares; each turns a snapshot into a timed plan.

All of them see the same snapshot and pass through the same sequencing; they differ in what they
know of demand and in how they choose.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import numpy as np

from executor.simulation.workload import Workload
from forecast.history import History
from service.pipeline import Foresight, Planner, PredictivePlanner
from service.replay.ledger import IntArray
from service.replay.textbook import TextbookParams, relieve
from solver.domain.cluster import Cluster
from solver.domain.plan import Plan
from solver.domain.scenario import PROBABILITY_PPM, ScenarioSet
from solver.domain.score import expected_demand
from solver.domain.units import NUM_RESOURCES, HostId, VmId
from solver.domain.weights import Weights, reference_amounts
from solver.params import SolveParams
from solver.sequencing.order import sequence

HORIZON_MINUTES: Final = 60

Balancer = Callable[[Cluster, IntArray], dict[VmId, HostId | None]]
"""From a snapshot and its present demand to the placement wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A plan and the seconds it took to make, everything included."""

    plan: Plan
    seconds: float


class Policy(Protocol):
    """Decides, at an instant, what to move."""

    def decide(self, cluster: Cluster, at: datetime) -> Decision:
        """Return the plan for the snapshot, knowing readings before ``at`` only."""
        ...


class NonePolicy:
    """Moves nothing: what the start alone leads to."""

    def decide(self, cluster: Cluster, at: datetime) -> Decision:
        """Return the empty plan."""
        return Decision(plan=Plan(made_at=at), seconds=0.0)


class PresentPolicy:
    """A balancer that looks at the demand of the last five minutes alone."""

    def __init__(self, workload: Workload, balance: Balancer) -> None:
        self._workload = workload
        self._balance = balance

    def decide(self, cluster: Cluster, at: datetime) -> Decision:
        """Return what the balancer wants, the largest demand first."""
        begin = time.perf_counter()
        present = _bin_of(self._workload, at) - 1
        demand = demand_paths(self._workload, cluster, present, 1)[:, :, 0]
        plan = _largest_first(cluster, self._balance(cluster, demand), demand)
        return Decision(plan=plan, seconds=time.perf_counter() - begin)


class RecentMaxPolicy:
    """foreswap's solver, told that the maximum of the last hour will hold for the next."""

    def __init__(self, workload: Workload, params: SolveParams) -> None:
        self._workload = workload
        self._planner = Planner(params)

    def decide(self, cluster: Cluster, at: datetime) -> Decision:
        """Return the plan made on the one future that repeats the worst of the past hour."""
        begin = time.perf_counter()
        present = _bin_of(self._workload, at) - 1
        bins = HORIZON_MINUTES * 60 // self._workload.bin_seconds
        first = max(0, present - bins + 1)
        past = demand_paths(self._workload, cluster, first, present - first + 1)
        path = np.stack([past[..., -1], past.max(axis=-1)], axis=-1)
        scenarios = _one_future(cluster, at, path, step_seconds=60 * HORIZON_MINUTES)
        result, _ = self._planner.plan(cluster, scenarios)
        return Decision(plan=result.plan, seconds=time.perf_counter() - begin)


class TextbookPolicy:
    """The textbook one-at-a-time rule, on the joint futures that foreswap sees."""

    def __init__(self, foresight: Foresight, history: History, params: TextbookParams) -> None:
        self._foresight = foresight
        self._history = history
        self._params = params

    def decide(self, cluster: Cluster, at: datetime) -> Decision:
        """Return what the rule wants, the largest demand first."""
        begin = time.perf_counter()
        at_bin = self._history.bin_at(at) - 1
        _, scenarios = self._foresight.of(cluster, self._history, at_bin=at_bin)
        wanted = relieve(cluster, scenarios, Weights(), self._params)
        plan = _largest_first(cluster, wanted, expected_demand(scenarios))
        return Decision(plan=plan, seconds=time.perf_counter() - begin)


class PredictivePolicy:
    """foreswap: joint scenarios of the next hour, from readings up to now."""

    def __init__(self, planner: PredictivePlanner, history: History) -> None:
        self._planner = planner
        self._history = history

    def decide(self, cluster: Cluster, at: datetime) -> Decision:
        """Return the plan of one planning cycle."""
        planned = self._planner.plan(cluster, self._history, at_bin=self._history.bin_at(at) - 1)
        return Decision(plan=planned.result.plan, seconds=planned.seconds)


class OraclePolicy:
    """The same solver, told the true demand of the next hour: the most that foresight can give."""

    def __init__(self, workload: Workload, params: SolveParams) -> None:
        self._workload = workload
        self._planner = Planner(params)

    def decide(self, cluster: Cluster, at: datetime) -> Decision:
        """Return the plan made on the one future that will come."""
        begin = time.perf_counter()
        present = _bin_of(self._workload, at) - 1
        steps = HORIZON_MINUTES * 60 // self._workload.bin_seconds
        path = demand_paths(self._workload, cluster, present, 1 + steps)
        scenarios = _one_future(cluster, at, path, step_seconds=self._workload.bin_seconds)
        result, _ = self._planner.plan(cluster, scenarios)
        return Decision(plan=result.plan, seconds=time.perf_counter() - begin)


def demand_paths(
    workload: Workload, cluster: Cluster, first_bin: int, num_bins: int
) -> np.ndarray[tuple[int, int, int], np.dtype[np.int64]]:
    """Return the recorded demand of the cluster's VMs, in whole units.

    Returns
    -------
    numpy.ndarray
        Shape ``(num_vms, num_resources, num_bins)``, ``int64``.
    """
    position = {vm_id: i for i, vm_id in enumerate(workload.vm_ids)}
    rows = np.array([position[vm.id] for vm in cluster.vms], dtype=np.intp)
    paths = np.empty((len(rows), NUM_RESOURCES, num_bins), dtype=np.int64)
    for b in range(num_bins):
        paths[:, :, b] = np.rint(workload.demand_at(first_bin + b)[rows])
    return paths


def _one_future(
    cluster: Cluster, at: datetime, path: IntArray, *, step_seconds: int
) -> ScenarioSet:
    """Return a path of shape ``(num_vms, num_resources, 1 + num_steps)`` as the only future."""
    return ScenarioSet(
        vm_ids=tuple(vm.id for vm in cluster.vms),
        start_at=at,
        step_seconds=step_seconds,
        probability_ppm=(PROBABILITY_PPM,),
        demand=path[None],
    )


def _largest_first(cluster: Cluster, wanted: dict[VmId, HostId | None], demand: IntArray) -> Plan:
    """Return the timed plan to a placement, VMs with the largest demand most urgent."""
    share = demand / np.array(reference_amounts(cluster))
    urgency = {
        vm.id: round(1e6 * share[v].max())
        for v, vm in enumerate(cluster.vms)
        if wanted[vm.id] != vm.host_id
    }
    return sequence(cluster, wanted, urgency=urgency).plan


def _bin_of(workload: Workload, at: datetime) -> int:
    """Return the bin that starts at an instant."""
    return int((at - workload.start_at).total_seconds()) // workload.bin_seconds
