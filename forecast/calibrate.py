"""Correct the spread of forecasts online, from how the last ones went.

Real fleets shift level, and a model trained weeks ago is too sure or too timid. Adaptive conformal
inference [1]_ asks for a quantile at another level than its name: if 3 % of the readings lately
exceeded the 99 % quantile, the model's 99.6 % is handed out in its place, step by step, until the
share is right. It needs no assumption on the data. Levels are kept per resource, class of VM,
horizon and quantile, and move on the logit scale, where a step near 0.99 is as bold as one near
0.5.

What was handed out is judged, by the measure that backtests use: readings that fall on an atom
(idle VMs at zero) count in proportion, as in the randomised PIT.

References
----------
.. [1] Gibbs, Candès (2021). Adaptive conformal inference under distribution shift. NeurIPS 34.
   arXiv:2106.00170
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.classes import NUM_CLASSES
from forecast.forecaster import NUM_HORIZONS, NUM_QUANTILES, QUANTILES, QuantileForecast
from forecast.history import Floats
from forecast.metrics import cdf_bounds, hit_share, quantiles_at
from solver.domain.errors import InvalidInputError
from solver.domain.units import NUM_RESOURCES

Doubles = npt.NDArray[np.float64]

MEMORY_HOURS: Final = 24.0
"""Time in which a level makes up for most of a lasting fault; a day, so that a bad hour does not
swing it."""
MAX_SHIFT: Final = 6.0
"""Furthest a level may move on the logit scale: enough for bands half as wide as they should be."""
IDLE_CODE: Final = 0

_SHAPE: Final = (NUM_RESOURCES, NUM_CLASSES, NUM_HORIZONS, NUM_QUANTILES)


@dataclass(slots=True, kw_only=True)
class Calibrator:
    """The corrected levels, and how much is covered since they are used.

    Attributes
    ----------
    shift
        Correction of each level on the logit scale, shape
        ``(num_resources, num_classes, num_horizons, num_quantiles)``.
    hits, weight
        Faded sum of the shares at or below each *corrected* quantile, and of how many readings
        they stand for; their ratio is the recent coverage. Shape as ``shift``.
    """

    memory_hours: float = MEMORY_HOURS
    shift: Doubles = field(default_factory=lambda: np.zeros(_SHAPE))
    hits: Doubles = field(default_factory=lambda: np.zeros(_SHAPE))
    weight: Doubles = field(default_factory=lambda: np.zeros(_SHAPE))

    def levels(self) -> Doubles:
        """Return the level handed out for each quantile, non-decreasing along the last axis."""
        nominal = _logit(np.array(QUANTILES))
        return np.sort(1.0 / (1.0 + np.exp(-(nominal + self.shift))), axis=-1)

    def correct(
        self, forecast: QuantileForecast, class_codes: npt.NDArray[np.int64]
    ) -> QuantileForecast:
        """Return the forecast with quantiles at the corrected levels and its recent coverage.

        Parameters
        ----------
        class_codes
            Class of each VM, shape ``(num_vms,)``.
        """
        values = forecast.values.copy()
        levels = self.levels()
        for resource in forecast.resources:
            for code in np.unique(class_codes):
                members = np.flatnonzero(class_codes == code)
                for h in range(NUM_HORIZONS):
                    values[resource, members, h] = quantiles_at(
                        forecast.values[resource, members, h], QUANTILES, levels[resource, code, h]
                    )
        values.sort(axis=-1)
        np.clip(values, 0.0, forecast.limits[:, :, None, None], out=values)
        return replace(forecast, values=values, recent_coverage=self.coverage())

    def coverage(self) -> Floats:
        """Return the recent coverage of each quantile over all VMs that are not idle.

        Returns
        -------
        Floats
            Shape ``(num_resources, num_horizons, num_quantiles)``; NaN before any observation.
        """
        busier = [code for code in range(NUM_CLASSES) if code != IDLE_CODE]
        hits, weight = self.hits[:, busier].sum(axis=1), self.weight[:, busier].sum(axis=1)
        known = weight > 0
        return np.where(known, hits / np.where(known, weight, 1.0), np.nan).astype(np.float32)

    def class_coverage(self) -> Floats:
        """Return the recent coverage by class, shape as ``shift``; NaN before any observation."""
        known = self.weight > 0
        ratio = self.hits / np.where(known, self.weight, 1.0)
        return np.where(known, ratio, np.nan).astype(np.float32)

    def forget_coverage(self) -> None:
        """Count anew how much is covered; corrections stay."""
        self.hits[:] = 0.0
        self.weight[:] = 0.0

    def observe(
        self,
        forecast: QuantileForecast,
        actual: Floats,
        class_codes: npt.NDArray[np.int64],
        *,
        hours_since_last: float,
    ) -> None:
        """Learn from a forecast, *corrected* as it was handed out, whose time has come.

        Parameters
        ----------
        actual
            What was measured, ``(num_resources, num_vms, num_horizons)``; NaN where unknown.
        hours_since_last
            Time since the observation before, which sets the size of the step.

        Raises
        ------
        InvalidInputError
            If the time is not positive.
        """
        step = forgotten(hours_since_last, self.memory_hours)
        nominal = np.array(QUANTILES)
        self.hits *= 1.0 - step
        self.weight *= 1.0 - step
        for resource in forecast.resources:
            low, high = cdf_bounds(actual[resource], forecast.values[resource], QUANTILES)
            for code in np.unique(class_codes):
                members = class_codes == code
                for h in range(NUM_HORIZONS):
                    known = members & ~np.isnan(low[:, h])
                    if not known.any():
                        continue
                    place = (resource, code, h)
                    hits = hit_share(low[known, h, None], high[known, h, None], nominal)
                    self.hits[place] += hits.sum(axis=0)
                    self.weight[place] += int(known.sum())
                    off = nominal - hits.mean(axis=0)
                    self.shift[place] += step * off / (nominal * (1.0 - nominal))
        np.clip(self.shift, -MAX_SHIFT, MAX_SHIFT, out=self.shift)


def forgotten(hours: float, memory_hours: float) -> float:
    """Return the share of what was learned that fades in a time.

    Raises
    ------
    InvalidInputError
        If the time is not positive.
    """
    if not hours > 0:
        raise InvalidInputError(f"expected a positive time, got {hours} h")
    return 1.0 - math.exp(-hours / memory_hours)


def _logit(level: Doubles) -> Doubles:
    return np.log(level / (1.0 - level))
