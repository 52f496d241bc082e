"""From settings to PromQL, and from answers to arrays with one row for each VM and host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.prometheus.client import PrometheusClient, RangeSeries
from forecast.prometheus.settings import COUNTERS, Measure, Settings
from solver.domain.errors import InvalidInputError

Doubles = npt.NDArray[np.float64]
Key = tuple[str, ...]

_FUNCTIONS: Final = {"state": "min_over_time", "up": "sum_over_time"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Consecutive bins, the first of which starts at ``start_s`` seconds since 1970."""

    start_s: int
    num_bins: int
    step_seconds: int

    @property
    def end_s(self) -> int:
        """When the last bin ends."""
        return self.start_s + self.num_bins * self.step_seconds


@dataclass(slots=True, kw_only=True, eq=False)
class Table:
    """Answers about one stretch, row by row; rows are found by the values of some labels.

    ``unknown`` counts what was neither NaN nor a finite number.
    """

    stretch: Stretch
    labels: tuple[str, ...]
    rows: dict[Key, int] = field(default_factory=dict)
    unknown: int = 0

    def place(self, query: str, answer: Iterable[RangeSeries], *, num_points: int) -> Doubles:
        """Return an answer as an array of a row for each key so far, NaN where there is no point.

        Raises
        ------
        InvalidInputError
            If a series lacks a label, or two have the same.
        """
        placed: dict[int, RangeSeries] = {}
        for series in answer:
            key = self._key(query, series.labels)
            row = self.rows.setdefault(key, len(self.rows))
            if row in placed:
                raise InvalidInputError(
                    f"query {query!r} has two series with "
                    f"{dict(zip(self.labels, key, strict=True))}; expected one for each"
                )
            placed[row] = series
        values = np.full((len(self.rows), num_points), np.nan)
        for row, series in placed.items():
            values[row, series.at] = series.values
        infinite = np.isinf(values)
        self.unknown += int(infinite.sum())
        values[infinite] = np.nan
        return values

    def _key(self, query: str, labels: Mapping[str, str]) -> Key:
        missing = [name for name in self.labels if not labels.get(name)]
        if missing:
            raise InvalidInputError(
                f"query {query!r} has a series without the label {missing[0]!r}; expected "
                f"{', '.join(self.labels)}, got {', '.join(sorted(labels)) or 'none'}"
            )
        return tuple(labels[name] for name in self.labels)

    def grown(self, values: Doubles) -> Doubles:
        """Return an earlier array with NaN rows for the keys that came later."""
        lacking = len(self.rows) - len(values)
        return np.pad(values, ((0, lacking), (0, 0)), constant_values=np.nan)


def ask(client: PrometheusClient, table: Table, query: str, *, edges: bool = False) -> Doubles:
    """Ask for a query at the end of each bin; with ``edges`` also where the first begins."""
    stretch = table.stretch
    num_points = stretch.num_bins + edges
    answer = client.query_range(
        query,
        start_s=stretch.start_s if edges else stretch.start_s + stretch.step_seconds,
        step_s=stretch.step_seconds,
        num_points=num_points,
    )
    return table.place(query, answer, num_points=num_points)


def vm_labels(settings: Settings) -> tuple[str, ...]:
    """Return the labels that make a piece: the VM, what it is called, and the host."""
    names = (settings.vm_label, settings.name_label, settings.host_label)
    return tuple(dict.fromkeys(name for name in names if name))


def quantity(settings: Settings, name: str, step_seconds: int) -> str:
    """Return the query for a quantity of VMs: its mean over a bin, or for a counter its rate."""
    measure = settings.vm[name]
    if measure.query:
        return measure.query.replace("$bin", f"{step_seconds}s")
    function = _FUNCTIONS.get(name, "rate" if name in COUNTERS else "avg_over_time")
    inner = f"{function}({_selector(measure, settings.vm_select)}[{step_seconds}s])"
    if name == "up":
        return f"max by ({settings.host_label}) ({inner})"
    # One exporter scraped by two jobs must not count twice; disks and interfaces do add up.
    by = ", ".join(vm_labels(settings))
    if measure.per:
        return f"sum by ({by}) (max by ({by}, {measure.per}) ({inner}))"
    return f"{'min' if name == 'state' else 'max'} by ({by}) ({inner})"


def least_state(settings: Settings, step_seconds: int) -> str:
    """Return the query for the state in which each VM was least alive."""
    selector = _selector(settings.vm["state"], settings.vm_select)
    by = ", ".join(vm_labels(settings))
    return f"max by ({by}) (max_over_time({selector}[{step_seconds}s]))"


def sample_counts(settings: Settings, step_seconds: int) -> str:
    """Return the query for how many samples each bin has."""
    selector = _selector(settings.vm["cpu_time"], settings.vm_select)
    by = ", ".join(vm_labels(settings))
    return f"max by ({by}) (count_over_time({selector}[{step_seconds}s]))"


def sample_times(settings: Settings) -> str:
    """Return the query for when the newest sample was taken."""
    selector = _selector(settings.vm["cpu_time"], settings.vm_select)
    return f"max by ({', '.join(vm_labels(settings))}) (timestamp({selector}))"


def _selector(measure: Measure, matchers: str) -> str:
    return f"{measure.metric}{{{matchers}}}" if matchers else measure.metric


def host_of(instance: str) -> str:
    """Return a host's name from an address with a port.

    >>> host_of("host1:9177"), host_of("[fd00::1]:9177"), host_of("host1")
    ('host1', 'fd00::1', 'host1')
    """
    name, colon, port = instance.rpartition(":")
    bare = (
        name if colon and port.isdigit() and (":" not in name or name.endswith("]")) else instance
    )
    return bare.removeprefix("[").removesuffix("]")
