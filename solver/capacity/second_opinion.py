"""The compiled problem as a linear program with integers: a second solver's word on CP-SAT's.

Written from ``solver.problem`` alone and solved by HiGHS, so that a wrong encoder, a wrong solver
and a wrong score would have to agree by chance. For small problems: nothing is restricted or
merged.

HiGHS counts in floating point. Its placement is exact and is meant to be scored by
``solver.domain.score``; its bound is rounded down by more than floating point may have lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pulp

from solver.capacity.mip import MipStatus, solve_mip, whole_below
from solver.domain.check import SEVERITY_ONE
from solver.problem import NOWHERE, Count, GroupRule, Problem

IntArray = npt.NDArray[np.int64]

LARGEST_COEFFICIENT: Final = 2**20
"""Of the objective, once scaled by a power of two: HiGHS's tolerances are absolute."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opinion:
    """What HiGHS says of a problem.

    Parameters
    ----------
    hosts
        Host position of every VM, shape ``(V,)``; ``None`` if none was found or asked for.
    bound
        No allowed placement has a lower total, in cost units.
    proven
        Whether the placement is the best, as far as floating point tells totals apart.
    """

    hosts: IntArray | None
    bound: int
    proven: bool


def second_opinion(problem: Problem, *, limit_s: float = 60.0) -> Opinion:
    """Return the best placement HiGHS finds, and a bound on any."""
    model = _Model(problem)
    outcome = solve_mip(model.program, limit_s=limit_s)
    return Opinion(
        hosts=model.placement() if outcome.found else None,
        bound=model.units_below(outcome.bound),
        proven=outcome.status is MipStatus.OPTIMAL,
    )


def relaxed_opinion(problem: Problem, *, limit_s: float = 60.0) -> Opinion:
    """Return the bound of the linear relaxation: VMs in parts on several hosts."""
    model = _Model(problem)
    outcome = solve_mip(model.program, limit_s=limit_s, relaxed=True)
    return Opinion(hosts=None, bound=model.units_below(outcome.bound), proven=False)


