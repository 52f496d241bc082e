"""CP-SAT alone: a placement, and a bound that proves how good it is, at any size.

Taken apart by hosts, the problem yields a bound that is nearly always within a fraction of a
percent of the optimum, and patterns that make a placement close to it. What neither the bound
nor the placement rules out is left to one joint model, small by then, which decides the rest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from solver.cpsat.assembly import assemble
from solver.cpsat.decomposition import Decomposition
from solver.cpsat.joint import optimise_jointly
from solver.cpsat.judge import total_of
from solver.cpsat.neighbourhoods import improve_by_neighbourhoods
from solver.cpsat.variables import Scope
from solver.problem import NOWHERE, BoolArray, IntArray, Problem

ROUNDS_BETWEEN: Final = 8
"""Rounds of prices between two attempts to put patterns together."""

FEW_CHOICES: Final = 120
"""Choices left that are worth a joint model before the bound is settled."""

GUESSED_CHOICES: Final = 150
"""Choices in which a better placement is looked for now and then."""

GUESS_WORK: Final = 0.5
"""Deterministic seconds for one such look."""

PART_OF_TIME: Final = 0.25
"""Share of what time is left that putting patterns together may take at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Proof:
    """A placement, and what no placement is below.

    Parameters
    ----------
    hosts
        Host position of every VM, shape ``(V,)``.
    bound
        Total that no allowed placement is below.
    work
        Deterministic seconds used.
    """

    hosts: IntArray
    total: int
    bound: int
    work: float


def prove(
    problem: Problem,
    hosts: IntArray,
    *,
    limit_s: float,
    work_limit: float = math.inf,
    seed: int = 0,
    num_workers: int = 1,
    cancel: Callable[[], bool] = lambda: False,
    on_better: Callable[[IntArray, int], None] = lambda hosts, bound: None,
) -> Proof:
    """Return the best placement found and the best bound proven.

    Deterministic for a seed and a work limit that ends before the wall limit does, whatever the
    number of workers.

    Parameters
    ----------
    hosts
        A placement that keeps what is allowed.
    limit_s, work_limit
        Wall and deterministic seconds.
    cancel
        Asked between solves; once true, what is known is returned.
    on_better
        Told of every better placement or bound.
    """
    return _Prover(problem, hosts, limit_s, work_limit, seed, cancel, on_better).run(num_workers)


