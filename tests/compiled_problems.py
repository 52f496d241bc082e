"""Compiled problems at random, richer than any cluster compiles to, and a plain judge of them.

Columns of either sign, resources held at the start, all six counts over any cells, prices of every
kind. The judge adds up what ``solver.problem`` says, VM by VM, sharing no code with the engines.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from solver.domain.units import HostId, VmId
from solver.problem import (
    NOWHERE,
    Columns,
    Count,
    GroupRule,
    IntArray,
    MoveCosts,
    Places,
    Problem,
)

MILLION = 1_000_000


@st.composite
def compiled_problems(draw: st.DrawFn, *, max_hosts: int = 4, max_vms: int = 6) -> Problem:
    """Draw a problem whose start may break anything."""
    num_hosts, num_vms = draw(st.integers(1, max_hosts)), draw(st.integers(1, max_vms))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    num_rules = draw(st.integers(0, 4))
    held = draw(st.tuples(st.booleans(), st.booleans()))
    return random_problem(rng, num_hosts, num_vms, num_rules, held)


def random_problem(
    rng: np.random.Generator, num_hosts: int, num_vms: int, num_rules: int, held: tuple[bool, bool]
) -> Problem:
    """Return a problem of two reserved resources, five columns and three bands."""
    start = rng.integers(NOWHERE if rng.random() < 0.5 else 0, num_hosts, num_vms)
    reserved = rng.integers(0, 4, (2, num_vms, 2))
    capacity = rng.integers(2, 12, (num_hosts, 2))
    host_class = rng.integers(0, 2, num_hosts)
    used = np.zeros_like(capacity)
    for v, h in enumerate(start.tolist()):
        if h != NOWHERE:
            used[h] += reserved[host_class[h], v]
    rules = tuple(
        _rule(rng, f"r{i}", Count(int(rng.integers(6))), num_vms, start, num_hosts)
        for i in range(num_rules)
    )
    return Problem(
        vm_ids=tuple(VmId(f"v{v}") for v in range(num_vms)),
        host_ids=tuple(HostId(f"h{h}") for h in range(num_hosts)),
        start=start,
        places=Places(
            allowed_class=rng.integers(0, 2, num_vms),
            allowed_rows=np.stack(
                [np.ones(num_hosts, dtype=np.bool_), rng.random(num_hosts) < 0.7]
            ),
            price_class=rng.integers(0, 2, num_vms),
            price_rows=rng.integers(0, 2, (2, num_hosts)) * 70,
        ),
        nowhere_prices=rng.integers(0, 3, num_vms) * 200,
        future=_columns(rng, num_hosts, num_vms, 5),
        present=_columns(rng, num_hosts, num_vms, 1),
        band=rng.integers(0, 3, num_vms),
        resource_names=("a", "b"),
        capacity=capacity,
        host_class=host_class,
        reserved=reserved,
        reserved_limit=np.maximum(capacity, used),
        held=np.array(held),
        reference=rng.integers(3, 9, 2),
        broken_ppm=rng.integers(0, 2, 2) * MILLION,
        repair_price=int(rng.integers(1, 3)),
        group_rules=rules,
        app_group=rng.integers(-1, 2, num_vms),
        disruption_price=int(rng.integers(0, 20)),
        max_moves=int(rng.integers(0, num_vms + 1)) if rng.random() < 0.2 else None,
        max_moves_per_host=int(rng.integers(1, 3)) if rng.random() < 0.2 else None,
        move_costs=MoveCosts(
            link_class=rng.integers(0, 2, num_hosts),
            rate_of=rng.integers(0, 2, (2, 2)),
            by_rate=rng.integers(0, 30, (num_vms, 2)),
            round_trips_s=rng.random((2, 2)),
            border=rng.random((2, 2)),
            latency_price=rng.random(num_vms) * 5,
            cpu_share=rng.random(num_vms),
            fill_price=rng.random(num_vms) * 5,
            left=rng.random(num_vms),
            load=rng.integers(0, 9, (num_hosts, 1)),
            capacity=rng.integers(5, 12, (num_hosts, 1)).astype(np.float64),
            demand=rng.integers(0, 5, (num_vms, 1)),
        ),
        rules_of_vm={
            v: named
            for v in range(num_vms)
            if (named := tuple(i for i, r in enumerate(rules) if v in {*r.vms, *r.others}))
        },
        clumps=(),
    )


def _columns(rng: np.random.Generator, num_hosts: int, num_vms: int, num_columns: int) -> Columns:
    """Return columns; the last, priced in the lowest band only, has demand of either sign."""
    demand = rng.integers(0, 6, (num_vms, num_columns))
    demand[:, -1] -= 3
    prices = rng.integers(0, 9, (3, num_columns))
    prices[1:, -1] = 0
    threshold = rng.integers(0, 10, (num_hosts, num_columns))
    threshold[:, -1] -= 5
    return Columns(demand=demand, threshold=threshold, prices=prices)


def _rule(
    rng: np.random.Generator,
    rule_id: str,
    count: Count,
    num_vms: int,
    start: IntArray,
    num_hosts: int,
) -> GroupRule:
    cell_of = np.arange(num_hosts) if rng.random() < 0.5 else rng.integers(-1, 2, num_hosts)
    everyone = rng.permutation(num_vms)
    size = int(rng.integers(1, num_vms + 1))
    cut = int(rng.integers(1, size + 1))
    two_sided = count in (Count.DEPENDENCE, Count.SPLIT)
    rule = GroupRule(
        rule_id=rule_id,
        count=count,
        vms=everyone[:cut] if two_sided else everyone[:size],
        others=everyone[cut:size] if two_sided else everyone[:0],
        cell_of=cell_of,
        bound=int(rng.integers(0 if count is Count.CROWDING else 1, 4)),
        price=int(rng.integers(1, 90)),
        limit=None,
    )
    if rng.random() < 0.5:
        return rule
    return replace(rule, limit=plain_amount(rule, start.tolist()))


def plain_amount(rule: GroupRule, where: list[int]) -> int:
    """Return how broken a rule is, from its definition."""
    running = sum(where[v] != NOWHERE for v in rule.vms)
    cells = {c: 0 for c in rule.cell_of.tolist() if c >= 0}
    ours = Counter(cells) + Counter(
        int(rule.cell_of[where[v]]) for v in rule.vms if where[v] != NOWHERE
    )
    theirs = Counter(int(rule.cell_of[where[v]]) for v in rule.others if where[v] != NOWHERE)
    del ours[-1], theirs[-1]
    match rule.count:
        case Count.CROWDING:
            return sum(max(0, n - rule.bound) for n in ours.values())
        case Count.SCATTER:
            return running - max(ours.values(), default=0)
        case Count.SPREAD:
            return max(0, min(rule.bound, running) - len(ours))
        case Count.OCCUPANCY:
            return max(0, len(ours) - rule.bound)
        case Count.DEPENDENCE:
            return sum(cell not in theirs for cell in ours)
        case Count.SPLIT:
            return sum(min(n, theirs[cell]) for cell, n in ours.items())


def plain_used(problem: Problem, where: list[int], h: int, r: int) -> int:
    """Return what is reserved on a host, with what is held there by VMs that have left."""
    return sum(
        int(problem.reserved[problem.host_class[h], v, r])
        for v in range(problem.num_vms)
        if where[v] == h or (problem.held[r] and problem.start[v] == h)
    )


def plain_total(problem: Problem, hosts: IntArray) -> int:
    """Return the objective of a placement, from its definition."""
    where = hosts.tolist()
    moved = [v for v, s in enumerate(problem.start.tolist()) if s != NOWHERE and s != where[v]]
    total = 0
    for v, h in enumerate(where):
        if h == NOWHERE:
            total += int(problem.nowhere_prices[v])
        else:
            total += int(problem.places.price_rows[problem.places.price_class[v], h])
    for v in moved:
        total += int(problem.move_rows(np.array([v]))[0, where[v]])
    for h, b, c in np.ndindex(problem.num_hosts, *problem.future.prices.shape):
        load = sum(
            int(problem.future.demand[v, c])
            for v in range(problem.num_vms)
            if where[v] == h and problem.band[v] >= b
        )
        over = max(0, load - int(problem.future.threshold[h, c]))
        total += int(problem.future.prices[b, c]) * over
    for h, r in np.ndindex(*problem.capacity.shape):
        excess = plain_used(problem, where, h, r) - int(problem.capacity[h, r])
        if excess > 0:
            severity = int(problem.broken_ppm[r]) + excess * MILLION // int(problem.reference[r])
            total += problem.repair_price * severity
    total += sum(rule.price * plain_amount(rule, where) for rule in problem.group_rules)
    groups = Counter(int(problem.app_group[v]) for v in moved if problem.app_group[v] >= 0)
    return total + problem.disruption_price * max(groups.values(), default=0)


def plain_allowed(problem: Problem, hosts: IntArray) -> bool:
    """Return whether a placement keeps what is hard, from its definition."""
    where = hosts.tolist()
    start = problem.start.tolist()
    places = problem.places
    for v, h in enumerate(where):
        if h == NOWHERE:
            if start[v] != NOWHERE:
                return False
        elif h != start[v] and not places.allowed_rows[places.allowed_class[v], h]:
            return False
    moved = [v for v, s in enumerate(start) if s not in (NOWHERE, where[v])]
    ends = Counter(h for v in moved for h in (start[v], where[v]))
    if problem.max_moves is not None and len(moved) > problem.max_moves:
        return False
    if problem.max_moves_per_host is not None and any(
        n > problem.max_moves_per_host for n in ends.values()
    ):
        return False
    if any(
        plain_used(problem, where, h, r) > problem.reserved_limit[h, r]
        for h, r in np.ndindex(*problem.capacity.shape)
    ):
        return False
    return all(
        rule.limit is None or plain_amount(rule, where) <= rule.limit
        for rule in problem.group_rules
    )


def allowed_placements(problem: Problem) -> Iterator[IntArray]:
    """Yield every placement that keeps what is hard."""
    anywhere = range(NOWHERE, problem.num_hosts)
    for chosen in itertools.product(anywhere, repeat=problem.num_vms):
        hosts = np.array(chosen)
        if plain_allowed(problem, hosts):
            yield hosts
