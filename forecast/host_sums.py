"""Keep the bands of sums over hosts honest, beyond what the memory of joint errors can show.

Some weeks of errors hold few of the events that hit many VMs at once, and random ranks of VMs
whose past is unknown hide even those. What is missing is made up by a factor that all VMs of a
path share. How strong it is, is learned online by the same rule as the levels of single VMs
(adaptive conformal inference, Gibbs & Candès 2021): whenever a forecast's time has come, the sums
of random host-sized groups are held against their 90 % bands, and the share of the common factor
rises while too few fall inside and sinks while too many do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from forecast.calibrate import forgotten
from forecast.error_memory import ErrorMemory
from forecast.forecaster import NUM_HORIZONS, QuantileForecast
from forecast.history import Floats
from forecast.metrics import group_bands, random_groups
from forecast.scenarios import sample_paths
from solver.domain.units import NUM_RESOURCES

COVERAGE: Final = 0.9
START_SHARE: Final = 0.1
MAX_SHARE: Final = 0.9
MEMORY_HOURS: Final = 24.0
GAIN: Final = 4.0
"""Coverage rises by about a quarter as the share goes from none to all; the gain makes up for it,
so that a fault is mended within the memory's time."""
NUM_PATHS: Final = 64


def _start() -> Floats:
    return np.full((NUM_RESOURCES, NUM_HORIZONS), START_SHARE, dtype=np.float32)


@dataclass(slots=True, kw_only=True)
class SumCalibrator:
    """How much of the VMs' deviations is common to all of them.

    Attributes
    ----------
    share
        Share of the common factor in 0..0.9, shape ``(num_resources, num_horizons)``.
    hits, weight
        Faded count of sums inside their band, and of sums; their ratio is the recent coverage.
        Shape as ``share``.
    """

    share: Floats = field(default_factory=_start)
    hits: Floats = field(default_factory=lambda: _start() * 0)
    weight: Floats = field(default_factory=lambda: _start() * 0)

    def observe(
        self,
        forecast: QuantileForecast,
        actual: Floats,
        memory: ErrorMemory,
        *,
        rng: np.random.Generator,
        hours_since_last: float,
    ) -> None:
        """Learn from a forecast, as it was handed out, whose time has come.

        Parameters
        ----------
        actual
            What was measured, ``(num_resources, num_vms, num_horizons)``; VMs with NaN are left
            out of their sum.
        memory
            Joint errors before that forecast.
        hours_since_last
            Time since the observation before.

        Raises
        ------
        InvalidInputError
            If the time is not positive.
        """
        step = forgotten(hours_since_last, MEMORY_HOURS)
        self.hits *= 1.0 - step
        self.weight *= 1.0 - step
        paths = sample_paths(
            forecast, memory, num_paths=NUM_PATHS, rng=rng, common_share=self.share
        )
        for resource in forecast.resources:
            usable = np.flatnonzero(~np.isnan(actual[resource]).any(axis=1))
            groups = random_groups(len(usable), rng)
            if not groups:
                continue
            for h in range(NUM_HORIZONS):
                low, high = group_bands(paths[:, resource, usable, h], groups)
                truth = np.array([actual[resource, usable[group], h].sum() for group in groups])
                hit = float(((truth >= low) & (truth <= high)).mean())
                self.hits[resource, h] += hit
                self.weight[resource, h] += 1.0
                self.share[resource, h] += GAIN * step * (COVERAGE - hit)
        np.clip(self.share, 0.0, MAX_SHARE, out=self.share)

    def coverage(self) -> Floats:
        """Return the recent coverage of the 90 % bands, shape as ``share``; NaN at first."""
        known = self.weight > 0
        return np.where(known, self.hits / np.where(known, self.weight, 1.0), np.nan)
