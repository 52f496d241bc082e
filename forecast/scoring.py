"""Running totals of how forecasts did, by group of VMs; what a backtest adds up.

Losses are on a common scale, so that a small VM's failure counts like a large one's: CPU in vCPUs,
memory in sizes of the VM, disk and network in the VM's own mean over the training window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from forecast.classes import CLASSES, VmClasses
from forecast.features import MODELLED_AT
from forecast.forecaster import (
    HORIZON_MINUTES,
    NUM_HORIZONS,
    NUM_QUANTILES,
    QUANTILES,
    QuantileForecast,
)
from forecast.history import Floats, History
from forecast.metrics import (
    cdf_bounds,
    crps,
    group_bands,
    hit_share,
    interval_score,
    pinball,
    random_groups,
    width,
)
from forecast.scaling import unit_of
from solver.domain.units import NUM_RESOURCES, Resource

GROUPS: Final = (*CLASSES, "busy", "all")
RESOURCE_NAMES: Final = ("cpu", "memory", "disk_io", "net_io")
HOST_RESOURCES: Final = (Resource.CPU, Resource.MEMORY)
"""Resources whose sums over a host are judged."""

Doubles = npt.NDArray[np.float64]


def memberships(classes: VmClasses, among: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return which VMs belong to each of ``GROUPS``; ``float32`` of shape (num_groups, num_vms).

    Only VMs whose class is known and that are ``among`` those judged.
    """
    judged = among & classes.known
    rows = [judged & (classes.codes == code) for code in range(len(CLASSES))]
    return np.stack([*rows, judged & classes.busy, judged]).astype(np.float32)


def loss_units(history: History, *, until_bin: int) -> Floats:
    """Return what each VM's losses are divided by, shape ``(num_resources, num_vms)``."""
    units = np.ones((NUM_RESOURCES, history.num_vms), dtype=np.float32)
    for resource in (Resource.CPU, Resource.MEMORY):
        units[resource] = unit_of(history, resource)
    for resource in (Resource.DISK_IO, Resource.NET_IO):
        past = history.readings[resource, :, :until_bin]
        known = np.maximum(np.count_nonzero(~np.isnan(past), axis=1), 1)
        units[resource] = np.maximum(np.nansum(past, axis=1) / known, 1.0)
    return units


@dataclass(slots=True, kw_only=True)
class LossTally:
    """Sums over (VM, origin) pairs, by resource, group, horizon and quantile."""

    losses: Doubles = field(
        default_factory=lambda: np.zeros((NUM_RESOURCES, len(GROUPS), NUM_HORIZONS, NUM_QUANTILES))
    )
    hits: Doubles = field(
        default_factory=lambda: np.zeros((NUM_RESOURCES, len(GROUPS), NUM_HORIZONS, NUM_QUANTILES))
    )
    crps: Doubles = field(
        default_factory=lambda: np.zeros((NUM_RESOURCES, len(GROUPS), NUM_HORIZONS))
    )
    width: Doubles = field(
        default_factory=lambda: np.zeros((NUM_RESOURCES, len(GROUPS), NUM_HORIZONS))
    )
    count: Doubles = field(
        default_factory=lambda: np.zeros((NUM_RESOURCES, len(GROUPS), NUM_HORIZONS))
    )

    def add(
        self,
        forecast: QuantileForecast,
        actual: Floats,
        members: npt.NDArray[np.float32],
        units: Floats,
    ) -> None:
        """Add one forecast.

        Parameters
        ----------
        actual
            What was measured, ``(num_resources, num_vms, num_horizons)``; NaN is left out.
        members
            From :func:`memberships`.
        units
            From :func:`loss_units`.
        """
        for resource in forecast.resources:
            unit = units[resource][:, None]
            truth = actual[resource] / unit
            values = forecast.values[resource] / unit[..., None]
            known = ~np.isnan(truth)
            low, high = cdf_bounds(actual[resource], forecast.values[resource], QUANTILES)
            hits = hit_share(low[..., None], high[..., None], np.array(QUANTILES))
            hits = np.where(known[..., None], hits, 0.0)
            self.count[resource] += members @ known.astype(np.float32)
            self.losses[resource] += _sum(members, pinball(truth, values, QUANTILES))
            self.hits[resource] += _sum(members, hits)
            self.crps[resource] += members @ np.nan_to_num(crps(truth, values, QUANTILES))
            band = width(values, QUANTILES, low=0.05, high=0.95)
            self.width[resource] += members @ np.where(known, band, 0.0)

    def mean_pinball(self) -> Doubles:
        """Return mean loss over pairs and quantiles; NaN where nothing was judged."""
        return _ratio(self.losses.mean(axis=-1), self.count)

    def figures(self, resource: int, group: int, horizon: int) -> dict[str, Any]:
        """Return the figures of one cell as JSON values."""
        place = (resource, group, horizon)
        count = self.count[place]
        return {
            "pinball": float(self.losses[place].mean() / count),
            "crps": float(self.crps[place] / count),
            "coverage": {
                f"{q:g}": round(float(hit / count), 5)
                for q, hit in zip(QUANTILES, self.hits[place], strict=True)
            },
            "width_90": float(self.width[place] / count),
            "n": int(count),
        }


def _sum(members: npt.NDArray[np.float32], per_quantile: npt.NDArray[Any]) -> Doubles:
    """Add up over the VMs of each group; NaN counts as nothing."""
    clean = np.nan_to_num(per_quantile).astype(np.float64)
    return np.asarray(np.tensordot(members.astype(np.float64), clean, axes=1))


