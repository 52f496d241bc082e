"""A placement under change, as the arrays that kernels keep up to date.

Every figure is whole and exact: ``tally[TOTAL]`` is at any time what ``solver.domain.score`` gives
for the same placement.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba.experimental import structref

from solver.problem import NOWHERE, Count, IntArray
from solver.search.facts import EDGES, LEVELS, MEMBER, OTHER, Facts, pack_facts
from solver.search.native import Reference, inlined, inner, kernel, packer, plain, registered

CountArray = npt.NDArray[np.int32]

TOTAL: Final = 0
MIGRATED: Final = 1
MOST_MOVED: Final = 2

CROWDING: Final = int(Count.CROWDING)
SCATTER: Final = int(Count.SCATTER)
SPREAD: Final = int(Count.SPREAD)
OCCUPANCY: Final = int(Count.OCCUPANCY)
DEPENDENCE: Final = int(Count.DEPENDENCE)
SPLIT: Final = int(Count.SPLIT)


class Live(NamedTuple):
    """What changes when VMs change places.

    Parameters
    ----------
    hosts
        Host of each VM, ``NOWHERE`` if none, shape ``(V,)``.
    first, following, previous
        VMs on each host as linked lists; ``-1`` ends.
    num_on
        VMs on each host.
    over
        Load minus threshold, of bands at least ``b``, shape ``(H, B, C)``.
    highest
        Largest of ``over`` in each run of columns, shape ``(H, B, runs)``.
    run_cost
        What is above thresholds in each run costs, shape ``(H, B, runs)``.
    burden, burden_now
        Cost of each host's shortfall and imbalance, to come and at present.
    used
        Reserved on each host, shape ``(H, R)``; of held resources also by those that left.
    overfull
        Repair price of each host's excess.
    placing
        What the places of the VMs on each host cost.
    paid
        Migration cost of each VM where it is.
    counts, tiers
        Of crowds, see ``Facts``.
    fullest, occupied, running
        Of each crowd: VMs in its fullest cell, cells with VMs, and VMs that run.
    amounts
        How broken each rule is.
    moves_at
        Moves into and out of each host.
    moved_of_group, groups_by_moved
        VMs of each application group that are away from their start; how many groups have so many.
    tally
        Total, VMs that migrate, and those of the most-moved group.
    """

    hosts: IntArray
    first: IntArray
    following: IntArray
    previous: IntArray
    num_on: IntArray
    over: IntArray
    highest: IntArray
    run_cost: IntArray
    burden: IntArray
    over_now: IntArray
    burden_now: IntArray
    used: IntArray
    overfull: IntArray
    placing: IntArray
    paid: IntArray
    counts: CountArray
    tiers: CountArray
    fullest: IntArray
    occupied: IntArray
    running: IntArray
    amounts: IntArray
    moves_at: IntArray
    moved_of_group: IntArray
    groups_by_moved: IntArray
    tally: IntArray


@registered
class LiveType(Reference):
    """A placement, to kernels."""


class LiveReference(structref.StructRefProxy):
    """A placement, as kernels take it."""


pack_live: Final = packer(LiveReference, LiveType, Live._fields)


def live_of(facts: Facts, hosts: IntArray) -> Live:
    """Return the arrays of a placement.

    Parameters
    ----------
    hosts
        Host position of every VM, shape ``(V,)``; copied.
    """
    num_hosts, num_bands = len(facts.threshold), len(facts.prices)
    num_vms, num_runs = len(facts.start), len(facts.run_begin) - 1
    num_crowds = len(facts.crowd_cells)
    num_groups = int(facts.app_group.max(initial=-1)) + 1
    groups_by_moved = np.zeros(num_vms + 2, dtype=np.int64)
    groups_by_moved[0] = num_groups
    # Each crowd's cells are empty at first.
    tiers = np.zeros(int(facts.crowd_tiers[-1]), dtype=np.int32)
    tiers[facts.crowd_tiers[:-1]] = np.diff(facts.crowd_begin)
    held = _held_at_start(facts)
    live = Live(
        hosts=np.full(num_vms, NOWHERE, dtype=np.int64),
        first=np.full(num_hosts, -1, dtype=np.int64),
        following=np.full(num_vms, -1, dtype=np.int64),
        previous=np.full(num_vms, -1, dtype=np.int64),
        num_on=np.zeros(num_hosts, dtype=np.int64),
        over=np.zeros((num_hosts, num_bands, facts.threshold.shape[1]), dtype=np.int64),
        highest=np.zeros((num_hosts, num_bands, num_runs), dtype=np.int64),
        run_cost=np.zeros((num_hosts, num_bands, num_runs), dtype=np.int64),
        burden=np.zeros(num_hosts, dtype=np.int64),
        over_now=np.zeros((num_hosts, num_bands, facts.threshold_now.shape[1]), dtype=np.int64),
        burden_now=np.zeros(num_hosts, dtype=np.int64),
        used=held,
        overfull=np.zeros(num_hosts, dtype=np.int64),
        placing=np.zeros(num_hosts, dtype=np.int64),
        paid=np.zeros(num_vms, dtype=np.int64),
        counts=np.zeros(int(facts.crowd_begin[-1]), dtype=np.int32),
        tiers=tiers,
        fullest=np.zeros(num_crowds, dtype=np.int64),
        occupied=np.zeros(num_crowds, dtype=np.int64),
        running=np.zeros(num_crowds, dtype=np.int64),
        amounts=np.zeros(len(facts.rule_count), dtype=np.int64),
        moves_at=np.zeros(num_hosts, dtype=np.int64),
        moved_of_group=np.zeros(num_groups, dtype=np.int64),
        groups_by_moved=groups_by_moved,
        tally=np.zeros(3, dtype=np.int64),
    )
    # A copy: an array that may be written to, whatever came, so that this is compiled once only.
    _fill(pack_facts(facts), pack_live(live), np.array(hosts, dtype=np.int64))
    return live


def _held_at_start(facts: Facts) -> IntArray:
    """Return what VMs hold on the hosts they start on, wherever they go, shape ``(H, R)``."""
    held = np.zeros(facts.capacity.shape, dtype=np.int64)
    running = np.flatnonzero(facts.start != NOWHERE)
    where = facts.start[running]
    amounts = facts.reserved[facts.host_class[where], running] * facts.held
    np.add.at(held, where, amounts)
    return held


@kernel
def _fill(facts: Facts, live: Live, hosts: IntArray) -> None:
    """Put every VM of a placement on its host, and count everything once."""
    tally = live.tally
    for v in range(len(hosts)):
        h = hosts[v]
        tally[TOTAL] += facts.nowhere_prices[v]
        if h != NOWHERE:
            b = facts.band[v]
            for c in range(facts.demand.shape[1]):
                live.over[h, b, c] += facts.demand[v, c]
            for c in range(facts.demand_now.shape[1]):
                live.over_now[h, b, c] += facts.demand_now[v, c]
            _reserve(facts, live, v, h, plain(1))
            _put_beside(live, v, h, plain(NOWHERE))
            _recount(facts, live, v, plain(NOWHERE), h)
    for h in range(len(live.burden)):
        _accumulate(live.over, facts.threshold, h)
        _accumulate(live.over_now, facts.threshold_now, h)
        _weigh(facts, live, h)
        _weigh_now(facts, live, h)
        live.overfull[h] = excess_price(facts, live.used[h], h)
        tally[TOTAL] += live.burden[h] + live.overfull[h]


@inlined
def _accumulate(over: IntArray, threshold: IntArray, h: int) -> None:
    """Turn the loads of a host's bands, each for itself, into those of all bands from each up."""
    top = over.shape[1] - 1
    for b in range(top, -1, -1):
        for c in range(over.shape[2]):
            over[h, b, c] += -threshold[h, c] if b == top else over[h, b + 1, c]


