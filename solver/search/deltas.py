"""What a relocation or an exchange would change, exactly, without making it.

``FORBIDDEN`` stands for what a hard rule, a capacity or a budget does not allow. Costs are looked
at in the order of what they take to compute, refusals first.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from solver.problem import NOWHERE, IntArray
from solver.search.facts import GRADED, SHARED, Facts
from solver.search.live import (
    MIGRATED,
    MOST_MOVED,
    TOTAL,
    Live,
    amount_change,
    crosses_edge,
    crowd_cells,
    matters,
    migrates,
    move_price,
    place_price,
    recount_moves,
    recount_rules,
    rule_cells,
    severity_of,
)
from solver.search.native import inlined, inner, plain

FORBIDDEN: Final = 2**62
"""Delta of what is not allowed."""


@inner
def relocation_delta(facts: Facts, live: Live, v: int, h: int) -> int:
    """Return the change of the total for moving VM ``v`` to host ``h``."""
    a = live.hosts[v]
    if a == h:
        return 0
    if not may_enter(facts, live, v, h):
        return FORBIDDEN
    delta = counts_change(facts, live, v, a, h)
    if delta >= FORBIDDEN:
        return FORBIDDEN
    if a != NOWHERE:
        delta += removal_change(facts, live, v, a)
    return delta + insertion_change(facts, live, v, h)


@inlined
def may_enter(facts: Facts, live: Live, v: int, h: int) -> bool:
    """Whether places and capacities allow VM ``v`` to go to host ``h``, as it is filled now."""
    return allowed(facts, v, h) and fits(facts, live, v, h)


@inlined
def allowed(facts: Facts, v: int, h: int) -> bool:
    """Whether VM ``v`` may be on host ``h``."""
    return facts.start[v] == h or facts.allowed_rows[facts.allowed_class[v], h]


@inlined
def fits(facts: Facts, live: Live, v: int, h: int) -> bool:
    """Whether what VM ``v`` reserves fits on host ``h``."""
    at_home = facts.start[v] == h
    used, most, held = live.used[h], facts.reserved_limit[h], facts.held
    added = facts.reserved[facts.host_class[h], v]
    for r in range(len(used)):
        if used[r] + added[r] > most[r] and not (at_home and held[r]):
            return False
    return True


@inner
def counts_change(facts: Facts, live: Live, v: int, a: int, h: int) -> int:
    """Return the change of everything but loads and reservations; ``FORBIDDEN`` as needed."""
    delta = place_price(facts, v, h) - place_price(facts, v, a)
    before, after = migrates(facts, v, a), migrates(facts, v, h)
    if after:
        if live.tally[MIGRATED] - before + after > facts.max_moves:
            return FORBIDDEN
        if live.moves_at[h] + 1 > facts.max_moves_per_host:
            return FORBIDDEN
        if not before and live.moves_at[facts.start[v]] + 1 > facts.max_moves_per_host:
            return FORBIDDEN
    group = facts.app_group[v]
    if before != after and group >= 0:
        most, moved = live.tally[MOST_MOVED], live.moved_of_group[group]
        if moved == most:
            if after:
                delta += facts.disruption_price
            elif live.groups_by_moved[most] == 1:
                delta -= facts.disruption_price
    rules = _rules_change(facts, live, v, a, h)
    if rules >= FORBIDDEN:
        return FORBIDDEN
    return delta + rules + move_price(facts, v, h) - live.paid[v]


@inlined
def _rules_change(facts: Facts, live: Live, v: int, a: int, h: int) -> int:
    """Return the change of what broken rules cost; ``FORBIDDEN`` beyond a limit."""
    price = 0
    runs = int(h != NOWHERE) - int(a != NOWHERE)
    for i in range(facts.vm_crowd_begin[v], facts.vm_crowd_begin[v + 1]):
        g = facts.vm_crowd[i]
        old, new = crowd_cells(facts, g, a, h)
        if matters(facts, live, g, old, new, runs):
            for j in range(facts.crowd_rule_begin[g], facts.crowd_rule_begin[g + 1]):
                rule, role = facts.crowd_rule[j], facts.crowd_role[j]
                change = amount_change(facts, live, rule, role, old, new, runs)
                if change > 0 and live.amounts[rule] + change > facts.rule_limit[rule]:
                    return FORBIDDEN
                price += change * facts.rule_price[rule]
    for i in range(facts.vm_loose_begin[v], facts.vm_loose_begin[v + 1]):
        rule = facts.vm_loose[i]
        old, new = rule_cells(facts, rule, a, h)
        change = amount_change(facts, live, rule, facts.vm_loose_role[i], old, new, runs)
        if change > 0 and live.amounts[rule] + change > facts.rule_limit[rule]:
            return FORBIDDEN
        price += change * facts.rule_price[rule]
    return price


@inlined
def _change_above(facts: Facts, over: IntArray, demand: IntArray, b: int, i: int, sign: int) -> int:
    """Return what run ``i`` of a host costs more in band ``b`` once a demand comes or goes.

    Indices without a sign let the compiler make vectors of the loops.
    """
    begin, end = np.uint64(facts.run_begin[i]), np.uint64(facts.run_begin[i + 1])
    price, change = facts.run_price[b, i], 0
    if price >= 0:
        for c in range(begin, end):
            change += max(0, over[c] + sign * demand[c]) - max(0, over[c])
        return change * price
    prices = facts.prices[b]
    for c in range(begin, end):
        change += (max(0, over[c] + sign * demand[c]) - max(0, over[c])) * prices[c]
    return change


@inlined
def removal_change(facts: Facts, live: Live, v: int, a: int) -> int:
    """Return the change of host ``a``'s burden and excess when VM ``v`` leaves it."""
    change = 0
    demand = facts.demand[v]
    for i in range(live.highest.shape[2]):
        signed = facts.peak[v, i] > (1 << 59)
        for b in range(facts.band[v] + 1):
            # Where nothing is above its threshold, nothing gets cheaper.
            if live.highest[a, b, i] <= 0 and not signed:
                break
            change += _change_above(facts, live.over[a, b], demand, b, i, plain(-1))
    if live.overfull[a] > 0:
        change += _excess_after(facts, live, v, a, plain(-1)) - live.overfull[a]
    return change


