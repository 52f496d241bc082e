"""A placement under change: its cost, and the exact cost of every single relocation.

All figures are whole cost units; ``State.total`` always equals the total that
``solver.domain.score`` computes for the same placement. What to try, and when to stop, is for the
engines; what is here is the face of the compiled kernels of this room.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from solver.problem import NOWHERE, IntArray, Problem
from solver.search.deltas import FORBIDDEN, relocation_delta, swap_delta
from solver.search.facts import Facts, facts_of, pack_facts
from solver.search.live import MIGRATED, TOTAL, Live, live_of, pack_live, relocate
from solver.search.native import kernel

__all__ = ["FORBIDDEN", "State"]


class State:
    """A placement with its loads, its cost, and O(touched hosts) updates.

    Parameters
    ----------
    problem
        What is minimised.
    hosts
        Host position of every VM, shape ``(V,)``; copied.
    """

    def __init__(self, problem: Problem, hosts: IntArray) -> None:
        self.problem = problem
        facts = facts_of(problem)
        self.live: Live = live_of(facts, hosts)
        """The arrays of the placement; kernels change them."""
        # Of its own, so that states in several threads do not count references to the same arrays.
        self.for_kernels: tuple[Facts, Live] = (pack_facts(facts), pack_live(self.live))
        """What kernels of this room take first."""

    @property
    def hosts(self) -> IntArray:
        """Host position of every VM, shape ``(V,)``; a view that follows."""
        return self.live.hosts

    @property
    def total(self) -> int:
        """The objective of this placement."""
        return int(self.live.tally[TOTAL])

    @property
    def num_migrated(self) -> int:
        """VMs that migrate; starts do not count."""
        return int(self.live.tally[MIGRATED])

    @property
    def burden(self) -> IntArray:
        """Contention and imbalance of each host, shape ``(H,)``; a view that follows."""
        return self.live.burden

    @property
    def scores(self) -> IntArray:
        """Contention score of each host: present and predicted, shape ``(H,)``."""
        scores: IntArray = self.live.burden + self.live.burden_now
        return scores

    @property
    def reserved(self) -> IntArray:
        """Reserved amounts of each host, shape ``(H, R)``."""
        return self.live.used

    @property
    def overfull(self) -> IntArray:
        """Repair cost of each host's exceeded capacities, shape ``(H,)``."""
        return self.live.overfull

    @property
    def amounts(self) -> IntArray:
        """How broken each group rule is."""
        return self.live.amounts

    def apply(self, v: int, h: int) -> None:
        """Put VM ``v`` on host ``h``, which may be ``NOWHERE``; no check of what is allowed."""
        relocate(*self.for_kernels, v, h)

    def relocations(self, vms: IntArray) -> IntArray:
        """Return the exact change of the total for moving each VM to each host.

        Parameters
        ----------
        vms
            Positions of VMs, shape ``(n,)``.

        Returns
        -------
        numpy.ndarray
            Shape ``(n, H)``: negative is a gain, ``FORBIDDEN`` is not allowed; zero on the VM's
            own host.
        """
        deltas = np.empty((len(vms), self.problem.num_hosts), dtype=np.int64)
        _table(*self.for_kernels, np.ascontiguousarray(vms, dtype=np.int64), deltas)
        return deltas

    def exchange(self, v: int, w: int) -> int:
        """Return the exact change of the total when two VMs on different hosts change places."""
        return int(_exchange(*self.for_kernels, v, w))

    def what_if(self, moves: Sequence[tuple[int, int]]) -> int:
        """Return the exact change of the total for several relocations made together.

        Parameters
        ----------
        moves
            VMs, each once, with the host each goes to.

        Returns
        -------
        int
            The change; ``FORBIDDEN`` when the outcome is not allowed.
        """
        problem = self.problem
        if any(h != NOWHERE and not problem.may_be(v, h) for v, h in moves):
            return FORBIDDEN
        before = self.total
        back = [(v, int(self.hosts[v])) for v, _ in moves]
        for v, h in moves:
            self.apply(v, h)
        change = FORBIDDEN if self.breaks({h for _, h in moves}) else self.total - before
        for v, h in reversed(back):
            self.apply(v, h)
        return change

    def breaks(self, hosts: set[int]) -> bool:
        """Whether some of ``hosts``, a hard group rule or a budget is now beyond its limit."""
        problem, live, facts = self.problem, self.live, facts_of(self.problem)
        touched = [h for h in hosts if h != NOWHERE]
        return bool(
            (live.used[touched] > problem.reserved_limit[touched]).any()
            or (live.amounts > facts.rule_limit).any()
            or self.num_migrated > facts.max_moves
            or (live.moves_at > facts.max_moves_per_host).any()
        )


@kernel
def _exchange(facts: Facts, live: Live, v: int, w: int) -> int:
    return swap_delta(facts, live, v, w)


@kernel
def _table(facts: Facts, live: Live, vms: IntArray, deltas: IntArray) -> None:
    for i in range(len(vms)):
        for h in range(deltas.shape[1]):
            deltas[i, h] = relocation_delta(facts, live, vms[i], h)
