"""What is remembered of past forecasts: where in its distribution every reading fell.

All VMs, resources and horizons of one date are kept together, since it is their going together
that is remembered. How the memory shapes new futures is ``forecast.scenarios``' business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.forecaster import NUM_HORIZONS, QuantileForecast
from forecast.history import BinState, Floats, History
from forecast.metrics import cdf_bounds
from solver.domain.errors import InvalidInputError
from solver.domain.units import NUM_RESOURCES, Resource, VmId

MEMORY_DAYS: Final = 7
APART: Final = timedelta(minutes=35)
"""Between two dates that are remembered. The hours after nearer ones are for the most part the same
readings, and a week of them fills the memory of a large cluster. No factor in common with the hour,
so that jobs that run by the clock are met at every horizon; as in warming up and in backtests."""


_Halves = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Entry:
    """Where the readings of one past date fell, NaN where unknown.

    ``values`` has shape ``(num_resources, num_vms, num_horizons)``. Half precision tells more
    places apart than there are paths to be ranked by them.
    """

    at: datetime
    values: _Halves


@dataclass(slots=True, kw_only=True)
class ErrorMemory:
    """Positions of past readings in their forecast distributions, by date of the forecast.

    Parameters
    ----------
    keep
        How far back dates are remembered.
    """

    keep: timedelta = timedelta(days=MEMORY_DAYS)
    vm_ids: tuple[VmId, ...] = ()
    _entries: deque[_Entry] = field(default_factory=deque)
    _observed_at: datetime | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def observe(
        self, forecast: QuantileForecast, actual: Floats, *, rng: np.random.Generator
    ) -> None:
        """Remember how a forecast went, once all its horizons have passed.

        One that comes less than ``APART`` after the last that is remembered is let go.

        Parameters
        ----------
        forecast
            A forecast made earlier than none that was observed before.
        actual
            The readings it was about, shape ``(num_resources, num_vms, num_horizons)``; NaN where
            a reading is unknown.
        rng
            Draws the position within an atom.

        Raises
        ------
        InvalidInputError
            If shapes disagree or dates run backwards.
        """
        shape = (NUM_RESOURCES, len(forecast.vm_ids), len(forecast.horizon_minutes))
        if actual.shape != shape:
            raise InvalidInputError(f"expected readings of shape {shape}, got {actual.shape}")
        if self._observed_at is not None and forecast.at <= self._observed_at:
            raise InvalidInputError(
                f"expected a forecast later than {self._observed_at}, got {forecast.at}"
            )
        self._observed_at = forecast.at
        if forecast.vm_ids != self.vm_ids:
            self._follow(forecast.vm_ids)
        if self._entries and forecast.at - self._entries[-1].at < APART:
            return
        positions = np.full(shape, np.nan, dtype=np.float16)
        for resource in forecast.resources:
            low, high = cdf_bounds(actual[resource], forecast.values[resource], forecast.quantiles)
            positions[resource] = low + (high - low) * rng.random(low.shape)
        self._entries.append(_Entry(at=forecast.at, values=positions))
        while forecast.at - self._entries[0].at > self.keep:
            self._entries.popleft()

    def _follow(self, vm_ids: tuple[VmId, ...]) -> None:
        """Bring what is remembered into the order of another set of VMs."""
        position = {vm_id: i for i, vm_id in enumerate(self.vm_ids)}
        source = np.array([position.get(vm_id, -1) for vm_id in vm_ids], dtype=np.intp)
        moved: deque[_Entry] = deque()
        for entry in self._entries:
            padded = np.concatenate(
                [entry.values, np.full_like(entry.values[:, :1], np.nan)]
                if entry.values.shape[1]
                else [np.full((NUM_RESOURCES, 1, NUM_HORIZONS), np.nan, dtype=np.float16)],
                axis=1,
            )
            moved.append(_Entry(at=entry.at, values=padded[:, source]))
        self._entries = moved
        self.vm_ids = vm_ids

    def draw(
        self,
        vm_ids: tuple[VmId, ...],
        at: datetime,
        *,
        resources: Sequence[Resource],
        horizons: Sequence[int],
        num_paths: int,
        rng: np.random.Generator,
    ) -> Floats:
        """Draw past dates' positions, the missing ones filled in.

        All dates come equally often as far as possible. Of those left over, dates at the same time
        of day are preferred: what hits VMs together (backups, batch runs, office hours) has its
        hour.
        Where a VM has no position on a date, it gets a random one of its own.

        Returns
        -------
        Floats
            In 0..1, shape ``(num_paths, len(resources), num_vms, len(horizons))``, of the
            horizons at these positions.
        """
        if vm_ids != self.vm_ids:
            self._follow(vm_ids)
        shape = (num_paths, len(resources), len(vm_ids), len(horizons))
        if not self._entries:
            return independent_positions(shape, rng)
        drawn = np.empty(shape, dtype=np.float32)
        wanted = np.ix_(list(resources), range(len(vm_ids)), list(horizons))
        for path, chosen in enumerate(self._dates(at, num_paths, rng)):
            drawn[path] = self._entries[chosen].values[wanted]
        unknown = np.isnan(drawn)
        if unknown.any():
            drawn[unknown] = rng.random(int(unknown.sum()), dtype=np.float32)
        return drawn

    def _dates(
        self, at: datetime, num_paths: int, rng: np.random.Generator
    ) -> npt.NDArray[np.intp]:
        """Choose dates: all equally often as far as possible, the rest by time of day."""
        num_dates = len(self._entries)
        whole = np.repeat(np.arange(num_dates), num_paths // num_dates)
        minutes = np.array(
            [(at - entry.at).total_seconds() / 60.0 for entry in self._entries], dtype=np.float64
        )
        apart = np.abs((minutes + 720.0) % 1440.0 - 720.0) / 60.0
        weight = 0.25 + np.exp(-0.5 * (apart / 2.0) ** 2)
        share = weight / weight.sum()
        rest = rng.choice(num_dates, num_paths - len(whole), replace=False, p=share)
        return np.concatenate([whole, rest])


def independent_positions(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return positions of VMs that know nothing of each other; a VM keeps its own over a path.

    Steps of one VM are alike, since its errors last longer than a step.
    """
    held = rng.random((*shape[:-1], 1), dtype=np.float32)
    return np.ascontiguousarray(np.broadcast_to(held, shape))


def actual_readings(history: History, at_bin: int, horizon_minutes: tuple[int, ...]) -> Floats:
    """Return the measured readings at each horizon after a bin; NaN unless cleanly measured.

    A VM that went off or vanished did not have a small demand: it had none to compare.

    Returns
    -------
    Floats
        Shape ``(num_resources, num_vms, num_horizons)``.
    """
    actual = np.full(
        (NUM_RESOURCES, history.num_vms, len(horizon_minutes)), np.nan, dtype=np.float32
    )
    running = history.state[:, at_bin] <= BinState.INTERPOLATED
    for h, minutes in enumerate(horizon_minutes):
        target = at_bin + minutes * 60 // history.step_seconds
        if target < history.num_bins:
            clean = running & (history.state[:, target] == BinState.MEASURED)
            actual[:, clean, h] = history.readings[:, clean, target]
    return actual
