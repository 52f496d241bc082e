"""Forecasts of a few VMs with what became of them: to look at, where figures only average."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from forecast.classes import CLASSES, VmClasses
from forecast.forecaster import HORIZON_MINUTES, QuantileForecast
from forecast.history import Floats, History
from solver.domain.units import Resource

FAN_MINUTES: Final = 30
_AT: Final = HORIZON_MINUTES.index(FAN_MINUTES)


def examples(history: History, classes: VmClasses, *, until_bin: int) -> dict[str, int]:
    """Return the position of one VM of each class: of those, the one that uses most CPU.

    Parameters
    ----------
    until_bin
        Nothing from this bin on is looked at.
    """
    cpu = history.readings[Resource.CPU, :, :until_bin]
    known = np.maximum(np.count_nonzero(~np.isnan(cpu), axis=1), 1)
    mean = np.nansum(cpu, axis=1) / known
    chosen = {}
    for code, name in enumerate(CLASSES):
        members = np.flatnonzero((classes.codes == code) & classes.known)
        if len(members):
            chosen[name] = int(members[mean[members].argmax()])
    return chosen


@dataclass(slots=True, kw_only=True)
class Fans:
    """CPU forecasts half an hour ahead of some VMs, origin after origin.

    Parameters
    ----------
    chosen
        Position of a VM by the name of its class.
    """

    chosen: dict[str, int]
    _at: list[str] = field(default_factory=list)
    _values: list[Floats] = field(default_factory=list)
    _actual: list[Floats] = field(default_factory=list)

    def add(self, forecast: QuantileForecast, actual: Floats) -> None:
        """Add one origin.

        Parameters
        ----------
        actual
            What was measured, ``(num_resources, num_vms, num_horizons)``; NaN where unknown.
        """
        vms: npt.NDArray[np.intp] = np.array(list(self.chosen.values()), dtype=np.intp)
        self._at.append(f"{forecast.at + timedelta(minutes=FAN_MINUTES):%Y-%m-%dT%H:%MZ}")
        self._values.append(forecast.values[Resource.CPU, vms, _AT])
        self._actual.append(actual[Resource.CPU, vms, _AT])

    def document(self, history: History, quantiles: tuple[float, ...]) -> list[dict[str, Any]]:
        """Return the fans as JSON values, one per class; millicores, ``null`` where unknown."""
        return [
            {
                "vm": str(history.vm_ids[position]),
                "class": name,
                "horizon_minutes": FAN_MINUTES,
                "at": self._at,
                "quantiles": {
                    f"{q:g}": [_rounded(values[i, k]) for values in self._values]
                    for k, q in enumerate(quantiles)
                },
                "actual": [_rounded(actual[i]) for actual in self._actual],
            }
            for i, (name, position) in enumerate(self.chosen.items())
        ]


def _rounded(value: np.float32) -> float | None:
    return None if np.isnan(value) else round(float(value), 1)
