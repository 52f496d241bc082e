"""Predictors at one instant for all VMs of one resource, from readings up to that instant.

Everything is on the scale of ``forecast.scaling`` and computed for all VMs at once. Some features
depend on the horizon (the same minute of earlier hours and days), so a VM has one row per horizon.
What is not known is NaN, which the trees handle as a value of its own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.activity import LAGS, implied_by_activity
from forecast.analogues import COMPARED, NUM_NEAREST, Analogues, find_analogues
from forecast.forecaster import HORIZON_MINUTES
from forecast.gaps import FILL_BINS, newest
from forecast.history import STEP_SECONDS, BinState, Floats, History
from forecast.scaling import scale, unit_of
from solver.domain.units import Resource
from solver.domain.zones import time_zone

MODELLED_MINUTES: Final = (5, 15, 30, 45, 60)
"""Horizons that models are fitted for; between them quantiles change little, and are interpolated.
"""
MODELLED_BINS: Final = tuple(minutes * 60 // STEP_SECONDS for minutes in MODELLED_MINUTES)
MODELLED_AT: Final = [HORIZON_MINUTES.index(minutes) for minutes in MODELLED_MINUTES]
"""Positions of the modelled horizons among all."""
NUM_MODELLED: Final = len(MODELLED_MINUTES)

HOUR: Final = 12
DAY: Final = 288
WEEK: Final = 2016
SATURATED: Final = 0.98
"""From this fraction of its size on a VM's true demand is hidden."""

_LAGS: Final = (0, 1, 2, 3, 5, 8, 11)
_DELTAS: Final = (1, 3, 6, 12)
_WINDOWS: Final = {"30m": 6, "1h": HOUR, "6h": 6 * HOUR, "24h": DAY}
_SORTED_WINDOWS: Final = {"1h": HOUR, "6h": 6 * HOUR, "24h": DAY}
_LEVELS: Final = (0.1, 0.5, 0.9)
_SEQUELS: Final = ("change", "mean_change", "max_change", "min_change")
_ERROR_LEVELS: Final = (0.05, 0.25, 0.75, 0.95)

