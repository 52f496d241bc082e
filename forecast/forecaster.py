"""What a forecaster promises, and the forecast it returns.

A forecaster is fitted on the past of a history and asked for the next hour at any later bin. It
reads nothing after that bin, changes nothing it is given, and answers for every VM, also for one
it has never seen.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from forecast.history import STEP_SECONDS, Floats, History
from solver.domain.errors import InvalidInputError, NotEnoughHistoryError
from solver.domain.units import NUM_RESOURCES, Resource, VmId

HORIZON_MINUTES: Final = tuple(range(5, 65, 5))
QUANTILES: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
HORIZON_BINS: Final = tuple(minutes * 60 // STEP_SECONDS for minutes in HORIZON_MINUTES)
NUM_HORIZONS: Final = len(HORIZON_MINUTES)
NUM_QUANTILES: Final = len(QUANTILES)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantileForecast:
    """Quantiles of what every VM will need; arrays are made read-only.

    Parameters
    ----------
    vm_ids
        The VMs, in the order of every VM axis.
    at
        The present: the end of the last bin that was read (aware UTC).
    resources
        What was forecast.
    values
        ``float32`` of shape ``(num_resources, num_vms, num_horizons, num_quantiles)`` in the units
        of :class:`~solver.domain.units.Resource`: the mean demand of the 5-minute bin that *ends*
        ``horizon_minutes`` after ``at``. Non-negative, non-decreasing along the quantiles, never
        above ``limits``; NaN for resources that were not forecast.
    limits
        The most a VM can demand, shape ``(num_resources, num_vms)``; may be infinite.
    present
        Which VMs exist at ``at``; the others' demand is forecast as zero.
    cold
        Which VMs had too little clean history of some resource, and got generic bands for it.
    recent_coverage
        Share of recent readings of the busier VMs at or below each quantile, shape
        ``(num_resources, num_horizons, num_quantiles)``; NaN while nothing has been observed.

    Raises
    ------
    InvalidInputError
        If a shape disagrees or the time is not aware UTC.
    """

    vm_ids: tuple[VmId, ...]
    at: datetime
    resources: tuple[Resource, ...]
    values: Floats
    limits: Floats
    present: npt.NDArray[np.bool_]
    cold: npt.NDArray[np.bool_]
    recent_coverage: Floats
    horizon_minutes: tuple[int, ...] = HORIZON_MINUTES
    quantiles: tuple[float, ...] = QUANTILES

    def __post_init__(self) -> None:
        if self.at.utcoffset() != timedelta(0):
            raise InvalidInputError(f"expected aware UTC, got {self.at!r}", path="at")
        num_vms, steps = len(self.vm_ids), (len(self.horizon_minutes), len(self.quantiles))
        expected = {
            "values": (NUM_RESOURCES, num_vms, *steps),
            "limits": (NUM_RESOURCES, num_vms),
            "present": (num_vms,),
            "cold": (num_vms,),
            "recent_coverage": (NUM_RESOURCES, *steps),
        }
        for name, shape in expected.items():
            array: npt.NDArray[np.generic] = getattr(self, name)
            if array.shape != shape:
                raise InvalidInputError(f"expected shape {shape}, got {array.shape}", path=name)
            array.flags.writeable = False


class Forecaster(Protocol):
    """Anything that can be fitted on the past and asked for the next hour."""

    @property
    def name(self) -> str:
        """How reports call it."""
        ...

    def fit(self, history: History, *, until_bin: int) -> None:
        """Learn from the bins before ``until_bin``; a forecaster without training does nothing.

        Raises
        ------
        NotEnoughHistoryError
            If there is too little to learn from.
        """
        ...

    def forecast(
        self, history: History, *, at_bin: int, resources: Sequence[Resource]
    ) -> QuantileForecast:
        """Forecast the next hour for every VM, reading bins up to and including ``at_bin``.

        Raises
        ------
        InvalidInputError
            If the bin lies outside the history.
        NotEnoughHistoryError
            If a forecaster that needs training was not trained for a resource.
        """
        ...


def finished_forecast(
    history: History,
    *,
    at_bin: int,
    resources: Sequence[Resource],
    values: Floats,
    cold: npt.NDArray[np.bool_],
) -> QuantileForecast:
    """Turn raw quantiles into a forecast that keeps every promise of the type.

    Sorts along the quantiles (monotone rearrangement, which never worsens the pinball loss [1]_),
    clips to ``0..limits``, and sets VMs that are off or absent to zero.

    Parameters
    ----------
    values
        Shape ``(num_resources, num_vms, num_horizons, num_quantiles)``; changed in place. A
        number for every VM that is running and every resource that was forecast.

    References
    ----------
    .. [1] Chernozhukov, Fernández-Val, Galichon (2010). Quantile and probability curves without
       crossing. Econometrica 78(3). doi:10.3982/ECTA7880
    """
    limits = history.limits()
    values.sort(axis=-1)
    np.clip(values, 0.0, limits[:, :, None, None], out=values)
    present = history.present(at_bin)
    idle = ~present | history.is_off(at_bin)
    for resource in resources:
        values[resource, idle] = 0.0
    return QuantileForecast(
        vm_ids=history.vm_ids,
        at=history.time_of(at_bin + 1),
        resources=tuple(resources),
        values=values,
        limits=limits,
        present=present,
        cold=cold & present,
        recent_coverage=np.full(
            (NUM_RESOURCES, NUM_HORIZONS, NUM_QUANTILES), np.nan, dtype=np.float32
        ),
    )


def interpolated(values: Floats, minutes: Sequence[int]) -> Floats:
    """Return values at all horizons from those at some, by lines between them.

    Parameters
    ----------
    values
        Shape ``(num_vms, len(minutes), num_quantiles)``.
    minutes
        Increasing, the first and the last horizon among them.

    Returns
    -------
    Floats
        Shape ``(num_vms, num_horizons, num_quantiles)``.
    """
    weights = np.stack([np.interp(HORIZON_MINUTES, minutes, row) for row in np.eye(len(minutes))])
    by_horizon = np.einsum("vmq,mh->vhq", values, weights.astype(np.float32), optimize=True)
    return np.asarray(by_horizon, dtype=np.float32)


def empty_values(num_vms: int) -> Floats:
    """Return NaN quantiles for ``num_vms`` VMs."""
    return np.full((NUM_RESOURCES, num_vms, NUM_HORIZONS, NUM_QUANTILES), np.nan, dtype=np.float32)


def require_bin(history: History, at_bin: int) -> None:
    """Raise ``InvalidInputError`` unless the bin lies inside the history."""
    if not 0 <= at_bin < history.num_bins:
        raise InvalidInputError(
            f"expected a bin of the history, 0..{history.num_bins - 1}, got {at_bin}"
        )


def require_fitted(fitted: Collection[Resource], resources: Sequence[Resource]) -> None:
    """Raise ``NotEnoughHistoryError`` unless a model was fitted for all resources asked for."""
    missing = [resource for resource in resources if resource not in fitted]
    if missing:
        raise NotEnoughHistoryError(
            f"the model was not fitted for {missing[0].field}; it knows "
            f"{', '.join(r.field for r in fitted) or 'nothing yet'}"
        )