@kernel
def relocate(facts: Facts, live: Live, v: int, h: int) -> None:
    """Put VM ``v`` on host ``h``, which may be ``NOWHERE``; no check of what is allowed."""
    a = live.hosts[v]
    if a == h:
        return
    tally = live.tally
    _put_beside(live, v, h, a)
    for end in range(2):
        host, sign = (a, -1) if end == 0 else (h, 1)
        if host == NOWHERE:
            continue
        tally[TOTAL] -= live.burden[host] + live.overfull[host]
        _load(facts, live, v, host, sign)
        _reserve(facts, live, v, host, sign)
        live.overfull[host] = excess_price(facts, live.used[host], host)
        tally[TOTAL] += live.burden[host] + live.overfull[host]
    _recount(facts, live, v, a, h)


@inlined
def _load(facts: Facts, live: Live, v: int, h: int, sign: int) -> None:
    """Add a VM's demand to a host's loads, or take it away, and price anew what has changed."""
    demand, demand_now = facts.demand[v], facts.demand_now[v]
    for b in range(facts.band[v] + 1):
        over, over_now = live.over[h, b], live.over_now[h, b]
        for i in range(live.highest.shape[2]):
            if facts.peak[v, i] == 0:
                continue
            begin, end = np.uint64(facts.run_begin[i]), np.uint64(facts.run_begin[i + 1])
            for c in range(begin, end):
                over[c] += sign * demand[c]
            _weigh_run(facts, live, h, b, i)
        for c in range(len(over_now)):
            over_now[c] += sign * demand_now[c]
    _weigh_now(facts, live, h)