_VM_NAMES: Final = (
    *(f"lag_{k}" for k in _LAGS),
    *(f"delta_{k}" for k in _DELTAS),
    *(f"{what}_{name}" for name in _WINDOWS for what in ("mean", "std", "max", "min")),
    *(f"q{round(100 * q)}_{name}" for name in _SORTED_WINDOWS for q in _LEVELS),
    "saturated_1h",
    "known_24h",
    "log_age",
    "log_unit",
    "fleet_mean",
    "fleet_delta_1h",
    "app_mean",
    "app_delta_1h",
    "app_type",
    *(f"analogue_{name}_{what}" for name in COMPARED for what in ("distance", "mean_distance")),
)
_HORIZON_NAMES: Final = (
    "horizon_minutes",
    "hour_sin",
    "hour_cos",
    "weekday_sin",
    "weekday_cos",
    "minute_of_hour",
    "hour_ago",
    "same_minute_6h_mean",
    "same_minute_6h_max",
    "yesterday",
    "yesterday_mean",
    "yesterday_max",
    "yesterday_change",
    "last_week",
    *(f"error_q{round(100 * q)}_24h" for q in _ERROR_LEVELS),
    "error_abs_24h",
    "app_yesterday_change",
    "activity_implied",
    "activity_correlation",
    *(f"analogue_{name}_{what}" for name in COMPARED for what in _SEQUELS),
)
FEATURE_NAMES: Final = (*_VM_NAMES, *_HORIZON_NAMES)
NUM_FEATURES: Final = len(FEATURE_NAMES)
APP_TYPE_COLUMN: Final = FEATURE_NAMES.index("app_type")
HORIZON_COLUMN: Final = FEATURE_NAMES.index("horizon_minutes")
RELATIVE: Final = tuple(
    name
    for name in FEATURE_NAMES
    if name.startswith(("mean_", "max_", "min_", "q10_", "q50_", "q90_", "same_minute_"))
    or (name.startswith("lag_") and name != "lag_0")
    or name in ("hour_ago", "yesterday", "yesterday_mean", "yesterday_max", "last_week")
    or name == "activity_implied"
)
"""Readings told as their distance from the newest one. What is forecast is a distance, too, and
trees cannot subtract (docs/decisions/0010).
"""
_RELATIVE_COLUMNS: Final = [FEATURE_NAMES.index(name) for name in RELATIVE]
_READ_AS: Final = (6, FEATURE_NAMES, MODELLED_MINUTES, WEEK, COMPARED, NUM_NEAREST)
SIGNATURE: Final = hashlib.sha256(repr(_READ_AS).encode()).hexdigest()[:16]
"""Changes whenever a model trained with these features could not read other ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSettings:
    """What the features need to know beyond the readings.

    Parameters
    ----------
    time_zone
        Zone of the calendar features: people work by the cluster's clock, not by UTC.
    app_types
        Category of an application type; types that are not named count as unknown, 0.

    Raises
    ------
    InvalidInputError
        If there is no such zone.
    """

    time_zone: str = "UTC"
    app_types: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        time_zone(self.time_zone)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureBlock:
    """Features of some VMs at one instant.

    Parameters
    ----------
    values
        ``float32`` of shape ``(num_chosen_vms, num_modelled, num_features)``.
    level
        Newest reading on the common scale, shape ``(num_chosen_vms,)``; NaN where none of the last
        hour is known.
    known
        Clean readings of the last 24 hours, shape ``(num_chosen_vms,)``.
    """

    values: Floats
    level: Floats
    known: npt.NDArray[np.int64]


def features_at(
    history: History,
    resource: Resource,
    at_bin: int,
    *,
    settings: FeatureSettings,
    positions: Sequence[int] | npt.NDArray[np.intp] | None = None,
) -> FeatureBlock:
    """Compute the features of all VMs, or of some, at one bin.

    Parameters
    ----------
    at_bin
        The last bin that is read. Features of the whole fleet are taken over all VMs, also when
        only some are asked for.
    positions
        VMs wanted, by position; all if ``None``.
    """
    chosen = (
        np.arange(history.num_vms) if positions is None else np.asarray(positions, dtype=np.intp)
    )
    unit = unit_of(history, resource)
    past = _scaled_window(history, resource, at_bin - WEEK + 1, at_bin + 1, chosen, unit)
    history.hide_ahead(past, at_bin, positions=chosen)
    # The day is read many times over; a bin before it is the one that was the present yesterday.
    day, day_ago, week_ago = np.ascontiguousarray(past[:, -DAY:]), past[:, -DAY - 1], past[:, :HOUR]
    analogues = find_analogues(past, MODELLED_BINS, tuple(COMPARED.values()))
    known = np.count_nonzero(~np.isnan(day), axis=1)
    level = newest(day[:, -FILL_BINS:])
    columns = [*_recent(day, level), *_windows(day)]
    type_of = _type_codes(history)
    fleet, fellows = _fleet(history, resource, at_bin, unit, type_of)
    constants = (
        np.mean(day[:, -HOUR:] >= SATURATED, axis=1),
        known / DAY,
        _log_age(history, at_bin, chosen),
        np.log1p(unit[chosen]),
        np.full(len(chosen), fleet[0]),
        np.full(len(chosen), fleet[0] - fleet[1]),
        fellows[0, chosen],
        fellows[0, chosen] - fellows[1, chosen],
        _app_codes(history, chosen, settings),
        *(far for one in analogues for far in (one.distances[:, 0], one.distances.mean(axis=1))),
    )
    per_vm = np.stack([*columns, *constants], axis=1).astype(np.float32)
    values = np.empty((len(chosen), NUM_MODELLED, NUM_FEATURES), dtype=np.float32)
    values[:, :, : len(_VM_NAMES)] = per_vm[:, None, :]
    yesterday = _yesterday_of_types(history, resource, at_bin, unit, type_of)
    activity = [
        window_of(series, at_bin - DAY + 1 - max(MODELLED_BINS) - max(LAGS), at_bin + 1, chosen)
        for series in history.activity.values()
    ]
    for h, bins in enumerate(MODELLED_BINS):
        own = [*_calendar(history, at_bin + bins, settings), *_same_minute(day, bins)]
        own += [
            *_same_day_time(day, day_ago, bins),
            week_ago[:, bins - 1],
            *_past_errors(day, bins),
        ]
        own += [yesterday[h, chosen], *implied_by_activity(day, activity, bins)]
        own += [column for one in analogues for column in _sequels(one, h)]
        for k, column in enumerate([np.float32(MODELLED_MINUTES[h]), *own]):
            values[:, h, len(_VM_NAMES) + k] = column
    values[..., _RELATIVE_COLUMNS] -= level[:, None, None]
    return FeatureBlock(values=values, level=level, known=known)


def _scaled_window(
    history: History,
    resource: Resource,
    first: int,
    end: int,
    chosen: npt.NDArray[np.intp],
    unit: Floats,
) -> Floats:
    """Return scaled readings of a window, NaN where it leaves the history."""
    return scale(window_of(history.readings[resource], first, end, chosen), unit[chosen], resource)


def window_of(series: Floats, first: int, end: int, chosen: npt.NDArray[np.intp]) -> Floats:
    """Return some VMs' bins ``first`` to ``end - 1`` of a series, NaN where it has none.

    Parameters
    ----------
    series
        Shape ``(num_vms, num_bins)``.
    """
    window = np.full((len(chosen), end - first), np.nan, dtype=np.float32)
    inside = slice(max(0, first), max(0, min(end, series.shape[1])))
    if inside.stop > inside.start:
        window[:, inside.start - first : inside.stop - first] = series[:, inside][chosen]
    return window


def _recent(day: Floats, level: Floats) -> list[Floats]:
    lags = [level, *(day[:, -1 - k] for k in _LAGS[1:])]
    return lags + [level - day[:, -1 - k] for k in _DELTAS]


def _windows(day: Floats) -> list[Floats]:
    """Return level, spread and extremes, then quantiles, of each window."""
    columns: list[Floats] = []
    zero_filled = np.nan_to_num(day)
    valid = ~np.isnan(day)
    for size in _WINDOWS.values():
        part, ok = zero_filled[:, -size:], valid[:, -size:]
        count = np.maximum(ok.sum(axis=1, dtype=np.float32), 1e-9)
        mean = part.sum(axis=1) / count
        square = np.einsum("ij,ij->i", part, part) / count
        nothing = count < 1
        high = np.where(nothing, np.nan, np.fmax.reduce(day[:, -size:], axis=1))
        low = np.where(nothing, np.nan, np.fmin.reduce(day[:, -size:], axis=1))
        std = np.sqrt(np.maximum(square - mean * mean, 0.0))
        columns += [np.where(nothing, np.nan, mean), np.where(nothing, np.nan, std), high, low]
    for size in _SORTED_WINDOWS.values():
        columns += sorted_quantiles(np.sort(day[:, -size:], axis=1), _LEVELS)
    return columns


def sorted_quantiles(ordered: Floats, levels: Sequence[float]) -> list[Floats]:
    """Return lower empirical quantiles of rows sorted with NaN last; NaN for empty rows."""
    count = np.count_nonzero(~np.isnan(ordered), axis=1)
    rows = np.arange(len(ordered))
    last = np.maximum(count - 1, 0)
    return [ordered[rows, np.rint(level * last).astype(np.intp)] for level in levels]


def _fleet(
    history: History,
    resource: Resource,
    at_bin: int,
    unit: Floats,
    type_of: npt.NDArray[np.int64],
) -> tuple[list[float], Floats]:
    """Return mean scaled demand now and an hour ago, of all VMs and of each one's application type.

    Returns
    -------
    tuple
        Means of the fleet, and by VM, shape ``(2, num_vms)``, those of the VMs of its type; NaN
        where nobody is known, as while telemetry failed: that none was read is no sudden calm.
    """
    everyone = np.arange(history.num_vms)
    window = _scaled_window(history, resource, at_bin - HOUR, at_bin + 1, everyone, unit)
    history.hide_ahead(window, at_bin)
    means = []
    for column in (window[:, -1], window[:, 0]):
        known = ~np.isnan(column)
        means.append(float(column[known].mean()) if known.any() else math.nan)
    return means, _means_of_types(window[:, [-1, 0]].T, type_of)


def _yesterday_of_types(
    history: History,
    resource: Resource,
    at_bin: int,
    unit: Floats,
    type_of: npt.NDArray[np.int64],
) -> Floats:
    """Return how VMs of each one's application type went on from this time of day, yesterday.

    What a VM too young for a yesterday of its own can go by.

    Returns
    -------
    Floats
        Mean change to each horizon, shape ``(num_modelled, num_vms)``; NaN where unknown.
    """
    if (type_of < 0).all():
        return np.full((NUM_MODELLED, history.num_vms), np.nan, dtype=np.float32)
    everyone = np.arange(history.num_vms)
    first = at_bin - DAY
    window = _scaled_window(
        history, resource, first, first + 1 + max(MODELLED_BINS), everyone, unit
    )
    changes = window[:, list(MODELLED_BINS)] - window[:, :1]
    return _means_of_types(changes.T, type_of)


def _means_of_types(rows: Floats, type_of: npt.NDArray[np.int64]) -> Floats:
    """Return for each VM the mean over the VMs of its type, row by row, shape as ``rows``."""
    means = np.full(rows.shape, np.nan, dtype=np.float32)
    typed = type_of >= 0
    num_types = int(type_of.max(initial=-1)) + 1
    for mean, row in zip(means, rows, strict=True):
        known = typed & ~np.isnan(row)
        count = np.bincount(type_of[known], minlength=num_types)
        total = np.bincount(type_of[known], row[known], minlength=num_types)
        of_type = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        mean[typed] = of_type[type_of[typed]]
    return means


def _sequels(analogues: Analogues, h: int) -> list[Floats]:
    """Return how demand went on to a horizon from the moment most like the present, and from all.

    Returns
    -------
    list
        The nearest one's change; mean, largest and smallest of all.
    """
    changes = analogues.changes[:, :, h]
    return [changes[:, 0], changes.mean(axis=1), changes.max(axis=1), changes.min(axis=1)]


def _type_codes(history: History) -> npt.NDArray[np.int64]:
    """Return a number for each VM's application type, -1 for those without."""
    codes: dict[str, int] = {}
    return np.array(
        [codes.setdefault(app, len(codes)) if app else -1 for app in history.app_types],
        dtype=np.int64,
    )


