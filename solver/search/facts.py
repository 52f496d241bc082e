"""What a problem says, as flat read-only arrays that compiled kernels can walk.

One translation of ``Problem`` for all kernels of this room, made once per problem. Fields keep the
problem's names where they are the problem's arrays; the others are said here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from numba.experimental import structref

from solver.problem import (
    NOWHERE,
    BoolArray,
    Columns,
    Count,
    FloatArray,
    GroupRule,
    IntArray,
    Problem,
)
from solver.search.native import Reference, packer, registered

NO_LIMIT: Final = 2**60
"""Stands for "no limit" where kernels compare."""

LEAST_RUN: Final = 4
"""Columns in a row under one threshold that are worth a look at the fullest of them first."""

TWO_SIDED: Final = frozenset({Count.DEPENDENCE, Count.SPLIT})
"""Counts of rules about two groups."""

MEMBER: Final = 1
OTHER: Final = 2


class Facts(NamedTuple):
    """A problem, flat.

    Columns are cut into *runs*: those in a row that share their thresholds, so that one number a
    host tells whether a VM can bring any of them above. ``run_begin[i]:run_begin[i + 1]`` are the
    columns of run ``i``, and ``peak[v, i]`` is the most that VM ``v`` needs in one of them
    (``NO_LIMIT`` for runs that must be looked at in any case).

    Rules: ``cells[rule_cells[i], h]`` is the cell of host ``h`` under rule ``i``; the counts of its
    cells begin at ``count_begin[i]`` (of the members) and ``other_begin[i]`` (of the others), and
    the numbers of cells by how many members they hold at ``tier_begin[i]``. VM ``v`` is in rules
    ``vm_rule[vm_rule_begin[v]:vm_rule_begin[v + 1]]``, as ``MEMBER``, ``OTHER`` or both; the
    members of rule ``i``, and the VMs of clump ``i``, are listed in the same way.

    ``fullest[h]`` is the resource of which least is left on host ``h`` at the start: nearly always
    the one that moves there are priced for.
    """

    start: IntArray
    movable: BoolArray
    band: IntArray
    demand: IntArray
    threshold: IntArray
    prices: IntArray
    run_begin: IntArray
    peak: IntArray
    demand_now: IntArray
    threshold_now: IntArray
    prices_now: IntArray
    capacity: IntArray
    reserved_limit: IntArray
    host_class: IntArray
    reserved: IntArray
    held: BoolArray
    reference: IntArray
    broken_ppm: IntArray
    may_be_overfull: BoolArray
    repair_price: int
    allowed_class: IntArray
    allowed_rows: BoolArray
    price_class: IntArray
    price_rows: IntArray
    nowhere_prices: IntArray
    link_class: IntArray
    rate_of: IntArray
    by_rate: IntArray
    round_trips_s: FloatArray
    border: FloatArray
    latency_price: FloatArray
    cpu_share: FloatArray
    fill_price: FloatArray
    left: FloatArray
    load: IntArray
    load_capacity: FloatArray
    load_demand: IntArray
    fullest: IntArray
    rule_count: IntArray
    rule_bound: IntArray
    rule_price: IntArray
    rule_limit: IntArray
    rule_cells: IntArray
    cells: IntArray
    count_begin: IntArray
    other_begin: IntArray
    tier_begin: IntArray
    vm_rule_begin: IntArray
    vm_rule: IntArray
    vm_role: IntArray
    rule_vm_begin: IntArray
    rule_vm: IntArray
    clump_begin: IntArray
    clump_vm: IntArray
    app_group: IntArray
    disruption_price: int
    max_moves: int
    max_moves_per_host: int


@registered
class FactsType(Reference):
    """The facts, to kernels."""


class FactsReference(structref.StructRefProxy):
    """The facts, as kernels take them."""


pack_facts: Final = packer(FactsReference, FactsType, Facts._fields)

_known: WeakKeyDictionary[Problem, Facts] = WeakKeyDictionary()


def facts_of(problem: Problem) -> Facts:
    """Return the flat form of a problem, made at the first call."""
    facts = _known.get(problem)
    if facts is None:
        facts = _known[problem] = _flatten(problem)
    return facts


def _flatten(problem: Problem) -> Facts:
    future, now, moves, places = (
        problem.future,
        problem.present,
        problem.move_costs,
        problem.places,
    )
    run_begin = _runs(future)
    rules = problem.group_rules
    rule_cells, cells = _cells(rules, problem.num_hosts)
    vm_rule_begin, vm_rule, vm_role = _rules_of_vms(rules, problem.num_vms)
    sizes = [rule.num_cells for rule in rules]
    limits = [NO_LIMIT if rule.limit is None else rule.limit for rule in rules]
    return Facts(
        start=_ints(problem.start),
        movable=_bools(problem.num_choices() > (problem.start != NOWHERE)),
        band=_ints(problem.band),
        demand=_ints(future.demand),
        threshold=_ints(future.threshold),
        prices=_ints(future.prices),
        run_begin=run_begin,
        peak=_peaks(future, run_begin),
        demand_now=_ints(now.demand),
        threshold_now=_ints(now.threshold),
        prices_now=_ints(now.prices),
        capacity=_ints(problem.capacity),
        reserved_limit=_ints(problem.reserved_limit),
        host_class=_ints(problem.host_class),
        reserved=_ints(problem.reserved),
        held=_bools(problem.held),
        reference=_ints(problem.reference),
        broken_ppm=_ints(problem.broken_ppm),
        may_be_overfull=_bools((problem.reserved_limit > problem.capacity).any(axis=1)),
        repair_price=problem.repair_price,
        allowed_class=_ints(places.allowed_class),
        allowed_rows=_bools(places.allowed_rows),
        price_class=_ints(places.price_class),
        price_rows=_ints(places.price_rows),
        nowhere_prices=_ints(problem.nowhere_prices),
        link_class=_ints(moves.link_class),
        rate_of=_ints(moves.rate_of),
        by_rate=_ints(moves.by_rate),
        round_trips_s=_floats(moves.round_trips_s),
        border=_floats(moves.border),
        latency_price=_floats(moves.latency_price),
        cpu_share=_floats(moves.cpu_share),
        fill_price=_floats(moves.fill_price),
        left=_floats(moves.left),
        load=_ints(moves.load),
        load_capacity=_floats(moves.capacity),
        load_demand=_ints(moves.demand),
        fullest=_fullest(moves.load / moves.capacity),
        rule_count=_ints([int(rule.count) for rule in rules]),
        rule_bound=_ints([rule.bound for rule in rules]),
        rule_price=_ints([rule.price for rule in rules]),
        rule_limit=_ints(limits),
        rule_cells=rule_cells,
        cells=cells,
        count_begin=_begins(sizes),
        other_begin=_begins(
            # Also where there are no others: kernels read their counts all the same.
            [
                size if rule.count in TWO_SIDED else 0
                for rule, size in zip(rules, sizes, strict=True)
            ]
        ),
        tier_begin=_begins([len(rule.vms) + 1 for rule in rules]),
        vm_rule_begin=vm_rule_begin,
        vm_rule=vm_rule,
        vm_role=vm_role,
        rule_vm_begin=_begins([len(rule.vms) for rule in rules]),
        rule_vm=_ints(np.concatenate([_ints([]), *(rule.vms for rule in rules)])),
        clump_begin=_begins([len(clump) for clump in problem.clumps]),
        clump_vm=_ints([v for clump in problem.clumps for v in clump]),
        app_group=_ints(problem.app_group),
        disruption_price=problem.disruption_price,
        max_moves=_limit(problem.max_moves),
        max_moves_per_host=_limit(problem.max_moves_per_host),
    )


def _fullest(shares: FloatArray) -> IntArray:
    if not shares.size:
        return _ints(np.zeros(len(shares), dtype=np.int64))
    return _ints(shares.argmax(axis=1))


def _runs(columns: Columns) -> IntArray:
    """Return where runs of columns begin, and the end of the last."""
    num_columns = columns.demand.shape[1]
    if not num_columns:
        return _ints([0])
    new = (columns.threshold[:, 1:] != columns.threshold[:, :-1]).any(axis=0)
    begins = [0, *(np.flatnonzero(new) + 1).tolist(), num_columns]
    # What is alone under its threshold is looked at together with its neighbours.
    kept = [0]
    for begin, end in pairwise(begins):
        if end - begin >= LEAST_RUN:
            kept += [begin, end]
    return _ints(sorted({*kept, num_columns}))


def _peaks(columns: Columns, run_begin: IntArray) -> IntArray:
    peaks = np.full((len(columns.demand), len(run_begin) - 1), NO_LIMIT, dtype=np.int64)
    for i, (begin, end) in enumerate(pairwise(run_begin.tolist())):
        demand, threshold = columns.demand[:, begin:end], columns.threshold[:, begin:end]
        alike = bool((threshold == threshold[:, :1]).all())
        if alike and len(demand) and int(demand.min()) >= 0:
            peaks[:, i] = demand.max(axis=1)
    return _ints(peaks)


def _cells(rules: tuple[GroupRule, ...], num_hosts: int) -> tuple[IntArray, IntArray]:
    """Return which row of cells each rule has, and the rows; rules share arrays, not contents."""
    number: dict[int, int] = {}
    rows: list[IntArray] = []
    which = []
    for rule in rules:
        if id(rule.cell_of) not in number:
            number[id(rule.cell_of)] = len(rows)
            rows.append(rule.cell_of)
        which.append(number[id(rule.cell_of)])
    stacked = np.stack(rows) if rows else np.zeros((0, num_hosts), dtype=np.int64)
    return _ints(which), _ints(stacked)


def _rules_of_vms(
    rules: tuple[GroupRule, ...], num_vms: int
) -> tuple[IntArray, IntArray, IntArray]:
    roles: dict[tuple[int, int], int] = {}
    for i, rule in enumerate(rules):
        for vms, role in ((rule.vms, MEMBER), (rule.others, OTHER)):
            for v in vms.tolist():
                roles[v, i] = roles.get((v, i), 0) | role
    keys = sorted(roles)
    counts = np.bincount([v for v, _ in keys], minlength=num_vms) if keys else [0] * num_vms
    return _begins(counts), _ints([i for _, i in keys]), _ints([roles[key] for key in keys])


def _begins(sizes: npt.ArrayLike) -> IntArray:
    ends = np.cumsum(np.asarray(sizes, dtype=np.int64), dtype=np.int64)
    return _ints(np.concatenate([[0], ends]))


def _limit(limit: int | None) -> int:
    return NO_LIMIT if limit is None else limit


def _ints(values: npt.ArrayLike) -> IntArray:
    return _read_only(np.ascontiguousarray(values, dtype=np.int64))


def _floats(values: npt.ArrayLike) -> FloatArray:
    array = np.ascontiguousarray(values, dtype=np.float64).view()
    array.flags.writeable = False
    return array


def _bools(values: npt.ArrayLike) -> BoolArray:
    array = np.ascontiguousarray(values, dtype=np.bool_).view()
    array.flags.writeable = False
    return array


def _read_only(array: IntArray) -> IntArray:
    # A view, so that the flag of the owner stays as it is: kernels are compiled for read-only.
    view = array.view()
    view.flags.writeable = False
    return view
