"""A lower bound on the total that holds for every allowed placement, from sums alone.

Weak where there is room enough somewhere (then it says little more than 0), exact where the
cluster as a whole is short or nothing may move. Cheap, so it is always there.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from solver.domain.score import UNLIMITED
from solver.problem import NOWHERE, IntArray, Problem

VMS_AT_ONCE: Final = 256
"""VMs whose places are priced together, for the memory that the table takes."""


def relaxed_bound(problem: Problem) -> int:
    """Return a total that no allowed placement is below.

    Per column and band, shortfall is at least what all running VMs need beyond all thresholds
    together, and at least what the VMs that cannot move need beyond their hosts' thresholds. Each
    VM costs at least its cheapest place, the move there included; reservations that cannot leave
    an over-full host keep it over-full.
    """
    return _least_shortfall(problem) + least_places(problem) + least_excess(problem)


def _stuck(problem: Problem) -> IntArray:
    """Return the VMs that have to stay where they are."""
    found: IntArray = np.flatnonzero((problem.start != NOWHERE) & (problem.num_choices() == 1))
    return found


def _least_shortfall(problem: Problem) -> int:
    columns, stuck = problem.future, _stuck(problem)
    running = problem.start != NOWHERE
    stays = np.zeros(problem.num_vms, dtype=np.bool_)
    stays[stuck] = True
    signed = columns.demand.size > 0 and int(columns.demand.min()) < 0
    below = columns.threshold.size > 0 and int(columns.threshold.min()) < 0
    # Python integers: thresholds that stand for "unlimited" add up beyond 64 bits.
    room = [sum(column) for column in columns.threshold.T.tolist()]
    shape = columns.threshold.shape
    needed, relief = np.zeros(shape[1], dtype=np.int64), np.zeros(shape[1], dtype=np.int64)
    fixed = np.zeros(shape, dtype=np.int64)
    least = 0
    # Highest band first, so that each adds its own VMs to those above.
    for b in reversed(range(problem.num_bands)):
        in_band = problem.band == b
        needed += columns.demand[running & in_band].sum(axis=0)
        if signed:
            # VMs that count below zero may never start, or all come to any host.
            needed += np.minimum(0, columns.demand[~running & in_band]).sum(axis=0)
            relief += np.minimum(0, columns.demand[~stays & in_band]).sum(axis=0)
        local = np.zeros(shape[1], dtype=np.int64)
        if len(stuck):
            counted = stuck[problem.band[stuck] == b]
            np.add.at(fixed, problem.start[counted], columns.demand[counted])
            local = np.maximum(0, fixed + relief - columns.threshold).sum(axis=0)
        elif signed or below:
            local = np.maximum(0, relief - columns.threshold).sum(axis=0)
        for c, price in enumerate(columns.prices[b].tolist()):
            if price:
                least += price * max(int(local[c]), int(needed[c]) - room[c], 0)
    return least


def least_places(problem: Problem) -> int:
    """Return the sum of every VM's cheapest place; staying is free unless a rule prices it."""
    places = problem.places
    idle = np.flatnonzero(problem.start == NOWHERE)
    kinds = np.column_stack([places.allowed_class[idle], places.price_class[idle]])
    known: dict[tuple[int, int], int] = {}
    least = 0
    for v, (allowed, price) in zip(idle.tolist(), kinds.tolist(), strict=True):
        if (allowed, price) not in known:
            prices = places.price_rows[price][places.allowed_rows[allowed]]
            known[allowed, price] = int(prices.min(initial=UNLIMITED))
        least += min(known[allowed, price], int(problem.nowhere_prices[v]))
    here = places.price_rows[places.price_class, problem.start]
    priced = np.flatnonzero((problem.start != NOWHERE) & (here > 0))
    for begin in range(0, len(priced), VMS_AT_ONCE):
        some = priced[begin : begin + VMS_AT_ONCE]
        costs = problem.place_prices(some) + problem.move_rows(some)
        least += int(costs.min(axis=1, initial=UNLIMITED, where=problem.allowed_hosts(some)).sum())
    return least


def least_excess(problem: Problem) -> int:
    """Return what reservations that cannot leave an over-full host cost at least."""
    stuck = _stuck(problem)
    fixed = np.zeros(problem.capacity.shape, dtype=np.int64)
    hosts = problem.start[stuck]
    np.add.at(fixed, hosts, problem.reserved[problem.host_class[hosts], stuck])
    return int(problem.capacity_repair(fixed, np.arange(problem.num_hosts)).sum())
