"""Read the VMs of a cluster from Prometheus, bin by bin, wherever each of them ran.

Bins end at whole steps of UTC and are read complete. A bin is measured if half of it was seen on
hosts that had the VM; its values are means over what was seen. Everything else is missing, except
that a VM is off where a host says so, or where no host has it while all of them answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.history import STEP_SECONDS, utc
from forecast.prometheus.assembly import Assembly, Part, VmReadings
from forecast.prometheus.client import PrometheusClient
from forecast.prometheus.columns import without_implausible
from forecast.prometheus.coverage import NEIGHBOUR_BINS, covered_seconds, usual_samples
from forecast.prometheus.pieces import Pieces, join
from forecast.prometheus.queries import (
    Stretch,
    Table,
    ask,
    host_of,
    least_state,
    quantity,
    sample_counts,
    sample_times,
    vm_labels,
)
from forecast.prometheus.settings import COUNTERS, REQUIRED, Settings
from forecast.tidy_columns import stamp
from solver.domain.errors import InvalidInputError, TelemetrySourceError

PART_BINS: Final = 288
"""Bins asked for and put together at once: a day, a few MB of answer for a hundred VMs."""
FULL_SHARE: Final = 0.95
"""A piece was there all of a bin, rather than there and back, if it has these of the samples."""
UP_SHARE: Final = 0.9
"""A host answered in a bin if it did so for this share of the usual scrapes."""

Doubles = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]


def read_vms(
    client: PrometheusClient,
    settings: Settings,
    *,
    from_at: datetime,
    until_at: datetime,
    step_seconds: int = STEP_SECONDS,
    progress: Progress | None = None,
) -> VmReadings:
    """Return all VMs that were seen, each from its first to its last bin.

    Parameters
    ----------
    from_at, until_at
        The first instant wanted and the first not wanted any more; bins that lie in between
        as a whole are read.
    step_seconds
        Length of a bin; several scrapes have to fall into it.
    progress
        Called with the bins done and the bins in all.

    Raises
    ------
    TelemetrySourceError
        If Prometheus does not answer, or has nothing to tell of that time.
    InvalidInputError
        If the settings do not fit what Prometheus has: another unit, labels that are not there or
        do not tell VMs apart.
    """
    whole = stretch_of(from_at, until_at, step_seconds)
    reader = _Reader(client=client, settings=settings, found=Assembly(whole=whole))
    for first in range(0, whole.num_bins, PART_BINS):
        part = Stretch(
            start_s=whole.start_s + first * step_seconds,
            num_bins=min(PART_BINS, whole.num_bins - first),
            step_seconds=step_seconds,
        )
        reader.read(part, first)
        if progress is not None:
            progress(first + part.num_bins, whole.num_bins)
    reader.check_told()
    absent = tuple(name for name, told in reader.told.items() if not told)
    return reader.found.finished(absent=absent, implausible=reader.implausible)


def stretch_of(from_at: datetime, until_at: datetime, step_seconds: int) -> Stretch:
    """Return the whole bins between two instants.

    Raises
    ------
    InvalidInputError
        If there is none, or an instant carries no time zone.
    """
    if step_seconds < 1:
        raise InvalidInputError(f"expected bins of at least 1 s, got {step_seconds}")
    first = int(-(-utc(from_at).timestamp() // step_seconds))
    end = int(utc(until_at).timestamp() // step_seconds)
    if end <= first:
        raise InvalidInputError(
            f"expected at least one whole bin of {step_seconds} s between {from_at.isoformat()} "
            f"and {until_at.isoformat()}"
        )
    return Stretch(start_s=first * step_seconds, num_bins=end - first, step_seconds=step_seconds)


@dataclass(slots=True, kw_only=True, eq=False)
class _Reader:
    """Reads part after part.

    ``told`` says of which quantities Prometheus had anything; ``samples`` is how many samples the
    bins of each host had in the newest part.
    """

    client: PrometheusClient
    settings: Settings
    found: Assembly
    told: dict[str, bool] = field(default_factory=dict)
    implausible: int = 0
    samples: Doubles = field(default_factory=lambda: np.zeros((0, 0)))

    def read(self, stretch: Stretch, first: int) -> None:
        """Read one part, the first bin of which is bin ``first`` of the whole."""
        table = Table(stretch=stretch, labels=vm_labels(self.settings))
        step = stretch.step_seconds
        counts = ask(self.client, table, sample_counts(self.settings, step))
        times = ask(self.client, table, sample_times(self.settings), edges=True)
        values = self._values(table)
        self._note_up(stretch, first)
        if not table.rows:
            return
        counts = np.nan_to_num(table.grown(counts))
        edges = stretch.start_s + step * np.arange(stretch.num_bins + 1)
        ages = edges - table.grown(times)
        keys = list(table.rows)
        order = {vm: i for i, vm in enumerate(dict.fromkeys(key[0] for key in keys))}
        pieces = self._pieces(table, order, counts, ages, values)
        joined = join(pieces, step_seconds=step)
        vms = tuple(order)
        self.implausible += table.unknown + without_implausible(joined.values, vms, stretch)
        names = _last_names(self.settings, keys, counts)
        self.found.add(Part(first=first, vms=vms, names=names, joined=joined))

    def _values(self, table: Table) -> dict[str, Doubles]:
        found: dict[str, Doubles] = {}
        for name, measure in self.settings.vm.items():
            if name == "up":
                continue
            query = quantity(self.settings, name, table.stretch.step_seconds)
            found[name] = ask(self.client, table, query) * measure.scale
            told = not bool(np.isnan(found[name]).all())
            self.told[name] = self.told.get(name, False) or told
        if "state" in self.settings.vm:
            query = least_state(self.settings, table.stretch.step_seconds)
            found["least_state"] = ask(self.client, table, query)
        return {name: table.grown(values) for name, values in found.items()}

    def _pieces(
        self,
        table: Table,
        order: dict[str, int],
        counts: Doubles,
        ages: Doubles,
        values: dict[str, Doubles],
    ) -> Pieces:
        where = table.labels.index(self.settings.host_label)
        hosts = np.array([self.found.host(host_of(key[where])) for key in table.rows])
        usual = self._usual_samples(hosts, counts)[hosts]
        covered = covered_seconds(counts, ages, usual, step_seconds=table.stretch.step_seconds)
        unknown = np.full_like(counts, np.nan)
        return Pieces(
            vm=np.array([order[key[0]] for key in table.rows], dtype=np.intp),
            host=hosts,
            # Where no CPU time was counted, nothing is said of the VM.
            covered_s=np.where(np.isnan(values["cpu_time"]), 0.0, covered),
            seen=counts > 0,
            full=counts >= FULL_SHARE * usual,
            state=values.pop("state", unknown),
            least_state=values.pop("least_state", unknown),
            rates={name: of for name, of in values.items() if name in COUNTERS},
            levels={name: of for name, of in values.items() if name not in COUNTERS},
            host_before=np.array([self.found.last_host(vm) for vm in order], dtype=np.int32),
        )

    def _usual_samples(self, hosts: npt.NDArray[np.intp], counts: Doubles) -> Doubles:
        """Return how many samples each host's bins usually have, from the part before on."""
        before = self.samples[:, -NEIGHBOUR_BINS:]
        known = np.zeros((len(self.found.hosts), before.shape[1] + counts.shape[1]))
        known[: len(before), : before.shape[1]] = before
        np.maximum.at(known[:, before.shape[1] :], hosts, counts)
        self.samples = known
        return usual_samples(known)[:, before.shape[1] :]

    def _note_up(self, stretch: Stretch, first: int) -> None:
        if "up" not in self.settings.vm or not self.settings.absent_is_off:
            return
        table = Table(stretch=stretch, labels=(self.settings.host_label,))
        query = quantity(self.settings, "up", stretch.step_seconds)
        answered = ask(self.client, table, query)
        # NaN compares false: a host of which nothing is known did not answer.
        ok = answered >= UP_SHARE * usual_samples(answered)
        for (instance,), row in table.rows.items():
            self.found.answered(self.found.host(host_of(instance)), first, ok[row])

    def check_told(self) -> None:
        """Refuse to go on without what every exporter tells.

        Raises
        ------
        TelemetrySourceError
            If there is no CPU time or no number of vCPUs.
        """
        whole = self.found.whole
        for name in REQUIRED:
            if not self.told[name]:
                raise TelemetrySourceError(
                    f"Prometheus has nothing from {stamp(whole.start_s)} to {stamp(whole.end_s)} "
                    f"for {quantity(self.settings, name, whole.step_seconds)!r}; expected a value "
                    f"for every VM, scraped at least twice in {whole.step_seconds} s"
                )


def _last_names(
    settings: Settings, keys: list[tuple[str, ...]], counts: Doubles
) -> tuple[str, ...]:
    """Return what each VM was called last, in the order of first sight."""
    where = vm_labels(settings).index(settings.name_label or settings.vm_label)
    newest: dict[str, tuple[int, str]] = {}
    for key, samples in zip(keys, counts, strict=True):
        seen = np.flatnonzero(samples)
        last = int(seen[-1]) if len(seen) else -1
        newest[key[0]] = max(newest.get(key[0], (-1, "")), (last, key[where]))
    return tuple(name for _, name in newest.values())
