"""A placement under change: its cost, and the exact cost of every single relocation.

All figures are whole cost units; ``State.total`` always equals the total that
``solver.domain.score`` computes for the same placement. What to try, and when to stop, is for the
engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from solver.problem import NOWHERE, GroupRule, Problem
from solver.search.loads import Loads

IntArray = npt.NDArray[np.int64]

FORBIDDEN: Final = 2**62
"""Delta of a relocation that a hard rule, a capacity or a budget does not allow."""


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
        self.hosts = hosts.copy()
        num_hosts = problem.num_hosts
        self.loads = Loads(problem, hosts)
        self.reserved = np.zeros(problem.capacity.shape, dtype=np.int64)
        placed = np.flatnonzero(hosts != NOWHERE)
        np.add.at(
            self.reserved,
            hosts[placed],
            problem.reserved[problem.host_class[hosts[placed]], placed],
        )
        self.overfull = np.asarray(
            problem.capacity_repair(self.reserved, np.arange(num_hosts)), dtype=np.int64
        )
        """Repair cost of each host's exceeded capacities, shape ``(H,)``."""
        self._counts = [self._count(rule) for rule in problem.group_rules]
        self.amounts = [
            _amount(r, c) for r, c in zip(problem.group_rules, self._counts, strict=True)
        ]
        """How broken each group rule is."""
        self._count_moves()

    @property
    def total(self) -> int:
        """The objective of this placement."""
        problem = self.problem
        rules = sum(
            rule.price * amount
            for rule, amount in zip(problem.group_rules, self.amounts, strict=True)
        )
        return (
            int(self.burden.sum())
            + int(self.overfull.sum())
            + self._placing
            + self._moving
            + rules
            + problem.disruption_price * self._most_moved()
        )

    @property
    def burden(self) -> IntArray:
        """Contention and imbalance of each host, shape ``(H,)``."""
        return self.loads.burden

    @property
    def scores(self) -> IntArray:
        """Contention score of each host: present and predicted, shape ``(H,)``."""
        scores: IntArray = self.loads.burden + self.loads.current
        return scores

    def place_cost(self, v: int, h: int) -> int:
        """Return the price of VM ``v`` being on host ``h`` or nowhere."""
        problem = self.problem
        return int(
            problem.nowhere_prices[v]
            if h == NOWHERE
            else problem.places.price_rows[problem.places.price_class[v], h]
        )

    def move_cost(self, v: int, h: int) -> int:
        """Return the migration cost of VM ``v`` being on host ``h`` rather than at its start."""
        if h in (NOWHERE, self.problem.start[v]):
            return 0
        return int(self.problem.move_rows(np.array([v]))[0, h])

    def apply(self, v: int, h: int) -> None:
        """Put VM ``v`` on host ``h``, which may be ``NOWHERE``; no check of what is allowed."""
        old = int(self.hosts[v])
        if h == old:
            return
        self._placing += self.place_cost(v, h) - self.place_cost(v, old)
        self._moving += self.move_cost(v, h) - self.move_cost(v, old)
        self._shift(v, old, -1)
        self.hosts[v] = h
        self._shift(v, h, 1)
        self._count_move_of(v, old, h)
        for i in self.problem.rules_of_vm.get(v, ()):
            if old != NOWHERE:
                self._counts[i][old] -= 1
            if h != NOWHERE:
                self._counts[i][h] += 1
            self.amounts[i] = _amount(self.problem.group_rules[i], self._counts[i])

    def relocations(self, vms: IntArray) -> IntArray:
        """Return the exact change of the total for moving each VM to each host.

        Parameters
        ----------
        vms
            Positions of VMs that are all on one host, or all nowhere; shape ``(n,)``, not empty.

        Returns
        -------
        numpy.ndarray
            Shape ``(n, H)``: negative is a gain, ``FORBIDDEN`` is not allowed; zero on the VM's
            own host.
        """
        problem = self.problem
        source = int(self.hosts[vms[0]])
        delta = self.loads.insertions(vms) + self._moving_change(vms, source)
        prices = problem.place_prices(vms)
        delta += prices
        if source == NOWHERE:
            delta -= problem.nowhere_prices[vms][:, None]
        else:
            leaving = self.loads.removals(source, vms) + self._overfull_change(source, vms, -1)
            delta += (leaving - prices[:, source])[:, None]
        for h in np.flatnonzero((problem.reserved_limit > problem.capacity).any(axis=1)).tolist():
            delta[:, h] += self._overfull_change(h, vms, 1)
        delta += self._disruption_change(vms, source)[:, None] * (
            np.arange(problem.num_hosts)[None, :] != problem.start[vms][:, None]
        )
        delta += self._homecoming_change(vms, source)
        forbidden = ~problem.allowed_hosts(vms) | ~self._fits(vms) | self._over_budget(vms, source)
        for i, v in enumerate(vms.tolist()):
            for rule_idx in problem.rules_of_vm.get(v, ()):
                change, broken = self._rule_change(rule_idx, source)
                delta[i] += change
                forbidden[i] = forbidden[i] | broken
        delta[forbidden] = FORBIDDEN
        if source != NOWHERE:
            delta[:, source] = 0
        return delta

    def exchanges(self, there: IntArray, here: IntArray) -> IntArray:
        """Return what changes when a VM of one host changes places with a VM of another.

        Exact but for group rules, budgets and the disruption term, which ``what_if`` adds.

        Parameters
        ----------
        there, here
            VMs of either host, shapes ``(n,)`` and ``(m,)``; neither empty.

        Returns
        -------
        numpy.ndarray
            Shape ``(n, m)``; ``FORBIDDEN`` where a VM may not be or does not fit.
        """
        problem = self.problem
        a, b = int(self.hosts[there[0]]), int(self.hosts[here[0]])
        change = self.loads.exchanges(a, there, here)
        change += self.loads.exchanges(b, here, there).T
        for vms, old, new, axis in ((there, a, b, 1), (here, b, a, 0)):
            moving = problem.move_rows(vms)
            places = problem.place_prices(vms)
            cost = moving[:, new] - moving[:, old] + places[:, new] - places[:, old]
            change += np.expand_dims(cost, axis)
        forbidden = (
            ~problem.allowed_hosts(there)[:, b][:, None]
            | ~problem.allowed_hosts(here)[:, a][None, :]
        )
        for h, leaving, entering, transposed in ((a, there, here, False), (b, here, there, True)):
            reserved = problem.reserved[problem.host_class[h]]
            used = self.reserved[h] - reserved[leaving][:, None] + reserved[entering][None, :]
            unfit = (used > problem.reserved_limit[h]).any(axis=2)
            forbidden |= unfit.T if transposed else unfit
            if self.overfull[h]:
                repaired = problem.capacity_repair(used, h) - self.overfull[h]
                change += repaired.T if transposed else repaired
        change[forbidden] = FORBIDDEN
        return change

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
        before, versions = self.total, self.loads.version.copy()
        back = [(v, int(self.hosts[v])) for v, _ in moves]
        for v, h in moves:
            self.apply(v, h)
        change = FORBIDDEN if self.breaks({h for _, h in moves}) else self.total - before
        for v, h in back:
            self.apply(v, h)
        # The loads are what they were, and so is every cost that was kept.
        self.loads.version[:] = versions
        return change

    def breaks(self, hosts: set[int]) -> bool:
        """Whether some of ``hosts``, a hard group rule or a budget is now beyond its limit."""
        problem = self.problem
        touched = [h for h in hosts if h != NOWHERE]
        if (self.reserved[touched] > problem.reserved_limit[touched]).any():
            return True
        for rule, amount in zip(problem.group_rules, self.amounts, strict=True):
            if rule.limit is not None and amount > rule.limit:
                return True
        if problem.max_moves is not None and self.num_migrated > problem.max_moves:
            return True
        per_host = problem.max_moves_per_host
        return per_host is not None and bool((self._moves_at > per_host).any())

    def _shift(self, v: int, h: int, sign: int) -> None:
        """Add VM ``v`` to host ``h`` or take it away."""
        if h == NOWHERE:
            return
        problem = self.problem
        self.loads.shift(v, h, sign)
        self.reserved[h] += sign * problem.reserved[problem.host_class[h], v]
        self.overfull[h] = problem.capacity_repair(self.reserved[h], h)

    def _overfull_change(self, h: int, vms: IntArray, sign: int) -> IntArray:
        problem = self.problem
        used = self.reserved[h] + sign * problem.reserved[problem.host_class[h], vms]
        change: IntArray = problem.capacity_repair(used, h) - self.overfull[h]
        return change

    def _fits(self, vms: IntArray) -> npt.NDArray[np.bool_]:
        problem = self.problem
        added = problem.reserved[problem.host_class[:, None], vms[None, :]]
        within = self.reserved[:, None, :] + added <= problem.reserved_limit[:, None, :]
        fits: npt.NDArray[np.bool_] = np.asarray(within.all(axis=2), dtype=np.bool_)
        return fits.T

    def _moving_change(self, vms: IntArray, source: int) -> IntArray:
        costs = self.problem.move_rows(vms)
        if source == NOWHERE:
            return costs
        return costs - costs[:, source][:, None]

    def _rule_change(self, rule_idx: int, source: int) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Return, per host, the change of cost and whether the limit is passed."""
        rule = self.problem.group_rules[rule_idx]
        counts = self._counts[rule_idx].copy()
        if source != NOWHERE:
            counts[source] -= 1
        if rule.ties:
            largest = np.maximum(counts.max(), counts + 1)
            amount = counts.sum() + 1 - largest
        else:
            amount = np.maximum(0, counts - 1).sum() + (counts >= 1)
        change: IntArray = (amount - self.amounts[rule_idx]) * rule.price
        over: npt.NDArray[np.bool_] = amount > (FORBIDDEN if rule.limit is None else rule.limit)
        return change, over

    def _over_budget(self, vms: IntArray, source: int) -> npt.NDArray[np.bool_]:
        """Return which relocations pass a budget, shape ``(n, H)``."""
        problem = self.problem
        num_hosts = problem.num_hosts
        over = np.zeros((len(vms), num_hosts), dtype=np.bool_)
        start = problem.start[vms]
        at_home = (start == source) & (start != NOWHERE)
        if problem.max_moves is not None and self.num_migrated >= problem.max_moves:
            over[at_home] = True
        per_host = problem.max_moves_per_host
        if per_host is not None:
            running = start != NOWHERE
            full = self._moves_at >= per_host
            over |= running[:, None] & full[None, :]
            if source != NOWHERE and full[source]:
                over[at_home] = True
            # Coming home takes back the move, whatever the budget of the home.
            over[running, start[running]] = False
        return over

    def _disruption_change(self, vms: IntArray, source: int) -> IntArray:
        """Return the change of the disruption term for leaving the start, shape ``(n,)``."""
        problem = self.problem
        groups = problem.app_group[vms]
        leaving = (problem.start[vms] == source) & (source != NOWHERE) & (groups >= 0)
        most = self._most_moved()
        grows = leaving & (self._moved_of_group[np.maximum(groups, 0)] == most)
        change: IntArray = grows * np.int64(problem.disruption_price)
        return change

    def _homecoming_change(self, vms: IntArray, source: int) -> IntArray:
        """Return the change of the disruption term for going home, shape ``(n, H)``."""
        problem = self.problem
        change = np.zeros((len(vms), problem.num_hosts), dtype=np.int64)
        most = self._most_moved()
        if most == 0 or int((self._moved_of_group == most).sum()) > 1:
            return change
        start, groups = problem.start[vms], problem.app_group[vms]
        away = (start != NOWHERE) & (start != source) & (groups >= 0)
        falls = np.flatnonzero(away & (self._moved_of_group[np.maximum(groups, 0)] == most))
        change[falls, start[falls]] = -problem.disruption_price
        return change

    def _most_moved(self) -> int:
        return int(self._moved_of_group.max(initial=0))

    def _count(self, rule: GroupRule) -> IntArray:
        where = self.hosts[rule.vms]
        return np.bincount(where[where != NOWHERE], minlength=self.problem.num_hosts)

    def _count_moves(self) -> None:
        """Count what the budgets, the disruption term and the prices of moves count."""
        problem = self.problem
        placed = np.flatnonzero(self.hosts != NOWHERE)
        nowhere = np.flatnonzero(self.hosts == NOWHERE)
        places = problem.places
        self._placing = int(
            places.price_rows[places.price_class[placed], self.hosts[placed]].sum()
        ) + int(problem.nowhere_prices[nowhere].sum())
        moved = placed[
            (problem.start[placed] != NOWHERE) & (problem.start[placed] != self.hosts[placed])
        ]
        self._moving = (
            int(problem.move_rows(moved)[np.arange(len(moved)), self.hosts[moved]].sum())
            if moved.size
            else 0
        )
        self.num_migrated = len(moved)
        """VMs that migrate; starts do not count."""
        self._moves_at = np.bincount(
            np.concatenate([problem.start[moved], self.hosts[moved]]), minlength=problem.num_hosts
        )
        groups = problem.app_group[moved]
        num_groups = int(problem.app_group.max(initial=-1)) + 1
        self._moved_of_group = np.bincount(groups[groups >= 0], minlength=max(1, num_groups))

    def _count_move_of(self, v: int, old: int, new: int) -> None:
        start = int(self.problem.start[v])
        if start == NOWHERE:
            return
        for h, change in ((old, -1), (new, 1)):
            if h in (NOWHERE, start):
                continue
            self.num_migrated += change
            self._moves_at[[start, h]] += change
            if self.problem.app_group[v] >= 0:
                self._moved_of_group[self.problem.app_group[v]] += change


def _amount(rule: GroupRule, counts: IntArray) -> int:
    if rule.ties:
        return int(counts.sum() - counts.max())
    return int(np.maximum(0, counts - 1).sum())
