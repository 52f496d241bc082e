"""VMs that need about the same: those that can change places at little cost.

Two random VMs hardly ever fit into each other's place once a placement is good; two that are alike
do. Likeness is the distance between what VMs need, weighed by what it costs above thresholds.
"""

from __future__ import annotations

from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
from scipy.spatial import cKDTree

from solver.problem import FloatArray, IntArray, Problem

NUM_KIN: Final = 100
"""Kin of each VM: enough to find room for what is rarely exactly alike."""

MOST_KIN: Final = 2_000_000
"""Kin of all VMs together: seconds of search, and tens of mebibytes."""

MOST_AXES: Final = 12
"""Dimensions that a search tree can still make use of."""

SLACK: Final = 1.0
"""How much farther than the nearest a VM may be and still be taken; spares most of the search."""

_known: WeakKeyDictionary[Problem, tuple[IntArray, IntArray]] = WeakKeyDictionary()
"""The VMs last asked about, and their kin."""


def kin_of(problem: Problem, vms: IntArray) -> IntArray:
    """Return the kin of each VM among some of them, the nearest first, shape ``(len(vms), n)``.

    Kept for the VMs last asked about: which of a problem's run, so may be exchanged, differs from
    placement to placement.
    """
    known = _known.get(problem)
    if known is None or not np.array_equal(known[0], vms):
        known = _known[problem] = (vms.copy(), _search(problem, vms))
    return known[1]


def _search(problem: Problem, vms: IntArray) -> IntArray:
    count = min(NUM_KIN, MOST_KIN // len(vms), len(vms) - 1)
    if count < 1:
        return vms[:, None].copy()
    points = _told_apart(_axes(_needs(problem, vms)))
    _, near = cKDTree(points).query(points, k=count + 1, eps=SLACK)
    # The nearest is nearly always the VM itself; where it is a twin of it, no harm is done.
    return np.ascontiguousarray(vms[near[:, 1:]])


def _needs(problem: Problem, vms: IntArray) -> FloatArray:
    """Return what each VM needs, each column in cost units, shape ``(len(vms), C)``."""
    prices = problem.future.prices.max(axis=0, initial=0)
    needs: FloatArray = problem.future.demand[vms] * prices.astype(np.float64)
    return needs


def _axes(needs: FloatArray) -> FloatArray:
    """Return positions along the axes of largest variance, where there are many columns.

    All axes of hundreds of scenarios would take seconds; these few are found in a random projection
    of the columns, sharpened once [1]_.

    References
    ----------
    .. [1] Halko, Martinsson, Tropp (2011). Finding structure with randomness. SIAM Review 53(2).
       arXiv:0909.4061
    """
    if needs.shape[1] <= MOST_AXES:
        return needs
    centred = needs - needs.mean(axis=0)
    directions = np.random.default_rng(0).standard_normal((needs.shape[1], 2 * MOST_AXES))
    basis, _ = np.linalg.qr(centred @ (centred.T @ (centred @ directions)))
    _, _, axes = np.linalg.svd(basis.T @ centred, full_matrices=False)
    return np.ascontiguousarray(centred @ axes[:MOST_AXES].T)


def _told_apart(points: FloatArray) -> FloatArray:
    """Return points of which no two are one: a tree cannot part what is in the same place."""
    spread = max(1.0, float(np.abs(points).max(initial=0.0)))
    noise = np.random.default_rng(0).random((len(points), max(1, points.shape[1])))
    return (points if points.shape[1] else np.zeros((len(points), 1))) + 1e-9 * spread * noise
