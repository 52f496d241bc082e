"""Fits the migration estimator to what migrations really took.

``solver.domain.migration.estimate`` predicts; the executor measures; this closes the loop. Only
parameters that measurements can tell apart are fitted: the share of the memory that has to be sent,
the share of the bandwidth that carries pages, the time before the first page, and the downtime
beyond sending the rest. Everything else stays as it was. Robust: medians, so that a few moves
disturbed by others do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from executor.report import MeasuredMove
from solver.domain.migration import (
    LEAST_SENT_FRACTION,
    MigrationEstimate,
    MigrationParameters,
    estimate,
)

MIN_MOVES: Final = 8
"""Fewer measured moves than that say more about chance than about the network."""

_EFFICIENCY: Final = (0.05, 1.0)
"""Fitted shares outside are no property of a link but a sign of wrong units."""

_SENT: Final = (LEAST_SENT_FRACTION, 1.0)

_ROUNDS: Final = 5
"""Setup and efficiency are fitted in turn; each round shrinks what is left of their mixing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Fitted parameters and how well they fit.

    Parameters
    ----------
    num_moves
        Moves that were used; with fewer than ``MIN_MOVES`` the parameters are the given ones.
    error_before, error_after
        Median relative error of the predicted duration with the given and the fitted parameters;
        ``None`` if no move was used.
    """

    parameters: MigrationParameters
    num_moves: int
    error_before: float | None
    error_after: float | None


def calibrate(moves: Sequence[MeasuredMove], parameters: MigrationParameters) -> Calibration:
    """Return ``parameters`` fitted to measured moves.

    Never worse than what was given: a fit whose median error of the duration is larger is thrown
    away.

    Parameters
    ----------
    moves
        Completed migrations. Those whose guest had nothing to send, or that were granted no
        bandwidth, are left out.
    parameters
        What was assumed so far.
    """
    used = [m for m in moves if m.transferred_mib > 0 and m.bandwidth_mib_per_s > 0]
    if not used:
        return Calibration(parameters=parameters, num_moves=0, error_before=None, error_after=None)
    before = _median_error(used, parameters)
    fitted = parameters if len(used) < MIN_MOVES else _fit(used, parameters)
    after = _median_error(used, fitted)
    if after > before:
        fitted, after = parameters, before
    return Calibration(
        parameters=fitted, num_moves=len(used), error_before=before, error_after=after
    )


def _fit(moves: Sequence[MeasuredMove], parameters: MigrationParameters) -> MigrationParameters:
    duration_s = _column(moves, "duration_ms") / 1000
    downtime_s = _column(moves, "downtime_ms") / 1000
    sent = _column(moves, "transferred_mib")
    bandwidth = _column(moves, "bandwidth_mib_per_s")
    wire_s = sent / bandwidth
    setup_s, handover_s = parameters.setup_s, parameters.handover_s
    efficiency = parameters.wire_efficiency
    for _ in range(_ROUNDS):
        # How much is sent again depends on how fast, so that this is one of what is fitted in turn.
        trial = replace(parameters, wire_efficiency=efficiency)
        parameters = replace(parameters, sent_fraction=_fit_sent(moves, trial))
        sending_s = np.maximum(duration_s - setup_s - handover_s, 1e-3)
        # Long moves tell the efficiency, short ones the setup: each is weighed accordingly.
        efficiency = float(np.clip(_weighted_median(wire_s / sending_s, wire_s), *_EFFICIENCY))
        rest_s = duration_s - wire_s / efficiency - handover_s
        setup_s = max(0.0, _weighted_median(rest_s, 1 / np.maximum(wire_s, 1e-3)))
        trial = replace(parameters, wire_efficiency=efficiency, setup_s=setup_s, handover_s=0.0)
        predicted_s = _courses(moves, trial).downtime_ms / 1000
        handover_s = max(0.0, float(np.median(downtime_s - predicted_s)))
    return replace(parameters, wire_efficiency=efficiency, setup_s=setup_s, handover_s=handover_s)


def _fit_sent(moves: Sequence[MeasuredMove], parameters: MigrationParameters) -> float:
    """Return the share of the memory that explains better what was sent."""
    expected = _courses(moves, parameters).transferred_mib
    ratio = float(np.median(_column(moves, "transferred_mib") / np.maximum(expected, 1)))
    return float(np.clip(parameters.sent_fraction * ratio, *_SENT))


def _median_error(moves: Sequence[MeasuredMove], parameters: MigrationParameters) -> float:
    measured = np.maximum(_column(moves, "duration_ms"), 1.0)
    return float(np.median(np.abs(_courses(moves, parameters).duration_ms - measured) / measured))


def _courses(moves: Sequence[MeasuredMove], parameters: MigrationParameters) -> MigrationEstimate:
    """Return what the moves would have been expected to take."""
    return estimate(
        _column(moves, "footprint_mib"),
        _column(moves, "dirty_mib_per_s"),
        _column(moves, "bandwidth_mib_per_s"),
        parameters,
    )


def _column(moves: Sequence[MeasuredMove], name: str) -> npt.NDArray[np.float64]:
    return np.array([getattr(move, name) for move in moves], dtype=np.float64)


def _weighted_median(values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> float:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])