class _Model:
    """Variables, rows and prices, collected term by term."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.program = pulp.LpProblem("joint", pulp.LpMinimize)
        self._prices: list[tuple[pulp.LpVariable, int]] = []
        self._at: dict[tuple[int, int], pulp.LpVariable] = {}
        self._nowhere: dict[int, pulp.LpVariable] = {}
        self._count = 0
        self._add_places()
        for h in range(problem.num_hosts):
            for r in range(problem.capacity.shape[1]):
                self._add_capacity(h, r)
            self._add_shortfall(h)
        for rule in problem.group_rules:
            self._add_rule(rule)
        self._add_moves()
        largest = max((price for _, price in self._prices), default=1)
        self._scale = 2.0 ** max(0, math.ceil(math.log2(max(1, largest) / LARGEST_COEFFICIENT)))
        self.program.setObjective(
            pulp.lpSum(price / self._scale * variable for variable, price in self._prices)
        )

    def placement(self) -> IntArray:
        """Return the host of every VM in the solution."""
        hosts = np.full(self.problem.num_vms, NOWHERE, dtype=np.int64)
        for (v, h), x in self._at.items():
            if x.value() > 0.5:
                hosts[v] = h
        return hosts

    def units_below(self, bound: float) -> int:
        """Return a bound on the scaled objective as whole cost units; costs are never negative."""
        return max(0, whole_below(bound * self._scale)) if math.isfinite(bound) else 0

    def _new(self, most: float | None = None, *, whole: bool = False) -> pulp.LpVariable:
        self._count += 1
        kind = pulp.LpInteger if whole else pulp.LpContinuous
        return self.program.add_variable(f"a{self._count}", 0, most, cat=kind)

    def _price(self, variable: pulp.LpVariable, price: int) -> None:
        if price:
            self._prices.append((variable, price))

    def _add_places(self) -> None:
        problem = self.problem
        every = np.arange(problem.num_vms)
        if not every.size:
            return
        allowed, prices = problem.allowed_hosts(every), problem.place_prices(every)
        moving = problem.move_rows(every)
        for v in every.tolist():
            choices = []
            for h in np.flatnonzero(allowed[v]).tolist():
                x = self._at[v, h] = self._new(1, whole=True)
                self._price(x, int(prices[v, h] + moving[v, h]))
                choices.append(x)
            if problem.start[v] == NOWHERE:
                x = self._nowhere[v] = self._new(1, whole=True)
                self._price(x, int(problem.nowhere_prices[v]))
                choices.append(x)
            self.program += pulp.lpSum(choices) == 1

    def _add_capacity(self, h: int, r: int) -> None:
        """Bind reservations, and price what they exceed where they may: whole severities."""
        problem = self.problem
        own = problem.reserved[problem.host_class[h], :, r]
        held = int(own[problem.start == h].sum()) if problem.held[r] else 0
        taken = {
            v: int(own[v])
            for v in range(problem.num_vms)
            if own[v] and (v, h) in self._at and not (problem.held[r] and problem.start[v] == h)
        }
        limit, capacity = int(problem.reserved_limit[h, r]), int(problem.capacity[h, r])
        if held + sum(taken.values()) <= capacity:
            return
        used = pulp.lpSum(a * self._at[v, h] for v, a in taken.items())
        self.program += used <= limit - held
        if limit <= capacity:
            return
        most = limit - capacity
        reference = int(problem.reference[r])
        broken = self._new(1, whole=True)
        self.program += used - most * broken <= capacity - held
        severity = self._new(most * SEVERITY_ONE // reference, whole=True)
        # Rounded down: severity > excess · 10⁶ / reference − 1, in whole numbers.
        least = SEVERITY_ONE / reference
        room = (capacity - held) * least + (reference - 1) / reference
        self.program += least * used - severity <= room
        self._price(broken, int(problem.broken_ppm[r]) * problem.repair_price)
        self._price(severity, problem.repair_price)

    def _add_shortfall(self, h: int) -> None:
        problem, columns = self.problem, self.problem.future
        for b in range(problem.num_bands):
            guests = [v for v, g in self._at if g == h and problem.band[v] >= b]
            demand = columns.demand[np.array(guests, dtype=np.int64)]
            most = np.maximum(demand, 0).sum(axis=0) - columns.threshold[h]
            for c in np.flatnonzero((columns.prices[b] > 0) & (most > 0)).tolist():
                short = self._new()
                load = [(self._at[v, h], int(a)) for v, a in zip(guests, demand[:, c], strict=True)]
                self.program += pulp.lpSum(a * x for x, a in load if a) - short <= int(
                    columns.threshold[h, c]
                )
                self._price(short, int(columns.prices[b, c]))

    def _add_rule(self, rule: GroupRule) -> None:
        """Count a rule as ``problem.count_amount`` does, from below: the price pushes it down."""
        members, others = self._cells(rule, rule.vms), self._cells(rule, rule.others)
        size, size_others = len(rule.vms), len(rule.others)
        running = size - pulp.lpSum(
            self._nowhere[v] for v in rule.vms.tolist() if v in self._nowhere
        )
        amount = self._new(rule.limit)
        self._price(amount, rule.price)
        if rule.count is Count.CROWDING:
            parts = [self._new() for _ in members]
            for part, n in zip(parts, members, strict=True):
                self.program += part >= n - rule.bound
            self.program += amount >= pulp.lpSum(parts)
        elif rule.count is Count.SCATTER:
            fullest = [self._new(1, whole=True) for _ in members]
            if not members:
                self.program += amount >= running
                return
            self.program += pulp.lpSum(fullest) == 1
            for most, n in zip(fullest, members, strict=True):
                self.program += amount >= running - n - size * (1 - most)
        elif rule.count is Count.SPREAD:
            occupied = [self._new(1, whole=True) for _ in members]
            for seen, n in zip(occupied, members, strict=True):
                self.program += seen <= n
            few = self._new(1, whole=True)
            self.program += amount >= rule.bound - pulp.lpSum(occupied) - rule.bound * few
            self.program += amount >= running - pulp.lpSum(occupied) - size * (1 - few)
        elif rule.count is Count.SPLIT:
            parts = [self._new() for _ in members]
            for part, n, m in zip(parts, members, others, strict=True):
                fewer = self._new(1, whole=True)
                self.program += part >= n - size * fewer
                self.program += part >= m - size_others * (1 - fewer)
            self.program += amount >= pulp.lpSum(parts)
        else:
            occupied = [self._new(1, whole=True) for _ in members]
            for seen, n in zip(occupied, members, strict=True):
                self.program += n <= size * seen
            if rule.count is Count.OCCUPANCY:
                self.program += amount >= pulp.lpSum(occupied) - rule.bound
                return
            alone = [self._new() for _ in members]
            for lonely, seen, m in zip(alone, occupied, others, strict=True):
                self.program += lonely >= seen - m
            self.program += amount >= pulp.lpSum(alone)

    def _cells(self, rule: GroupRule, vms: IntArray) -> list[pulp.LpAffineExpression]:
        """Return how many of some VMs are in each cell."""
        return [
            pulp.lpSum(
                self._at[v, h]
                for v in vms.tolist()
                for h in np.flatnonzero(rule.cell_of == cell).tolist()
                if (v, h) in self._at
            )
            for cell in range(rule.num_cells)
        ]

    def _add_moves(self) -> None:
        """Bind and price numbers of migrations; starting a VM is none."""
        problem = self.problem
        start = problem.start
        moves = [(v, h, x) for (v, h), x in self._at.items() if start[v] not in (NOWHERE, h)]
        if not moves:
            return
        if problem.max_moves is not None:
            self.program += pulp.lpSum(x for _, _, x in moves) <= problem.max_moves
        if problem.max_moves_per_host is not None:
            for host in range(problem.num_hosts):
                touching = [x for v, h, x in moves if host in (start[v], h)]
                if touching:
                    self.program += pulp.lpSum(touching) <= problem.max_moves_per_host
        groups = {int(problem.app_group[v]) for v, _, _ in moves} - {-1}
        if groups and problem.disruption_price:
            most = self._new()
            for g in groups:
                self.program += most >= pulp.lpSum(
                    x for v, _, x in moves if problem.app_group[v] == g
                )
            self._price(most, problem.disruption_price)
