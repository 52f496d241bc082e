"""A forecaster at work: forecasts now, and learns from those whose time has come.

Holds what must be carried from one forecast to the next: forecasts not yet settled, the corrected
levels, the memory of joint errors, the share of what all VMs have in common. Everything it knows
comes from the history it is handed, up to the bin it is asked about; the same calls in the same
order give the same answers.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.accuracy import Accuracy, AfterMoves
from forecast.calibrate import Calibrator
from forecast.classes import BURSTY
from forecast.error_memory import ErrorMemory, actual_readings
from forecast.features import WEEK
from forecast.forecaster import NUM_HORIZONS, Forecaster, QuantileForecast
from forecast.history import Floats, History
from forecast.host_sums import SumCalibrator
from forecast.scenarios import make_scenarios, median_scenario
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import ScenarioSet
from solver.domain.units import NUM_RESOURCES, Resource, VmId

ECHO: Final = timedelta(minutes=10)
"""For so long after a migration a VM works off what waited while it was slowed down or stood still.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pending:
    """A forecast whose readings are still to come, who made it, and what was known then."""

    forecaster: Forecaster
    raw: QuantileForecast
    corrected: QuantileForecast
    newest: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """A migration, and the time over which a VM's readings speak of it as well."""

    vm_id: VmId
    began_at: datetime
    settled_at: datetime


class Futures(enum.Enum):
    """How quantiles become futures; all but ``JOINT`` are there to be compared with."""

    JOINT = "joint"
    """VMs go together as their past errors did."""

    INDEPENDENT = "independent"
    """Every VM has its own distribution and knows nothing of the others."""

    MEDIAN = "median"
    """One future in which every VM needs its median."""


