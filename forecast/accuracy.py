"""How good forecasts have been lately, and whether it is time to train anew.

Loss alone would call a hard day drift. It is therefore held against how far demand went from its
newest reading over the same hour: what anybody could have said. The ratio is compared with what it
was in the first days after training.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.calibrate import forgotten
from forecast.forecaster import QUANTILES, QuantileForecast
from forecast.history import Floats
from forecast.metrics import pinball
from solver.domain.errors import InvalidInputError
from solver.domain.units import NUM_RESOURCES

RECENT_HOURS: Final = 24.0
"""Memory of what counts as lately."""
LEAST_FIRST: Final = 12
"""Forecasts of the first days below which no ratio is told."""
SETTLING: Final = timedelta(days=2)
"""Time after training over which the ratio to hold later ones against is learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingRules:
    """When a model is to be trained anew.

    Parameters
    ----------
    most_age
        On schedule: a model older than this.
    worst_ratio
        On drift: relative loss lately over that of the days after training.
    most_off_points
        On drift: how far the share at or below the 95 % quantile may be off lately, in points.
    """

    most_age: timedelta = timedelta(days=7)
    worst_ratio: float = 1.25
    most_off_points: float = 4.0

    def __post_init__(self) -> None:
        if not self.most_age > timedelta(0):
            raise InvalidInputError(
                f"expected a positive time, got {self.most_age}", path="most_age"
            )
        if not self.worst_ratio > 1.0:
            raise InvalidInputError(
                f"expected more than 1, got {self.worst_ratio}", path="worst_ratio"
            )


@dataclass(slots=True, kw_only=True)
class Accuracy:
    """Loss of forecasts relative to how far demand went, of each resource.

    Attributes
    ----------
    num_first
        Forecasts that the first days' sums are of.
    recent_loss, recent_way
        Faded sums of the loss and of the distances, shape ``(num_resources,)``.
    first_loss, first_way
        Sums over the first days, shape ``(num_resources,)``.
    """

    begun_at: datetime | None = None
    num_first: int = 0
    recent_loss: Floats = field(default_factory=lambda: np.zeros(NUM_RESOURCES, np.float32))
    recent_way: Floats = field(default_factory=lambda: np.zeros(NUM_RESOURCES, np.float32))
    first_loss: Floats = field(default_factory=lambda: np.zeros(NUM_RESOURCES, np.float32))
    first_way: Floats = field(default_factory=lambda: np.zeros(NUM_RESOURCES, np.float32))

    def observe(
        self, forecast: QuantileForecast, level: Floats, actual: Floats, *, hours_since_last: float
    ) -> None:
        """Learn from a forecast, as it was handed out, whose time has come.

        Parameters
        ----------
        level
            Newest readings when it was made, shape ``(num_resources, num_vms)``; NaN is left out.
        actual
            What was measured, ``(num_resources, num_vms, num_horizons)``; NaN is left out.
        hours_since_last
            Time since the observation before; positive.

        Raises
        ------
        InvalidInputError
            If the time is not positive.
        """
        keep = np.float32(1.0 - forgotten(hours_since_last, RECENT_HOURS))
        self.begun_at = self.begun_at or forecast.at
        self.recent_loss *= keep
        self.recent_way *= keep
        early = forecast.at - self.begun_at <= SETTLING
        self.num_first += early
        for resource in forecast.resources:
            # By size, or large VMs alone would decide; by level where there is no size.
            limit = forecast.limits[resource]
            unit = np.where(np.isfinite(limit), limit, 1.0 + np.nan_to_num(level[resource]))
            way = np.abs(actual[resource] - level[resource][:, None]) / unit[:, None]
            known = ~np.isnan(way)
            if not known.any():
                continue
            losses = pinball(actual[resource], forecast.values[resource], QUANTILES).mean(axis=-1)
            losses = losses / unit[:, None]
            loss, distance = float(losses[known].mean()), float(way[known].mean())
            self.recent_loss[resource] += loss
            self.recent_way[resource] += distance
            if early:
                self.first_loss[resource] += loss
                self.first_way[resource] += distance

    def ratios(self) -> Floats:
        """Return recent relative loss over that of the first days; NaN where not known.

        Returns
        -------
        Floats
            Shape ``(num_resources,)``; above 1 where forecasts have become worse.
        """
        known = (self.recent_way > 0) & (self.first_loss > 0) & (self.num_first >= LEAST_FIRST)
        recent = self.recent_loss / np.where(known, self.recent_way, 1.0)
        first = self.first_loss / np.where(known, self.first_way, 1.0)
        return np.where(known, recent / np.where(first > 0, first, 1.0), np.nan).astype(np.float32)


@dataclass(slots=True, kw_only=True)
class AfterMoves:
    """How far readings lay from their median forecast during and shortly after migrations.

    Attributes
    ----------
    num_readings
        Readings seen, shape ``(num_resources,)``.
    sum_off
        Sum of ``reading / median - 1`` over them, same shape: what a move does to demand.
    """

    num_readings: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(NUM_RESOURCES, np.int64)
    )
    sum_off: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(NUM_RESOURCES))

    def add(self, forecast: QuantileForecast, actual: Floats) -> None:
        """Count readings of VMs on the move, ``(num_resources, num_vms, num_horizons)``.

        NaN is left out, and so are VMs whose median is zero.
        """
        middle = QUANTILES.index(0.5)
        for resource in forecast.resources:
            median = forecast.values[resource, ..., middle]
            told = ~np.isnan(actual[resource]) & (median > 0)
            self.num_readings[resource] += np.count_nonzero(told)
            self.sum_off[resource] += (actual[resource][told] / median[told] - 1.0).sum()

    def mean_off(self) -> Floats:
        """Return by what share readings differ from the median, ``(num_resources,)``; NaN: none."""
        known = self.num_readings > 0
        mean = self.sum_off / np.where(known, self.num_readings, 1)
        return np.where(known, mean, np.nan).astype(np.float32)


def retraining_reason(
    rules: RetrainingRules,
    *,
    trained_until: datetime,
    now: datetime,
    ratios: Floats,
    recent_coverage: Floats,
) -> str | None:
    """Return why a model should be trained anew, or ``None``.

    Parameters
    ----------
    ratios
        From :meth:`Accuracy.ratios`.
    recent_coverage
        Of the busier VMs, from a forecast: shape
        ``(num_resources, num_horizons, num_quantiles)``; NaN where nothing was observed.
    """
    age = now - trained_until
    if age > rules.most_age:
        days = age / timedelta(days=1)
        most = rules.most_age / timedelta(days=1)
        return f"the model is {days:.1f} days old; trained anew after {most:g}"
    worst = float(np.nanmax(ratios)) if not np.isnan(ratios).all() else 0.0
    if worst > rules.worst_ratio:
        return (
            f"forecasts have become worse: {worst:.2f} times the relative loss after training, "
            f"at most {rules.worst_ratio:g} allowed"
        )
    tail = QUANTILES.index(0.95)
    shares = recent_coverage[..., tail]
    shares = shares[~np.isnan(shares).any(axis=-1)]
    if not len(shares):
        return None
    off = 100.0 * shares.mean(axis=-1) - 95.0
    furthest = float(off[np.abs(off).argmax()])
    if abs(furthest) > rules.most_off_points:
        return (
            f"{95 + furthest:.1f} % of recent readings lie at or below the 95 % quantile, "
            f"expected 95 ± {rules.most_off_points:g}"
        )
    return None
