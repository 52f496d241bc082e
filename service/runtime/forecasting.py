"""Forecasts of one cluster, bin after bin, and what the API is shown of them.

Wraps ``forecast.online`` the way every cycle does, on telemetry of the store. Persistence stands in
until a model was trained and taken over. What is shown is kept in the store, since any replica may
be asked: the fans of VMs and hosts as arrays, contention as JSON.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from forecast.baseline import Persistence
from forecast.classes import classify
from forecast.completed import CompletedModel
from forecast.forecaster import QUANTILES, QuantileForecast
from forecast.history import History
from forecast.online import OnlineForecaster
from forecast.persist import load_model
from forecast.quantile import QuantileModel
from forecast.scenarios import affordable_scenarios, make_scenarios, sample_paths
from service.pipeline import Foresight
from solver.domain.cluster import Cluster
from solver.domain.scenario import ScenarioSet
from solver.domain.score import host_contention, host_positions
from solver.domain.units import FIELDS, NUM_RESOURCES, HostId, Resource, VmId
from solver.domain.weights import Weights, to_host_s

WARM_UP_DAYS: Final = 2.0
"""The least with which calibration and joint errors have seen each hour of the day twice."""
DAILY: Final = timedelta(days=1)
"""How often it is looked again which VMs are busy: some are born, others change their ways."""
FAN_PATHS: Final = 64
"""Joint paths that the bands of hosts are taken from."""
FRESH_STREAM: Final = 1
HOST_STREAM: Final = 2
"""Streams of draws apart from the solver's: paths it has never seen."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forecasted:
    """The forecast of one instant.

    Parameters
    ----------
    fresh
        Futures that the solver never sees, to judge its plan by.
    """

    at: datetime
    forecaster: str
    quantiles: QuantileForecast
    scenarios: ScenarioSet
    fresh: ScenarioSet


class Seer:
    """Forecasts one cluster.

    Parameters
    ----------
    seed
        Of all draws.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed
        self._online: OnlineForecaster | None = None
        self._model: QuantileModel | None = None
        self._classified_at: datetime | None = None
        self._moves: list[tuple[VmId, datetime, datetime]] = []
        self._resources: tuple[Resource, ...] = ()
        self.latest: Forecasted | None = None

    @property
    def forecaster(self) -> str:
        """Who forecasts."""
        return (self._model or Persistence()).name

    @property
    def model(self) -> QuantileModel | None:
        """The trained model in use; ``None`` while there is none."""
        return self._model

    @property
    def online(self) -> OnlineForecaster | None:
        """What is carried from one forecast to the next; ``None`` before the first."""
        return self._online

    @property
    def moves(self) -> Sequence[tuple[VmId, datetime, datetime]]:
        """VMs that migrated in the latest days, and from when to when."""
        return self._moves

    def take_over(self, model_file: bytes) -> None:
        """Forecast with another model from now on.

        What was learned of the model before is kept; of persistence it is not.

        Raises
        ------
        ModelMismatchError
            If this program cannot use it; the one before stays.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            path.write_bytes(model_file)
            model = load_model(path).model
        if self._online is not None and self._model is not None:
            self._online.go_on_with(CompletedModel(model))
        else:
            self._online = None
        self._model, self._classified_at = model, None

    def note_move(self, vm_id: VmId, began_at: datetime, ended_at: datetime) -> None:
        """Take note of a migration, so that what it did to the VM is not taken for demand.

        It may be told again and again; it counts once.
        """
        if (vm_id, began_at, ended_at) in self._moves:
            return
        old = ended_at - timedelta(days=WARM_UP_DAYS)
        self._moves = [move for move in self._moves if move[2] >= old]
        self._moves.append((vm_id, began_at, ended_at))
        if self._online is not None:
            self._online.note_move(vm_id, began_at, ended_at)

    def look_ahead(self, cluster: Cluster, history: History) -> Forecasted:
        """Forecast from the end of a history, which knows every VM of the cluster.

        A second call for the same instant gives the same forecast.

        Raises
        ------
        ForecastError
            If it cannot be made.
        """
        at_bin = history.num_bins - 1
        if self.latest is not None and self.latest.at == history.end_at and self._knows(cluster):
            return self.latest
        online = self._ready(cluster, history)
        wanted = affordable_scenarios(len(cluster.vms))
        foresight = Foresight(online, num_scenarios=wanted, seed=self._seed)
        quantiles, scenarios = foresight.of(cluster, history, at_bin=at_bin)
        fresh = make_scenarios(
            quantiles,
            online.memory,
            num_scenarios=wanted,
            rng=np.random.default_rng([self._seed, _number(quantiles.at), FRESH_STREAM]),
            start_at=quantiles.at,
            present=history.latest(at_bin),
            common_share=online.sums.share,
        )
        self.latest = Forecasted(
            at=quantiles.at,
            forecaster=self.forecaster,
            quantiles=quantiles,
            scenarios=scenarios,
            fresh=fresh,
        )
        return self.latest

    def _knows(self, cluster: Cluster) -> bool:
        assert self.latest is not None
        return {vm.id for vm in cluster.vms} <= set(self.latest.scenarios.vm_ids)

    def _ready(self, cluster: Cluster, history: History) -> OnlineForecaster:
        """Return the forecaster at work, warmed up anew where what it forecasts has changed."""
        resources = forecastable(cluster, history)
        stale = self.latest is not None and self.latest.at >= history.end_at
        fresh = self._online is None or resources != self._resources or stale
        if self._online is None or fresh:
            self._online = OnlineForecaster(
                forecaster=Persistence() if self._model is None else CompletedModel(self._model),
                resources=resources,
                seed=self._seed,
            )
        if fresh or self._classified_at is None or self._classified_at + DAILY <= history.end_at:
            classes = classify(history, until_bin=history.num_bins)
            self._online.class_of = classes.by_vm(history.vm_ids)
            self._classified_at = history.end_at
        if fresh:
            self._resources = resources
            for move in self._moves:
                self._online.note_move(*move)
            self._online.warm_up(history, until_bin=history.num_bins - 1, days=WARM_UP_DAYS)
        return self._online