@inlined
def _reserve(facts: Facts, live: Live, v: int, h: int, sign: int) -> None:
    for r in range(live.used.shape[1]):
        if not (facts.held[r] and facts.start[v] == h):
            live.used[h, r] += sign * facts.reserved[facts.host_class[h], v, r]


@inlined
def _put_beside(live: Live, v: int, h: int, a: int) -> None:
    """Write VM ``v`` into the list of host ``h`` and out of that of host ``a``."""
    if a != NOWHERE:
        before, after = live.previous[v], live.following[v]
        if before >= 0:
            live.following[before] = after
        else:
            live.first[a] = after
        if after >= 0:
            live.previous[after] = before
        live.num_on[a] -= 1
    live.hosts[v] = h
    live.previous[v] = -1
    live.following[v] = -1
    if h != NOWHERE:
        first = live.first[h]
        live.following[v] = first
        if first >= 0:
            live.previous[first] = v
        live.first[h] = v
        live.num_on[h] += 1


@inlined
def _weigh(facts: Facts, live: Live, h: int) -> None:
    """Compute a host's burden, and the highest column of each run, from its loads."""
    for b in range(live.over.shape[1]):
        for i in range(live.highest.shape[2]):
            _weigh_run(facts, live, h, b, i)


@inlined
def _weigh_run(facts: Facts, live: Live, h: int, b: int, i: int) -> None:
    """Compute how high a host's run of columns is, and what that changes in its burden."""
    over, prices = live.over[h, b], facts.prices[b]
    begin, end = np.uint64(facts.run_begin[i]), np.uint64(facts.run_begin[i + 1])
    highest, cost = over[begin], 0
    for c in range(begin, end):
        highest = max(highest, over[c])
    if highest > 0:
        price = facts.run_price[b, i]
        if price >= 0:
            for c in range(begin, end):
                cost += max(0, over[c])
            cost *= price
        else:
            for c in range(begin, end):
                cost += max(0, over[c]) * prices[c]
    live.burden[h] += cost - live.run_cost[h, b, i]
    live.highest[h, b, i] = highest
    live.run_cost[h, b, i] = cost


@inlined
def _weigh_now(facts: Facts, live: Live, h: int) -> None:
    """Compute the cost of a host's present shortfall from its present loads."""
    burden = 0
    for b in range(live.over_now.shape[1]):
        for c in range(live.over_now.shape[2]):
            burden += max(0, live.over_now[h, b, c]) * facts.prices_now[b, c]
    live.burden_now[h] = burden


@inlined
def excess_price(facts: Facts, used: IntArray, h: int) -> int:
    """Return what reservations beyond a host's capacity cost."""
    severity = 0
    for r in range(len(used)):
        severity += severity_of(facts, h, r, used[r])
    return severity * facts.repair_price


@inlined
def severity_of(facts: Facts, h: int, r: int, used: int) -> int:
    """Return how bad it is that so much of a resource is reserved on a host."""
    excess = used - facts.capacity[h, r]
    if excess <= 0:
        return 0
    return facts.broken_ppm[r] + excess * 1_000_000 // facts.reference[r]


@inlined
def place_price(facts: Facts, v: int, h: int) -> int:
    """Return what VM ``v`` being on host ``h``, or nowhere, costs."""
    if h == NOWHERE:
        return facts.nowhere_prices[v]
    return facts.price_rows[facts.price_class[v], h]


@inlined
def move_price(facts: Facts, v: int, h: int) -> int:
    """Return the migration cost of VM ``v`` being on host ``h``; see ``problem.MoveCosts``."""
    s = facts.start[v]
    if s == NOWHERE or h in (NOWHERE, s):
        return 0
    cost = link_price(facts, v, facts.link_class[s], facts.link_class[h])
    if facts.fill_price[v] != 0.0 and facts.load.shape[1] > 0:
        fill = 0.0
        for u in range(facts.load.shape[1]):
            fill = max(fill, share_with(facts, v, h, u))
        cost += rise_price(facts, v, fill)
    return cost