@inlined
def insertion_change(facts: Facts, live: Live, v: int, h: int) -> int:
    """Return the change of host ``h``'s burden and excess when VM ``v`` comes to it."""
    return insertion_up_to(facts, live, v, h, plain(FORBIDDEN))


@inlined
def insertion_up_to(facts: Facts, live: Live, v: int, h: int, most: int) -> int:
    """Return the same, or anything above ``most`` if it is above that."""
    if facts.signed:
        # What comes later may take away from what came before.
        most = FORBIDDEN
    change = 0
    demand = facts.demand[v]
    for i in range(live.highest.shape[2]):
        peak = facts.peak[v, i]
        for b in range(facts.band[v] + 1):
            # Higher bands have less load: below the threshold, they are all.
            if live.highest[h, b, i] + peak <= 0:
                break
            change += _change_above(facts, live.over[h, b], demand, b, i, plain(1))
            if change > most:
                return change
    if facts.may_be_overfull[h]:
        change += _excess_after(facts, live, v, h, plain(1)) - live.overfull[h]
    return change


@inlined
def _excess_after(facts: Facts, live: Live, v: int, h: int, sign: int) -> int:
    severity = 0
    for r in range(live.used.shape[1]):
        used = live.used[h, r]
        if not (facts.held[r] and facts.start[v] == h):
            used += sign * facts.reserved[facts.host_class[h], v, r]
        severity += severity_of(facts, h, r, used)
    return severity * facts.repair_price


