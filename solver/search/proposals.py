"""Whether a change that a random search proposes costs no more than it may.

What is refused is refused early: first by the least that it can cost, then what fits nowhere, then
by loads, rules last.
"""

from __future__ import annotations

import numpy as np

from solver.problem import IntArray, Problem
from solver.search.deltas import (
    FORBIDDEN,
    allowed,
    counts_change,
    fits,
    insertion_up_to,
    pair_counts,
    removal_change,
    swap_counts,
    trade_change,
    trade_fits,
)
from solver.search.facts import Facts
from solver.search.live import Live, migrates
from solver.search.native import inlined, inner


def most_saved_of(problem: Problem) -> IntArray:
    """Return, by VM, no less than what its relocation can save besides loads, shape ``(V,)``."""
    saved = np.full(problem.num_vms, problem.disruption_price, dtype=np.int64)
    for rule in problem.group_rules:
        if rule.price:
            saved[rule.vms] += 2 * rule.price
            saved[rule.others] += 2 * rule.price
    saved += problem.places.price_rows.max(axis=1, initial=0)[problem.places.price_class]
    return saved


@inlined
def least_price(facts: Facts, live: Live, most_saved: IntArray, v: int, h: int) -> int:
    """Return no more than what VM ``v`` going to host ``h`` costs, loads aside, from its link."""
    least = -most_saved[v] - live.paid[v]
    if migrates(facts, v, h):
        i, j = facts.link_class[facts.start[v]], facts.link_class[h]
        least += facts.by_rate[v, facts.rate_of[i, j]]
    return least


@inlined
def most_relief(live: Live, h: int) -> int:
    """Return no less than what VMs leaving host ``h`` can save in load and excess."""
    return live.burden[h] + live.overfull[h]


@inner
def relocation_within(
    facts: Facts, live: Live, most_saved: IntArray, v: int, a: int, h: int, limit: int
) -> bool:
    """Whether VM ``v`` may go from host ``a`` to host ``h`` at a cost within the limit."""
    if least_price(facts, live, most_saved, v, h) - most_relief(live, a) > limit:
        return False
    if not (allowed(facts, v, h) and fits(facts, live, v, h)):
        return False
    change, saved = removal_change(facts, live, v, a), most_saved[v] + live.paid[v]
    change += insertion_up_to(facts, live, v, h, limit - change + saved)
    if change - saved > limit:
        return False
    counts = counts_change(facts, live, v, a, h)
    return counts < FORBIDDEN and change + counts <= limit


@inner
def swap_within(
    facts: Facts, live: Live, most_saved: IntArray, v: int, w: int, a: int, b: int, limit: int
) -> bool:
    """Whether two VMs may change places at a cost within the limit."""
    least = least_price(facts, live, most_saved, v, b) - most_relief(live, a)
    least += least_price(facts, live, most_saved, w, a) - most_relief(live, b)
    if least > limit:
        return False
    if not (allowed(facts, v, b) and allowed(facts, w, a)):
        return False
    if not (trade_fits(facts, live, v, w, b) and trade_fits(facts, live, w, v, a)):
        return False
    change = trade_change(facts, live, v, w, b) + trade_change(facts, live, w, v, a)
    saved = most_saved[v] + live.paid[v] + most_saved[w] + live.paid[w]
    if change - saved > limit:
        return False
    counts = swap_counts(facts, live, v, w, a, b)
    return counts < FORBIDDEN and change + counts <= limit


@inner
def chain_within(
    facts: Facts,
    live: Live,
    most_saved: IntArray,
    v: int,
    w: int,
    a: int,
    b: int,
    c: int,
    limit: int,
) -> bool:
    """Whether VM ``w`` may go from host ``b`` to ``c`` and ``v`` from ``a`` to ``b``."""
    least = least_price(facts, live, most_saved, v, b) - most_relief(live, a)
    least += least_price(facts, live, most_saved, w, c) - most_relief(live, b)
    if least > limit:
        return False
    if not (allowed(facts, v, b) and allowed(facts, w, c)):
        return False
    if not (fits(facts, live, w, c) and trade_fits(facts, live, v, w, b)):
        return False
    saved = most_saved[v] + live.paid[v] + most_saved[w] + live.paid[w]
    change = removal_change(facts, live, v, a) + trade_change(facts, live, v, w, b)
    change += insertion_up_to(facts, live, w, c, limit - change + saved)
    if change - saved > limit:
        return False
    counts = pair_counts(facts, live, v, a, b, w, b, c)
    return counts < FORBIDDEN and change + counts <= limit