def _ratio(total: Doubles, count: Doubles) -> Doubles:
    known = count > 0
    return np.where(known, total / np.where(known, count, 1.0), np.nan)


@dataclass(slots=True, kw_only=True)
class HostSumTally:
    """How often the sum of a host-sized group of VMs fell into its 90 % band.

    Three ways to add VMs up are compared: ``joint`` (as past errors went together), ``independent``
    and ``comonotone`` (all high at once); and ``reduced``, the joint paths after their reduction to
    few weighted ones.
    """

    inside: dict[str, dict[tuple[int, int, str], list[float]]] = field(default_factory=dict)
    score: dict[str, dict[tuple[int, int, str], list[float]]] = field(default_factory=dict)

    def add(
        self,
        paths: Floats,
        actual: Floats,
        *,
        resources: Sequence[Resource],
        day: str,
        reduced: tuple[npt.NDArray[np.intp], Sequence[int]],
        rng: np.random.Generator,
    ) -> None:
        """Add one origin.

        Parameters
        ----------
        paths
            Joint paths, ``(num_paths, num_resources, num_vms, num_horizons)``.
        actual
            ``(num_resources, num_vms, num_horizons)``; VMs with NaN anywhere are left out.
        resources
            What was forecast; only CPU and memory are judged.
        day
            Origins of a day are not independent; figures are kept by day.
        reduced
            Chosen paths and their parts per million.
        rng
            Draws the groups.
        """
        judged = [r for r in HOST_RESOURCES if r in resources]
        usable = np.flatnonzero(~np.isnan(actual[judged]).any(axis=(0, 2)))
        groups = random_groups(len(usable), rng)
        if not groups:
            return
        shuffled = np.argsort(rng.random((len(paths), len(usable)), dtype=np.float32), axis=0)
        for resource in judged:
            for h in MODELLED_AT:
                joint = paths[:, resource, usable, h]
                truth = np.array([actual[resource, usable[g], h].sum() for g in groups])
                few, ppm = joint[reduced[0]], np.asarray(reduced[1], dtype=np.float64)
                ways = {
                    "joint": group_bands(joint, groups),
                    "independent": group_bands(np.take_along_axis(joint, shuffled, axis=0), groups),
                    "comonotone": group_bands(np.sort(joint, axis=0), groups),
                    "reduced": group_bands(few, groups, weights=ppm),
                }
                size = np.array([max(joint[:, g].sum(axis=1).mean(), 1e-9) for g in groups])
                for way, (low, high) in ways.items():
                    hit = (truth >= low) & (truth <= high)
                    score = interval_score(truth, low, high, coverage=0.9) / size
                    self._keep(self.inside, way, (resource, h, day), hit)
                    self._keep(self.score, way, (resource, h, day), score)

    @staticmethod
    def _keep(
        store: dict[str, dict[tuple[int, int, str], list[float]]],
        way: str,
        key: tuple[int, int, str],
        values: npt.NDArray[Any],
    ) -> None:
        store.setdefault(way, {}).setdefault(key, []).extend(float(v) for v in values)

    def figures(self, *, seed: int) -> dict[str, Any]:
        """Return the figures by horizon as JSON values; empty if nothing was added."""
        document: dict[str, Any] = {}
        for h in MODELLED_AT:
            minutes = HORIZON_MINUTES[h]
            pooled = self._values(self.inside, "joint", h, None)
            if not pooled:
                continue
            cell: dict[str, Any] = self._cell(h, None, seed)
            for resource in HOST_RESOURCES:
                if self._values(self.inside, "joint", h, resource):
                    cell[RESOURCE_NAMES[resource]] = self._cell(h, resource, seed)
            document[str(minutes)] = cell
        return document

    def _cell(self, h: int, resource: Resource | None, seed: int) -> dict[str, Any]:
        values = {way: self._values(self.inside, way, h, resource) for way in self.inside}
        scores = {way: self._values(self.score, way, h, resource) for way in self.score}
        low, high = self._interval(h, resource, seed)
        return {
            "coverage_90": float(np.mean(values["joint"])),
            "coverage_90_interval": [low, high],
            "n": len(values["joint"]),
            "reduced_coverage_90": float(np.mean(values["reduced"])),
            "interval_score": float(np.mean(scores["joint"])),
            "independent": {
                "coverage_90": float(np.mean(values["independent"])),
                "interval_score": float(np.mean(scores["independent"])),
            },
            "comonotone": {
                "coverage_90": float(np.mean(values["comonotone"])),
                "interval_score": float(np.mean(scores["comonotone"])),
            },
        }

    @staticmethod
    def _values(
        store: dict[str, dict[tuple[int, int, str], list[float]]],
        way: str,
        h: int,
        resource: Resource | None,
    ) -> list[float]:
        return [
            value
            for (r, step, _), kept in store.get(way, {}).items()
            if step == h and resource in (None, r)
            for value in kept
        ]

    def _interval(self, h: int, resource: Resource | None, seed: int) -> tuple[float, float]:
        """Return the 95 % interval of the coverage, days drawn with replacement."""
        by_day: dict[str, list[float]] = {}
        for (r, step, day), kept in self.inside["joint"].items():
            if step == h and resource in (None, r):
                by_day.setdefault(day, []).extend(kept)
        total = np.array([sum(kept) for kept in by_day.values()])
        count = np.array([len(kept) for kept in by_day.values()])
        rng = np.random.default_rng(seed)
        drawn = rng.integers(0, len(total), (2000, len(total)))
        shares = total[drawn].sum(axis=1) / count[drawn].sum(axis=1)
        return float(np.quantile(shares, 0.025)), float(np.quantile(shares, 0.975))
