"""Why each move of an answer is made: what it saves, what it costs, and the runner-up.

Every figure is a difference of totals of the objective.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from solver.domain.check import Violation
from solver.domain.cluster import Cluster
from solver.domain.plan import MoveCost
from solver.domain.result import MoveExplanation
from solver.domain.units import HostId, VmId
from solver.domain.weights import to_host_s
from solver.explain.obstacles import host_s
from solver.problem import NOWHERE, IntArray, Problem
from solver.search.state import FORBIDDEN, State


def explain_moves(
    cluster: Cluster,
    problem: Problem,
    hosts: IntArray,
    move_costs: Mapping[VmId, MoveCost],
    broken: Iterable[Violation],
) -> tuple[MoveExplanation, ...]:
    """Return why each VM that changes host does so, in the cluster's order.

    Parameters
    ----------
    hosts
        The answer: host position of every VM, shape ``(V,)``.
    move_costs
        The cost terms of the answer's migrations.
    broken
        Hard violations at the start.
    """
    state = State(problem, hosts)
    because: dict[VmId, str] = {}
    for violation in broken:
        for vm_id in violation.vm_ids:
            because.setdefault(vm_id, violation.message)
    moved = np.flatnonzero((hosts != NOWHERE) & (hosts != problem.start))
    next_best = _next_best_of(state, moved)
    found = []
    for v in moved.tolist():
        vm_id = cluster.vms[v].id
        cost, repairs = move_costs.get(vm_id, MoveCost()), because.get(vm_id, "")
        found.append(_explain_move(cluster, state, v, cost, next_best[v], repairs=repairs))
    return tuple(found)


def _explain_move(
    cluster: Cluster,
    state: State,
    v: int,
    cost: MoveCost,
    next_best: tuple[int, int] | None,
    *,
    repairs: str,
) -> MoveExplanation:
    problem = state.problem
    vm = cluster.vms[v]
    source, destination = int(problem.start[v]), int(state.hosts[v])
    total, burden = state.total, state.burden.copy()
    state.apply(v, source)
    saved = state.total - total + cost.total
    if source != NOWHERE:
        # Its old place may be taken; a state prices excess only where an answer may have any.
        excess = problem.capacity_repair(state.reserved[source], source)
        saved += int(excess - state.overfull[source])
    relieved = 0 if source == NOWHERE else int(state.burden[source] - burden[source])
    needs_exchange = state.breaks({source})
    state.apply(v, destination)
    runner_up = None if next_best is None else _runner_up(state, v, *next_best)
    source_id = None if source == NOWHERE else problem.host_ids[source]
    parts = [f"VM {vm.id!r} (priority {vm.priority})"]
    if source_id is None:
        parts[0] += f" is started on {problem.host_ids[destination]!r}"
    else:
        parts[0] += f" moves from {source_id!r} to {problem.host_ids[destination]!r}"
        parts.append(f"relieves {source_id!r} of {host_s(relieved)}")
    if repairs:
        parts.append(f"repairs: {repairs}")
    if needs_exchange:
        parts.append("is one half of an exchange: its old place is taken")
    parts.append(f"saves {host_s(saved)} in all")
    parts.append(_cost_clause(cost))
    parts.append("no other destination is allowed" if runner_up is None else runner_up.told())
    return MoveExplanation(
        vm_id=vm.id,
        source_id=source_id,
        destination_id=problem.host_ids[destination],
        saved=saved,
        relieved=relieved,
        cost=cost.total,
        repairs=repairs,
        alternative_id=None if runner_up is None else runner_up.host_id,
        alternative_loss=None if runner_up is None else runner_up.loss,
        alternative_load=None if runner_up is None else runner_up.load,
        alternative_move=None if runner_up is None else runner_up.move,
        sentence="; ".join(parts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunnerUp:
    """The next best destination, and how much worse it is: in all, by load, by the move itself."""

    host_id: HostId
    loss: int
    load: int
    move: int

    def told(self) -> str:
        if self.loss < 0:
            return f"{self.host_id!r} would be {host_s(-self.loss)} better; the search ended before"
        told = f"{self.host_id!r}, the next best, would be {host_s(self.loss)} worse"
        terms = {
            "load": self.load,
            "the move": self.move,
            "rules and groups": self.loss - self.load - self.move,
        }
        shares = [f"{name} {to_host_s(units):+.3g}" for name, units in terms.items() if units]
        return f"{told} ({', '.join(shares)})" if shares else told


def _runner_up(state: State, v: int, h: int, loss: int) -> _RunnerUp:
    """Return what makes another destination worse."""
    problem = state.problem
    chosen = int(state.hosts[v])
    costs = problem.move_rows(np.array([v]))[0]
    load = int(state.burden.sum())
    state.apply(v, h)
    load = int(state.burden.sum()) - load
    state.apply(v, chosen)
    return _RunnerUp(
        host_id=problem.host_ids[h], loss=loss, load=load, move=int(costs[h] - costs[chosen])
    )


def _next_best_of(state: State, vms: IntArray) -> dict[int, tuple[int, int] | None]:
    """Return, per VM, the best other destination and how much worse the total is with it.

    ``None`` when no other is allowed. Neither the VM's place nor its start counts as other.
    """
    found: dict[int, tuple[int, int] | None] = {}
    start = state.problem.start
    for source in np.unique(state.hosts[vms]).tolist():
        here = vms[state.hosts[vms] == source]
        others = state.relocations(here)
        if source != NOWHERE:
            others[:, source] = FORBIDDEN
        running = np.flatnonzero(start[here] != NOWHERE)
        others[running, start[here[running]]] = FORBIDDEN
        for v, row in zip(here.tolist(), others, strict=True):
            best = int(row.argmin())
            found[v] = (best, int(row[best])) if row[best] < FORBIDDEN else None
    return found


def _cost_clause(cost: MoveCost) -> str:
    if not cost.total:
        return "costs nothing"
    terms = ", ".join(
        f"{name} {to_host_s(units):.3g}"
        for name, units in (
            ("utilisation", cost.utilisation),
            ("transfer", cost.transfer),
            ("downtime", cost.downtime),
            ("latency", cost.latency),
        )
        if units
    )
    return f"costs {host_s(cost.total)} ({terms})"
