"""Fewer columns for a quick model: alike ones replaced by their mean, prices added.

An approximation from below (shortfall is convex, so the mean of two futures is short of less than
they are on the mean); whoever uses it has to judge the answer by the full columns.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from solver.problem import Columns

IntArray = npt.NDArray[np.int64]


def merge_columns(columns: Columns, vms: IntArray, most: int) -> Columns:
    """Return columns in which at most ``most`` stand for each resource.

    Columns with the same thresholds are grouped around centres that are as far apart as can be
    (farthest-first), measured by the demand of the VMs that are to be decided.

    Parameters
    ----------
    vms
        Positions of the VMs to be decided, shape ``(n,)``.
    most
        Columns kept for each set of thresholds; at least 1.
    """
    alike: dict[bytes, list[int]] = defaultdict(list)
    for c in range(columns.threshold.shape[1]):
        alike[columns.threshold[:, c].tobytes()].append(c)
    demand, threshold, prices = [], [], []
    for group in alike.values():
        members = np.array(group)
        for part in _around_centres(columns.demand[np.ix_(vms, members)].T, most):
            merged = members[part]
            weight = columns.prices[:, merged].sum(axis=0).astype(np.float64)
            mean = columns.demand[:, merged] @ (weight / weight.sum())
            demand.append(np.rint(mean).astype(np.int64))
            threshold.append(columns.threshold[:, merged[0]])
            prices.append(columns.prices[:, merged].sum(axis=1))
    if not demand:
        return columns
    return Columns(
        demand=np.stack(demand, axis=1),
        threshold=np.stack(threshold, axis=1),
        prices=np.stack(prices, axis=1),
    )


def _around_centres(points: IntArray, most: int) -> list[IntArray]:
    """Return a partition of points, shape ``(num_points, n)``, around far-apart centres."""
    if len(points) <= most:
        return [np.array([i]) for i in range(len(points))]
    exact = points.astype(np.float64)
    centre = int(exact.sum(axis=1).argmax())
    nearest = np.zeros(len(points), dtype=np.int64)
    distance = ((exact - exact[centre]) ** 2).sum(axis=1)
    for label in range(1, most):
        centre = int(distance.argmax())
        to_centre = ((exact - exact[centre]) ** 2).sum(axis=1)
        nearest[to_centre < distance] = label
        distance = np.minimum(distance, to_centre)
    return [part for part in (np.flatnonzero(nearest == k) for k in range(most)) if part.size]
