"""Columns of the problem: contention by scenario and step, use above knees, stranded capacity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from solver.domain.cluster import MIN_PRIORITY, Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import ScenarioSet
from solver.domain.score import UNLIMITED, knee_threshold
from solver.domain.stranded import Stranding
from solver.domain.weights import Weights, shortfall_prices
from solver.problem import Columns, IntArray, frozen


def banded_prices(
    cluster: Cluster,
    scenarios: ScenarioSet,
    weights: Weights,
    counted_ppm: Sequence[int] | None = None,
) -> tuple[IntArray, IntArray]:
    """Return the band of every VM, and prices of shape ``(B, K, resources, 1 + T)``."""
    priorities = np.array([vm.priority for vm in cluster.vms], dtype=np.int64)
    occurring, band = np.unique(priorities, return_inverse=True)
    with np.errstate(invalid="ignore"):  # beyond 64 bits: found and refused below
        prices = shortfall_prices(cluster, scenarios, weights, counted_ppm)
    if prices.min() < 0:
        raise InvalidInputError(
            "a unit of shortfall costs more than 64 bits hold; expected smaller weights",
            path="weights.contention",
        )
    if not occurring.size:
        return band.astype(np.int64), np.zeros((1, *prices.shape[:3]), dtype=np.int64)
    # Between two priorities that occur, every band serves the same demand: add their increments.
    # Above the highest that occurs, no band has demand at all.
    ends = occurring - MIN_PRIORITY + 1
    begins = [0, *ends[:-1].tolist()]
    by_band = [prices[..., a:b].sum(axis=-1) for a, b in zip(begins, ends.tolist(), strict=True)]
    return band.astype(np.int64), np.stack(by_band)


def shortfall_columns(
    scenarios: ScenarioSet, by_band: IntArray, capacity: IntArray, limited: IntArray, steps: slice
) -> Columns:
    """Return the columns of some steps, equal ones merged and worthless ones left out."""
    # Resource first, so that columns of one resource stand together.
    wanted = scenarios.demand[:, :, limited, steps].transpose(1, 2, 0, 3)
    priced = by_band[:, :, limited, steps].transpose(2, 1, 3, 0)
    num_vms, num_bands = scenarios.demand.shape[1], by_band.shape[0]
    per_resource = priced.shape[1] * priced.shape[2]
    demand = np.ascontiguousarray(wanted).reshape(num_vms, len(limited) * per_resource)
    price = priced.reshape(len(limited) * per_resource, num_bands)
    resource = np.repeat(np.arange(len(limited)), per_resource)
    # Reading a column of a large cluster is dear: only those are compared whose sums, each VM
    # weighted at random and modulo 2⁶⁴, are the same.
    weights = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, num_vms)
    sums = (weights @ demand).tolist()
    alike: dict[tuple[int, int], list[int]] = {}
    merged: dict[int, IntArray] = {}
    for c in np.flatnonzero(price.any(axis=1)).tolist():
        known = alike.setdefault((int(resource[c]), sums[c]), [])
        first = next((k for k in known if np.array_equal(demand[:, k], demand[:, c])), c)
        if first == c:
            known.append(c)
        merged[first] = merged.get(first, 0) + price[c]
    kept = np.array(list(merged), dtype=np.int64)
    whole = len(kept) == demand.shape[1]
    return Columns(
        demand=frozen(demand if whole else demand.take(kept, axis=1)),
        threshold=frozen(np.ascontiguousarray(capacity[:, resource[kept]])),
        prices=frozen(
            np.ascontiguousarray(
                np.array(list(merged.values()), dtype=np.int64).reshape(-1, num_bands).T
            )
        ),
    )


def knee_columns(
    expected: IntArray,
    capacity: IntArray,
    prices: IntArray,
    knees: tuple[float, ...],
    *,
    num_bands: int,
) -> Columns:
    """Return the imbalance term as columns of mean demand above each knee."""
    priced = np.flatnonzero(prices)
    by_band = np.zeros((num_bands, len(priced) * len(knees)), dtype=np.int64)
    by_band[0] = np.tile(prices[priced], len(knees))
    thresholds = [knee_threshold(capacity[:, priced], knee) for knee in knees]
    return Columns(
        demand=frozen(np.tile(expected[:, priced], len(knees))),
        threshold=frozen(np.concatenate([capacity[:, :0], *thresholds], axis=1)),
        prices=frozen(by_band),
    )


def stranded_columns(found: Stranding, *, num_bands: int) -> Columns:
    """Return the stranded CPU and the stranded memory of each host as a column each."""
    signs = np.array([1, -1] if found.price else [], dtype=np.int64)
    by_band = np.zeros((num_bands, len(signs)), dtype=np.int64)
    by_band[0] = found.price
    threshold = np.where(found.counted[:, None], found.threshold[:, None] * signs, UNLIMITED)
    return Columns(
        demand=frozen(found.demand[:, None] * signs),
        threshold=frozen(threshold),
        prices=frozen(by_band),
    )


def side_by_side(*parts: Columns) -> Columns:
    """Return all columns as one set."""
    return Columns(
        demand=frozen(np.concatenate([part.demand for part in parts], axis=1)),
        threshold=frozen(np.concatenate([part.threshold for part in parts], axis=1)),
        prices=frozen(np.concatenate([part.prices for part in parts], axis=1)),
    )
