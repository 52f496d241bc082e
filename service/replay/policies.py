"""The deciders that a replay compares; each turns a snapshot into a timed plan.

All of them see the same snapshot and pass through the same sequencing; they differ in what they
know of demand and in how they choose.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import numpy as np

from executor.simulation.workload import Workload
from forecast.history import History
from service.pipeline import Planner, PredictivePlanner
from service.replay.reactive import ReactiveParams, rebalance
from solver.domain.cluster import Cluster
from solver.domain.plan import Plan
from solver.domain.scenario import PROBABILITY_PPM, ScenarioSet
from solver.domain.units import NUM_RESOURCES
from solver.domain.weights import reference_amounts
from solver.sequencing.order import sequence
from solver.solve import SolveParams

HORIZON_MINUTES: Final = 60


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


class ReactivePolicy:
    """The threshold balancer, on the demand of the last five minutes."""

    def __init__(self, workload: Workload, params: ReactiveParams) -> None:
        self._workload = workload
        self._params = params

    def decide(self, cluster: Cluster, at: datetime) -> Decision:
        """Return what brings hosts below the threshold, hottest host first."""
        begin = time.perf_counter()
        present = _bin_of(self._workload, at) - 1
        demand = demand_paths(self._workload, cluster, present, 1)[:, :, 0]
        wanted = rebalance(cluster, demand, self._params)
        share = demand / np.array(reference_amounts(cluster))
        use = {
            vm.id: round(1e6 * share[v].max())
            for v, vm in enumerate(cluster.vms)
            if wanted[vm.id] != vm.host_id
        }
        plan = sequence(cluster, wanted, urgency=use).plan
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
        scenarios = ScenarioSet(
            vm_ids=tuple(vm.id for vm in cluster.vms),
            start_at=at,
            step_seconds=self._workload.bin_seconds,
            probability_ppm=(PROBABILITY_PPM,),
            demand=path[None],
        )
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


def _bin_of(workload: Workload, at: datetime) -> int:
    """Return the bin that starts at an instant."""
    return int((at - workload.start_at).total_seconds()) // workload.bin_seconds
