"""Forecasters without training: the opponents to beat, and the way to begin.

Each needs no more than the history it is shown. A VM not read for an hour is forecast from what
``forecast.stand_in`` assumes of it. ``Persistence`` is also the cold start: from the
first minute it answers with generic error bands, which give way to a VM's own as readings come in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from forecast.features import (
    DAY,
    HOUR,
    MODELLED_AT,
    MODELLED_BINS,
    MODELLED_MINUTES,
    NUM_MODELLED,
    WEEK,
)
from forecast.forecaster import (
    HORIZON_BINS,
    NUM_HORIZONS,
    NUM_QUANTILES,
    QUANTILES,
    Forecaster,
    QuantileForecast,
    empty_values,
    finished_forecast,
    interpolated,
    require_bin,
)
from forecast.history import Floats, History
from forecast.scaling import scale, unit_of, unscale
from forecast.stand_in import Levels, levels_at
from solver.domain.units import Resource

COLD_ERRORS: Final = 2 * HOUR
"""Past errors after which a VM's own band counts as much as the generic one."""

# Errors of persistence after 30 minutes on the common scale, typical of the busier VMs of a
# managed-hosting fleet: generous, since a band too wide costs less than a surprise.
_GENERIC: Final = {
    Resource.CPU: (-0.12, -0.05, -0.012, 0.0, 0.015, 0.06, 0.14, 0.45),
    Resource.MEMORY: (-0.10, -0.05, -0.015, 0.0, 0.015, 0.05, 0.11, 0.30),
    Resource.DISK_IO: (-0.25, -0.15, -0.05, 0.0, 0.05, 0.16, 0.28, 0.50),
    Resource.NET_IO: (-0.20, -0.12, -0.04, 0.0, 0.04, 0.13, 0.22, 0.40),
}
_GENERIC_AT_MINUTES: Final = 30.0


def generic_errors(resource: Resource) -> Floats:
    """Return error bands for a VM of which nothing is known, on the common scale.

    They grow with the root of the horizon, as errors of a random walk do.

    Returns
    -------
    Floats
        Shape ``(num_horizons, num_quantiles)``.
    """
    minutes = np.array(HORIZON_BINS, dtype=np.float64) * 5.0
    growth = np.sqrt(minutes / _GENERIC_AT_MINUTES)
    return np.asarray(growth[:, None] * np.array(_GENERIC[resource]), dtype=np.float32)


def row_quantiles(rows: Floats, levels: Sequence[float] = QUANTILES) -> Floats:
    """Return quantiles of each row by linear interpolation, NaN left out.

    Returns
    -------
    Floats
        Shape ``(num_rows, num_levels)``; NaN for a row without numbers.
    """
    ordered = np.sort(rows, axis=1)
    last = np.maximum(np.count_nonzero(~np.isnan(ordered), axis=1) - 1, 0)
    position = np.array(levels) * last[:, None]
    low = np.floor(position).astype(np.intp)
    high = np.minimum(low + 1, last[:, None])
    below = np.take_along_axis(ordered, low, axis=1)
    above = np.take_along_axis(ordered, high, axis=1)
    return np.asarray(below + (above - below) * (position - low), dtype=np.float32)


def scaled(history: History, resource: Resource, first: int, end: int) -> Floats:
    """Return readings of a window on the common scale, cut where the history begins.

    As they were known at its end: what was filled by later readings is NaN.
    """
    window = history.readings[resource, :, max(0, first) : end]
    return history.hide_ahead(scale(window, unit_of(history, resource), resource), end - 1)


def wide_errors(levels: Levels, generic: Floats) -> Floats:
    """Return generic bands of one horizon, as wide as each VM's level is doubtful.

    Returns
    -------
    Floats
        Shape ``(num_vms, num_quantiles)``.
    """
    return np.asarray(levels.widening[:, None] * generic)


@dataclass(frozen=True, slots=True)
class Persistence:
    """The newest reading, plus the errors that persistence made on this VM lately.

    Errors are weighed with :func:`generic_errors`: with ``n`` errors of its own a VM's band counts
    ``n / (n + COLD_ERRORS)``. It never fails for lack of history, which makes it the cold start.

    Parameters
    ----------
    window_bins
        How far back errors are remembered.
    """

    window_bins: int = DAY

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"persistence-{self.window_bins // HOUR}h"

    def fit(self, history: History, *, until_bin: int) -> None:
        """Do nothing: all it needs is the recent past."""

    def forecast(
        self, history: History, *, at_bin: int, resources: Sequence[Resource]
    ) -> QuantileForecast:
        """Forecast every VM from its last day; see :class:`~forecast.forecaster.Forecaster`."""
        require_bin(history, at_bin)
        values = empty_values(history.num_vms)
        known = np.zeros(history.num_vms, dtype=np.int64)
        stale = np.zeros(history.num_vms, dtype=bool)
        for resource in resources:
            recent = scaled(history, resource, at_bin - self.window_bins + 1, at_bin + 1)
            levels = levels_at(history, resource, at_bin)
            stale |= levels.stale
            generic = generic_errors(resource)
            unit = unit_of(history, resource)
            bands = np.empty((history.num_vms, NUM_MODELLED, NUM_QUANTILES), dtype=np.float32)
            for h, bins in enumerate(MODELLED_BINS):
                errors = recent[:, bins:] - recent[:, :-bins]
                wide = generic[MODELLED_AT[h]]
                band, count = self._band(errors, wide)
                bands[:, h] = np.where(levels.stale[:, None], wide_errors(levels, wide), band)
            demand = levels.values[:, None, None] + interpolated(bands, MODELLED_MINUTES)
            values[resource] = unscale(demand, unit, resource)
            known = np.maximum(known, count)
        return finished_forecast(
            history,
            at_bin=at_bin,
            resources=resources,
            values=values,
            cold=(known < COLD_ERRORS) | stale,
        )

    def _band(
        self, errors: Floats, generic: Floats
    ) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.int64]]]:
        count = np.count_nonzero(~np.isnan(errors), axis=1)
        if not errors.shape[1]:
            return np.broadcast_to(generic, (len(errors), len(generic))), count
        own = np.nan_to_num(row_quantiles(errors))
        share = (count / (count + COLD_ERRORS)).astype(np.float32)[:, None]
        return share * own + (1.0 - share) * generic, count