def forecastable(cluster: Cluster, history: History) -> tuple[Resource, ...]:
    """Return the resources that some host limits; of those never read, CPU and memory alone."""
    limited = [
        resource
        for resource in Resource
        if any(host.capacity.as_tuple()[resource] is not None for host in cluster.hosts)
    ]
    stands_in = (Resource.CPU, Resource.MEMORY)
    return tuple(r for r in limited if history.has(r) or r in stands_in) or (Resource.CPU,)


def fans_to_bytes(forecasted: Forecasted, online: OnlineForecaster, cluster: Cluster) -> bytes:
    """Return the bands of every VM and host as arrays that any replica reads."""
    quantiles = forecasted.quantiles
    data = io.BytesIO()
    meta = {
        "at": forecasted.at.isoformat(),
        "forecaster": forecasted.forecaster,
        "resources": [resource.field for resource in quantiles.resources],
        "vms": list(quantiles.vm_ids),
        "hosts": [host.id for host in cluster.hosts],
    }
    np.savez_compressed(
        data,
        meta=np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8),
        vms=quantiles.values[list(quantiles.resources)].astype(np.float32),
        cold=quantiles.cold,
        classes=online.class_codes(quantiles.vm_ids).astype(np.int8),
        hosts=_host_bands(forecasted, online, cluster),
    )
    return data.getvalue()


def _host_bands(forecasted: Forecasted, online: OnlineForecaster, cluster: Cluster) -> Any:
    """Return quantiles of the sums over each host, ``(resources, hosts, horizons, quantiles)``."""
    quantiles = forecasted.quantiles
    paths = sample_paths(
        quantiles,
        online.memory,
        num_paths=FAN_PATHS,
        rng=np.random.default_rng([_number(quantiles.at), HOST_STREAM]),
        common_share=online.sums.share,
    )
    where = dict(zip((vm.id for vm in cluster.vms), _hosts_of(cluster), strict=True))
    hosts = np.array([where.get(vm_id, -1) for vm_id in quantiles.vm_ids], dtype=np.intp)
    sums = np.zeros((len(cluster.hosts), *paths.shape[:2], paths.shape[3]), dtype=np.float32)
    np.add.at(sums, hosts[hosts >= 0], np.moveaxis(paths, 2, 0)[hosts >= 0])
    bands = np.quantile(sums[:, :, list(quantiles.resources)], QUANTILES, axis=1)
    return np.moveaxis(bands, (0, 1, 2, 3), (3, 1, 0, 2)).astype(np.float32)


def _hosts_of(cluster: Cluster) -> list[int]:
    return [int(h) for h in host_positions(cluster, cluster.placement)]


def contention_document(cluster: Cluster, forecasted: Forecasted) -> dict[str, Any]:
    """Return how contended each host is now and in the next hour, worst first."""
    scores = host_contention(cluster, forecasted.scenarios, Weights(), cluster.placement)
    used = _used(cluster, forecasted.scenarios)
    rows = [
        {
            "host_id": score.host_id,
            "current_host_s": round(to_host_s(score.current), 3),
            "predicted_host_s": round(to_host_s(score.predicted), 3),
            "score_host_s": round(to_host_s(score.total), 3),
            "overload_probability": score.overload_ppm / 1e6,
            "used": used[score.host_id],
        }
        for score in scores
    ]
    rows.sort(key=lambda row: (-float(str(row["score_host_s"])), str(row["host_id"])))
    return {
        "at": forecasted.at.isoformat(),
        "forecaster": forecasted.forecaster,
        "hosts": rows,
        "total_host_s": round(sum(to_host_s(score.total) for score in scores), 3),
    }


def quality_document(forecasted: Forecasted, online: OnlineForecaster) -> dict[str, Any]:
    """Return how good forecasts have been of late, of resources of which that is known.

    ``coverage`` is the share of readings at or below each quantile, ``pinball`` the loss over how
    far demand went meanwhile.
    """
    quantiles = forecasted.quantiles
    coverage: dict[str, dict[str, float]] = {}
    pinball: dict[str, float] = {}
    for resource in quantiles.resources:
        shares = quantiles.recent_coverage[resource].mean(axis=0)
        if np.isfinite(shares).all():
            coverage[resource.field] = {
                f"{level:g}": round(float(share), 4)
                for level, share in zip(QUANTILES, shares, strict=True)
            }
        way = float(online.accuracy.recent_way[resource])
        if way > 0:
            pinball[resource.field] = round(float(online.accuracy.recent_loss[resource]) / way, 4)
    return {"coverage": coverage, "pinball": pinball}


def _used(cluster: Cluster, scenarios: ScenarioSet) -> dict[HostId, dict[str, int]]:
    """Return present demand on each host, in the units of the resources."""
    ordered = scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
    present = ordered.demand[0, :, :, 0]
    sums = np.zeros((len(cluster.hosts), NUM_RESOURCES), dtype=np.int64)
    for v, h in enumerate(_hosts_of(cluster)):
        if h >= 0:
            sums[h] += present[v]
    return {
        host.id: dict(zip(FIELDS, sums[h].tolist(), strict=True))
        for h, host in enumerate(cluster.hosts)
    }


def _number(at: datetime) -> int:
    return int(at.timestamp())
