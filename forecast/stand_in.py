"""What is assumed of a VM that has not been read lately: never that it needs nothing.

Its newest reading of the last hour is its level. Failing that, the newest of the last week, with
bands several times as wide. Failing that, too, half of its size, with bands that reach over nearly
all of it. How a level becomes a forecast is ``forecast.baseline``'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.features import WEEK
from forecast.gaps import FILL_BINS, newest
from forecast.history import Floats, History
from forecast.scaling import scale, unit_of
from solver.domain.units import Resource

STALE_WIDENING: Final = 3.0
"""Generic bands grow with the root of time: from half an hour's to half a working day's."""
UNKNOWN_WIDENING: Final = 8.0
"""Takes the generic CPU and memory bands over nearly the whole size of a VM."""
UNKNOWN_LEVEL: Final = 0.5
"""Level of a VM never read, on the common scale: half of its vCPUs or memory, 150 KiB/s."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Levels:
    """Where each VM's demand is taken to be; arrays of shape ``(num_vms,)``.

    Parameters
    ----------
    values
        On the common scale; finite for every VM, zero for those that do not exist.
    widening
        How many times as wide as usual generic bands must be.
    """

    values: Floats
    widening: Floats

    @property
    def stale(self) -> npt.NDArray[np.bool_]:
        """Which VMs have no reading of the last hour."""
        return np.asarray(self.widening > 1.0)


def levels_at(history: History, resource: Resource, at_bin: int) -> Levels:
    """Return the level of every VM, reading bins up to and including ``at_bin``."""
    present = history.present(at_bin)
    values = np.zeros(history.num_vms, dtype=np.float32)
    widening = np.ones(history.num_vms, dtype=np.float32)
    unit = unit_of(history, resource)
    wanted = np.flatnonzero(present)
    for num_bins, factor in ((FILL_BINS, 1.0), (WEEK, STALE_WIDENING)):
        window = history.readings[resource, :, max(0, at_bin + 1 - num_bins) : at_bin + 1]
        rows = history.hide_ahead(window[wanted], at_bin, positions=wanted)
        level = scale(newest(rows), unit[wanted], resource)
        known = ~np.isnan(level)
        values[wanted[known]], widening[wanted[known]] = level[known], factor
        wanted = wanted[~known]
    values[wanted], widening[wanted] = UNKNOWN_LEVEL, UNKNOWN_WIDENING
    return Levels(values=values, widening=widening)
