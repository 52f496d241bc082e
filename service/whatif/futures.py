"""Futures of a kept cluster: the next hour as it is planned on, or its busiest hours so far.

Where no fresh forecast is kept, the next hour is forecast anew from telemetry. Read by the worker
itself, since weeks of telemetry are too much to hand over and to hold in the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from service.whatif.kept import FUTURES, KeptForecast, futures_from_bytes, thinned
from solver.domain.cluster import Cluster
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.scenario import ScenarioSet, equal_probabilities
from solver.domain.units import MAX_AMOUNT, NUM_RESOURCES, Resource

if TYPE_CHECKING:
    from forecast.history import Floats, History

WARM_UP_DAYS: Final = 2
"""What calibration needs at least: each hour of the day twice."""
MODEL_DAYS: Final = 7
"""What a trained model looks back to beyond that; persistence makes do without."""

STEP_BINS: Final = 3
HOUR_BINS: Final = 12
STEPS: Final = HOUR_BINS // STEP_BINS
"""Steps of a quarter of an hour, as forecasts have them."""

FRESH_FOR: Final = timedelta(minutes=15)
"""A kept forecast is made every five minutes, of readings that are up to two minutes late; one that
is older is of a runtime that has fallen silent."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Foreseen:
    """Demand to come, and where it is from.

    Parameters
    ----------
    forecaster
        Who forecast; empty where nothing was.
    source
        One sentence about where the demand is from, and why not from elsewhere.
    """

    scenarios: ScenarioSet
    forecaster: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFutures:
    """Demand of a kept cluster, from its telemetry.

    Parameters
    ----------
    store_url
        Where it is read.
    at
        The present (aware UTC).
    busiest_hours
        How many of the busiest hours to take; 0 to forecast the next one.
    days
        How far back they are looked for.
    model_path
        A trained model; ``None`` for the forecaster that needs no training.
    """

    store_url: str
    cluster_id: str
    at: datetime
    busiest_hours: int = 0
    days: int = 14
    model_path: Path | None = None

    def scenarios(
        self, cluster: Cluster, *, seed: int, num_scenarios: int | None = None
    ) -> ScenarioSet:
        """Return joint futures of the cluster's VMs.

        Raises
        ------
        ForecastError
            If there is too little telemetry.
        StoreError
            If the store cannot be used.
        """
        return self.foresee(cluster, seed=seed, num_scenarios=num_scenarios).scenarios

    def foresee(self, cluster: Cluster, *, seed: int, num_scenarios: int | None = None) -> Foreseen:
        """Return the futures with where they are from; raises as :meth:`scenarios` does.

        The next hour is that of the forecast which the cluster is planned on, as long as that is
        fresh and knows every VM.
        """
        if self.busiest_hours:
            found = busiest_hours(cluster, self._history(self.days), self.busiest_hours, self.at)
            number = found.num_scenarios
            hours = "hour" if number == 1 else f"{number} hours"
            source = f"the busiest {hours} observed in the last {self.days} days"
            return Foreseen(scenarios=found, forecaster="", source=source)
        kept = self._kept()
        unfit = why_unfit(kept, cluster, self.at)
        if kept is None or unfit:
            return self._forecast(cluster, seed, num_scenarios, unfit)
        scenarios = kept.scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
        if num_scenarios is not None:
            scenarios = thinned(scenarios, num_scenarios, seed=seed)
        return Foreseen(
            scenarios=scenarios,
            forecaster=kept.forecaster,
            source=f"the forecast of {_told(kept.at)} that the cluster is planned on",
        )

    def _kept(self) -> KeptForecast | None:
        from service.store.sql import open_store

        store = open_store(self.store_url)
        try:
            with store.begin(read_only=True) as tx:
                found = tx.blobs.get(self.cluster_id, FUTURES)
        finally:
            store.close()
        return None if found is None else futures_from_bytes(found[1])

    def _forecast(
        self, cluster: Cluster, seed: int, num_scenarios: int | None, why: str
    ) -> Foreseen:
        """Forecast here and now, for want of a kept forecast."""
        from forecast.persist import load_model
        from service.solving.forecasting import scenarios_until

        model = None if self.model_path is None else load_model(self.model_path).model
        days = WARM_UP_DAYS if model is None else WARM_UP_DAYS + MODEL_DAYS
        history = with_vms(self._history(days), cluster)
        scenarios = scenarios_until(
            cluster,
            history,
            end_bin=history.num_bins,
            seed=seed,
            num_scenarios=num_scenarios,
            model=model,
            warm_up_days=WARM_UP_DAYS,
        )
        forecaster = name_of_forecaster(self.model_path)
        source = f"forecast for this question by {forecaster}, since {why}"
        return Foreseen(scenarios=scenarios, forecaster=forecaster, source=source)

    def _history(self, days: int) -> History:
        from forecast.history import STEP_SECONDS
        from service.store.sql import open_store

        end_s = int(self.at.timestamp()) // STEP_SECONDS * STEP_SECONDS
        end_at = datetime.fromtimestamp(end_s, tz=self.at.tzinfo)
        store = open_store(self.store_url)
        try:
            return store.telemetry.history(self.cluster_id, end_at - timedelta(days=days), end_at)
        finally:
            store.close()


def name_of_forecaster(model_path: Path | None) -> str:
    """Return who forecasts from readings with a trained model, or without one."""
    from forecast.baseline import Persistence
    from forecast.persist import load_model

    return (Persistence() if model_path is None else load_model(model_path).model).name


