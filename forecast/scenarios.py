"""From quantiles per VM to joint futures of the whole cluster.

Hosts carry sums of VMs, and VMs move together. The dependence is taken from what happened: for
each past forecast the ``ErrorMemory`` keeps where in its distribution every reading fell (the
probability integral transform), for all VMs, resources and horizons of the same date jointly.
A new forecast is filled with these dates' ranks (the Schaake shuffle [1]_): every VM keeps exactly
its forecast distribution, while who is high together with whom, and for how long, is as it was.

Many joint paths are then reduced to few weighted ones by ``forecast.reduction``.

References
----------
.. [1] Clark et al. (2004). The Schaake shuffle. J. Hydrometeorology 5(1).
   doi:10.1175/1525-7541(2004)005<0243:TSSAMF>2.0.CO;2
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.error_memory import ErrorMemory
from forecast.forecaster import HORIZON_MINUTES, NUM_HORIZONS, QUANTILES, QuantileForecast
from forecast.history import Floats
from forecast.metrics import quantiles_at
from forecast.reduction import reduce_paths
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import PROBABILITY_PPM, ScenarioSet
from solver.domain.units import MAX_AMOUNT, NUM_RESOURCES

STEP_MINUTES: Final = 15
"""Between snapshots that the solver weighs: three times as many would cost three times as much."""
NUM_PATHS: Final = 256
"""Joint paths drawn before the reduction."""
LEAST_SCENARIOS: Final = 16
AFFORDABLE: Final = 2**20
"""Scenarios times VMs that the solver weighs without much delay (docs/decisions/0026)."""


def affordable_scenarios(num_vms: int) -> int:
    """Return how many joint futures to plan on: as many as the size of the cluster affords.

    What a plan saves on futures that nobody has seen depends on their number more than on the
    search (docs/decisions/0009, 0026).

    >>> [affordable_scenarios(vms) for vms in (80, 2_000, 10_000, 20_000, 100_000)]
    [256, 256, 64, 32, 16]
    """
    most = AFFORDABLE // max(1, num_vms)
    power: int = 1 << max(0, most.bit_length() - 1)
    return min(NUM_PATHS, max(LEAST_SCENARIOS, power))


def sample_paths(
    forecast: QuantileForecast,
    memory: ErrorMemory,
    *,
    num_paths: int,
    rng: np.random.Generator,
    common_share: Floats | None = None,
    horizons: Sequence[int] | None = None,
) -> Floats:
    """Draw equally likely joint paths of demand.

    Parameters
    ----------
    common_share
        Share of the deviations, beyond what the memory shows, that all VMs of a path have in
        common, in 0..1, shape ``(num_resources, num_horizons)``; see ``forecast.host_sums``.
    horizons
        Positions of the horizons wanted; all if ``None``.

    Returns
    -------
    Floats
        Shape ``(num_paths, num_resources, num_vms, len(horizons))``; zero for resources that were
        not forecast.
    """
    resources = forecast.resources
    wanted = list(range(NUM_HORIZONS)) if horizons is None else list(horizons)
    positions = memory.draw(
        forecast.vm_ids,
        forecast.at,
        resources=resources,
        horizons=wanted,
        num_paths=num_paths,
        rng=rng,
    )
    if common_share is not None:
        share = common_share[list(resources)][:, wanted]
        positions = with_common_factor(positions, share, rng)
    shape = (num_paths, NUM_RESOURCES, len(forecast.vm_ids), len(wanted))
    paths = np.zeros(shape, dtype=np.float32)
    # Values at the middle of each of num_paths equal shares of probability, dealt by rank.
    levels = (np.arange(num_paths) + 0.5) / num_paths
    for k, resource in enumerate(resources):
        table = quantiles_at(forecast.values[resource][:, wanted], QUANTILES, levels)
        np.minimum(table, forecast.limits[resource][:, None, None], out=table)
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
    step_minutes: int = STEP_MINUTES,
) -> ScenarioSet:
    """Turn a forecast into a few weighted joint futures.

    A step's demand is that of the 5-minute bin that ends it. The mean over a step would hide the
    peaks, of which shortfall, being convex, is made.

    Parameters
    ----------
    forecast
        Quantiles of the next hour.
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
    step_minutes
        Time between the steps of a future; divides an hour, and is a multiple of five.

    Returns
    -------
    ScenarioSet
        ``num_scenarios`` futures of the next hour.

    Raises
    ------
    InvalidInputError
        If shapes disagree, ``num_scenarios`` is not in ``1..num_paths``, or the steps do not fit.
    """
    if not 1 <= num_scenarios <= num_paths:
        raise InvalidInputError(f"expected 1..{num_paths} scenarios, got {num_scenarios}")
    steps = _steps(step_minutes)
    now = _present_demand(forecast, present)
    paths = sample_paths(
        forecast,
        error_memory,
        num_paths=num_paths,
        rng=rng,
        common_share=common_share,
        horizons=steps,
    )
    for resource in range(NUM_RESOURCES):
        if resource not in forecast.resources:
            paths[:, resource] = now[resource][:, None]
    chosen, probability_ppm = reduce_paths(paths, num_scenarios=num_scenarios, rng=rng)
    return _as_set(forecast, paths[chosen], now, probability_ppm, start_at, step_minutes)


def median_scenario(
    forecast: QuantileForecast,
    *,
    start_at: datetime,
    present: Floats,
    step_minutes: int = STEP_MINUTES,
) -> ScenarioSet:
    """Return the medians as the one future there is: what a point forecast amounts to.

    Parameters are those of :func:`make_scenarios`. Nobody should plan on it; it is there to show
    what the rest of the distribution is worth.
    """
    now = _present_demand(forecast, present)
    median = forecast.values[..., _steps(step_minutes), QUANTILES.index(0.5)]
    path = np.where(np.isnan(median), now[..., None], median)
    return _as_set(forecast, path[None], now, (PROBABILITY_PPM,), start_at, step_minutes)


def _present_demand(forecast: QuantileForecast, present: Floats) -> Floats:
    """Return demand now; where it is not known, the median of what comes next."""
    shape = (NUM_RESOURCES, len(forecast.vm_ids))
    if present.shape != shape:
        raise InvalidInputError(f"expected present demand of shape {shape}, got {present.shape}")
    median = np.nan_to_num(forecast.values[:, :, 0, QUANTILES.index(0.5)])
    now = np.where(np.isnan(present), median, present)
    now[:, ~forecast.present] = 0.0
    return now


def _as_set(
    forecast: QuantileForecast,
    paths: Floats,
    now: Floats,
    probability_ppm: tuple[int, ...],
    start_at: datetime,
    step_minutes: int,
) -> ScenarioSet:
    """Return paths, ``(num_scenarios, num_resources, num_vms, num_steps)``, in whole units."""
    num_scenarios, _, num_vms, num_steps = paths.shape
    demand = np.empty((num_scenarios, num_vms, NUM_RESOURCES, 1 + num_steps), dtype=np.int64)
    demand[..., 0] = np.rint(now).T
    demand[..., 1:] = np.rint(np.moveaxis(paths, 1, 2))
    return ScenarioSet(
        vm_ids=forecast.vm_ids,
        start_at=start_at,
        step_seconds=60 * step_minutes,
        probability_ppm=probability_ppm,
        demand=np.clip(demand, 0, MAX_AMOUNT),
    )


def _steps(step_minutes: int) -> list[int]:
    """Return the horizons that lie on a grid of steps, by position."""
    hour = max(HORIZON_MINUTES)
    if step_minutes not in HORIZON_MINUTES or hour % step_minutes:
        fitting = [minutes for minutes in HORIZON_MINUTES if hour % minutes == 0]
        raise InvalidInputError(
            f"expected steps of {', '.join(map(str, fitting))} minutes, got {step_minutes}"
        )
    return [HORIZON_MINUTES.index(m) for m in range(step_minutes, hour + 1, step_minutes)]
