"""Linear forecasters: what a careful statistician would try first, and opponents to beat.

``LinearQuantiles`` fits one linear quantile regression [1]_ per horizon and quantile for the whole
fleet, on a few predictors. ``RidgeAutoregression`` fits demand on the readings of the last hour and
yesterday's, by ridge regression [2]_, and takes errors as Gaussian with each VM's own spread.

References
----------
.. [1] Koenker, Bassett (1978). Regression quantiles. Econometrica 46(1). doi:10.2307/1913643
.. [2] Hoerl, Kennard (1970). Ridge regression. Technometrics 12(1).
   doi:10.1080/00401706.1970.10488634
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from sklearn.linear_model import QuantileRegressor, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from forecast.baseline import Persistence, scaled
from forecast.classes import classify
from forecast.features import (
    DAY,
    FEATURE_NAMES,
    HORIZON_COLUMN,
    HOUR,
    MODELLED_BINS,
    MODELLED_MINUTES,
    NUM_MODELLED,
    FeatureSettings,
    features_at,
)
from forecast.forecaster import (
    NUM_QUANTILES,
    QUANTILES,
    Forecaster,
    QuantileForecast,
    empty_values,
    finished_forecast,
    interpolated,
    require_bin,
    require_fitted,
)
from forecast.history import BinState, Floats, History
from forecast.scaling import unit_of, unscale
from forecast.training_rows import MIN_KNOWN, MIN_TRAINING_ROWS, draw_rows
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.units import Resource

PREDICTORS: Final = (
    "lag_0",
    "lag_1",
    "lag_2",
    "lag_5",
    "lag_11",
    "mean_1h",
    "std_1h",
    "max_1h",
    "mean_6h",
    "max_6h",
    "mean_24h",
    "std_24h",
    "q10_24h",
    "q90_24h",
    "fleet_mean",
    "hour_ago",
    "yesterday",
    "yesterday_change",
    "error_q5_24h",
    "error_q95_24h",
    "error_abs_24h",
    "hour_sin",
    "hour_cos",
)
_COLUMNS: Final = [FEATURE_NAMES.index(name) for name in PREDICTORS]


@dataclass(slots=True, kw_only=True)
class LinearQuantiles:
    """One linear quantile regression per resource, horizon and quantile, for all VMs.

    Parameters
    ----------
    resources
        What to fit, as far as the history has it.
    rows_per_horizon
        Size of the training sample; the linear program grows with it.
    rows_per_instant
        VMs drawn at one instant.
    penalty
        Weight of the sum of absolute coefficients.
    num_jobs
        Models fitted at a time, each in a process of its own.
    seed
        Same seed and history, same models.
    """

    resources: tuple[Resource, ...] = tuple(Resource)
    rows_per_horizon: int = 2_500
    rows_per_instant: int = 60
    penalty: float = 1e-5
    num_jobs: int = 2
    seed: int = 0
    models_: dict[Resource, list[list[Pipeline]]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How reports call it."""
        return "linear-quantiles"

    def fit(self, history: History, *, until_bin: int) -> None:
        """Fit all resources.

        Raises
        ------
        NotEnoughHistoryError
            If there are too few clean readings of one.
        """
        classes = classify(history, until_bin=until_bin)
        rng = np.random.default_rng(self.seed)
        jobs = []
        for resource in (r for r in self.resources if history.has(r)):
            rows = draw_rows(
                history,
                resource,
                until_bin,
                classes=classes,
                features=FeatureSettings(),
                num_rows=self.rows_per_horizon * len(MODELLED_MINUTES),
                rows_per_instant=self.rows_per_instant,
                idle_weight=0.1,
                rng=rng,
            )
            for h, minutes in enumerate(MODELLED_MINUTES):
                mine = rows.features[:, HORIZON_COLUMN] == minutes
                x = _numbers(rows.features[mine])
                y = np.sqrt(rows.demand[mine]) - np.sqrt(rows.level[mine])
                jobs += [(resource, h, q, x, y) for q in QUANTILES]
        with Parallel(n_jobs=self.num_jobs) as parallel:
            fitted = parallel(
                delayed(_fit_quantile)(x, y, q, self.penalty) for _, _, q, x, y in jobs
            )
        self.models_ = {}
        for (resource, h, _, _, _), model in zip(jobs, fitted, strict=True):
            horizons = self.models_.setdefault(resource, [[] for _ in MODELLED_MINUTES])
            horizons[h].append(model)

    def forecast(
        self, history: History, *, at_bin: int, resources: Sequence[Resource]
    ) -> QuantileForecast:
        """Forecast every VM; those with too little history as persistence does.

        Raises
        ------
        NotEnoughHistoryError
            If it was not fitted for a resource.
        """
        require_bin(history, at_bin)
        require_fitted(self.models_, resources)
        stand_in = Persistence().forecast(history, at_bin=at_bin, resources=resources)
        values, cold = empty_values(history.num_vms), np.zeros(history.num_vms, dtype=np.bool_)
        for resource in resources:
            block = features_at(history, resource, at_bin, settings=FeatureSettings())
            young = (block.known < MIN_KNOWN) | np.isnan(block.level)
            root = np.sqrt(np.where(young, 0.0, block.level))[:, None]
            unit = unit_of(history, resource)
            demand = np.empty((history.num_vms, NUM_MODELLED, NUM_QUANTILES), dtype=np.float32)
            for h, models in enumerate(self.models_[resource]):
                x = _numbers(block.values[:, h])
                moved = np.stack([model.predict(x) for model in models], axis=1)
                demand[:, h] = np.maximum(root + moved, 0.0) ** 2
            values[resource] = unscale(interpolated(demand, MODELLED_MINUTES), unit, resource)
            values[resource, young] = stand_in.values[resource, young]
            cold |= young
        return finished_forecast(
            history, at_bin=at_bin, resources=resources, values=values, cold=cold
        )