@inner
def swap_delta(facts: Facts, live: Live, v: int, w: int) -> int:
    """Return the change of the total when two VMs on different hosts change places."""
    a, b = live.hosts[v], live.hosts[w]
    if not (allowed(facts, v, b) and allowed(facts, w, a)):
        return FORBIDDEN
    if not (trade_fits(facts, live, v, w, b) and trade_fits(facts, live, w, v, a)):
        return FORBIDDEN
    delta = swap_counts(facts, live, v, w, a, b)
    if delta >= FORBIDDEN:
        return FORBIDDEN
    return delta + trade_change(facts, live, v, w, b) + trade_change(facts, live, w, v, a)


@inlined
def trade_fits(facts: Facts, live: Live, v: int, w: int, h: int) -> bool:
    """Whether host ``h`` has room for VM ``v`` once VM ``w`` is gone."""
    used, most = live.used[h], facts.reserved_limit[h]
    for r in range(len(used)):
        added = _traded(facts, v, w, h, r)
        if used[r] + added > most[r]:
            return False
    return True


@inlined
def _traded(facts: Facts, v: int, w: int, h: int, r: int) -> int:
    """Return what host ``h`` reserves more when VM ``v`` comes and VM ``w`` goes."""
    change = 0
    if not (facts.held[r] and facts.start[v] == h):
        change += facts.reserved[facts.host_class[h], v, r]
    if not (facts.held[r] and facts.start[w] == h):
        change -= facts.reserved[facts.host_class[h], w, r]
    return change


@inlined
def trade_change(facts: Facts, live: Live, v: int, w: int, h: int) -> int:
    """Return the change of host ``h``'s burden and excess when ``v`` comes and ``w`` goes."""
    change = 0
    comes, goes, band = facts.demand[v], facts.demand[w], facts.band
    for i in range(live.highest.shape[2]):
        peak = facts.peak[v, i]
        for b in range(max(band[v], band[w]) + 1):
            highest = live.highest[h, b, i]
            if highest + peak <= 0 and highest <= 0:
                break
            over, price, part = live.over[h, b], facts.run_price[b, i], 0
            begin, end = np.uint64(facts.run_begin[i]), np.uint64(facts.run_begin[i + 1])
            if price >= 0 and band[v] >= b and band[w] >= b:
                for c in range(begin, end):
                    part += max(0, over[c] + comes[c] - goes[c]) - max(0, over[c])
                change += part * price
            else:
                prices = facts.prices[b]
                come, go = int(band[v] >= b), int(band[w] >= b)
                for c in range(begin, end):
                    then = over[c] + come * comes[c] - go * goes[c]
                    change += (max(0, then) - max(0, over[c])) * prices[c]
    if facts.may_be_overfull[h]:
        severity = 0
        for r in range(live.used.shape[1]):
            severity += severity_of(facts, h, r, live.used[h, r] + _traded(facts, v, w, h, r))
        change += severity * facts.repair_price - live.overfull[h]
    return change


@inlined
def swap_counts(facts: Facts, live: Live, v: int, w: int, a: int, b: int) -> int:
    """Return the change of everything but loads and reservations; ``FORBIDDEN`` as needed."""
    return pair_counts(facts, live, v, a, b, w, b, a)


@inner
def pair_counts(facts: Facts, live: Live, v: int, a: int, b: int, w: int, c: int, d: int) -> int:
    """Return the change of everything but loads and reservations when two VMs move at once.

    VM ``v`` goes from host ``a`` to ``b``, VM ``w`` from ``c`` to ``d``; ``FORBIDDEN`` as needed.
    """
    if _entangled(facts, live, v, a, b, w, c, d):
        return _counts_together(facts, live, v, a, b, w, c, d)
    first = counts_change(facts, live, v, a, b)
    if first >= FORBIDDEN:
        return FORBIDDEN
    second = counts_change(facts, live, w, c, d)
    return FORBIDDEN if second >= FORBIDDEN else first + second