@dataclass(frozen=True, slots=True)
class WindowQuantiles:
    """Quantiles of the last readings themselves: the future is like the last hours.

    Parameters
    ----------
    window_bins
        How many readings.
    """

    window_bins: int = 3 * HOUR

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"window-{self.window_bins // HOUR}h"

    def fit(self, history: History, *, until_bin: int) -> None:
        """Do nothing: all it needs is the recent past."""

    def forecast(
        self, history: History, *, at_bin: int, resources: Sequence[Resource]
    ) -> QuantileForecast:
        """Forecast every VM alike at all horizons."""
        require_bin(history, at_bin)
        values = empty_values(history.num_vms)
        known = np.zeros(history.num_vms, dtype=np.int64)
        stale = np.zeros(history.num_vms, dtype=bool)
        for resource in resources:
            recent = scaled(history, resource, at_bin - self.window_bins + 1, at_bin + 1)
            known = np.maximum(known, np.count_nonzero(~np.isnan(recent), axis=1))
            levels = levels_at(history, resource, at_bin)
            own = row_quantiles(recent)
            unread = np.isnan(own[:, 0])
            stale |= unread
            unit, generic = unit_of(history, resource), generic_errors(resource)
            for h in range(NUM_HORIZONS):
                around = levels.values[:, None] + wide_errors(levels, generic[h])
                band = np.where(unread[:, None], around, own)
                values[resource, :, h] = unscale(band, unit, resource)
        return finished_forecast(
            history, at_bin=at_bin, resources=resources, values=values, cold=(known < HOUR) | stale
        )


@dataclass(frozen=True, slots=True)
class SeasonalNaive:
    """The reading a day (or a week) before the target, plus the errors that rule made lately.

    Where there is no such reading, the newest one stands in.

    Parameters
    ----------
    season_bins
        Length of the season.
    window_bins
        How far back errors are remembered.
    """

    season_bins: int = DAY
    window_bins: int = DAY

    @property
    def name(self) -> str:
        """How reports call it."""
        return "seasonal-week" if self.season_bins == WEEK else "seasonal-day"

    def fit(self, history: History, *, until_bin: int) -> None:
        """Do nothing: all it needs is the recent past."""

    def forecast(
        self, history: History, *, at_bin: int, resources: Sequence[Resource]
    ) -> QuantileForecast:
        """Forecast every VM from the season before."""
        require_bin(history, at_bin)
        values = empty_values(history.num_vms)
        known = np.zeros(history.num_vms, dtype=np.int64)
        stale = np.zeros(history.num_vms, dtype=bool)
        for resource in resources:
            recent = scaled(history, resource, at_bin - self.window_bins + 1, at_bin + 1)
            before_first = at_bin - self.window_bins + 1 - self.season_bins
            before = np.full_like(recent, np.nan)
            if before_first + self.window_bins > 0:
                past = scaled(history, resource, before_first, at_bin + 1 - self.season_bins)
                before[:, before.shape[1] - past.shape[1] :] = past[:, -before.shape[1] :]
            known = np.maximum(known, np.count_nonzero(~np.isnan(recent - before), axis=1))
            own = row_quantiles(recent - before)
            generic = generic_errors(resource)
            unit = unit_of(history, resource)
            fallback = levels_at(history, resource, at_bin)
            for h in range(NUM_HORIZONS):
                season = self._season(history, resource, at_bin + HORIZON_BINS[h], unit)
                unread = np.isnan(season)
                level = np.where(unread, fallback.values, season)
                wide = wide_errors(fallback, generic[h])
                guessed = (unread & fallback.stale)[:, None] | np.isnan(own)
                values[resource, :, h] = unscale(
                    level[:, None] + np.where(guessed, wide, own), unit, resource
                )
                stale |= unread & fallback.stale
        return finished_forecast(
            history, at_bin=at_bin, resources=resources, values=values, cold=(known < HOUR) | stale
        )

    def _season(self, history: History, resource: Resource, target: int, unit: Floats) -> Floats:
        """Return the reading a season before a bin, NaN where there is none."""
        past = target - self.season_bins
        if past < 0:
            return np.full(history.num_vms, np.nan, dtype=np.float32)
        return scale(history.readings[resource, :, past], unit, resource)


def standard_baselines() -> tuple[Forecaster, ...]:
    """Return the opponents of every backtest."""
    return (
        Persistence(window_bins=DAY),
        Persistence(window_bins=WEEK),
        WindowQuantiles(window_bins=HOUR),
        WindowQuantiles(window_bins=3 * HOUR),
        WindowQuantiles(window_bins=DAY),
        SeasonalNaive(season_bins=DAY, window_bins=DAY),
        SeasonalNaive(season_bins=WEEK, window_bins=DAY),
    )