@dataclass(slots=True, kw_only=True)
class RidgeAutoregression:
    """Demand as a linear function of the last hour and of yesterday, with Gaussian errors.

    Parameters
    ----------
    resources
        What to fit, as far as the history has it.
    penalty
        Weight of the squared coefficients.
    num_rows
        Pairs of VM and instant drawn for each horizon; those that are clean are fitted on.
    seed
        Same seed and history, same model.
    """

    resources: tuple[Resource, ...] = tuple(Resource)
    penalty: float = 1.0
    num_rows: int = 40_000
    seed: int = 0
    models_: dict[Resource, list[Ridge]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"ridge-autoregression-{self.penalty:g}"

    def fit(self, history: History, *, until_bin: int) -> None:
        """Fit all resources.

        Raises
        ------
        NotEnoughHistoryError
            If too few readings of one have a full hour, and yesterday, before them.
        """
        rng = np.random.default_rng(self.seed)
        self.models_ = {}
        for resource in (r for r in self.resources if history.has(r)):
            readings = scaled(history, resource, 0, until_bin)
            models = []
            for bins in MODELLED_BINS:
                x, y = self._rows(history, readings, bins, rng)
                if len(y) < MIN_TRAINING_ROWS:
                    raise NotEnoughHistoryError(
                        f"{resource.field}: only {len(y)} of {self.num_rows} readings drawn before "
                        f"{history.time_of(until_bin):%Y-%m-%d %H:%M} follow a clean hour and "
                        f"yesterday; expected at least {MIN_TRAINING_ROWS}"
                    )
                models.append(Ridge(alpha=self.penalty).fit(x, y))
            self.models_[resource] = models

    def _rows(
        self, history: History, readings: Floats, bins: int, rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Draw what is regressed on, and what came of it, of VMs that run."""
        latest = readings.shape[1] - bins
        if latest <= DAY:
            return np.empty((0, HOUR + 1), np.float32), np.empty(0, np.float32)
        vm = rng.integers(0, history.num_vms, self.num_rows)
        at = rng.integers(DAY, latest, self.num_rows)
        x = readings[vm[:, None], at[:, None] + _offsets(bins)]
        y = readings[vm, at + bins]
        # Filled gaps would teach that the future is a straight line, VMs that are off that it is 0.
        clean = history.state[vm, at + bins] == BinState.MEASURED
        clean &= history.state[vm, at] != BinState.OFF
        clean &= ~(np.isnan(x).any(axis=1) | np.isnan(y))
        return x[clean], y[clean]

    def forecast(
        self, history: History, *, at_bin: int, resources: Sequence[Resource]
    ) -> QuantileForecast:
        """Forecast every VM; those without a full hour and yesterday as persistence does.

        Raises
        ------
        NotEnoughHistoryError
            If it was not fitted for a resource.
        """
        require_bin(history, at_bin)
        require_fitted(self.models_, resources)
        stand_in = Persistence().forecast(history, at_bin=at_bin, resources=resources)
        values, cold = empty_values(history.num_vms), np.zeros(history.num_vms, dtype=np.bool_)
        score = np.array([NormalDist().inv_cdf(q) for q in QUANTILES], dtype=np.float32)
        for resource in resources:
            readings = scaled(history, resource, at_bin - 2 * DAY, at_bin + 1)
            unit = unit_of(history, resource)
            bands = np.empty((history.num_vms, NUM_MODELLED, NUM_QUANTILES), dtype=np.float32)
            for h, (bins, model) in enumerate(
                zip(MODELLED_BINS, self.models_[resource], strict=True)
            ):
                fitted = _fitted(readings, bins, model)
                errors = (readings[:, bins:] - fitted[:, :-bins])[:, -DAY:]
                known = np.count_nonzero(~np.isnan(errors), axis=1)
                spread = np.sqrt(np.nansum(errors**2, axis=1) / np.maximum(known, 1))
                bands[:, h] = fitted[:, -1:] + spread[:, None] * score
                bands[known < MIN_KNOWN, h] = np.nan
            young = np.isnan(bands).any(axis=(1, 2))
            bands[young] = 0.0
            values[resource] = unscale(interpolated(bands, MODELLED_MINUTES), unit, resource)
            values[resource, young] = stand_in.values[resource, young]
            cold |= young
        return finished_forecast(
            history, at_bin=at_bin, resources=resources, values=values, cold=cold
        )


def linear_baselines(resources: Sequence[Resource]) -> tuple[Forecaster, ...]:
    """Return the opponents that are fitted."""
    return (
        LinearQuantiles(resources=tuple(resources)),
        RidgeAutoregression(resources=tuple(resources), penalty=1.0),
        RidgeAutoregression(resources=tuple(resources), penalty=100.0),
    )


def _offsets(bins: int) -> npt.NDArray[np.int64]:
    """Return what a reading ``bins`` ahead is regressed on: bins from the present."""
    return np.array([*range(-HOUR + 1, 1), bins - DAY])


def _fitted(readings: Floats, bins: int, model: Ridge) -> Floats:
    """Return what the model says at every bin of ``bins`` later; NaN where a reading lacks."""
    num_bins = readings.shape[1]
    fitted = np.full((len(readings), num_bins), model.intercept_, dtype=np.float32)
    for offset, weight in zip(_offsets(bins).tolist(), model.coef_.tolist(), strict=True):
        shifted = np.full_like(fitted, np.nan)
        width = max(0, num_bins + offset)
        shifted[:, num_bins - width :] = readings[:, :width]
        fitted += np.float32(weight) * shifted
    return fitted


def _fit_quantile(x: Floats, y: Floats, quantile: float, penalty: float) -> Pipeline:
    regressor = QuantileRegressor(quantile=quantile, alpha=penalty, solver="highs")
    return make_pipeline(StandardScaler(), regressor).fit(x, y)


def _numbers(features: Floats) -> Floats:
    """Return the predictors; for what is not known, no difference."""
    return np.nan_to_num(features[:, _COLUMNS])
