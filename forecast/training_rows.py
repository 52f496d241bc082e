"""The sample that models of the whole fleet are fitted on: random pairs of VM and instant.

Busy VMs are drawn more often: idle ones are many and easy, and would otherwise be all that is
learned. Each pair has one horizon, drawn as well, and what came of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.classes import VmClasses
from forecast.features import (
    DAY,
    FEATURE_NAMES,
    HOUR,
    MODELLED_BINS,
    NUM_MODELLED,
    FeatureSettings,
    features_at,
)
from forecast.history import BinState, Floats, History
from forecast.scaling import scale, unit_of
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.units import Resource

MIN_TRAINING_ROWS: Final = 2_000
MIN_KNOWN: Final = HOUR
"""Clean readings of the last day below which a VM gets the cold-start forecast."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingRows:
    """A training sample.

    Parameters
    ----------
    features
        Shape ``(num_rows, num_features)``.
    level, demand
        The newest reading and the one at the horizon, on the common scale, each of shape
        ``(num_rows,)``.
    """

    features: Floats
    level: Floats
    demand: Floats


def draw_rows(
    history: History,
    resource: Resource,
    until_bin: int,
    *,
    classes: VmClasses,
    features: FeatureSettings,
    num_rows: int,
    rows_per_instant: int,
    idle_weight: float,
    rng: np.random.Generator,
) -> TrainingRows:
    """Draw pairs of VM and instant before a bin; about ``num_rows``, as far as readings are clean.

    Parameters
    ----------
    rows_per_instant
        VMs drawn at one instant; more instants see more situations, fewer are read faster.
    idle_weight
        How often an idle VM is drawn compared with a busy one; other VMs lie half-way.

    Raises
    ------
    NotEnoughHistoryError
        If fewer than ``MIN_TRAINING_ROWS`` clean pairs can be drawn.
    """
    weight = np.where(classes.busy, 1.0, idle_weight)
    weight = np.where(~classes.busy & (classes.codes != 0), (1 + idle_weight) / 2, weight)
    latest = until_bin - max(MODELLED_BINS)
    rows_per_instant = min(rows_per_instant, max(1, history.num_vms))
    num_instants = max(1, num_rows // rows_per_instant)
    parts: list[tuple[Floats, Floats, Floats]] = []
    if latest > HOUR:
        # The first day has no yesterday; it is used only when there is little else.
        earliest = min(DAY, max(HOUR, latest // 4))
        instants = np.sort(rng.integers(earliest, latest, num_instants))
        parts = [
            _instant(history, resource, int(i), features, weight, rows_per_instant, rng)
            for i in instants
        ]
    found = sum(len(level) for _, level, _ in parts)
    if found < MIN_TRAINING_ROWS:
        raise NotEnoughHistoryError(
            f"{resource.field}: only {found} clean training rows before "
            f"{history.time_of(until_bin):%Y-%m-%d %H:%M}; expected at least "
            f"{MIN_TRAINING_ROWS}"
        )
    features_, level, demand = (np.concatenate(column) for column in zip(*parts, strict=True))
    return TrainingRows(features=features_, level=level, demand=demand)


def _instant(
    history: History,
    resource: Resource,
    at_bin: int,
    features: FeatureSettings,
    weight: npt.NDArray[np.float64],
    most_rows: int,
    rng: np.random.Generator,
) -> tuple[Floats, Floats, Floats]:
    usable = np.flatnonzero(history.state[:, at_bin] <= BinState.INTERPOLATED)
    size = min(most_rows, len(usable))
    if not size:
        nothing = np.empty(0, np.float32)
        return np.empty((0, len(FEATURE_NAMES)), np.float32), nothing, nothing
    chance = weight[usable] / weight[usable].sum()
    vms = rng.choice(usable, size=size, replace=False, p=chance)
    horizon = rng.integers(0, NUM_MODELLED, size)
    block = features_at(history, resource, at_bin, settings=features, positions=vms)
    target_bin = at_bin + np.array(MODELLED_BINS)[horizon]
    reading = history.readings[resource, vms, target_bin]
    demand = scale(reading, unit_of(history, resource)[vms], resource)
    # Filled gaps would teach that the future is a straight line.
    clean = (history.state[vms, target_bin] == BinState.MEASURED) & ~np.isnan(demand - block.level)
    clean &= block.known >= MIN_KNOWN
    return block.values[np.arange(size), horizon][clean], block.level[clean], demand[clean]
