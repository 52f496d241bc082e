"""The trained forecaster: boosted quantile regressors shared by all VMs.

One gradient-boosted model per resource and quantile, the horizon being a feature, fitted on random
(VM, instant) pairs of the whole fleet. A model predicts how far demand will be from the newest
reading, on a scale common to all VMs, so that a VM it never saw gets a sensible forecast from its
own recent readings. Busy VMs are drawn more often: idle ones are many and easy, and would otherwise
be all that is learned.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed, parallel_config
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # has no stubs

from forecast.baseline import Persistence
from forecast.classes import classify
from forecast.features import (
    APP_TYPE_COLUMN,
    FEATURE_NAMES,
    MODELLED_MINUTES,
    NUM_MODELLED,
    SIGNATURE,
    FeatureSettings,
    features_at,
)
from forecast.forecaster import (
    NUM_QUANTILES,
    QUANTILES,
    QuantileForecast,
    empty_values,
    finished_forecast,
    interpolated,
    require_bin,
    require_fitted,
)
from forecast.history import Floats, History
from forecast.scaling import unit_of, unscale
from forecast.training_rows import MIN_KNOWN, TrainingRows, draw_rows
from solver.domain.units import NUM_RESOURCES, Resource

LEAST_ROWS: Final = 20_000
PAIRS_PER_ROW: Final = 4
"""Pairs of VM and instant in the history for each row drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How the models are fitted.

    Parameters
    ----------
    rows_per_resource
        Most rows that a resource is trained on. A short history, or one of few VMs, gives fewer:
        neighbours in time have little more to say.
    rows_per_instant
        VMs drawn at one instant; more instants see more situations, fewer are read faster.
    idle_weight
        How often an idle VM is drawn compared with a busy one; other VMs lie half-way.
    iterations, learning_rate, max_leaves, min_rows_per_leaf
        The boosting. Small trees, few of them: a forecast of the fleet must take a blink.
    feature_share
        Share of the features tried at each split; half of them makes trees less alike, which is
        worth one or two per cent and takes no longer.
    num_jobs
        Models fitted at a time, each in a process of its own.
    backend
        Where those processes are: ``joblib`` starts its own, ``dask`` takes the workers of the
        ``distributed.Client`` in force. The models are the same.
    seed
        Same seed and history, same models.
    """

    rows_per_resource: int = 150_000
    rows_per_instant: int = 240
    idle_weight: float = 0.1
    iterations: int = 100
    learning_rate: float = 0.1
    max_leaves: int = 32
    min_rows_per_leaf: int = 100
    feature_share: float = 0.5
    num_jobs: int = 2
    backend: Literal["joblib", "dask"] = "joblib"
    seed: int = 0


class Regressor(Protocol):
    """A fitted model of one quantile."""

    def predict(self, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.floating]:
        """Return a value for each row of features."""
        ...


@dataclass(slots=True, kw_only=True)
class QuantileModel:
    """Boosted quantile regressors for some resources; fit before use.

    Attributes
    ----------
    models_
        Per resource, one regressor per quantile.
    trained_from_, trained_until_
        The training window.
    feature_signature_
        What the models were trained to read.
    """

    resources: tuple[Resource, ...] = (Resource.CPU, Resource.MEMORY)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    models_: dict[Resource, tuple[Regressor, ...]] = field(default_factory=dict)
    trained_from_: datetime | None = None
    trained_until_: datetime | None = None
    feature_signature_: str = SIGNATURE
    feature_names_: tuple[str, ...] = FEATURE_NAMES

    @property
    def name(self) -> str:
        """How reports call it."""
        return "quantile-boosting"

    def fit(self, history: History, *, until_bin: int) -> None:
        """Fit all models on the bins before ``until_bin``; a second call starts anew.

        Raises
        ------
        NotEnoughHistoryError
            If fewer than ``MIN_TRAINING_ROWS`` clean pairs can be drawn for a resource.
        """
        known = sorted({app for app in history.app_types if app})[:200]
        self.features = FeatureSettings(
            time_zone=self.features.time_zone,
            app_types={app: code for code, app in enumerate(known, start=1)},
        )
        classes = classify(history, until_bin=until_bin)
        rng = np.random.default_rng(self.training.seed)
        worth_drawing = max(LEAST_ROWS, history.num_vms * until_bin // PAIRS_PER_ROW)
        num_rows = min(self.training.rows_per_resource, worth_drawing)
        jobs = []
        for resource in self.resources:
            rows = draw_rows(
                history,
                resource,
                until_bin,
                classes=classes,
                features=self.features,
                num_rows=num_rows,
                rows_per_instant=self.training.rows_per_instant,
                idle_weight=self.training.idle_weight,
                rng=rng,
            )
            jobs += [(resource, k, rows) for k in range(NUM_QUANTILES)]
        backend = "loky" if self.training.backend == "joblib" else "dask"
        with (
            parallel_config(backend, n_jobs=self.training.num_jobs),
            Parallel() as parallel,
        ):
            fitted = parallel(
                delayed(self.fit_one)(rows, QUANTILES[k], self.training) for _, k, rows in jobs
            )
        self.models_ = {
            resource: tuple(
                model
                for (owner, _, _), model in zip(jobs, fitted, strict=True)
                if owner is resource
            )
            for resource in self.resources
        }
        self.trained_from_, self.trained_until_ = history.start_at, history.time_of(until_bin)
        self.feature_signature_, self.feature_names_ = SIGNATURE, FEATURE_NAMES

    def forecast(
        self, history: History, *, at_bin: int, resources: Sequence[Resource]
    ) -> QuantileForecast:
        """Forecast the next hour of every VM; see :class:`~forecast.forecaster.Forecaster`.

        Of a resource that was cleanly read for less than an hour of the last day, or not in the
        last hour, a VM gets the cold-start forecast.

        Raises
        ------
        NotEnoughHistoryError
            If the model was not fitted for a resource.
        """
        require_bin(history, at_bin)
        require_fitted(self.models_, resources)
        values = empty_values(history.num_vms)
        cold = np.zeros((NUM_RESOURCES, history.num_vms), dtype=bool)
        running = history.present(at_bin) & ~history.is_off(at_bin)
        for resource in resources:
            block = features_at(history, resource, at_bin, settings=self.features)
            young = (block.known < MIN_KNOWN) | np.isnan(block.level)
            # The young are forecast below; their level only has to be a number here.
            level = np.where(young, 0.0, block.level)
            errors = self._predict(resource, block.values, needed=running & ~young)
            scaled = interpolated(level[:, None, None] + errors, MODELLED_MINUTES)
            values[resource] = unscale(scaled, unit_of(history, resource), resource)
            cold[resource] = young
        unread = [resource for resource in resources if cold[resource].any()]
        if unread:
            stand_in = Persistence().forecast(history, at_bin=at_bin, resources=unread)
            for resource in unread:
                values[resource, cold[resource]] = stand_in.values[resource, cold[resource]]
        return finished_forecast(
            history,
            at_bin=at_bin,
            resources=resources,
            values=values,
            cold=np.logical_or.reduce(cold, axis=0),
        )

    def _predict(
        self, resource: Resource, features: Floats, *, needed: npt.NDArray[np.bool_]
    ) -> Floats:
        """Return how far demand goes from its level, ``(num_vms, num_modelled, num_quantiles)``.

        Zero for VMs that are not needed.
        """
        errors = np.zeros((*features.shape[:2], NUM_QUANTILES), dtype=np.float32)
        if not needed.any():
            return errors
        # Converted once: every model would do so for itself otherwise.
        rows = features[needed].reshape(-1, features.shape[-1]).astype(np.float64)
        out = np.empty((len(rows), NUM_QUANTILES), dtype=np.float32)
        # A second thread gains a quarter on an idle machine and loses a second on a busy one.
        with _native_threads().limit(limits=1, user_api="openmp"):
            for k, model in enumerate(self.models_[resource]):
                out[:, k] = model.predict(rows)
        errors[needed] = out.reshape(-1, NUM_MODELLED, NUM_QUANTILES)
        return errors

    @staticmethod
    def fit_one(rows: TrainingRows, quantile: float, settings: TrainingSettings) -> Regressor:
        """Return the model of one quantile, fitted with one thread."""
        categories: dict[str, Any] = {}
        if len(np.unique(rows.features[:, APP_TYPE_COLUMN])) > 1:
            categories["categorical_features"] = [APP_TYPE_COLUMN]
        model = HistGradientBoostingRegressor(
            loss="quantile",
            quantile=quantile,
            max_iter=settings.iterations,
            learning_rate=settings.learning_rate,
            max_leaf_nodes=settings.max_leaves,
            min_samples_leaf=settings.min_rows_per_leaf,
            max_features=settings.feature_share,
            early_stopping=False,
            random_state=settings.seed,
            **categories,
        )
        # scikit-learn cannot bin a column without a number, as last week's is in a young history;
        # as a constant it is never split on, whatever is read there later.
        unknown = np.isnan(rows.features).all(axis=0)
        features = np.where(unknown, np.float32(0), rows.features)
        # Models are fitted side by side; more threads in each would only get in each other's way.
        with _native_threads().limit(limits=1, user_api="openmp"):
            fitted: Regressor = model.fit(features, rows.demand - rows.level)
        return fitted


@functools.cache
def _native_threads() -> ThreadpoolController:
    """Return the handle on native thread pools; finding them takes a while."""
    return ThreadpoolController()
