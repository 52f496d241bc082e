"""From many joint paths to few weighted ones that keep mean and tails.

Paths are sorted by the cluster's total and cut into strata that grow finer towards the top, one
path standing for each, so that the rare heavy futures remain in the set with their small
probability.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.history import Floats
from solver.domain.scenario import PROBABILITY_PPM

HOST_SIZED_GROUP: Final = 20
"""VMs per random group whose sums the reduction tries to preserve."""


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
    if num_scenarios == num_paths:
        return chosen[0], _ppm(probability)  # all of them, however they are drawn
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
    if not num_vms:
        return np.zeros((num_paths, num_horizons), dtype=np.float32)
    num_groups = max(1, num_vms // HOST_SIZED_GROUP)
    group = rng.permutation(num_vms) % num_groups
    by_group = np.argsort(group, kind="stable")
    first = np.searchsorted(group[by_group], np.arange(num_groups))
    sums = []
    for resource in range(paths.shape[1]):
        total = np.add.reduceat(paths[:, resource][:, by_group], first, axis=1)
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
