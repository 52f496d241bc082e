"""Loads of hosts against what is priced, and what single VMs change in it, without moving them.

Contention and imbalance only: convex prices of demand above thresholds, band by band. Rules,
reservations and move costs are ``state``'s.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from solver.problem import NOWHERE, Columns, Problem

IntArray = npt.NDArray[np.int64]

MOST_ELEMENTS: Final = 4_000_000
"""Elements of a comparison held in memory at once: 32 MiB."""


class Loads:
    """How far each host is above (or below) each threshold, under a changing placement.

    Parameters
    ----------
    problem
        What is minimised.
    hosts
        Host position of every VM, shape ``(V,)``.
    """

    def __init__(self, problem: Problem, hosts: IntArray) -> None:
        self.problem = problem
        self._over = _over(problem, hosts, problem.future)
        self._over_now = _over(problem, hosts, problem.present)
        self.burden = _cost(self._over, problem.future)
        """Contention and imbalance of each host, shape ``(H,)``."""
        self.current = _cost(self._over_now, problem.present)
        """Cost of each host's present shortfall if it lasted one step, shape ``(H,)``."""
        # What inserting a VM into a host costs is kept until that host changes.
        self._insertion = np.zeros((problem.num_vms, problem.num_hosts), dtype=np.int64)
        self._known_at = np.zeros((problem.num_vms, problem.num_hosts), dtype=np.int32)
        self.version = np.ones(problem.num_hosts, dtype=np.int32)
        """Grows for each host with every change of it, shape ``(H,)``."""
        self.effort = 0
        """Elements that comparing exchanges has looked at: a measure of work done."""

    def shift(self, v: int, h: int, sign: int) -> None:
        """Add VM ``v`` to host ``h`` (sign 1) or take it away (sign -1)."""
        problem = self.problem
        bands = slice(0, int(problem.band[v]) + 1)
        self._over[h, bands] += sign * problem.future.demand[v]
        self._over_now[h, bands] += sign * problem.present.demand[v]
        self.burden[h] = _cost(self._over[h : h + 1], problem.future)[0]
        self.current[h] = _cost(self._over_now[h : h + 1], problem.present)[0]
        self.version[h] += 1

    def removals(self, h: int, vms: IntArray) -> IntArray:
        """Return the change of host ``h``'s burden for taking each VM away, shape ``(n,)``."""
        future = self.problem.future
        over = self._over[h]
        # Only what is above its threshold can get cheaper.
        bands, columns = np.nonzero((over > 0) & (future.prices > 0))
        before = over[bands, columns]
        after = np.maximum(0, before - self._demand(vms, bands, columns))
        change: IntArray = (after - before) @ future.prices[bands, columns]
        return change

    def insertions(self, vms: IntArray) -> IntArray:
        """Return the change of each host's burden for adding each VM, shape ``(n, H)``."""
        stale = np.flatnonzero((self._known_at[vms] != self.version).any(axis=0))
        if stale.size:
            self._insertion[np.ix_(vms, stale)] = self._insert_into(stale, vms)
            self._known_at[np.ix_(vms, stale)] = self.version[stale]
        found: IntArray = self._insertion[vms]
        return found

    def exchanges(self, h: int, leaving: IntArray, entering: IntArray) -> IntArray:
        """Return the change of host ``h``'s burden for each VM leaving and each entering.

        Returns
        -------
        numpy.ndarray
            Shape ``(len(leaving), len(entering))``.
        """
        future = self.problem.future
        over = self._over[h]
        reach = over + future.demand[entering].max(axis=0)
        bands, columns = np.nonzero((reach > 0) & (future.prices > 0))
        self.effort += len(leaving) * len(entering) * bands.size
        if not bands.size:
            return np.zeros((len(leaving), len(entering)), dtype=np.int64)
        before, prices = over[bands, columns], future.prices[bands, columns]
        less = self._demand(leaving, bands, columns)
        more = self._demand(entering, bands, columns)
        change = np.empty((len(leaving), len(entering)), dtype=np.int64)
        rows = max(1, MOST_ELEMENTS // more.size)
        for i in range(0, len(leaving), rows):
            after = (before - less[i : i + rows])[:, None, :] + more[None, :, :]
            np.maximum(after, 0, out=after)
            change[i : i + rows] = after @ prices
        change -= np.maximum(before, 0) @ prices
        return change

    def _insert_into(self, hosts: IntArray, vms: IntArray) -> IntArray:
        """Return the change of some hosts' burden for adding each VM, shape ``(n, len(hosts))``."""
        future = self.problem.future
        change = np.zeros((len(vms), len(hosts)), dtype=np.int64)
        over = self._over[hosts]
        # Only what comes above its threshold can get dearer.
        reach = over + future.demand[vms].max(axis=0)
        where, bands, columns = np.nonzero((reach > 0) & (future.prices > 0))
        rows = max(1, MOST_ELEMENTS // max(1, where.size))
        reached, begin = np.unique(where, return_index=True)
        if not reached.size:
            return change
        before, prices = over[where, bands, columns], future.prices[bands, columns]
        paid = np.maximum(0, before)
        for i in range(0, len(vms), rows):
            after = before + self._demand(vms[i : i + rows], bands, columns)
            np.maximum(after, 0, out=after)
            after -= paid
            after *= prices
            change[i : i + rows, reached] = np.add.reduceat(after, begin, axis=1)
        return change

    def _demand(self, vms: IntArray, bands: IntArray, columns: IntArray) -> IntArray:
        """Return what each VM adds to each of some (band, column) pairs, shape ``(n, pairs)``."""
        problem = self.problem
        counted = problem.band[vms][:, None] >= bands
        demand: IntArray = problem.future.demand[vms[:, None], columns] * counted
        return demand


def _over(problem: Problem, hosts: IntArray, columns: Columns) -> IntArray:
    """Return load minus threshold, shape ``(H, B, C)``; below zero is room."""
    over = np.repeat(-columns.threshold[:, None, :], problem.num_bands, axis=1)
    placed = np.flatnonzero(hosts != NOWHERE)
    for b in range(problem.num_bands):
        counted = placed[problem.band[placed] >= b]
        np.add.at(over[:, b], hosts[counted], columns.demand[counted])
    return over


def _cost(over: IntArray, columns: Columns) -> IntArray:
    cost: IntArray = (np.maximum(0, over) * columns.prices).sum(axis=(1, 2))
    return cost
