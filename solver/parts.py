"""One part of a large cluster as a problem of its own, exact as long as the rest stands still.

Hosts of the part keep their places, prices and limits. What reaches over its edge is kept as it is
now: VMs that came from elsewhere keep the price of their moves, VMs that left still hold what they
hold, VMs of the same application group that moved elsewhere still count for disruption, and VMs
under rules that the part cannot judge alone stay where they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from solver.compiler.groups import rules_of_vms
from solver.domain.score import UNLIMITED
from solver.problem import (
    NOWHERE,
    BoolArray,
    Columns,
    Count,
    GroupRule,
    IntArray,
    Places,
    Problem,
)
from solver.search.state import State

Number = TypeVar("Number", bound=np.generic)

BY_CELL: Final = frozenset({Count.CROWDING, Count.OCCUPANCY, Count.DEPENDENCE, Count.SPLIT})
"""Counts whose amount is a sum over cells, so that cells without hosts of the part are constant."""

DEAR: Final = 2**56
"""Price of going to a host outside the part: more than any move can save."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Some hosts with their VMs, as a problem and its placement.

    Parameters
    ----------
    problem
        The hosts of the part first; after them hosts that only stand for those outside.
    hosts
        Host position in ``problem`` of each of its VMs now.
    vms, inside
        Positions in the whole problem of the VMs and of the part's own hosts.
    """

    problem: Problem
    hosts: IntArray
    vms: IntArray
    inside: IntArray

    def moves(self, hosts: IntArray) -> list[tuple[int, int]]:
        """Return what a placement of the part changes, in positions of the whole problem."""
        changed = np.flatnonzero(hosts != self.hosts)
        return list(
            zip(
                self.vms[changed].tolist(),
                self.inside[hosts[changed]].tolist(),
                strict=True,
            )
        )


def cut_out(state: State, inside: IntArray) -> Part:
    """Return the part of some hosts, at the placement of ``state``.

    What is allowed in the part is allowed in the whole, and costs change alike, as long as no other
    part changes.

    Parameters
    ----------
    inside
        Positions of hosts, sorted.
    """
    whole, hosts = state.problem, state.hosts
    own = np.full(whole.num_hosts + 1, NOWHERE, dtype=np.int64)
    own[inside] = np.arange(len(inside))
    here = own[hosts] != NOWHERE  # NOWHERE itself is the last entry
    residents = np.flatnonzero(here)
    vms = np.concatenate([residents, _outsiders(state, own, here)])
    start, now, examples = _seen_from_inside(whole, hosts, own, vms)
    position = np.full(whole.num_vms, NOWHERE, dtype=np.int64)
    position[residents] = np.arange(len(residents))
    rules, stuck = _rules_inside(state, inside, position, len(examples))
    outside = ~here[vms]
    edge = _Edge(inside=inside, count=len(examples))
    moves = whole.move_costs
    problem = replace(
        whole,
        vm_ids=tuple(whole.vm_ids[v] for v in vms.tolist()),
        host_ids=tuple(whole.host_ids[h] for h in [*inside.tolist(), *examples.tolist()]),
        start=start,
        places=edge.places(whole.places, vms, fixed=stuck[vms] | outside, outside=outside),
        nowhere_prices=whole.nowhere_prices[vms],
        future=edge.columns(whole.future, vms, outside),
        present=edge.columns(whole.present, vms, outside),
        band=whole.band[vms],
        capacity=edge.rows(whole.capacity, UNLIMITED),
        host_class=edge.rows(whole.host_class, 0),
        reserved=whole.reserved[:, vms],
        reserved_limit=edge.rows(whole.reserved_limit, UNLIMITED),
        group_rules=rules,
        app_group=_renumbered(whole.app_group[vms]),
        max_moves=_share_of_budget(
            state, int(((start != NOWHERE) & (start != now)).sum()), len(inside)
        ),
        move_costs=replace(
            moves,
            link_class=moves.link_class[np.concatenate([inside, examples])],
            by_rate=moves.by_rate[vms],
            latency_price=moves.latency_price[vms],
            cpu_share=moves.cpu_share[vms],
            fill_price=moves.fill_price[vms],
            left=moves.left[vms],
            load=edge.rows(moves.load, 0),
            capacity=edge.rows(moves.capacity, np.inf),
            demand=moves.demand[vms],
        ),
        rules_of_vm=rules_of_vms(rules),
        clumps=tuple(
            tuple(position[list(clump)].tolist())
            for clump in whole.clumps
            if (position[list(clump)] != NOWHERE).all()
        ),
    )
    return Part(problem=problem, hosts=now, vms=vms, inside=inside)


def _outsiders(state: State, own: IntArray, here: BoolArray) -> IntArray:
    """Return the VMs elsewhere that matter: those that left, and moved ones of the same groups."""
    whole = state.problem
    moved = (whole.start != NOWHERE) & (state.hosts != whole.start) & ~here
    matters = own[whole.start] != NOWHERE
    if whole.disruption_price:
        group = whole.app_group
        matters |= np.isin(group, group[here & (group >= 0)])
        moved_of_group = state.live.moved_of_group
        if moved_of_group.size:
            matters |= group == int(moved_of_group.argmax())
    found: IntArray = np.flatnonzero(moved & matters)
    return found


def _seen_from_inside(
    whole: Problem, hosts: IntArray, own: IntArray, vms: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Return where VMs start and are now, and examples of the hosts that stand for those outside.

    Links decide what a move from outside costs, so one host stands for all of one class of links,
    and one more is where VMs are that have left; but a budget per host has to count at each host.
    """
    start, now = whole.start[vms], hosts[vms]
    if whole.max_moves_per_host is None:
        left = int(whole.move_costs.link_class.max(initial=0)) + 1
        codes = np.concatenate([whole.move_costs.link_class[start], np.full(len(vms), left)])
    else:
        codes = np.concatenate([start, now])
    real = np.concatenate([start, now])
    seen = own[real]
    abroad = np.flatnonzero((seen == NOWHERE) & (real != NOWHERE))
    _, first, which = np.unique(codes[abroad], return_index=True, return_inverse=True)
    seen[abroad] = int(own.max(initial=-1)) + 1 + which
    return seen[: len(vms)], seen[len(vms) :], real[abroad[first]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Edge:
    """Rows of the part's hosts, and of ``count`` hosts that stand for those outside."""

    inside: IntArray
    count: int

    def rows(self, values: npt.NDArray[Number], outside: float) -> npt.NDArray[Number]:
        """Return the rows of the part's own hosts, and a number for the others."""
        others = np.full((self.count, *values.shape[1:]), outside, dtype=values.dtype)
        return np.concatenate([values[self.inside], others])

    def columns(self, columns: Columns, vms: IntArray, outside: BoolArray) -> Columns:
        """Return columns that price the part's own hosts only."""
        demand = columns.demand[vms]
        demand[outside] = 0
        threshold = self.rows(columns.threshold, UNLIMITED)
        return replace(columns, demand=demand, threshold=threshold)

    def places(
        self, places: Places, vms: IntArray, *, fixed: BoolArray, outside: BoolArray
    ) -> Places:
        """Return places where no VM goes outside, and those that are fixed nowhere."""
        allowed = self.rows(places.allowed_rows.T, 0).T
        prices = self.rows(places.price_rows.T, DEAR).T
        return Places(
            allowed_class=np.where(fixed, len(allowed), places.allowed_class[vms]),
            allowed_rows=np.concatenate(
                [allowed, np.zeros_like(allowed, shape=(1, allowed.shape[1]))]
            ),
            price_class=np.where(outside, len(prices), places.price_class[vms]),
            price_rows=np.concatenate([prices, np.zeros_like(prices, shape=(1, prices.shape[1]))]),
        )


def _rules_inside(
    state: State, inside: IntArray, position: IntArray, num_stand_ins: int
) -> tuple[tuple[GroupRule, ...], BoolArray]:
    """Return the rules that the part can judge alone, and the VMs under others."""
    whole = state.problem
    residents = np.flatnonzero(position != NOWHERE)
    named = {i for v in residents.tolist() for i in whole.rules_of_vm.get(v, ())}
    stuck = np.zeros(whole.num_vms, dtype=np.bool_)
    cells_of: dict[int, IntArray] = {}
    rules = []
    for i in sorted(named):
        rule = whole.group_rules[i]
        if not _judged_inside(rule, state.hosts, inside, position):
            stuck[rule.vms] = stuck[rule.others] = True
            continue
        if id(rule.cell_of) not in cells_of:
            cells_of[id(rule.cell_of)] = _renumbered(rule.cell_of[inside], num_stand_ins)
        rules.append(_restricted(rule, state, i, position, cells_of[id(rule.cell_of)]))
    return tuple(rules), stuck


def _judged_inside(rule: GroupRule, hosts: IntArray, inside: IntArray, position: IntArray) -> bool:
    """Whether what the rule's VMs outside do to its amount is constant."""
    names = np.concatenate([rule.vms, rule.others])
    outside = names[position[names] == NOWHERE]
    if not outside.size:
        return True
    where = hosts[outside]
    cells = rule.cell_of[where[where != NOWHERE]]
    shared = np.isin(cells[cells >= 0], rule.cell_of[inside])
    return rule.count in BY_CELL and not shared.any()


def _restricted(
    rule: GroupRule, state: State, i: int, position: IntArray, cell_of: IntArray
) -> GroupRule:
    """Return a rule about its VMs inside, its limit less what those outside add."""
    bound, limit, hosts = rule.bound, rule.limit, state.hosts
    if rule.count is Count.OCCUPANCY:
        bound -= int((rule.cells(rule.vms[position[rule.vms] == NOWHERE], hosts) > 0).sum())
    vms, others = (names[position[names] != NOWHERE] for names in (rule.vms, rule.others))
    if limit is not None:
        here = replace(rule, vms=vms, others=others, bound=bound).amount(hosts)
        limit -= int(state.amounts[i]) - here
    return replace(
        rule,
        vms=position[vms],
        others=position[others],
        cell_of=cell_of,
        bound=bound,
        limit=limit,
    )


def _renumbered(numbers: IntArray, more: int = 0) -> IntArray:
    """Return numbers as 0, 1, …, with so many new ones at the end; -1 stays."""
    values, which = np.unique(numbers, return_inverse=True)
    if values.size and values[0] < 0:
        which = which - 1
    count = int(which.max(initial=-1)) + 1
    return np.concatenate([which, np.arange(count, count + more)])


def _share_of_budget(state: State, num_moved: int, num_hosts: int) -> int | None:
    """Return how many VMs of a part may be away from their start."""
    most = state.problem.max_moves
    if most is None:
        return None
    left = max(0, most - state.num_migrated)
    return num_moved + left * num_hosts // state.problem.num_hosts
