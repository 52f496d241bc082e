"""A trained model in service, where more may be forecast than it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from forecast.baseline import Persistence
from forecast.forecaster import QuantileForecast, empty_values, finished_forecast, require_bin
from forecast.history import History
from forecast.quantile import QuantileModel
from solver.domain.units import Resource


@dataclass(frozen=True, slots=True)
class CompletedModel:
    """Forecasts what the model knows with it, and other resources by persistence.

    A network that begins to be read, or a memory that no driver tells of, is no reason to forecast
    the CPU without the model.

    Parameters
    ----------
    model
        Fitted.
    """

    model: QuantileModel

    @property
    def name(self) -> str:
        """How reports call it."""
        return self.model.name

    @property
    def trained_until_(self) -> datetime | None:
        """The end of what the model was trained on."""
        return self.model.trained_until_

    def fit(self, history: History, *, until_bin: int) -> None:
        """Fit the model anew."""
        self.model.fit(history, until_bin=until_bin)

    def forecast(
        self, history: History, *, at_bin: int, resources: Sequence[Resource]
    ) -> QuantileForecast:
        """Forecast the next hour of every VM; see :class:`~forecast.forecaster.Forecaster`.

        Cold is who is so to either.
        """
        require_bin(history, at_bin)
        known = [resource for resource in resources if resource in self.model.models_]
        others = [resource for resource in resources if resource not in self.model.models_]
        if not others:
            return self.model.forecast(history, at_bin=at_bin, resources=resources)
        values = empty_values(history.num_vms)
        stand_in = Persistence().forecast(history, at_bin=at_bin, resources=others)
        values[others] = stand_in.values[others]
        cold = stand_in.cold
        if known:
            modelled = self.model.forecast(history, at_bin=at_bin, resources=known)
            values[known] = modelled.values[known]
            cold = cold | modelled.cold
        return finished_forecast(
            history, at_bin=at_bin, resources=resources, values=values, cold=cold
        )
