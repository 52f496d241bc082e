"""From quantiles per VM to joint futures of the whole cluster.

Hosts carry sums of VMs, and VMs move together. The dependence is taken from what happened: for
each past forecast the ``ErrorMemory`` keeps where in its distribution every reading fell (the
probability integral transform), for all VMs, resources and horizons of the same date jointly.
A new forecast is filled with these dates' ranks (the Schaake shuffle [1]_): every VM keeps exactly
its forecast distribution, while who is high together with whom, and for how long, is as it was.

Many joint paths are then reduced to few weighted ones. Paths are sorted by the cluster's total and
cut into strata that grow finer towards the top, one path standing for each, so that the rare heavy
futures remain in the set with their small probability.

References
----------
.. [1] Clark et al. (2004). The Schaake shuffle. J. Hydrometeorology 5(1).
   doi:10.1175/1525-7541(2004)005<0243:TSSAMF>2.0.CO;2
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.forecaster import NUM_HORIZONS, QUANTILES, QuantileForecast
from forecast.history import BinState, Floats, History
from forecast.metrics import cdf_bounds, interpolation_weights
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import PROBABILITY_PPM, ScenarioSet
from solver.domain.units import MAX_AMOUNT, NUM_RESOURCES, Resource, VmId

STEP_SECONDS: Final = 900
NUM_PATHS: Final = 256
"""Joint paths drawn before the reduction."""
MEMORY_DAYS: Final = 7
HOST_SIZED_GROUP: Final = 20
"""VMs per random group whose sums the reduction tries to preserve."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Entry:
    """Where the readings of one past date fell, ``float32``, NaN where unknown.

    ``values`` has shape ``(num_resources, num_vms, num_horizons)``.
    """

    at: datetime
    values: Floats


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

    def __len__(self) -> int:
        return len(self._entries)

    def observe(
        self, forecast: QuantileForecast, actual: Floats, *, rng: np.random.Generator
    ) -> None:
        """Remember how a forecast went, once all its horizons have passed.

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
        if self._entries and forecast.at <= self._entries[-1].at:
            raise InvalidInputError(
                f"expected a forecast later than {self._entries[-1].at}, got {forecast.at}"
            )
        if forecast.vm_ids != self.vm_ids:
            self._follow(forecast.vm_ids)
        positions = np.full(shape, np.nan, dtype=np.float32)
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
                else [np.full((NUM_RESOURCES, 1, NUM_HORIZONS), np.nan, dtype=np.float32)],
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
        num_paths: int,
        rng: np.random.Generator,
    ) -> Floats:
        """Draw past dates' positions, the missing ones filled in.

        Dates at the same time of day are preferred: what hits VMs together (backups, batch runs,
        office hours) has its hour. A date may be drawn more than once while few are remembered.
        Where a VM has no position on a date, it gets a random one of its own.

        Returns
        -------
        Floats
            In 0..1, shape ``(num_paths, len(resources), num_vms, num_horizons)``.
        """
        if vm_ids != self.vm_ids:
            self._follow(vm_ids)
        shape = (num_paths, len(resources), len(vm_ids), NUM_HORIZONS)
        if not self._entries:
            return independent_positions(shape, rng)
        chosen = self._dates(at, num_paths, rng)
        wanted = list(resources)
        dates = np.stack([entry.values[wanted] for entry in self._entries])
        drawn = dates[chosen]
        unknown = np.isnan(drawn)
        if unknown.any():
            drawn[unknown] = rng.random(int(unknown.sum()), dtype=np.float32)
        return drawn

    def _dates(
        self, at: datetime, num_paths: int, rng: np.random.Generator
    ) -> npt.NDArray[np.intp]:
        """Choose dates: all equally often as far as possible, the rest by time of day."""
        num_dates = len(self._entries)
        if num_dates <= num_paths:
            whole = np.repeat(np.arange(num_dates), num_paths // num_dates)
            rest = rng.choice(num_dates, num_paths - len(whole), replace=False)
            return np.concatenate([whole, rest])
        minutes = np.array(
            [(at - entry.at).total_seconds() / 60.0 for entry in self._entries], dtype=np.float64
        )
        apart = np.abs((minutes + 720.0) % 1440.0 - 720.0) / 60.0
        weight = 0.25 + np.exp(-0.5 * (apart / 2.0) ** 2)
        share = weight / weight.sum()
        return np.asarray(rng.choice(num_dates, num_paths, replace=False, p=share), dtype=np.intp)


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


def sample_paths(
    forecast: QuantileForecast,
    memory: ErrorMemory,
    *,
    num_paths: int,
    rng: np.random.Generator,
    common_share: Floats | None = None,
) -> Floats:
    """Draw equally likely joint paths of demand.

    Parameters
    ----------
    common_share
        Share of the deviations, beyond what the memory shows, that all VMs of a path have in
        common, in 0..1, shape ``(num_resources, num_horizons)``; see ``forecast.host_sums``.

    Returns
    -------
    Floats
        Shape ``(num_paths, num_resources, num_vms, num_horizons)``; zero for resources that were
        not forecast.
    """
    resources = forecast.resources
    positions = memory.draw(
        forecast.vm_ids, forecast.at, resources=resources, num_paths=num_paths, rng=rng
    )
    if common_share is not None:
        positions = with_common_factor(positions, common_share[list(resources)], rng)
    shape = (num_paths, NUM_RESOURCES, len(forecast.vm_ids), NUM_HORIZONS)
    paths = np.zeros(shape, dtype=np.float32)
    # Values at the middle of each of num_paths equal shares of probability, dealt by rank.
    weights = interpolation_weights((np.arange(num_paths) + 0.5) / num_paths, QUANTILES)
    for k, resource in enumerate(resources):
        table = forecast.values[resource] @ weights.T
        np.clip(table, 0.0, forecast.limits[resource][:, None, None], out=table)
        ranks = _ranks(np.moveaxis(positions[:, k], 0, -1), rng)
        paths[:, resource] = np.moveaxis(np.take_along_axis(table, ranks, axis=-1), -1, 0)
    return paths


def with_common_factor(positions: Floats, share: Floats, rng: np.random.Generator) -> Floats:
    """Mix a factor shared by all VMs of a path into their positions.

    One draw per path and resource, held over its steps. Positions become logits, to which the
    factor is added in proportion; only their ranks matter afterwards, so no VM's own distribution
    changes.

    Parameters
    ----------
    positions
        Shape ``(num_paths, num_resources, num_vms, num_horizons)``, in 0..1.
    share
        Shape ``(num_resources, num_horizons)``, in 0..1.

    Returns
    -------
    Floats
        Shape of ``positions``; any real number.
    """
    factor = _logit(rng.random((*positions.shape[:2], 1, 1), dtype=np.float32))
    part = share[None, :, None, :].astype(np.float32)
    return np.asarray(np.sqrt(1.0 - part) * _logit(positions) + np.sqrt(part) * factor)


def _logit(positions: Floats) -> Floats:
    inside = np.clip(positions, 1e-4, 1.0 - 1e-4)
    return np.asarray(np.log(inside / (1.0 - inside)))


def _ranks(positions: Floats, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Rank along the last axis; a shared random order of the paths breaks ties fairly."""
    order = rng.permutation(positions.shape[-1])
    sorted_at = np.argsort(positions[..., order], axis=-1)
    ranks = np.empty_like(sorted_at)
    np.put_along_axis(
        ranks, order[sorted_at], np.broadcast_to(np.arange(len(order)), sorted_at.shape), axis=-1
    )
    return ranks


