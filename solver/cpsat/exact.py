"""CP-SAT alone: a placement, and a bound that proves how good it is.

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
from solver.cpsat.judge import nearest_allowed, total_of
from solver.cpsat.variables import Scope
from solver.problem import NOWHERE, BoolArray, IntArray, Problem

ROUNDS_BETWEEN: Final = 8
"""Rounds of prices between two attempts to put patterns together."""

FEW_CHOICES: Final = 120
"""Choices left that are worth a joint model before the bound is settled."""

ASSEMBLY_SHARE: Final = 0.1
GUESS_SHARE: Final = 0.15
"""Most deterministic seconds for putting patterns together once, and for one joint model of their
places, per second that was spent on prices."""


Polish = Callable[[IntArray, float], tuple[IntArray, float]]
"""Makes a placement that keeps what is allowed better, and still keeps it, a local search: given
the placement and the deterministic seconds it may take, returns the better one and what it took."""


def unpolished(hosts: IntArray, work_limit: float) -> tuple[IntArray, float]:
    """Return a placement as it is."""
    return hosts, 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Proof:
    """A placement, and what no placement is below.

    Parameters
    ----------
    hosts
        Host position of every VM, shape ``(V,)``.
    total
        Its total.
    bound
        Total that no allowed placement is below; equal to ``total`` when that is proven best.
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
    polish: Polish = unpolished,
    cancel: Callable[[], bool] = lambda: False,
    on_better: Callable[[IntArray, int, int], None] = lambda hosts, total, bound: None,
) -> Proof:
    """Return the best placement found and the best bound proven.

    Deterministic for a seed and a work limit that ends before the wall limit does, whatever the
    number of workers. Takes memory in proportion to VMs times hosts.

    Parameters
    ----------
    hosts
        A placement that keeps what is allowed.
    limit_s, work_limit
        Wall and deterministic seconds.
    num_workers
        Hosts that are asked at once.
    polish
        What placements that are made of fractions are handed to.
    cancel
        Asked all the time; once true, what is known is returned.
    on_better
        Told of the best placement, its total and the best bound as one of them gets better.
    """
    prover = Prover(
        problem,
        hosts,
        limit_s=limit_s,
        work_limit=work_limit,
        seed=seed,
        polish=polish,
        cancel=cancel,
        on_better=on_better,
    )
    return prover.run(num_workers)


