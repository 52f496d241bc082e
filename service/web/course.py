"""How a VM or a host went and where it goes, as plain values: what was read, what was forecast.

Every figure stands at the end of the bin it is the mean of, so that readings and forecasts of the
same bin lie above one another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from forecast.forecaster import HORIZON_MINUTES
from forecast.history import Floats, History
from service.runtime.past_fans import LEVELS, PastFan
from solver.domain.units import FIELDS, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """How amounts of a resource are told.

    Parameters
    ----------
    divisor
        Of what the program counts in.
    """

    name: str
    unit: str
    divisor: float


UNITS: Final[Mapping[str, Unit]] = {
    Resource.CPU.field: Unit(name="CPU", unit="cores", divisor=1000),
    Resource.MEMORY.field: Unit(name="Memory", unit="GiB", divisor=1024),
    Resource.DISK_IO.field: Unit(name="Disk", unit="MiB/s", divisor=1024),
    Resource.NET_IO.field: Unit(name="Network", unit="MiB/s", divisor=1024),
}

MOST_UNREAD: Final = 0.1
"""Share of the VMs of a host that may be missing in the sum over it."""

Line = tuple[list[datetime], list[float | None]]
"""Instants, and an amount at each; ``None`` where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """A forecast as lines by the name of the quantile, over the same instants.

    Parameters
    ----------
    lines
        ``p5``, ``p50``, ``p95``, and of the latest forecast ``p25`` and ``p75`` as well.
    """

    instants: list[datetime]
    lines: Mapping[str, list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One resource of a VM or a host, in the unit it is told in.

    Parameters
    ----------
    observed
        By name of what was read.
    earlier
        Forecasts of the past, the oldest first.
    ahead
        The latest one; ``None`` for none.
    limit
        Most there is; ``None`` where nothing is known to limit it.
    limit_name
        What the limit is.
    """

    resource: str
    observed: Mapping[str, Line]
    earlier: Sequence[Fan]
    ahead: Fan | None
    limit: float | None = None
    limit_name: str = "limit"

    @property
    def unit(self) -> Unit:
        """How it is told."""
        return UNITS[self.resource]


def courses(
    observed: Mapping[str, History],
    earlier: Sequence[PastFan],
    ahead: Mapping[str, Any] | None,
    limits: Sequence[int | None],
    *,
    limit_name: str,
    since: datetime,
) -> list[Course]:
    """Return the course of each resource that was read or is forecast.

    Parameters
    ----------
    observed
        By name, histories of a single row.
    ahead
        A fan of ``service.runtime.forecasting.fan_from_bytes``.
    limits
        In the order of the resources.
    since
        Earlier forecasts from before it are left out.
    """
    found = []
    for resource, limit in zip(Resource, limits, strict=True):
        lines = {
            name: line
            for name, history in observed.items()
            if (line := _line(history, resource)) is not None
        }
        fan = None if ahead is None else _fan_ahead(ahead, resource.field)
        if lines or fan is not None:
            found.append(
                Course(
                    resource=resource.field,
                    observed=lines,
                    earlier=_earlier(earlier, resource.field, since),
                    ahead=fan,
                    limit=None if limit is None else limit / UNITS[resource.field].divisor,
                    limit_name=limit_name,
                )
            )
    return found


def sum_of(history: History, there: npt.NDArray[np.bool_]) -> History:
    """Return a history of one row: the sum of all rows where they were there.

    Not known are resources that nobody reads, and bins in which more than a tenth of those that
    were there were not read.

    Parameters
    ----------
    there
        Shape ``(num_vms, num_bins)``.
    """
    unread = np.isnan(history.readings)
    sums = np.where(there & ~unread, history.readings, np.float32(0.0)).sum(axis=1)
    too_many = (there & unread).sum(axis=1) > MOST_UNREAD * np.maximum(1, there.sum(axis=0))
    sums[too_many] = np.nan
    sums[[resource for resource in Resource if not history.has(resource)]] = np.nan
    return replace(history.select([0]), readings=sums[:, None].astype(np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindsight:
    """How the forecasts of the past day fared with what was then read.

    Parameters
    ----------
    num_readings
        That are compared.
    within, below_p95
        Share of them within the 90 % band, and at or below its upper end.
    loss
        Mean pinball loss over the kept quantiles, over how far demand went from its reading when
        the forecast was made; ``None`` where it did not move.
    """

    num_readings: int
    within: float
    below_p95: float
    loss: float | None


def hindsight(earlier: Sequence[PastFan], history: History, resource: Resource) -> Hindsight | None:
    """Return how forecasts of one resource fared; ``None`` if nothing can be compared.

    Parameters
    ----------
    history
        Of one row.
    """
    pairs = [pair for fan in earlier for pair in _pairs(fan, history, resource)]
    if not pairs:
        return None
    bands = np.array([band for band, _, _ in pairs])
    read = np.array([reading for _, reading, _ in pairs])
    newest = np.array([level for _, _, level in pairs])
    under = read[:, None] - bands
    levels = np.array(LEVELS)
    losses = np.maximum(levels * under, (levels - 1) * under).mean(axis=1)
    way = float(np.nansum(np.abs(read - newest)))
    return Hindsight(
        num_readings=len(pairs),
        within=float(((read >= bands[:, 0]) & (read <= bands[:, -1])).mean()),
        below_p95=float((read <= bands[:, -1]).mean()),
        loss=float(losses[~np.isnan(newest)].sum()) / way if way > 0 else None,
    )


def _pairs(fan: PastFan, history: History, resource: Resource) -> list[tuple[Floats, float, float]]:
    """Return the band, the reading, and the reading when the forecast was made, of each bin."""
    values = fan.values.get(resource.field)
    if values is None:
        return []
    row = history.readings[resource, 0]
    made = _bin_that_ends(history, fan.at)
    newest = float(row[made]) if 0 <= made < len(row) else float("nan")
    found = []
    for band, minutes in zip(values, HORIZON_MINUTES, strict=True):
        at_bin = _bin_that_ends(history, fan.at + timedelta(minutes=minutes))
        if 0 <= at_bin < len(row) and not np.isnan(row[at_bin]):
            found.append((band, float(row[at_bin]), newest))
    return found


def _bin_that_ends(history: History, at: datetime) -> int:
    return round((at - history.start_at).total_seconds() / history.step_seconds) - 1


def _line(history: History, resource: Resource) -> Line | None:
    values = history.readings[resource, 0]
    if np.isnan(values).all():
        return None
    step = timedelta(seconds=history.step_seconds)
    instants = [history.start_at + (i + 1) * step for i in range(history.num_bins)]
    divisor = UNITS[FIELDS[resource]].divisor
    told = [None if np.isnan(value) else round(float(value) / divisor, 4) for value in values]
    return instants, told


def _earlier(fans: Sequence[PastFan], field: str, since: datetime) -> list[Fan]:
    names = [f"p{100 * level:g}" for level in LEVELS]
    return [
        _fan(fan.at, HORIZON_MINUTES, dict(zip(names, fan.values[field].T, strict=True)), field)
        for fan in fans
        if field in fan.values and fan.at >= since
    ]


def _fan_ahead(fan: Mapping[str, Any], field: str) -> Fan | None:
    values = fan["resources"].get(field)
    if values is None:
        return None
    rows = np.array(values, dtype=np.float64).T
    names = {f"p{100 * level:g}": row for level, row in zip(fan["quantiles"], rows, strict=True)}
    kept = {name: names[name] for name in ("p5", "p25", "p50", "p75", "p95")}
    return _fan(datetime.fromisoformat(fan["at"]), fan["horizon_minutes"], kept, field)


def _fan(at: datetime, minutes: Sequence[int], rows: Mapping[str, Any], field: str) -> Fan:
    divisor = UNITS[field].divisor
    return Fan(
        instants=[at + timedelta(minutes=each) for each in minutes],
        lines={
            name: [round(float(value) / divisor, 4) for value in row] for name, row in rows.items()
        },
    )
