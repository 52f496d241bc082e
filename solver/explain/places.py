"""What closes places to a VM that would help by moving there, the rest of an answer standing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from solver.domain.cluster import VM, Cluster, HostState
from solver.domain.result import Hindrance
from solver.domain.rules import HostRule, Pin
from solver.domain.units import VmId
from solver.explain.after_move import amounts_after_move
from solver.problem import NOWHERE, BoolArray, IntArray, Problem
from solver.search.state import FORBIDDEN, State

MOST_LOOKED_AT: Final = 20_000_000
"""Columns of cost looked at for one answer, over all pairs of VM and place: about a second. The
rest is told short."""

Closed = Counter[tuple[Hindrance, str]]
"""How many places each hindrance closes."""


class Places:
    """The places of a cluster, seen by VMs one at a time.

    Parameters
    ----------
    hosts
        The answer: host position of every VM, shape ``(V,)``.
    out_of_time
        Whether looking must end.
    """

    def __init__(
        self,
        cluster: Cluster,
        problem: Problem,
        hosts: IntArray,
        *,
        out_of_time: Callable[[], bool] = lambda: False,
    ) -> None:
        self._out_of_time = out_of_time
        self.cluster = cluster
        self.problem = problem
        self.hosts = hosts
        self.state = State(problem, hosts)
        self._left = MOST_LOOKED_AT
        self._position = {host.id: h for h, host in enumerate(cluster.hosts)}
        self._closed_state = np.array([host.state is not HostState.UP for host in cluster.hosts])
        self._right: dict[str, BoolArray] = {}
        self._missing: dict[tuple[str, ...], list[str]] = {}
        self._host_rules: dict[VmId, list[HostRule]] = defaultdict(list)
        for rule in cluster.rules:
            if isinstance(rule, HostRule):
                for vm_id in rule.vm_ids:
                    self._host_rules[vm_id].append(rule)

    @property
    def tired(self) -> str:
        """Why no more is looked at for this answer; empty as long as more may be."""
        if self._left < 0:
            return "as too much is wrong"
        return "as time was over" if self._out_of_time() else ""

    def right_hosts(self, rule: HostRule) -> BoolArray:
        """Return the hosts where a pin or ban wants its VMs, shape ``(H,)``."""
        if rule.id not in self._right:
            named = np.zeros(self.problem.num_hosts, dtype=np.bool_)
            named[[self._position[host_id] for host_id in rule.host_ids]] = True
            self._right[rule.id] = named if isinstance(rule, Pin) else ~named
        return self._right[rule.id]

    def missing(self, vm: VM) -> list[str]:
        """Return what each host does not provide of what a VM requires, as a phrase."""
        if vm.requires not in self._missing:
            self._missing[vm.requires] = [
                ", ".join(name for name in vm.requires if name not in host.provides)
                for host in self.cluster.hosts
            ]
        return self._missing[vm.requires]

    def look(self, v: int, helpful: BoolArray) -> tuple[Closed, IntArray]:
        """Return what closes the helpful places to VM ``v``, and what moving to the others changes.

        Parameters
        ----------
        helpful
            Places where the VM would help, its own not among them, shape ``(H,)``.

        Returns
        -------
        tuple
            Each closed place under the first thing that closes it; and the change of the total
            for each place, ``FORBIDDEN`` where it is closed or does not help, shape ``(H,)``.
        """
        self._left -= len(helpful) * max(1, self.problem.future.demand.shape[1])
        stuck = self._stuck(v)
        if stuck is not None:
            nothing = np.full(len(helpful), FORBIDDEN, dtype=np.int64)
            return Counter({stuck: int(helpful.sum())}), nothing
        allowed = self.problem.allowed_hosts(np.array([v]))[0]
        closed = self._barred(v, helpful & ~allowed)
        rest = helpful & allowed
        for name, full in self._full(v, rest):
            closed[Hindrance.ROOM, name] += int(full.sum())
            rest = rest & ~full
        for i in self.problem.rules_of_vm.get(v, ()):
            rule = self.problem.group_rules[i]
            if rule.limit is not None and rest.any():
                beyond = rest & (amounts_after_move(rule, self.hosts, v) > rule.limit)
                closed[Hindrance.RULE, rule.rule_id] += int(beyond.sum())
                rest = rest & ~beyond
        deltas = np.full(len(helpful), FORBIDDEN, dtype=np.int64)
        if rest.any():
            (row,) = self.state.relocations(np.array([v]))
            # What neither places, room nor rules forbid, the budget does.
            closed[Hindrance.BUDGET, ""] += int((row[rest] >= FORBIDDEN).sum())
            deltas[rest] = row[rest]
        return +closed, deltas

    def _stuck(self, v: int) -> tuple[Hindrance, str] | None:
        """Return why a VM may go nowhere at all, ``None`` when it may or rules keep it."""
        vm = self.cluster.vms[v]
        start = int(self.problem.start[v])
        if start == NOWHERE:
            return None
        home = self.cluster.hosts[start]
        if home.state is HostState.UNREACHABLE:
            return Hindrance.UNREACHABLE, home.id
        if not vm.migratable:
            return Hindrance.NOT_MIGRATABLE, vm.not_migratable_reason
        others = self.problem.allowed_hosts(np.array([v]))[0]
        others[start] = False
        cooling = vm.not_before_at is not None and vm.not_before_at > self.cluster.observed_at
        return (Hindrance.COOLING_DOWN, "") if cooling and not others.any() else None

    def _barred(self, v: int, places: npt.NDArray[np.bool_]) -> Closed:
        """Count what bars a VM from places, whatever else is there."""
        closed: Closed = Counter()
        vm, start = self.cluster.vms[v], int(self.problem.start[v])
        for h in np.flatnonzero(places & self._closed_state).tolist():
            closed[Hindrance.HOST_CLOSED, self.cluster.hosts[h].state.value] += 1
        places = places & ~self._closed_state
        for rule in self._host_rules[vm.id]:
            right = self.right_hosts(rule)
            if rule.hard and (start == NOWHERE or right[start]):
                closed[Hindrance.RULE, rule.id] += int((places & ~right).sum())
                places = places & right
        missing = self.missing(vm)
        for h in np.flatnonzero(places).tolist():
            closed[Hindrance.COMPATIBILITY, missing[h]] += 1
        return closed

    def _full(self, v: int, places: BoolArray) -> list[tuple[str, BoolArray]]:
        """Return what is lacking for a VM, and where: each place once."""
        problem = self.problem
        added = problem.reserved[problem.host_class, v]
        over = (self.state.reserved + added > problem.reserved_limit) & places[:, None]
        found = []
        for lacking in np.unique(over[over.any(axis=1)], axis=0):
            names = [problem.resource_names[r] for r in np.flatnonzero(lacking).tolist()]
            found.append((" and ".join(names), (over == lacking).all(axis=1)))
        return found
