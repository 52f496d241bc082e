"""Neighbourhoods by source: which VMs leave some hosts, and where they fit as things are.

The least set of VMs that relieves a host may be one large or five small ones, and no change of one
or two leads from the one to the other. CP-SAT finds it at once, given all VMs that start there and
the hosts on which each would cost least while all others stay where they are.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from solver.cpsat.judge import moved_vms, outlay, over_thresholds, used_on
from solver.cpsat.variables import Scope
from solver.problem import NOWHERE, BoolArray, FloatArray, IntArray, Problem

SIZES: Final = (1, 1, 2, 2, 3)
"""Hosts that VMs leave, one of these at random."""

MOST_CHOICES: Final = 300
"""Most pairs of VM and host in a neighbourhood, of whatever kind."""

MOST_PLACES: Final = 12
"""Most hosts for one VM, its start and its present host left aside."""

UNEVEN: Final = 0.5
"""How much dearer a place may be taken to be than it is, at random, so that places vary."""

DEAR: Final = 2**60
"""Cost of a place where a VM may not be."""


def relief_scope(problem: Problem, hosts: IntArray, rng: np.random.Generator) -> Scope:
    """Return the scope of the VMs that start on a few hosts, drawn by what relieving them costs."""
    costs = outlay(problem, hosts)
    sources = _sources(problem, hosts, costs, rng)
    asked = np.flatnonzero(
        np.isin(problem.start, sources) & (hosts != NOWHERE) & (problem.num_choices() > 1)
    )
    prices = _prices(problem, hosts, asked)
    # What costs more than everything does now is no part of anything better.
    prices[prices > int(costs[sources].sum())] = DEAR
    for clump in problem.clumps:
        tied = np.flatnonzero(np.isin(asked, clump))
        if len(tied) > 1:
            prices[tied] = prices[tied].max(axis=0)
    away = hosts[asked] != problem.start[asked]
    kept = np.flatnonzero((prices.min(axis=1, initial=DEAR) < DEAR) | away)
    asked, prices = asked[kept], prices[kept]
    most = min(MOST_PLACES, MOST_CHOICES // max(1, len(asked)))
    varied = prices.astype(np.float64) * (1.0 + UNEVEN * rng.random(prices.shape[1]))
    destinations = _cheapest(varied, max(1, most)) & (prices < DEAR)
    rows = np.arange(len(asked))
    destinations[rows, problem.start[asked]] = True
    destinations[rows, hosts[asked]] = True
    return Scope(base=hosts, vms=asked, destinations=destinations)


def _sources(
    problem: Problem, hosts: IntArray, costs: IntArray, rng: np.random.Generator
) -> IntArray:
    """Draw hosts: one by what it costs, then some whose VMs are where its own are, then any."""
    costly = np.flatnonzero(costs)
    if not costly.size:
        return costly
    size = min(int(rng.choice(SIZES)), len(costly))
    # Dear ones more often, but not ten times as often.
    likely = np.sqrt(costs[costly].astype(np.float64))
    drawn = rng.choice(costly, size=len(costly), replace=False, p=likely / likely.sum())
    moved = moved_vms(problem, hosts)
    shared = hosts[moved[problem.start[moved] == drawn[0]]]
    rivals = np.isin(drawn, problem.start[moved[np.isin(hosts[moved], shared)]])
    rivals &= rng.random(len(drawn)) < 0.5
    rivals[0] = True
    return np.concatenate([drawn[rivals], drawn[~rivals]])[:size]


def _prices(problem: Problem, hosts: IntArray, asked: IntArray) -> IntArray:
    """Return what each VM costs on each host once all of them are gone, shape ``(n, H)``."""
    rest = hosts.copy()
    rest[asked] = NOWHERE
    over = _over(problem, rest)
    before = (np.maximum(0, over) * problem.future.prices).sum(axis=(1, 2))
    room = problem.reserved_limit - used_on(problem, rest)
    prices = problem.move_rows(asked) + problem.place_prices(asked)
    bands = np.arange(problem.num_bands)
    for i, v in enumerate(asked.tolist()):
        demand = problem.future.demand[v] * (bands <= problem.band[v])[:, None]
        full = np.maximum(0, over + demand) * problem.future.prices
        prices[i] += full.sum(axis=(1, 2)) - before
        prices[i, (problem.reserved[problem.host_class, v] > room).any(axis=1)] = DEAR
    prices[~problem.allowed_hosts(asked)] = DEAR
    prices[np.arange(len(asked)), problem.start[asked]] = DEAR
    return prices


def _over(problem: Problem, hosts: IntArray) -> IntArray:
    """Return load minus threshold of each host, by bands and columns, shape ``(H, B, C)``."""
    found = np.empty((problem.num_hosts, *problem.future.prices.shape), dtype=np.int64)
    for b, over in over_thresholds(problem, problem.future, hosts):
        found[:, b] = over
    return found


def _cheapest(prices: FloatArray, most: int) -> BoolArray:
    """Return which are among so many cheapest of their row."""
    if prices.shape[1] <= most or not len(prices):
        return np.ones(prices.shape, dtype=np.bool_)
    border = np.partition(prices, most - 1, axis=1)[:, most - 1 : most]
    cheapest: BoolArray = prices <= border
    return cheapest