def make_scenarios(
    forecast: QuantileForecast,
    error_memory: ErrorMemory,
    *,
    num_scenarios: int,
    rng: np.random.Generator,
    start_at: datetime,
    present: Floats,
    num_paths: int = NUM_PATHS,
    common_share: Floats | None = None,
) -> ScenarioSet:
    """Turn a forecast into a few weighted joint futures.

    A step's demand is that of the 5-minute bin that ends it. The mean over a step would hide the
    peaks, of which shortfall, being convex, is made.

    Parameters
    ----------
    forecast
        Quantiles at 15, 30, 45 and 60 minutes.
    error_memory
        How past forecasts went; while it is empty, VMs are taken as independent.
    num_scenarios
        How many futures to keep.
    rng
        Same seed, same scenarios.
    start_at
        The present; the forecast's ``at``.
    present
        Demand now, shape ``(num_resources, num_vms)``; NaN counts as the median forecast.
        A resource that was not forecast stays as it is now.
    num_paths
        How many joint paths to draw before reducing them.
    common_share
        See :func:`sample_paths`.

    Returns
    -------
    ScenarioSet
        ``num_scenarios`` futures of four steps of 15 minutes.

    Raises
    ------
    InvalidInputError
        If shapes disagree or ``num_scenarios`` is not in ``1..num_paths``.
    """
    shape = (NUM_RESOURCES, len(forecast.vm_ids))
    if present.shape != shape:
        raise InvalidInputError(f"expected present demand of shape {shape}, got {present.shape}")
    if not 1 <= num_scenarios <= num_paths:
        raise InvalidInputError(f"expected 1..{num_paths} scenarios, got {num_scenarios}")
    median = np.nan_to_num(forecast.values[:, :, 0, QUANTILES.index(0.5)])
    now = np.where(np.isnan(present), median, present)
    now[:, ~forecast.present] = 0.0
    paths = sample_paths(
        forecast, error_memory, num_paths=num_paths, rng=rng, common_share=common_share
    )
    for resource in range(NUM_RESOURCES):
        if resource not in forecast.resources:
            paths[:, resource] = now[resource][:, None]
    chosen, probability_ppm = reduce_paths(paths, num_scenarios=num_scenarios, rng=rng)
    demand = np.empty((num_scenarios, shape[1], NUM_RESOURCES, 1 + NUM_HORIZONS), dtype=np.int64)
    demand[..., 0] = np.rint(now).T
    demand[..., 1:] = np.rint(np.moveaxis(paths[chosen], 1, 2))
    return ScenarioSet(
        vm_ids=forecast.vm_ids,
        start_at=start_at,
        step_seconds=STEP_SECONDS,
        probability_ppm=probability_ppm,
        demand=np.clip(demand, 0, MAX_AMOUNT),
    )