def _log_age(history: History, at_bin: int, chosen: npt.NDArray[np.intp]) -> Floats:
    """Return log of the bins since a VM's first record, at most four weeks back."""
    first = max(0, at_bin + 1 - 4 * WEEK)
    seen = history.state[chosen, first : at_bin + 1] != BinState.ABSENT
    age = np.where(seen.any(axis=1), seen.shape[1] - np.argmax(seen, axis=1), 0)
    return np.asarray(np.log1p(age), dtype=np.float32)


def _app_codes(history: History, chosen: npt.NDArray[np.intp], settings: FeatureSettings) -> Floats:
    codes = [settings.app_types.get(history.app_types[i] or "", 0) for i in chosen]
    return np.array(codes, dtype=np.float32)


def _calendar(history: History, bin_idx: int, settings: FeatureSettings) -> list[np.float32]:
    """Return time of day, day of week and minute of the hour at the start of a bin."""
    local = history.time_of(bin_idx).astimezone(time_zone(settings.time_zone))
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    day = 2.0 * math.pi * ((local - midnight) / timedelta(days=1))
    week = 2.0 * math.pi * local.weekday() / 7.0
    parts = (math.sin(day), math.cos(day), math.sin(week), math.cos(week), float(local.minute))
    return [np.float32(part) for part in parts]