@inlined
def link_price(facts: Facts, v: int, i: int, j: int) -> int:
    """Return what the links between hosts of two classes cost VM ``v``."""
    cost = facts.by_rate[v, facts.rate_of[i, j]]
    if facts.latency_price[v] != 0.0:
        delay = facts.round_trips_s[i, j] * facts.cpu_share[v] + facts.border[i, j]
        cost += int(np.rint(facts.latency_price[v] * delay))
    return cost


@inlined
def share_with(facts: Facts, v: int, h: int, u: int) -> float:
    """Return the share of resource ``u`` in use on host ``h``, as at the start but with ``v``."""
    return float(facts.load[h, u] + facts.load_demand[v, u]) / facts.load_capacity[h, u]


@inlined
def rise_price(facts: Facts, v: int, fill: float) -> int:
    """Return what VM ``v`` pays for going where so large a share is in use."""
    return int(np.rint(facts.fill_price[v] * max(0.0, fill - facts.left[v])))


@inlined
def migrates(facts: Facts, v: int, h: int) -> int:
    """Return 1 if VM ``v`` being on host ``h`` is a migration, else 0."""
    return int(h != NOWHERE and facts.start[v] != NOWHERE and h != facts.start[v])


@inner
def _recount(facts: Facts, live: Live, v: int, a: int, h: int) -> None:
    """Keep prices of places and moves, budgets and rules, when ``v`` goes from ``a`` to ``h``."""
    tally = live.tally
    here, there = place_price(facts, v, a), place_price(facts, v, h)
    if a != NOWHERE:
        live.placing[a] -= here
    if h != NOWHERE:
        live.placing[h] += there
    price = move_price(facts, v, h)
    tally[TOTAL] += there - here + price - live.paid[v]
    live.paid[v] = price
    recount_moves(facts, live, v, a, h)
    recount_rules(facts, live, v, a, h)


@inlined
def recount_moves(facts: Facts, live: Live, v: int, a: int, h: int) -> None:
    """Count what budgets and the disruption of groups count."""
    if migrates(facts, v, a):
        _count_migration(facts, live, v, a, plain(-1))
    if migrates(facts, v, h):
        _count_migration(facts, live, v, h, plain(1))


@inlined
def _count_migration(facts: Facts, live: Live, v: int, h: int, sign: int) -> None:
    tally = live.tally
    tally[MIGRATED] += sign
    live.moves_at[facts.start[v]] += sign
    live.moves_at[h] += sign
    group = facts.app_group[v]
    if group < 0:
        return
    moved = live.moved_of_group[group]
    live.moved_of_group[group] = moved + sign
    live.groups_by_moved[moved] -= 1
    live.groups_by_moved[moved + sign] += 1
    most = tally[MOST_MOVED]
    if moved + sign > most:
        tally[MOST_MOVED] = most + 1
        tally[TOTAL] += facts.disruption_price
    elif moved == most and sign < 0 and live.groups_by_moved[most] == 0:
        tally[MOST_MOVED] = most - 1
        tally[TOTAL] -= facts.disruption_price


@inner
def recount_rules(facts: Facts, live: Live, v: int, a: int, h: int) -> None:
    """Count the crowds that VM ``v`` is in, and the amounts of the rules that look at them."""
    runs = int(h != NOWHERE) - int(a != NOWHERE)
    # First, as it asks for the counts of two crowds as they were.
    for i in range(facts.vm_loose_begin[v], facts.vm_loose_begin[v + 1]):
        rule = facts.vm_loose[i]
        old, new = rule_cells(facts, rule, a, h)
        _amount(
            facts,
            live,
            rule,
            amount_change(facts, live, rule, facts.vm_loose_role[i], old, new, runs),
        )
    for i in range(facts.vm_crowd_begin[v], facts.vm_crowd_begin[v + 1]):
        g = facts.vm_crowd[i]
        old, new = crowd_cells(facts, g, a, h)
        if matters(facts, live, g, old, new, runs):
            for j in range(facts.crowd_rule_begin[g], facts.crowd_rule_begin[g + 1]):
                rule, role = facts.crowd_rule[j], facts.crowd_role[j]
                _amount(facts, live, rule, amount_change(facts, live, rule, role, old, new, runs))
        _recount_crowd(facts, live, g, old, new, runs)


@inlined
def _amount(facts: Facts, live: Live, rule: int, change: int) -> None:
    live.amounts[rule] += change
    live.tally[TOTAL] += change * facts.rule_price[rule]