@inlined
def _entangled(facts: Facts, live: Live, v: int, a: int, b: int, w: int, c: int, d: int) -> bool:
    """Whether what one VM changes in the counts may matter to the other."""
    if facts.max_moves < (1 << 59) or facts.max_moves_per_host < (1 << 59):
        return True
    if (
        migrates(facts, v, a) != migrates(facts, v, b)
        and migrates(facts, w, c) != migrates(facts, w, d)
        and _disrupt_together(facts, live, facts.app_group[v], facts.app_group[w])
    ):
        return True
    # Rules of one side are about one crowd; those of two sides join two.
    for i in range(facts.vm_crowd_begin[v], facts.vm_crowd_begin[v + 1]):
        for j in range(facts.vm_crowd_begin[w], facts.vm_crowd_begin[w + 1]):
            if facts.vm_crowd[i] == facts.vm_crowd[j]:
                return True
    return _sways_others(facts, live, v, a, b) and _sways_others(facts, live, w, c, d)


@inlined
def _disrupt_together(facts: Facts, live: Live, one: int, other: int) -> bool:
    """Whether two application groups are one, or one of them is the most-moved."""
    if one < 0 or other < 0:
        return False
    most = live.tally[MOST_MOVED]
    return one == other or live.moved_of_group[one] == most or live.moved_of_group[other] == most


@inlined
def _sways_others(facts: Facts, live: Live, v: int, a: int, h: int) -> bool:
    """Whether what VM ``v`` changes may matter to VMs on the other side of a rule."""
    if facts.vm_loose_begin[v] != facts.vm_loose_begin[v + 1]:
        return True
    for i in range(facts.vm_crowd_begin[v], facts.vm_crowd_begin[v + 1]):
        g = facts.vm_crowd[i]
        old, new = crowd_cells(facts, g, a, h)
        if old != new:
            if facts.crowd_traits[g] & GRADED:
                return True
            if facts.crowd_traits[g] & SHARED and crosses_edge(facts, live, g, old, new):
                return True
    return False


@inner
def _counts_together(
    facts: Facts, live: Live, v: int, a: int, b: int, w: int, c: int, d: int
) -> int:
    """Count both for a moment, look, and count back."""
    before = live.tally[TOTAL]
    _count_both(facts, live, v, a, b, w, c, d)
    delta = live.tally[TOTAL] - before
    broken = beyond_limits(facts, live, v, a, b) or beyond_limits(facts, live, w, c, d)
    _count_both(facts, live, v, b, a, w, d, c)
    if broken:
        return FORBIDDEN
    delta += place_price(facts, v, b) - place_price(facts, v, a)
    delta += place_price(facts, w, d) - place_price(facts, w, c)
    delta += move_price(facts, v, b) - live.paid[v]
    return delta + move_price(facts, w, d) - live.paid[w]


@inner
def _count_both(facts: Facts, live: Live, v: int, a: int, b: int, w: int, c: int, d: int) -> None:
    recount_moves(facts, live, v, a, b)
    recount_rules(facts, live, v, a, b)
    recount_moves(facts, live, w, c, d)
    recount_rules(facts, live, w, c, d)


@inner
def beyond_limits(facts: Facts, live: Live, v: int, a: int, b: int) -> bool:
    """Whether a rule that names VM ``v`` or a budget, at two hosts or its own, is exceeded."""
    for i in range(facts.vm_rule_begin[v], facts.vm_rule_begin[v + 1]):
        rule = facts.vm_rule[i]
        if live.amounts[rule] > facts.rule_limit[rule]:
            return True
    most = facts.max_moves_per_host
    home = facts.start[v]
    return (
        live.tally[MIGRATED] > facts.max_moves
        or (a != NOWHERE and live.moves_at[a] > most)
        or (b != NOWHERE and live.moves_at[b] > most)
        or (home != NOWHERE and live.moves_at[home] > most)
    )
