"""Trains the forecast model of a cluster beside everything else, and takes it over if not worse.

Training holds a processor for minutes: it has a process of its own, which reads telemetry from the
store and puts the model there. A keeper that finds another model in the store forecasts with it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from forecast.accuracy import RetrainingRules, retraining_reason
from forecast.baseline import Persistence
from forecast.completed import CompletedModel
from forecast.features import FeatureSettings
from forecast.forecaster import Forecaster
from forecast.history import BinState, History
from forecast.persist import load_model, save_model
from forecast.promotion import compare
from forecast.quantile import QuantileModel, TrainingSettings
from service.inventory.effective import effective
from service.inventory.policies import ClusterSettings
from service.runtime.forecasting import Seer
from service.runtime.kept import MODEL
from service.runtime.window import first_read_bin, with_types
from service.store.base import Kind, Store
from solver.domain.errors import ForecastError, ForeswapError, NotEnoughHistoryError
from solver.domain.units import Resource

log = logging.getLogger(__name__)

LEAST: Final = timedelta(days=3)
"""A first model is trained from so much telemetry on: fewer days teach nothing of a day."""
MOST: Final = timedelta(days=28)
"""What is trained on."""
JUDGED: Final = timedelta(days=1)
"""Latest telemetry that the new model and the one in use are compared on. A model is younger than
that for as long: no other is trained until there is a day that neither has seen."""
LEAST_READ: Final = 0.2
"""Share of what could be read of a resource that has to be there for a model to learn it: too few
rows of one would leave all others without a model."""
MUCH_READ: Final = 0.7
"""Share of the latest days from which on a resource without a model is a reason to train: by then
enough is there of all that is trained on."""
AGAIN: Final = timedelta(hours=6)
"""Between two trainings: a model that was not taken over is not better an hour later."""


class Trainer(Protocol):
    """Trains models of one cluster."""

    def made_at(self, cluster_id: str) -> datetime | None:
        """Return when the model in the store was made; ``None`` if there is none."""

    def reason(self, seer: Seer, history: History | None, *, now: datetime) -> str:
        """Return why it is time to train; empty if it is not."""

    def start(self, cluster_id: str, until_at: datetime) -> None:
        """Begin to train on telemetry up to an instant; the model is in the store one day."""

    def close(self) -> None:
        """Give up what is being trained."""


class NoTrainer:
    """Trains nothing; a model in the store is not used either."""

    def made_at(self, cluster_id: str) -> datetime | None:
        """Return nothing."""
        return None

    def reason(self, seer: Seer, history: History | None, *, now: datetime) -> str:
        """Return nothing."""
        return ""

    def start(self, cluster_id: str, until_at: datetime) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class ProcessTrainer:
    """Trains in a process beside this one.

    Parameters
    ----------
    store
        Where the process finds telemetry, by ``url``, and leaves the model.
    """

    def __init__(
        self,
        store: Store,
        url: str,
        *,
        rules: RetrainingRules | None = None,
        settings: TrainingSettings | None = None,
    ) -> None:
        self._store = store
        self._url = url
        self._rules = rules or RetrainingRules()
        self._settings = settings or TrainingSettings()
        self._process: BaseProcess | None = None
        self._begun_at: datetime | None = None

    def made_at(self, cluster_id: str) -> datetime | None:
        """Return when the model in the store was made."""
        with self._store.begin(read_only=True) as tx:
            kept = tx.blobs.get(cluster_id, MODEL)
        return None if kept is None else kept[0]

    def reason(self, seer: Seer, history: History | None, *, now: datetime) -> str:
        """Return why it is time to train, unless it is being done or was lately."""
        if history is None or (self._process is not None and self._process.is_alive()):
            return ""
        if self._begun_at is not None and now - self._begun_at < AGAIN:
            return ""
        if seer.model is None:
            long_enough = history.end_at - history.start_at >= LEAST
            return "there is no model yet" if long_enough else ""
        trained_until = seer.model.trained_until_
        if seer.online is None or seer.latest is None or trained_until is None:
            return ""
        if now - trained_until < JUDGED:
            return ""
        much_read = read_to(MUCH_READ, history)
        strange = [r.field for r in much_read if r not in seer.model.models_]
        if strange:
            return f"the model knows nothing of {', '.join(strange)}"
        found = retraining_reason(
            self._rules,
            trained_until=trained_until,
            now=now,
            ratios=seer.online.accuracy.ratios(),
            recent_coverage=seer.latest.quantiles.recent_coverage,
        )
        return found or ""

    def start(self, cluster_id: str, until_at: datetime) -> None:
        """Begin to train in a process that ends with this one."""
        self._begun_at = until_at
        # Threads of this process may hold locks: nothing of it may be inherited.
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(
            target=train_at,
            args=(self._url, cluster_id, until_at, self._settings),
            name=f"train {cluster_id}",
            daemon=True,
        )
        self._process.start()

    def close(self) -> None:
        """Give up what is being trained."""
        if self._process is not None and self._process.is_alive():
            self._process.terminate()
            self._process.join(timeout=5)


def end_with_parent() -> None:
    """Let this process end at once when the one that began it has, however that came about.

    ``daemon`` is not enough: a process that is killed takes nobody with it, and what it leaves
    would hold a processor for minutes beside whoever goes on in its place.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, name="parent", daemon=True).start()


