"""Exponential smoothing by statsforecast, a model for each VM: to hold ours against, never to plan.

What each of the fleet's series says by itself, by the textbook: the state-space family of
exponential smoothing, the member chosen by Akaike's criterion, with Gaussian errors [1]_. It reads
no other VM, no clock and no covariate.

References
----------
.. [1] Hyndman, Koehler, Ord, Snyder (2008). Forecasting with exponential smoothing. Springer.
   doi:10.1007/978-3-540-71918-2
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from forecast.baseline import Persistence, scaled
from forecast.features import DAY, HOUR
from forecast.forecaster import (
    HORIZON_BINS,
    NUM_HORIZONS,
    NUM_QUANTILES,
    QUANTILES,
    QuantileForecast,
    empty_values,
    finished_forecast,
    require_bin,
)
from forecast.gaps import FILL_BINS, held
from forecast.history import Floats, History
from forecast.scaling import unit_of, unscale
from forecast.training_rows import MIN_KNOWN
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.units import Resource, VmId

if TYPE_CHECKING:
    from statsforecast.models import AutoETS

_STANDARD_NORMAL: Final = NormalDist()
_SCORES: Final = np.array([_STANDARD_NORMAL.inv_cdf(level) for level in QUANTILES])
_ONE_SIGMA_PERCENT: Final = 100.0 * (2.0 * _STANDARD_NORMAL.cdf(1.0) - 1.0)
"""The interval that reaches one standard deviation to either side."""

_CHOSEN: Final = "ZZN"
_SIMPLE: Final = "ANN"
"""Errors, trend and season in statsforecast's letters: chosen, chosen and none; additive, none and
none."""


@dataclass(slots=True, kw_only=True)
class ExponentialSmoothing:
    """One exponential smoothing per VM and resource, chosen and fitted on its last days.

    At each origin a fitted model runs over the VM's last day, from the level of that day's first
    hour on. A VM that was not there to be fitted gets simple exponential smoothing, fitted on the
    day; one without an hour of readings is forecast as persistence does.

    Parameters
    ----------
    resources
        What to fit, as far as the history has it.
    fitted_bins
        How much of a VM's past its model is chosen and fitted on.
    """

    resources: tuple[Resource, ...] = tuple(Resource)
    fitted_bins: int = 3 * DAY
    models_: dict[Resource, dict[VmId, AutoETS]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How reports call it: by the library."""
        return "statsforecast"

    def fit(self, history: History, *, until_bin: int) -> None:
        """Choose and fit a model for each VM that was read for a day.

        Raises
        ------
        NotEnoughHistoryError
            If that is none for a resource.
        """
        self.models_ = {}
        for resource in (r for r in self.resources if history.has(r)):
            readings = scaled(history, resource, until_bin - self.fitted_bins, until_bin)
            series = {i: _unbroken(row) for i, row in enumerate(readings)}
            fitted = {i: _fitted(_CHOSEN, one) for i, one in series.items() if len(one) >= DAY}
            models = {history.vm_ids[i]: model for i, model in fitted.items() if model is not None}
            if not models:
                raise NotEnoughHistoryError(
                    f"{resource.field}: statsforecast could fit no VM of {history.num_vms}, "
                    f"{len(fitted)} of which have a day of readings before "
                    f"{history.time_of(until_bin):%Y-%m-%d %H:%M}; expected at least one"
                )
            self.models_[resource] = models

    def forecast(
        self, history: History, *, at_bin: int, resources: Sequence[Resource]
    ) -> QuantileForecast:
        """Forecast every VM from its last day; see :class:`~forecast.forecaster.Forecaster`."""
        require_bin(history, at_bin)
        stand_in = Persistence().forecast(history, at_bin=at_bin, resources=resources)
        values = empty_values(history.num_vms)
        running = history.present(at_bin) & ~history.is_off(at_bin)
        cold = np.array(stand_in.cold)
        for resource in resources:
            values[resource] = stand_in.values[resource]
            recent = scaled(history, resource, at_bin - DAY + 1, at_bin + 1)
            known = ~np.isnan(recent)
            told = running & known[:, -FILL_BINS:].any(axis=1)
            told &= np.count_nonzero(known, axis=1) >= MIN_KNOWN
            bands = np.zeros((history.num_vms, NUM_HORIZONS, NUM_QUANTILES), dtype=np.float32)
            models = self.models_.get(resource, {})
            for i in np.flatnonzero(told).tolist():
                band = _band(models.get(history.vm_ids[i]), _unbroken(recent[i]))
                told[i] = band is not None
                bands[i] = 0.0 if band is None else band
            demand = unscale(np.maximum(bands, 0.0), unit_of(history, resource), resource)
            values[resource, told] = demand[told]
            cold |= running & ~told
        return finished_forecast(
            history, at_bin=at_bin, resources=resources, values=values, cold=cold
        )


def _unbroken(row: Floats) -> npt.NDArray[np.float64]:
    """Return a series from its first reading on, the newest one standing in for missing ones."""
    filled = held(row)
    return filled[~np.isnan(filled)].astype(np.float64)


def _fitted(letters: str, series: npt.NDArray[np.float64]) -> AutoETS | None:
    """Return a fitted model, ``None`` where the library finds none."""
    from statsforecast.models import AutoETS

    try:
        return AutoETS(season_length=1, model=letters).fit(series)
    except Exception:  # noqa: BLE001  # the library raises nothing more precise
        return None


def _band(model: AutoETS | None, series: npt.NDArray[np.float64]) -> Floats | None:
    """Return quantiles of what follows a series, shape ``(num_horizons, num_quantiles)``."""
    model = _from_level(model, series[:HOUR].mean()) if model else _fitted(_SIMPLE, series)
    if model is None:
        return None
    answer = model.forward(y=series, h=max(HORIZON_BINS), level=[_ONE_SIGMA_PERCENT])
    low, high = (next(v for k, v in answer.items() if k.startswith(p)) for p in ("lo-", "hi-"))
    at = np.array(HORIZON_BINS) - 1
    middle, sigma = np.asarray(answer["mean"])[at], (np.asarray(high) - np.asarray(low))[at] / 2.0
    band = middle[:, None] + sigma[:, None] * _SCORES
    return None if np.isnan(band).any() else np.asarray(band, dtype=np.float32)


def _from_level(model: AutoETS, level: float) -> AutoETS:
    """Return a fitted model that begins at a level, without trend.

    By itself it would begin where the days it was fitted on began, and a slow one stay near there.
    """
    started = copy.copy(model)
    parameters = np.array(model.model_["par"])
    # Weights of level, trend and season, and damping, are followed by the state to begin with.
    parameters[4:] = 0.0
    parameters[4] = level
    started.model_ = {**model.model_, "par": parameters}
    return started