@inlined
def _recount_crowd(facts: Facts, live: Live, g: int, old: int, new: int, runs: int) -> None:
    live.running[g] += runs
    if old == new:
        return
    begin, tiers = facts.crowd_begin[g], facts.crowd_tiers[g]
    levels = facts.crowd_traits[g] & LEVELS
    for end in range(2):
        cell, sign = (old, -1) if end == 0 else (new, 1)
        if cell < 0:
            continue
        before = live.counts[begin + cell]
        live.counts[begin + cell] = before + sign
        live.occupied[g] += int(before + sign > 0) - int(before > 0)
        if levels:
            live.tiers[tiers + before] -= 1
            live.tiers[tiers + before + sign] += 1
            if before + sign > live.fullest[g]:
                live.fullest[g] = before + sign
            elif before == live.fullest[g] and sign < 0 and live.tiers[tiers + before] == 0:
                live.fullest[g] = before - 1


@inlined
def crowd_cells(facts: Facts, g: int, a: int, h: int) -> tuple[int, int]:
    """Return the cells of two hosts as crowd ``g`` has them, ``-1`` for none."""
    row = facts.crowd_cells[g]
    old = -1 if a == NOWHERE else facts.cells[row, a]
    new = -1 if h == NOWHERE else facts.cells[row, h]
    return old, new


@inlined
def rule_cells(facts: Facts, rule: int, a: int, h: int) -> tuple[int, int]:
    """Return the cells of two hosts as a rule has them, ``-1`` for none."""
    return crowd_cells(facts, facts.rule_members[rule], a, h)


@inlined
def matters(facts: Facts, live: Live, g: int, old: int, new: int, runs: int) -> bool:
    """Whether a VM of crowd ``g`` that goes from cell to cell can change what rules count."""
    if runs != 0:
        return True
    if old == new:
        return False
    return not (facts.crowd_traits[g] & EDGES) or crosses_edge(facts, live, g, old, new)


@inlined
def crosses_edge(facts: Facts, live: Live, g: int, old: int, new: int) -> bool:
    """Whether a VM of crowd ``g`` empties the cell that it leaves, or finds the other empty."""
    begin = facts.crowd_begin[g]
    if old >= 0 and live.counts[begin + old] == 1:
        return True
    return new >= 0 and live.counts[begin + new] == 0


@inner
def amount_change(
    facts: Facts, live: Live, rule: int, role: int, old: int, new: int, runs: int
) -> int:
    """Return the change of a rule's amount when one of its VMs goes from cell to cell.

    The counts of ``solver.problem.Count``, each from the one or two cells that are touched.

    Parameters
    ----------
    runs
        1 if the VM is started, -1 if it is stopped, else 0.
    """
    count, bound = facts.rule_count[rule], facts.rule_bound[rule]
    g = facts.rule_members[rule]
    begin = facts.crowd_begin[g]
    counts = live.counts
    if count == CROWDING:
        if old == new:
            return 0
        change = 0
        if old >= 0 and counts[begin + old] > bound:
            change -= 1
        if new >= 0 and counts[begin + new] >= bound:
            change += 1
        return change
    if count in (DEPENDENCE, SPLIT):
        if old == new:
            return 0
        change = 0
        other_begin = facts.crowd_begin[facts.rule_others[rule]]
        for end in range(2):
            cell, sign = (old, -1) if end == 0 else (new, 1)
            if cell < 0:
                continue
            members = counts[begin + cell]
            others = counts[other_begin + cell]
            m = members + sign * (role & MEMBER)
            o = others + sign * ((role & OTHER) >> 1)
            if count == SPLIT:
                change += min(m, o) - min(members, others)
            else:
                change += int(m > 0 and o == 0) - int(members > 0 and others == 0)
        return change
    if count == SCATTER:
        fullest = live.fullest[g]
        after = fullest
        if old != new:
            tiers = facts.crowd_tiers[g]
            if old >= 0 and counts[begin + old] == fullest and live.tiers[tiers + fullest] == 1:
                after -= 1
            if new >= 0 and counts[begin + new] + 1 > after:
                after = counts[begin + new] + 1
        return runs - (after - fullest)
    occupied = live.occupied[g]
    after = occupied
    if old != new:
        if old >= 0 and counts[begin + old] == 1:
            after -= 1
        if new >= 0 and counts[begin + new] == 0:
            after += 1
    if count == OCCUPANCY:
        return max(0, after - bound) - max(0, occupied - bound)
    running = live.running[g]
    asked, asked_after = min(bound, running), min(bound, running + runs)
    return max(0, asked_after - after) - max(0, asked - occupied)
