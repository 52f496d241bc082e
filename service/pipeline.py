"""One planning cycle: snapshot, forecast, scenarios, solve.

The same cycle serves the replay, the demonstration and, later, the scheduled rebalancing. It is
handed a snapshot and a history and returns a result; when to run it, and whether to carry the plan
out, is for its callers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from forecast.forecaster import QuantileForecast
from forecast.history import History
from forecast.online import Futures, OnlineForecaster
from service.cooldown import Cooldowns
from solver.domain.cluster import Cluster
from solver.domain.result import Result
from solver.domain.scenario import ScenarioSet
from solver.params import SolveParams
from solver.solve import prepare, solve


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planned:
    """A result, with what it was made from.

    Parameters
    ----------
    forecast
        ``None`` when the scenarios did not come from a forecaster.
    forecast_s, solve_s
        Wall-clock seconds of the two halves of the cycle.
    """

    result: Result
    scenarios: ScenarioSet
    forecast: QuantileForecast | None
    forecast_s: float
    solve_s: float

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the whole cycle."""
        return self.forecast_s + self.solve_s


class Planner:
    """Solves cluster after cluster, remembering whether it was acting (hysteresis).

    Parameters
    ----------
    params
        How to solve; ``was_acting`` is set by the planner.
    """

    def __init__(self, params: SolveParams) -> None:
        self._params = params
        self._acting = False

    def plan(self, cluster: Cluster, scenarios: ScenarioSet) -> tuple[Result, float]:
        """Return the result and the seconds it took, the compiling of kernels apart."""
        prepare(self._params, num_hosts=len(cluster.hosts))
        begin = time.perf_counter()
        result = solve(cluster, scenarios, replace(self._params, was_acting=self._acting))
        self._acting = result.balancing
        return result, time.perf_counter() - begin


class Foresight:
    """Joint futures of a cluster's VMs, cycle after cycle.

    Parameters
    ----------
    online
        A fitted forecaster with its calibration and its memory of joint errors.
    num_scenarios
        How many futures are handed out.
    seed
        With the bin planned at, it decides every draw: the same cycle gives the same scenarios,
        whatever was planned before it.
    """

    def __init__(
        self,
        online: OnlineForecaster,
        *,
        num_scenarios: int,
        seed: int,
        futures: Futures = Futures.JOINT,
    ) -> None:
        self._online = online
        self._num_scenarios = num_scenarios
        self._seed = seed
        self._futures = futures

    def of(
        self, cluster: Cluster, history: History, *, at_bin: int
    ) -> tuple[QuantileForecast, ScenarioSet]:
        """Return the forecast and the futures, in the cluster's order of VMs.

        Raises
        ------
        InvalidInputError
            If a VM of the cluster is not in the history.
        """
        vm_ids = tuple(vm.id for vm in cluster.vms)
        # The cluster says which VMs exist: one whose telemetry lags is not one without demand.
        forecast, scenarios = self._online.scenarios(
            history.with_present(vm_ids, at_bin),
            at_bin=at_bin,
            num_scenarios=self._num_scenarios,
            rng=np.random.default_rng([self._seed, at_bin]),
            futures=self._futures,
        )
        return forecast, scenarios.for_vms(vm_ids)


class PredictivePlanner:
    """Plans on what the forecaster expects."""

    def __init__(self, foresight: Foresight, params: SolveParams) -> None:
        self._foresight = foresight
        self._planner = Planner(params)

    def plan(self, cluster: Cluster, history: History, *, at_bin: int) -> Planned:
        """Run one cycle, reading the history up to and including ``at_bin``.

        Raises
        ------
        InvalidInputError
            If a VM of the cluster is not in the history.
        """
        begin = time.perf_counter()
        forecast, scenarios = self._foresight.of(cluster, history, at_bin=at_bin)
        forecast_s = time.perf_counter() - begin
        result, solve_s = self._planner.plan(cluster, scenarios)
        return Planned(
            result=result,
            scenarios=scenarios,
            forecast=forecast,
            forecast_s=forecast_s,
            solve_s=solve_s,
        )


def with_cooldowns(cluster: Cluster, cooldowns: Cooldowns) -> Cluster:
    """Return the snapshot with each VM's cool-down written into it."""
    return replace(
        cluster,
        vms=tuple(replace(vm, not_before_at=cooldowns.not_before(vm.id)) for vm in cluster.vms),
    )