def why_unfit(kept: KeptForecast | None, cluster: Cluster, at: datetime) -> str:
    """Return why a kept forecast does not tell what a cluster will need from an instant on.

    Empty where it does.
    """
    if kept is None:
        return "none is kept of this cluster"
    if at - kept.at > FRESH_FOR:
        minutes = FRESH_FOR.seconds // 60
        return f"the one that is kept, of {_told(kept.at)}, is older than {minutes} minutes"
    known = set(kept.scenarios.vm_ids)
    missing = [vm.id for vm in cluster.vms if vm.id not in known]
    if missing:
        return f"the one that is kept does not know VM {missing[0]!r} ({len(missing)} unknown)"
    return ""


def _told(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def busiest_hours(cluster: Cluster, history: History, number: int, at: datetime) -> ScenarioSet:
    """Return the busiest whole hours that were observed, each as a future of equal weight.

    An hour is as busy as the fleet was at its worst quarter, by the resource of which it used the
    largest share of what all hosts have. VMs not read then count with their mean, those never read
    with their allocation.

    Raises
    ------
    NotEnoughHistoryError
        If there is no whole hour.
    """
    num_hours = history.num_bins // HOUR_BINS
    if num_hours < 1:
        raise NotEnoughHistoryError(
            f"expected at least an hour of telemetry, got {5 * history.num_bins} minutes"
        )
    demand = _filled(cluster, history)[:, :, -num_hours * HOUR_BINS :]
    by_step = _peaks(cluster, demand.reshape(NUM_RESOURCES, len(cluster.vms), -1, STEP_BINS))
    hours = by_step.reshape(NUM_RESOURCES, len(cluster.vms), num_hours, STEPS)
    busiest = np.argsort(-_share(cluster, hours).max(axis=1), kind="stable")[:number]
    chosen = np.moveaxis(hours[:, :, np.sort(busiest)], (2, 1, 0, 3), (0, 1, 2, 3))
    paths = np.concatenate([chosen[..., :1], chosen], axis=3)
    return ScenarioSet(
        vm_ids=tuple(vm.id for vm in cluster.vms),
        start_at=at,
        step_seconds=STEP_BINS * history.step_seconds,
        probability_ppm=equal_probabilities(len(busiest)),
        demand=np.clip(np.rint(paths), 0, MAX_AMOUNT).astype(np.int64),
    )


def with_vms(history: History, cluster: Cluster) -> History:
    """Return the history of the cluster's VMs, in its order; those never read have no reading."""
    from dataclasses import replace

    from forecast.history import BinState

    where = {vm_id: v for v, vm_id in enumerate(history.vm_ids)}
    source = np.array([where.get(vm.id, -1) for vm in cluster.vms], dtype=np.intp)
    known = source >= 0
    shape = (len(cluster.vms), history.num_bins)
    readings = np.full((NUM_RESOURCES, *shape), np.nan, dtype=np.float32)
    readings[:, known] = history.readings[:, source[known]]
    granted = np.full(shape, np.nan, dtype=np.float32)
    granted[known] = history.granted_mib[source[known]]
    state = np.full(shape, BinState.MISSING, dtype=np.uint8)
    state[known] = history.state[source[known]]
    sizes = np.array([vm.allocation.as_tuple() for vm in cluster.vms], dtype=np.int64)
    sizes = sizes.reshape(len(cluster.vms), NUM_RESOURCES)
    made = replace(
        history,
        vm_ids=tuple(vm.id for vm in cluster.vms),
        readings=readings,
        state=state,
        granted_mib=granted,
        vcpus=-(-sizes[:, Resource.CPU] // 1000),
        memory_size_mib=sizes[:, Resource.MEMORY].copy(),
        app_types=tuple(vm.app_type or None for vm in cluster.vms),
        activity={},
    )
    return made.with_present(made.vm_ids, made.num_bins - 1)


def _filled(cluster: Cluster, history: History) -> Floats:
    """Return readings of the cluster's VMs without gaps, ``(resources, vms, bins)``."""
    known = with_vms(history, cluster).readings.copy()
    for v, vm in enumerate(cluster.vms):
        for resource, promised in zip(Resource, vm.allocation.as_tuple(), strict=True):
            row = known[resource, v]
            gaps = np.isnan(row)
            row[gaps] = promised if gaps.all() else row[~gaps].mean()
    return known


def _peaks(cluster: Cluster, by_bin: Floats) -> Floats:
    """Return of each step the bin in which the fleet was busiest: peaks are jointly so."""
    steps = np.moveaxis(by_bin, 3, 2)  # resources, vms, bins of a step, steps
    worst = _share(cluster, steps).argmax(axis=0)
    picked = worst[None, None, None, :]
    return np.take_along_axis(steps, picked, axis=2)[:, :, 0]


def _share(cluster: Cluster, demand: Floats) -> npt.NDArray[np.float64]:
    """Return the fleet's largest share of what all hosts have, over resources."""
    totals = demand.sum(axis=1, dtype=np.float64)  # resources, ...
    limits = [[host.usable()[r] for host in cluster.hosts] for r in range(NUM_RESOURCES)]
    shares = [
        totals[r] / max(1, sum(value or 0 for value in row))
        for r, row in enumerate(limits)
        if all(value is not None for value in row)
    ]
    found: npt.NDArray[np.float64] = np.max(shares, axis=0) if shares else totals[Resource.CPU]
    return found