class _Prover:
    """The state of one proof."""

    def __init__(
        self,
        problem: Problem,
        hosts: IntArray,
        limit_s: float,
        work_limit: float,
        seed: int,
        cancel: Callable[[], bool],
        on_better: Callable[[IntArray, int], None],
    ) -> None:
        self._problem = problem
        self._deadline_s = time.monotonic() + limit_s
        self._work_limit = work_limit
        self._seed = seed
        self._cancel = cancel
        self._on_better = on_better
        self._hosts = hosts
        self._total = total_of(problem, hosts)
        self._bound = -(2**62)
        self._joint_work = 0.0
        self._parts: Decomposition | None = None

    def run(self, num_workers: int) -> Proof:
        """Alternate between prices, putting patterns together and what is left, until proven."""
        parts = self._parts = Decomposition(self._problem)
        if not parts.movable.any():
            self._bound = self._total
        parts.learn(self._problem.start)
        parts.learn(self._hosts)
        self._search(parts)
        tried = math.inf
        rounds = 0
        with ThreadPoolExecutor(num_workers) as pool:
            while not self._proven and not self._over():
                parts.improve(pool, seed=self._seed, out_of_time=self._late)
                rounds += 1
                self._raise(parts.bound)
                if rounds % ROUNDS_BETWEEN == 0 or parts.settled:
                    self._assemble(parts)
                    self._guess(parts)
                left = self._narrow(parts)
                if not self._proven and (parts.settled or left < min(FEW_CHOICES, tried / 2)):
                    tried = left
                    self._decide(parts)
                    if parts.settled:
                        break
        return Proof(
            hosts=self._hosts,
            total=self._total,
            bound=min(self._bound, self._total),
            work=self._work,
        )

    @property
    def _proven(self) -> bool:
        return self._bound >= self._total

    @property
    def _work(self) -> float:
        return self._joint_work + (0.0 if self._parts is None else self._parts.work)

    @property
    def _work_left(self) -> float:
        return self._work_limit - self._work

    @property
    def _left_s(self) -> float:
        return self._deadline_s - time.monotonic()

    def _late(self) -> bool:
        return self._left_s <= 0.0 or self._cancel()

    def _over(self) -> bool:
        return self._late() or self._work >= self._work_limit

    def _raise(self, bound: int) -> None:
        if bound > self._bound:
            self._bound = bound
            self._on_better(self._hosts, min(bound, self._total))

    def _offer(self, parts: Decomposition, hosts: IntArray | None) -> None:
        if hosts is None:
            return
        parts.learn(hosts)
        total = total_of(self._problem, hosts)
        if total < self._total:
            self._hosts, self._total = hosts, total
            self._on_better(hosts, min(self._bound, total))

    def _assemble(self, parts: Decomposition) -> None:
        hosts, work = assemble(
            self._problem,
            parts.movable,
            parts.master.patterns,
            limit_s=PART_OF_TIME * self._left_s,
            work_limit=min(5.0, self._work_left),
            seed=self._seed,
        )
        self._joint_work += work
        self._offer(parts, hosts)

    def _search(self, parts: Decomposition) -> None:
        """Look for better placements a few hosts at a time, for patterns and for a start."""
        binding = self._binding(parts)
        found = improve_by_neighbourhoods(
            self._problem,
            self._hosts,
            limit_s=PART_OF_TIME * self._left_s,
            work_limit=PART_OF_TIME * self._work_left,
            patience=4 * self._problem.num_hosts,
            seed=self._seed,
            cancel=self._cancel,
            on_better=lambda hosts: self._offer(parts, hosts),
            binding=binding,
        )
        self._joint_work += found.work

    def _binding(self, parts: Decomposition) -> BoolArray:
        """Return which columns bind on any host, by band."""
        binding: BoolArray = np.any([host.binding for host in parts.hosts], axis=0)
        return binding

    def _narrow(self, parts: Decomposition) -> int:
        """Rule out what is in no placement better than the best known; how much is left."""
        parts.allowed &= parts.excess() < max(1, self._total - parts.bound)
        return int((parts.allowed.sum(axis=1) - 1)[parts.movable].sum())

    def _guess(self, parts: Decomposition) -> None:
        """Look for a better placement where the prices say that it should be."""
        excess = parts.excess()
        excess[~parts.allowed] = np.iinfo(np.int64).max
        ranked = np.sort(excess, axis=None)
        most = ranked[min(GUESSED_CHOICES + self._problem.num_vms, ranked.size) - 1]
        self._joint(parts, parts.allowed & (excess <= most), min(GUESS_WORK, self._work_left))

    def _decide(self, parts: Decomposition) -> None:
        """Solve what is left jointly."""
        bound = self._joint(parts, parts.allowed, self._work_left)
        if bound is not None:
            # What has been ruled out is no better than what is known.
            self._raise(min(self._total, bound))

    def _joint(self, parts: Decomposition, where: BoolArray, work_limit: float) -> int | None:
        """Solve jointly: with the columns that bind anywhere, then with more.

        Returns
        -------
        int or None
            Total that no placement is below in which VMs are only where they may be.
        """
        problem = self._problem
        where = where.copy()
        running = np.flatnonzero(self._hosts != NOWHERE)
        where[running, self._hosts[running]] = True
        deciding = where.sum(axis=1) + (problem.start == NOWHERE) > 1
        vms = np.flatnonzero(deciding & parts.movable)
        scope = Scope(base=self._hosts, vms=vms, destinations=where[vms])
        outcome, bound = optimise_jointly(
            problem,
            scope,
            self._binding(parts),
            limit_s=self._left_s,
            work_limit=work_limit,
            seed=self._seed,
        )
        self._joint_work += outcome.work
        self._offer(parts, outcome.hosts)
        return bound