class Prover:
    """The state of one proof; its steps may be replaced to learn what each is worth."""

    def __init__(
        self,
        problem: Problem,
        hosts: IntArray,
        *,
        limit_s: float,
        work_limit: float = math.inf,
        seed: int = 0,
        polish: Polish = unpolished,
        cancel: Callable[[], bool] = lambda: False,
        on_better: Callable[[IntArray, int, int], None] = lambda hosts, total, bound: None,
    ) -> None:
        self._deadline_s = time.monotonic() + limit_s
        self._work_limit = work_limit
        self._problem = problem
        self._seed = seed
        self._polish = polish
        self._cancel = cancel
        self._on_better = on_better
        self.parts = Decomposition(problem)
        self._own_work = 0.0
        """Deterministic seconds of everything but asking hosts."""
        self.hosts = hosts
        self.total = total_of(problem, hosts)
        self.bound = -(2**62)
        self._support = np.zeros((problem.num_vms, problem.num_hosts), dtype=np.bool_)
        """Where patterns in use had VMs since the last joint model of them."""
        self._rounded: set[bytes] = set()

    def run(self, num_workers: int) -> Proof:
        """Prove as far as the limits allow."""
        with ThreadPoolExecutor(num_workers) as pool:
            self._alternate(pool)
        return Proof(
            hosts=self.hosts,
            total=self.total,
            bound=min(self.bound, self.total),
            work=self.work,
        )

    def _alternate(self, pool: ThreadPoolExecutor) -> None:
        """Alternate between prices, putting patterns together and what is left, until proven."""
        parts = self.parts
        if not parts.movable.any():
            self.bound = self.total
        if self._late():
            return
        parts.learn(self._problem.start)
        parts.learn(self.hosts)
        rounds, tried = 0, math.inf
        while not self._over():
            parts.improve(pool, seed=self._seed, work_limit=self._work_left, out_of_time=self._late)
            rounds += 1
            self._raise(parts.bound)
            if self._late():
                break
            self.round()
            if rounds % ROUNDS_BETWEEN == 0 or parts.settled:
                self.assemble()
                self.guess()
            left = self.narrow()
            if parts.settled or left < min(FEW_CHOICES, tried / 2):
                tried = left
                self.decide()
                if parts.settled:
                    break

    @property
    def work(self) -> float:
        """Deterministic seconds used."""
        return self._own_work + self.parts.work

    @property
    def _work_left(self) -> float:
        return self._work_limit - self.work

    @property
    def _left_s(self) -> float:
        return self._deadline_s - time.monotonic()

    def _late(self) -> bool:
        return self._left_s <= 0.0 or self._cancel()

    def _over(self) -> bool:
        return self.bound >= self.total or self._work_left <= 0.0 or self._late()

    def _raise(self, bound: int) -> None:
        if bound > self.bound:
            self.bound = bound
            self._on_better(self.hosts, self.total, min(bound, self.total))

    def _offer(self, hosts: IntArray) -> None:
        self.parts.learn(hosts)
        total = total_of(self._problem, hosts)
        if total < self.total:
            self.hosts, self.total = hosts, total
            self._on_better(hosts, total, min(self.bound, total))

    def round(self) -> None:
        """Put every VM where the prices' patterns have most of it, as far as that is allowed."""
        shares = self.parts.master.shares
        self._support |= shares > 0
        wanted = np.where(shares.max(axis=1) > 0, shares.argmax(axis=1), self.hosts)
        if wanted.tobytes() in self._rounded:
            return
        self._rounded.add(wanted.tobytes())
        rounded = nearest_allowed(self._problem, self.hosts, wanted)
        polished, work = self._polish(rounded, self._work_left)
        self._own_work += work
        self._offer(polished)

    def assemble(self) -> None:
        """Put the patterns known together."""
        if self._over():
            return
        hosts, work = assemble(
            self._problem,
            self.parts.movable,
            self.parts.master.patterns,
            limit_s=self._left_s,
            work_limit=min(ASSEMBLY_SHARE * self.parts.work, self._work_left),
            seed=self._seed,
            cancel=self._cancel,
        )
        self._own_work += work
        if hosts is not None:
            self._offer(hosts)

    def guess(self) -> None:
        """Look for a better placement among the places of patterns that the prices come from."""
        work_limit = min(GUESS_SHARE * self.parts.work, self._work_left)
        self._joint(self._support & self.parts.allowed, work_limit)
        self._support[:] = False

    def narrow(self) -> int:
        """Rule out what is in no placement better than the best known; how much is left."""
        parts = self.parts
        parts.allowed &= parts.excess() < max(1, self.total - parts.bound)
        return int((parts.allowed.sum(axis=1) - 1)[parts.movable].sum())

    def decide(self) -> None:
        """Solve what is left jointly: what has been ruled out is no better than what is known."""
        bound = self._joint(self.parts.allowed, self._work_left)
        if bound is not None:
            self._raise(min(self.total, bound))

    def _joint(self, where: BoolArray, work_limit: float) -> int | None:
        """Decide jointly where VMs are, their present hosts among the choices.

        Returns
        -------
        int or None
            Total that no placement is below in which VMs are only where they may be.
        """
        if self._over():
            return None
        problem = self._problem
        where = where.copy()
        running = np.flatnonzero(self.hosts != NOWHERE)
        where[running, self.hosts[running]] = True
        deciding = where.sum(axis=1) + (problem.start == NOWHERE) > 1
        vms = np.flatnonzero(deciding & self.parts.movable)
        answer = optimise_jointly(
            problem,
            Scope(base=self.hosts, vms=vms, destinations=where[vms]),
            self.parts.binding,
            limit_s=self._left_s,
            work_limit=work_limit,
            seed=self._seed,
            cancel=self._cancel,
        )
        self._own_work += answer.work
        self._offer(answer.hosts)
        return answer.bound