@dataclass(slots=True, kw_only=True)
class OnlineForecaster:
    """Wraps a fitted forecaster with calibration and joint scenarios.

    Parameters
    ----------
    forecaster
        Makes the quantiles.
    resources
        What is forecast; the others stay as they are in every scenario.
    class_of
        Class code of each known VM; any other VM counts as bursty.
    seed
        Of the draws within atoms; scenarios have a generator of their own.

    Attributes
    ----------
    accuracy
        How good forecasts have been, of readings that no migration had a part in.
    after_moves
        Errors of readings during and shortly after a VM's own migration: kept apart, since
        neither the model nor its bands are to learn what foreswap did itself.
    """

    forecaster: Forecaster
    resources: Sequence[Resource]
    class_of: dict[VmId, int] = field(default_factory=dict)
    seed: int = 0
    calibrator: Calibrator = field(default_factory=Calibrator)
    memory: ErrorMemory = field(default_factory=ErrorMemory)
    sums: SumCalibrator = field(default_factory=SumCalibrator)
    accuracy: Accuracy = field(default_factory=Accuracy)
    after_moves: AfterMoves = field(default_factory=AfterMoves)
    _moves: list[_Move] = field(default_factory=list)
    _pending: deque[_Pending] = field(default_factory=deque)
    _settled_at: datetime | None = None
    _rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def forecast(self, history: History, *, at_bin: int) -> QuantileForecast:
        """Settle what can be settled, then forecast the next hour, corrected.

        Raises
        ------
        InvalidInputError
            If time runs backwards.
        """
        at = history.time_of(at_bin + 1)
        if self._pending and at <= self._pending[-1].raw.at:
            raise InvalidInputError(
                f"expected a later time than the last forecast's, {self._pending[-1].raw.at}, "
                f"got {at}"
            )
        self.settle(history, at_bin=at_bin)
        raw = self.forecaster.forecast(history, at_bin=at_bin, resources=self.resources)
        corrected = self.calibrator.correct(raw, self.class_codes(history.vm_ids))
        newest = history.latest(at_bin)
        self._pending.append(
            _Pending(forecaster=self.forecaster, raw=raw, corrected=corrected, newest=newest)
        )
        return corrected

    def scenarios(
        self,
        history: History,
        *,
        at_bin: int,
        num_scenarios: int,
        rng: np.random.Generator,
        futures: Futures = Futures.JOINT,
    ) -> tuple[QuantileForecast, ScenarioSet]:
        """Forecast, and turn the forecast into weighted joint futures of every VM."""
        forecast = self.forecast(history, at_bin=at_bin)
        present = history.latest(at_bin, max_age_bins=WEEK)
        if futures is Futures.MEDIAN:
            return forecast, median_scenario(forecast, start_at=forecast.at, present=present)
        joint = futures is Futures.JOINT
        return forecast, make_scenarios(
            forecast,
            self.memory if joint else ErrorMemory(),
            num_scenarios=num_scenarios,
            rng=rng,
            start_at=forecast.at,
            present=present,
            common_share=self.sums.share if joint else None,
        )

    def go_on_with(self, forecaster: Forecaster) -> None:
        """Forecast with another model of the same kind from now on, and keep what was learned.

        Corrections and joint errors of two models of one fleet are alike, and follow the new one
        hour by hour; to make them anew from the latest days would be to judge the model on what it
        was trained on. How good its forecasts are is learned from the beginning.
        """
        self.forecaster = forecaster
        self.calibrator.forget_coverage()
        self.accuracy = Accuracy()

    def note_move(self, vm_id: VmId, began_at: datetime, ended_at: datetime) -> None:
        """Take note of a migration, so that what it did to the VM is not taken for demand.

        For telemetry of VMs that really moved, whether the migration went well or not; a recorded
        trace knows nothing of moves that are only simulated.

        Raises
        ------
        InvalidInputError
            If the move ended before it began.
        """
        if ended_at < began_at:
            raise InvalidInputError(
                f"VM {vm_id!r}: expected a move that ends no earlier than {began_at}, "
                f"got {ended_at}",
                path="ended_at",
            )
        self._moves.append(_Move(vm_id=vm_id, began_at=began_at, settled_at=ended_at + ECHO))

    def settle(self, history: History, *, at_bin: int) -> None:
        """Learn from all forecasts whose last horizon has been read by ``at_bin``."""
        read_until = history.time_of(at_bin + 1)
        while self._pending and _ends_at(self._pending[0].raw) <= read_until:
            pending = self._pending.popleft()
            # Those that had settled before this forecast have no part in it, nor in later ones.
            self._moves = [move for move in self._moves if move.settled_at > pending.raw.at]
            read = _actual_for(pending.raw, history)
            if read is None:
                continue  # before the history at hand: its readings are gone
            hours = 1.0
            if self._settled_at is not None:
                hours = (pending.raw.at - self._settled_at).total_seconds() / 3600.0
            self._settled_at = pending.raw.at
            hours = min(hours, self.calibrator.memory_hours)
            disturbed = self._disturbed(pending.raw)
            actual = np.where(disturbed, np.float32(np.nan), read)
            if disturbed.any():
                self.after_moves.add(
                    pending.corrected, np.where(disturbed, read, np.float32(np.nan))
                )
            self.calibrator.observe(
                pending.corrected,
                actual,
                self.class_codes(pending.raw.vm_ids),
                hours_since_last=hours,
            )
            # On days it was fitted on a model looks better than it is.
            fitted_until = getattr(self.forecaster, "trained_until_", None)
            unseen = fitted_until is None or pending.raw.at >= fitted_until
            if unseen and pending.forecaster is self.forecaster:
                self.accuracy.observe(
                    pending.corrected, pending.newest, actual, hours_since_last=hours
                )
            self.sums.observe(
                pending.corrected, actual, self.memory, rng=self._rng, hours_since_last=hours
            )
            self.memory.observe(pending.raw, actual, rng=self._rng)

    def _disturbed(self, forecast: QuantileForecast) -> npt.NDArray[np.bool_]:
        """Tell which readings a VM's own migration had a part in, ``(num_vms, num_horizons)``."""
        disturbed = np.zeros((len(forecast.vm_ids), len(forecast.horizon_minutes)), dtype=np.bool_)
        where = {vm_id: v for v, vm_id in enumerate(forecast.vm_ids)}
        ends = np.array(forecast.horizon_minutes)
        begins = np.concatenate([[0], ends[:-1]])
        for move in self._moves:
            v = where.get(move.vm_id)
            if v is not None:
                began, settled = (
                    (at - forecast.at) / timedelta(minutes=1)
                    for at in (move.began_at, move.settled_at)
                )
                disturbed[v] |= (begins < settled) & (ends > began)
        return disturbed

    def warm_up(
        self, history: History, *, until_bin: int, days: float = 7.0, every_bins: int = 7
    ) -> int:
        """Forecast the last days in hindsight, so that calibration and memory do not start empty.

        Intervals that share no factor with the hour see every minute of it, and with it the jobs
        that run by the clock.

        Parameters
        ----------
        until_bin
            Nothing from this bin on is read.
        days
            How far to go back, at most to the begin of the history.
        every_bins
            Bins between forecasts.

        Returns
        -------
        int
            Number of forecasts made.
        """
        bins_per_day = 86_400 // history.step_seconds
        first = max(0, until_bin - round(days * bins_per_day))
        origins = range(first, until_bin - 1, every_bins)
        for at_bin in origins:
            self.forecast(history, at_bin=at_bin)
        return len(origins)

    def class_codes(self, vm_ids: Sequence[VmId]) -> npt.NDArray[np.int64]:
        """Return the class of each VM; an unknown one is bursty, which has the widest bands."""
        return np.array([self.class_of.get(vm_id, BURSTY) for vm_id in vm_ids], dtype=np.int64)


def _ends_at(forecast: QuantileForecast) -> datetime:
    return forecast.at + timedelta(minutes=max(forecast.horizon_minutes))


def _actual_for(forecast: QuantileForecast, history: History) -> Floats | None:
    """Return what became of a forecast, in its own order of VMs; ``None`` if long gone."""
    at_bin = history.bin_at(forecast.at) - 1
    if at_bin < 0:
        return None
    actual = actual_readings(history, at_bin, forecast.horizon_minutes)
    if forecast.vm_ids == history.vm_ids:
        return actual
    where = {vm_id: i for i, vm_id in enumerate(history.vm_ids)}
    source = np.array([where.get(vm_id, -1) for vm_id in forecast.vm_ids], dtype=np.intp)
    unknown = np.full((NUM_RESOURCES, 1, NUM_HORIZONS), np.nan, dtype=np.float32)
    return np.concatenate([actual, unknown], axis=1)[:, source]