def _same_minute(day: Floats, bins: int) -> list[Floats]:
    """Return the readings of the target's minute in the last hours: jobs run by the clock."""
    # The last column is the present bin t; the target is t + bins, an hour before it t + bins - 12.
    hours = [day[:, -1 + bins - HOUR * k] for k in range(1, 7)]
    stacked = np.stack(hours, axis=1)
    known = np.maximum(np.count_nonzero(~np.isnan(stacked), axis=1), 1e-9)
    mean = np.nansum(stacked, axis=1) / known
    return [
        stacked[:, 0],
        np.where(known < 1, np.nan, mean),
        np.fmax.reduce(stacked, axis=1),
    ]


def _same_day_time(day: Floats, day_ago: Floats, bins: int) -> list[Floats]:
    """Return yesterday at the target's time: the bin, its neighbourhood, and the change to it."""
    at = bins - 1  # column of t + bins - 288 in a window that begins at t - 287
    around = day[:, max(0, at - 3) : at + 4]
    known = np.maximum(np.count_nonzero(~np.isnan(around), axis=1), 1e-9)
    mean = np.where(known < 1, np.nan, np.nansum(around, axis=1) / known)
    return [day[:, at], mean, np.fmax.reduce(around, axis=1), day[:, at] - day_ago]


def _past_errors(day: Floats, bins: int) -> list[Floats]:
    """Return how far persistence was off at this horizon over the last day."""
    errors = day[:, bins:] - day[:, :-bins]
    spread = np.abs(errors)
    known = np.maximum(np.count_nonzero(~np.isnan(errors), axis=1), 1e-9)
    mean = np.where(known < 1, np.nan, np.nansum(spread, axis=1) / known)
    return [*sorted_quantiles(np.sort(errors, axis=1), _ERROR_LEVELS), mean]
