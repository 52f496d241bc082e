"""The joint problem taken apart by hosts: a bound that is nearly the optimum, and patterns for it.

For any price on each VM's place, every host may choose the VMs it had best hold; what all VMs are
worth plus what all hosts lose by their best choices is a lower bound on every placement, to the
last unit, whatever the prices [1]_. The master program finds the prices for which it is highest.

References
----------
.. [1] Geoffrion (1974). Lagrangean relaxation for integer programming. Mathematical Programming
   Study 2. DOI 10.1007/BFb0120690
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from solver.cpsat.host_problem import HostAnswer, HostProblem
from solver.cpsat.local_rules import local_rules
from solver.cpsat.master import Master, Pattern, Prices
from solver.problem import NOWHERE, BoolArray, IntArray, Problem

FIRST_WIDTH: Final = 0.03
"""Width of the first band, in medians of the VMs' prices."""

NARROWER: Final = 0.8
WIDER: Final = 3.0
"""What the width of a band is multiplied by: when prices that moved proved nothing new, and when
they proved more and it held one of them back."""

LOOSE: Final = 0.4
"""Share of the distance between bound and promise that hosts may leave open together."""

OVERHEAD: Final = 0.01
"""Deterministic seconds charged for each round and host beside what CP-SAT counts."""


class Decomposition:
    """Prices, patterns and the best bound proven so far.

    Parameters
    ----------
    problem
        What is minimised.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        everyone = np.arange(problem.num_vms)
        self.allowed = problem.allowed_hosts(everyone)
        """Where VMs may be, shape ``(V, H)``; what cannot be part of a better placement goes."""
        self.costs = problem.place_prices(everyone) + problem.move_rows(everyone)
        """What being on each host costs a VM, the move there included, shape ``(V, H)``."""
        self.movable = problem.num_choices() > (problem.start != NOWHERE)
        self._idle = problem.start == NOWHERE
        prices = np.cumsum(problem.future.prices, axis=0)[problem.band]
        relief = (np.maximum(0, -problem.future.demand) * prices).sum(axis=1)
        rules = local_rules(problem)
        self.hosts = [
            HostProblem(problem, rules, self.movable, relief, h) for h in range(problem.num_hosts)
        ]
        self.relief = relief
        self.master = Master(problem, self.movable)
        self.prices = self._first_prices()
        """Those that proved the best bound."""
        self.bound = -(2**62)
        self.promise = float("inf")
        """What the bound may still become near its prices."""
        self.settled = False
        """Whether no prices prove more than a little beyond the bound."""
        self.work = 0.0
        self._next = self.prices
        self._held = np.zeros(problem.num_vms, dtype=np.bool_)
        median = float(np.median(self.prices.places[self.movable])) if self.movable.any() else 0.0
        self._widths = np.full(problem.num_vms, FIRST_WIDTH * max(1.0, median))

    @property
    def binding(self) -> BoolArray:
        """Which columns bind on any host, shape ``(B, C)``."""
        found: BoolArray = np.any([host.binding for host in self.hosts], axis=0)
        return found

    def learn(self, hosts: IntArray) -> None:
        """Add the patterns of a placement."""
        for h in range(self.problem.num_hosts):
            self._add(h, np.flatnonzero(hosts == h))

    def improve(
        self,
        pool: ThreadPoolExecutor,
        *,
        seed: int,
        work_limit: float,
        out_of_time: Callable[[], bool],
    ) -> None:
        """Ask every host once at the next prices, and find the prices after those.

        Parameters
        ----------
        work_limit
            Deterministic seconds after which no more hosts are asked; then no bound is proven.
        out_of_time
            Asked before each host; once true, no more are asked either.
        """
        tolerance = self._tolerance()
        gains = self._gains(self._next)
        until = self.work + work_limit

        def ask(h: int) -> HostAnswer | None:
            if self.work >= until or out_of_time():
                return None
            host = self.hosts[h]
            return host.best(gains[:, h], self.allowed[:, h], tolerance=tolerance, seed=seed)

        answers: list[HostAnswer | None] = []
        for answer in pool.map(ask, range(self.problem.num_hosts)):
            # In their order, whoever was asked beside them: it must not depend on the workers.
            known = None if self.work >= until else answer
            self.work += 0.0 if known is None else known.work + OVERHEAD
            answers.append(known)
        self._take(answers)
        found = self.master.solve(self.prices, self._widths)
        if found is None:
            self._widths *= NARROWER
            self._next = self.prices
            return
        self._next, self.promise, self._held = found
        free = not self._held.any()
        near = self.promise - self.bound <= self.problem.num_hosts * max(1, tolerance // 2)
        if near and not free:
            self._widths *= 4
        self.settled = free and self.promise - self.bound <= 1e-4 * abs(self.promise)

    def excess(self) -> IntArray:
        """Return by how much a placement with each VM on each host is above the bound, at least.

        Shape ``(V, H)``: zero where nothing is known.
        """
        excess = -self._gains(self.prices) - self.relief[:, None]
        for tie in local_rules(self.problem).ties:
            excess[tie] = excess[tie].sum(axis=0)
        running = np.flatnonzero(~self._idle)
        excess[running, self.problem.start[running]] = 0
        found: IntArray = np.maximum(0, excess)
        return found

    def _take(self, answers: list[HostAnswer | None]) -> None:
        """Add what hosts chose, and move the centre if the bound has risen."""
        known = [answer for answer in answers if answer is not None]
        for answer, h in zip(answers, range(self.problem.num_hosts), strict=True):
            if answer is not None:
                self._add(h, answer.vms)
        if len(known) < len(answers):
            return
        bound = self._constant(self._next) + sum(answer.bound for answer in known)
        if bound > self.bound:
            self._widths[self._held] *= WIDER
            self.bound, self.prices = bound, self._next
        else:
            self._widths[self._next.places != self.prices.places] *= NARROWER

    def _add(self, h: int, vms: IntArray) -> None:
        cost = self.hosts[h].cost(vms) + int(self.costs[vms, h].sum())
        self.master.add(Pattern(host=h, vms=vms, cost=cost))

    def _gains(self, prices: Prices) -> IntArray:
        """Return what each VM on each host is worth, shape ``(V, H)``."""
        moving = prices.of_move(self.problem)
        gains = prices.places[:, None] - self.costs - moving[:, None]
        running = np.flatnonzero(~self._idle)
        gains[running, self.problem.start[running]] += moving[running]
        return gains

    def _constant(self, prices: Prices) -> int:
        """Return the part of the bound that no host decides."""
        problem = self.problem
        idle_prices = problem.nowhere_prices[self._idle]
        left = np.where(
            self.movable[self._idle],
            np.minimum(0, idle_prices - prices.places[self._idle]),
            idle_prices,
        )
        spent = 0 if problem.max_moves is None else prices.move * problem.max_moves
        return int(prices.places.sum()) + int(left.sum()) - spent

    def _tolerance(self) -> int:
        if self.promise == float("inf"):
            return 0
        return int(LOOSE * max(0.0, self.promise - self.bound) / self.problem.num_hosts)

    def _first_prices(self) -> Prices:
        """Return each VM's cheapest cost anywhere else: what it is worth to keep it, at most."""
        elsewhere = np.where(self.allowed, self.costs, np.iinfo(np.int64).max)
        running = np.flatnonzero(~self._idle)
        elsewhere[running, self.problem.start[running]] = np.iinfo(np.int64).max
        places = elsewhere.min(axis=1)
        places[~self.movable] = 0
        groups = int(self.problem.app_group.max(initial=-1)) + 1
        return Prices(places=places, groups=np.zeros(groups, dtype=np.int64), move=0)
