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

MOST_RUN: Final = 32
"""Most columns of a run under one threshold: where there are hundreds of scenarios, most are far
below it, and need not be looked at one by one."""

TWO_SIDED: Final = frozenset({Count.DEPENDENCE, Count.SPLIT})
"""Counts of rules about two groups."""

EDGE_COUNTS: Final = frozenset({Count.SPREAD, Count.OCCUPANCY, Count.DEPENDENCE})
"""Counts that look only at which cells are empty."""

MEMBER: Final = 1
OTHER: Final = 2

EDGES: Final = 1
SHARED: Final = 2
GRADED: Final = 4
LEVELS: Final = 8

_TRAITS: Final = {Count.DEPENDENCE: SHARED, Count.SPLIT: GRADED, Count.SCATTER: LEVELS}


class Facts(NamedTuple):
    """A problem, flat.

    Columns are cut into *runs*: those in a row that share their thresholds, so that one number a
    host tells whether a VM can bring any of them above. Those that share them are sorted, fullest
    first, so that what may be above its threshold is in few runs: columns are not in the problem's
    order. ``run_begin[i]:run_begin[i + 1]`` are the columns of run ``i``, and ``peak[v, i]`` is
    the most that VM ``v`` needs in one of them (``NO_LIMIT`` for runs that must be looked at in
    any case). ``run_price[b, i]`` is the price of all its columns in band ``b``, ``-1`` if they
    differ: one product is faster than one a column. ``signed`` says whether some VM needs less
    than nothing in some column.

    Rules count *crowds*: VMs over one division of the hosts into cells. Rules share them, so that a
    VM that goes from cell to cell is counted once, however many rules look. Rule ``i`` is about
    crowd ``rule_members[i]`` and, with two sides, crowd ``rule_others[i]``. The cell of host ``h``
    is ``cells[crowd_cells[g], h]``; counts of the cells of crowd ``g`` begin at ``crowd_begin[g]``,
    and the numbers of its cells by how many VMs they hold at ``crowd_tiers[g]``. VM ``v`` is in
    crowds ``vm_crowd[vm_crowd_begin[v]:vm_crowd_begin[v + 1]]``, and crowd ``g`` is looked at by
    rules ``crowd_rule[crowd_rule_begin[g]:crowd_rule_begin[g + 1]]``, as ``MEMBER`` or as
    ``OTHER``. Rules whose two sides have a VM in common are not among them but listed by VM, as
    ``vm_loose`` with ``vm_loose_role``: such a VM changes both counts at once. The VMs of rule
    ``i`` and of clump ``i`` are listed likewise, and all rules of VM ``v`` as ``vm_rule``.

    ``crowd_traits`` says what rules want of a crowd: ``EDGES`` if all of them look only at which
    cells are empty, ``SHARED`` if one about two sides does, ``GRADED`` if one about two sides looks
    at the numbers, ``LEVELS`` if one asks for the fullest cell.

    ``fullest[h]`` is the resource of which least is left on host ``h`` at the start: nearly always
    the one that moves there are priced for.
    ``least_price[k]`` is what a VM of price class ``k`` pays at least for its place.
    """

    start: IntArray
    movable: BoolArray
    band: IntArray
    demand: IntArray
    threshold: IntArray
    prices: IntArray
    run_begin: IntArray
    run_price: IntArray
    peak: IntArray
    signed: bool
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
    least_price: IntArray
    rule_count: IntArray
    rule_bound: IntArray
    rule_price: IntArray
    rule_limit: IntArray
    rule_members: IntArray
    rule_others: IntArray
    cells: IntArray
    crowd_cells: IntArray
    crowd_begin: IntArray
    crowd_tiers: IntArray
    crowd_traits: IntArray
    crowd_rule_begin: IntArray
    crowd_rule: IntArray
    crowd_role: IntArray
    vm_crowd_begin: IntArray
    vm_crowd: IntArray
    vm_loose_begin: IntArray
    vm_loose: IntArray
    vm_loose_role: IntArray
    vm_rule_begin: IntArray
    vm_rule: IntArray
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
    order = _fullest_first(future)
    future = Columns(
        demand=future.demand.take(order, axis=1),
        threshold=future.threshold.take(order, axis=1),
        prices=future.prices.take(order, axis=1),
    )
    run_begin = _runs(future)
    rules = problem.group_rules
    crowds = _Crowds(rules, problem.num_hosts, problem.num_vms)
    limits = [NO_LIMIT if rule.limit is None else rule.limit for rule in rules]
    return Facts(
        start=_ints(problem.start),
        movable=_bools(problem.num_choices() > (problem.start != NOWHERE)),
        band=_ints(problem.band),
        demand=_ints(future.demand),
        threshold=_ints(future.threshold),
        prices=_ints(future.prices),
        run_begin=run_begin,
        run_price=_run_prices(future.prices, run_begin),
        peak=_peaks(future, run_begin),
        signed=bool(len(future.demand) and future.demand.size and future.demand.min() < 0),
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
        least_price=_ints(places.price_rows.min(axis=1, initial=NO_LIMIT)),
        rule_count=_ints([int(rule.count) for rule in rules]),
        rule_bound=_ints([rule.bound for rule in rules]),
        rule_price=_ints([rule.price for rule in rules]),
        rule_limit=_ints(limits),
        rule_members=_ints(crowds.members),
        rule_others=_ints(crowds.others),
        cells=crowds.stacked_rows(),
        crowd_cells=_ints(crowds.row),
        crowd_begin=_begins(crowds.num_cells),
        crowd_tiers=_begins([len(vms) + 1 for vms in crowds.vms]),
        crowd_traits=_ints(crowds.traits),
        crowd_rule_begin=_begins([len(rules) for rules in crowds.rules]),
        crowd_rule=_ints([i for rules in crowds.rules for i, _ in rules]),
        crowd_role=_ints([role for rules in crowds.rules for _, role in rules]),
        vm_crowd_begin=_begins([len(mine) for mine in crowds.of_vm]),
        vm_crowd=_ints([g for mine in crowds.of_vm for g in mine]),
        vm_loose_begin=_begins([len(mine) for mine in crowds.loose_of_vm]),
        vm_loose=_ints([i for mine in crowds.loose_of_vm for i, _ in mine]),
        vm_loose_role=_ints([role for mine in crowds.loose_of_vm for _, role in mine]),
        vm_rule_begin=_begins([len(mine) for mine in crowds.rules_of_vm]),
        vm_rule=_ints([i for mine in crowds.rules_of_vm for i in mine]),
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


def _alike(columns: Columns) -> list[int]:
    """Return where columns begin that share the thresholds of those beside them, and the end."""
    new = (columns.threshold[:, 1:] != columns.threshold[:, :-1]).any(axis=0)
    return [0, *(np.flatnonzero(new) + 1).tolist(), columns.demand.shape[1]]


def _fullest_first(columns: Columns) -> IntArray:
    """Return an order of the columns in which demand falls from one to the next of a threshold."""
    demand = columns.demand.sum(axis=0)
    order = np.arange(len(demand))
    for begin, end in pairwise(_alike(columns)):
        order[begin:end] = begin + np.argsort(-demand[begin:end], kind="stable")
    return order


def _runs(columns: Columns) -> IntArray:
    """Return where runs of columns begin, and the end of the last."""
    num_columns = columns.demand.shape[1]
    if not num_columns:
        return _ints([0])
    # What is alone under its threshold is looked at together with its neighbours.
    kept = [0]
    for begin, end in pairwise(_alike(columns)):
        if end - begin >= LEAST_RUN:
            kept += [*range(begin, end, MOST_RUN), end]
    return _ints(sorted({*kept, num_columns}))


def _run_prices(prices: IntArray, run_begin: IntArray) -> IntArray:
    alike = np.full((len(prices), len(run_begin) - 1), -1, dtype=np.int64)
    for i, (begin, end) in enumerate(pairwise(run_begin.tolist())):
        run = prices[:, begin:end]
        alike[:, i] = np.where((run == run[:, :1]).all(axis=1), run[:, 0], -1)
    return _ints(alike)


def _peaks(columns: Columns, run_begin: IntArray) -> IntArray:
    peaks = np.full((len(columns.demand), len(run_begin) - 1), NO_LIMIT, dtype=np.int64)
    for i, (begin, end) in enumerate(pairwise(run_begin.tolist())):
        demand, threshold = columns.demand[:, begin:end], columns.threshold[:, begin:end]
        alike = bool((threshold == threshold[:, :1]).all())
        if alike and len(demand) and int(demand.min()) >= 0:
            peaks[:, i] = demand.max(axis=1)
    return _ints(peaks)


class _Crowds:
    """The crowds that rules are about, each once."""

    def __init__(self, rules: tuple[GroupRule, ...], num_hosts: int, num_vms: int) -> None:
        self._num_hosts = num_hosts
        self._rows: list[IntArray] = []
        # Rules about the same cells share the array.
        self._row_of: dict[int, int] = {}
        self._known: dict[tuple[bytes, int], int] = {}
        self.vms: list[IntArray] = []
        self.row: list[int] = []
        self.num_cells: list[int] = []
        self.traits: list[int] = []
        self.rules: list[list[tuple[int, int]]] = []
        self.members: list[int] = []
        self.others: list[int] = []
        self.of_vm: list[list[int]] = [[] for _ in range(num_vms)]
        self.loose_of_vm: list[list[tuple[int, int]]] = [[] for _ in range(num_vms)]
        self.rules_of_vm: list[list[int]] = [[] for _ in range(num_vms)]
        for i, rule in enumerate(rules):
            self._add(i, rule)

    def stacked_rows(self) -> IntArray:
        """Return the cell of each host in each division, shape ``(divisions, H)``."""
        if not self._rows:
            return _ints(np.zeros((0, self._num_hosts), dtype=np.int64))
        return _ints(np.stack(self._rows))

    def _add(self, i: int, rule: GroupRule) -> None:
        two_sided = rule.count in TWO_SIDED
        members = self._crowd(rule, rule.vms)
        others = self._crowd(rule, rule.others) if two_sided else members
        self.members.append(members)
        self.others.append(others)
        roles = dict.fromkeys(rule.vms.tolist(), MEMBER)
        for v in rule.others.tolist():
            roles[v] = roles.get(v, 0) | OTHER
        for v in roles:
            self.rules_of_vm[v].append(i)
        if MEMBER | OTHER in roles.values():
            for v, role in roles.items():
                self.loose_of_vm[v].append((i, role))
            return
        for g, role in ((members, MEMBER), (others, OTHER))[: 1 + two_sided]:
            self.rules[g].append((i, role))
            if rule.count not in EDGE_COUNTS:
                self.traits[g] &= ~EDGES
            self.traits[g] |= _TRAITS.get(rule.count, 0)

    def _crowd(self, rule: GroupRule, vms: IntArray) -> int:
        row = self._row_of.setdefault(id(rule.cell_of), len(self._rows))
        if row == len(self._rows):
            self._rows.append(rule.cell_of)
        g = self._known.setdefault((vms.tobytes(), row), len(self.vms))
        if g == len(self.vms):
            self.vms.append(vms)
            self.row.append(row)
            self.num_cells.append(rule.num_cells)
            self.traits.append(EDGES)
            self.rules.append([])
            for v in vms.tolist():
                self.of_vm[v].append(g)
        return g


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