def strata(num_paths: int, num_scenarios: int) -> npt.NDArray[np.intp]:
    """Cut paths sorted by weight of demand into shares that grow finer towards the top.

    Sizes fall linearly, the last a quarter of the first; at least one path each.

    Returns
    -------
    Array
        Start of each stratum and the end of the last, shape ``(num_scenarios + 1,)``.

    Examples
    --------
    >>> strata(256, 4).tolist()
    [0, 103, 179, 230, 256]
    """
    sizes = np.linspace(4.0, 1.0, num_scenarios)
    edges = np.rint(np.concatenate([[0.0], np.cumsum(sizes)]) / sizes.sum() * num_paths)
    edges = edges.astype(np.intp)
    # With nearly as many scenarios as paths rounding leaves strata empty: push them apart.
    steps = np.arange(num_scenarios + 1)
    edges = np.maximum.accumulate(edges - steps) + steps
    return np.asarray(np.minimum(edges, num_paths - num_scenarios + steps))


def reduce_paths(
    paths: Floats, *, num_scenarios: int, rng: np.random.Generator, num_tries: int = 24
) -> tuple[npt.NDArray[np.intp], tuple[int, ...]]:
    """Choose paths that stand for all, and their probabilities.

    Stratified by the cluster's total, one path drawn from each stratum: every path has the same
    chance, weighted, so nothing is biased. Of several such draws the one is kept that comes nearest
    to all paths in the mean and in the upper partial means of random host-sized groups.

    Parameters
    ----------
    paths
        Shape ``(num_paths, num_resources, num_vms, num_horizons)``.

    Returns
    -------
    tuple
        Positions of the chosen paths, and parts per million that add up exactly.
    """
    num_paths = len(paths)
    features = _group_sums(paths, rng)
    order = np.argsort(features.mean(axis=1), kind="stable")
    edges = strata(num_paths, num_scenarios)
    size = np.diff(edges)
    draws = edges[:-1] + (rng.random((num_tries, num_scenarios)) * size).astype(np.intp)
    chosen = order[draws]
    probability = size / num_paths
    goals = _partial_means(features[None], np.full(num_paths, 1.0 / num_paths), features)
    reached = _partial_means(features[chosen], probability, features)
    best = int(np.argmin(((reached - goals) ** 2).sum(axis=(1, 2))))
    return chosen[best], _ppm(probability)


def _group_sums(paths: Floats, rng: np.random.Generator) -> Floats:
    """Return demand of random groups by resource and step, each scaled by its own mean.

    Shape ``(num_paths, num_resources * num_groups * num_horizons)``; resources without demand are
    left out. All VMs are in one group each, so the mean over groups is the cluster's total.
    """
    num_paths, _, num_vms, num_horizons = paths.shape
    num_groups = max(1, num_vms // HOST_SIZED_GROUP)
    member = np.zeros((num_groups, num_vms), dtype=np.float32)
    member[rng.permutation(num_vms) % num_groups, np.arange(num_vms)] = 1.0
    sums = []
    for resource in range(paths.shape[1]):
        # (groups, vms) @ (paths, vms, steps)
        total = member @ paths[:, resource]
        mean = total.mean(axis=(0, 1))
        if (mean > 0).any():
            sums.append((total / np.where(mean > 0, mean, 1.0)).reshape(num_paths, -1))
    if not sums:
        return np.zeros((num_paths, num_groups * num_horizons), dtype=np.float32)
    return np.concatenate(sums, axis=1)


def _partial_means(
    features: Floats, probability: npt.NDArray[np.float64], everything: Floats
) -> npt.NDArray[np.float64]:
    """Return mean and mean excess over high thresholds; shape ``(num_draws, 3, num_features)``."""
    spread = np.maximum(everything.std(axis=0), 1e-9)
    thresholds = np.quantile(everything, (0.8, 0.95), axis=0)
    parts = [np.einsum("k,dkf->df", probability, features) / spread]
    for threshold in thresholds:
        excess = np.maximum(features - threshold, 0.0)
        parts.append(np.einsum("k,dkf->df", probability, excess) / spread)
    return np.stack(parts, axis=1)


def _ppm(probability: npt.NDArray[np.float64]) -> tuple[int, ...]:
    """Round to parts per million that add up exactly and are all positive."""
    parts = np.maximum(1, np.floor(probability * PROBABILITY_PPM)).astype(np.int64)
    parts[int(np.argmax(parts))] += PROBABILITY_PPM - int(parts.sum())
    return tuple(int(part) for part in parts)