def train_at(url: str, cluster_id: str, until_at: datetime, settings: TrainingSettings) -> None:
    """Train on the store at a URL; the whole of the process beside."""
    from service.store.sql import open_store

    end_with_parent()
    store = open_store(url)
    try:
        train(store, cluster_id, until_at, settings)
    except ForeswapError as error:
        log.warning("cluster %s: no model: %s", cluster_id, error)
    finally:
        store.close()


def train(
    store: Store, cluster_id: str, until_at: datetime, settings: TrainingSettings
) -> Mapping[str, Any]:
    """Train a model, keep it if it is not worse than what is in use, and return the verdict.

    Raises
    ------
    ForecastError
        If there is too little to learn from, or to judge on.
    """
    history = store.telemetry.history(cluster_id, until_at - MOST, until_at)
    # Instants before the first reading would be drawn like others, and nothing found there.
    history = history.window(first_read_bin(history), history.num_bins)
    with store.begin(read_only=True) as tx:
        kept = tx.blobs.get(cluster_id, MODEL)
        about = ClusterSettings.from_document(tx.items.get(Kind.CLUSTER, "", cluster_id).document)
        if tx.snapshots.observed_at(cluster_id) is not None:
            history = with_types(history, effective(tx, cluster_id))
    judged_from = history.num_bins - JUDGED // timedelta(seconds=history.step_seconds)
    if judged_from <= 0:
        raise NotEnoughHistoryError(
            f"expected more than a day of telemetry, got {history.start_at} to {history.end_at}"
        )
    resources = read_to(LEAST_READ, history.until(judged_from)) or history.resources

    def fitted(until_bin: int) -> QuantileModel:
        features = FeatureSettings(time_zone=about.time_zone)
        model = QuantileModel(resources=resources, training=settings, features=features)
        model.fit(history, until_bin=until_bin)
        return model

    current = _in_use(None if kept is None else kept[1])
    verdict = compare(
        fitted(judged_from), current, history, from_bin=judged_from, resources=resources
    )
    if verdict.accepted:
        data = _file_of(fitted(history.num_bins), verdict.to_json())
        with store.begin() as tx:
            tx.blobs.put(cluster_id, MODEL, until_at, data)
    return verdict.to_json()


def read_to(share: float, history: History) -> tuple[Resource, ...]:
    """Return the resources of which such a share of what VMs could have told was read."""
    told = int((history.state != BinState.ABSENT).sum())
    return tuple(
        resource
        for resource in Resource
        if told and int((~np.isnan(history.readings[resource])).sum()) >= share * told
    )


def _in_use(model_file: bytes | None) -> Forecaster:
    """Return the model in use; persistence where there is none, or none that still fits."""
    if model_file is None:
        return Persistence()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(model_file)
        try:
            return CompletedModel(load_model(path).model)
        except ForecastError:
            return Persistence()


def _file_of(model: QuantileModel, verdict: Mapping[str, Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        save_model(model, path, backtest=verdict)
        return path.read_bytes()
