"""Why each move of an answer is made: what it saves, what it costs, and the runner-up.

Every figure is a difference of totals of the objective.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

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

VMS_AT_ONCE: Final = 256
"""VMs whose destinations are looked at together, for the memory that the table takes."""

MOST_LOOKS: Final = 20_000_000
"""Columns of cost looked at for one answer, over all pairs of VM and destination: about a
second. Moves beyond it, those that save least, have no runner-up told."""


def savings(
    problem: Problem, hosts: IntArray, move_costs: Mapping[VmId, MoveCost]
) -> dict[VmId, int]:
    """Return what each move of an answer saves, its own cost not deducted, all others being made.

    Parameters
    ----------
    hosts, move_costs
        As in ``explain_moves``.
    """
    state = State(problem, hosts)
    saved = {}
    for v in _moved(state).tolist():
        vm_id = problem.vm_ids[v]
        saved[vm_id] = _taken_back(state, v).lost + move_costs.get(vm_id, MoveCost()).total
    return saved


def explain_moves(
    cluster: Cluster,
    problem: Problem,
    hosts: IntArray,
    move_costs: Mapping[VmId, MoveCost],
    broken: Iterable[Violation],
    *,
    out_of_time: Callable[[], bool] = lambda: False,
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
    out_of_time
        Asked now and then; once true, runners-up are looked for no more.
    """
    state = State(problem, hosts)
    because: dict[VmId, str] = {}
    for violation in broken:
        for vm_id in violation.vm_ids:
            because.setdefault(vm_id, violation.message)
    undone = {v: _taken_back(state, v) for v in _moved(state).tolist()}
    looks_per_vm = problem.num_hosts * max(1, problem.future.demand.shape[1])
    most = max(1, MOST_LOOKS // looks_per_vm)
    worth_most = sorted(undone, key=lambda v: -undone[v].lost)[:most]
    next_best = _next_best_of(state, np.array(worth_most, dtype=np.int64), out_of_time)
    found = []
    for v, taken_back in undone.items():
        vm_id = cluster.vms[v].id
        cost, repairs = move_costs.get(vm_id, MoveCost()), because.get(vm_id, "")
        found.append(_explain_move(cluster, state, v, cost, taken_back, next_best, repairs=repairs))
    return tuple(found)


def _moved(state: State) -> IntArray:
    moved: IntArray = np.flatnonzero(
        (state.hosts != NOWHERE) & (state.hosts != state.problem.start)
    )
    return moved


@dataclass(frozen=True, slots=True, kw_only=True)
class _TakenBack:
    """What taking back one move would do: to the total, to the host it left, to its old place."""

    lost: int
    relieved: int
    needs_exchange: bool


def _taken_back(state: State, v: int) -> _TakenBack:
    source, destination = int(state.problem.start[v]), int(state.hosts[v])
    total = state.total
    burden = 0 if source == NOWHERE else int(state.burden[source])
    state.apply(v, source)
    taken_back = _TakenBack(
        lost=state.total - total,
        relieved=0 if source == NOWHERE else int(state.burden[source]) - burden,
        needs_exchange=state.breaks({source}),
    )
    state.apply(v, destination)
    return taken_back


def _explain_move(
    cluster: Cluster,
    state: State,
    v: int,
    cost: MoveCost,
    taken_back: _TakenBack,
    next_best: Mapping[int, tuple[int, int] | None],
    *,
    repairs: str,
) -> MoveExplanation:
    problem = state.problem
    vm = cluster.vms[v]
    source, destination = int(problem.start[v]), int(state.hosts[v])
    saved = taken_back.lost + cost.total
    other = next_best.get(v)
    runner_up = None if other is None else _runner_up(state, v, *other)
    source_id = None if source == NOWHERE else problem.host_ids[source]
    parts = [f"VM {vm.id!r} (priority {vm.priority})"]
    if source_id is None:
        parts[0] += f" is started on {problem.host_ids[destination]!r}"
    else:
        parts[0] += f" moves from {source_id!r} to {problem.host_ids[destination]!r}"
        parts.append(f"relieves {source_id!r} of {host_s(taken_back.relieved)}")
    if repairs:
        parts.append(f"repairs: {repairs}")
    if taken_back.needs_exchange:
        parts.append("is one half of an exchange: its old place is taken")
    parts.append(f"saves {host_s(saved)} in all")
    parts.append(_cost_clause(cost))
    if runner_up is not None:
        parts.append(runner_up.told())
    elif v in next_best:
        parts.append("no other destination is allowed")
    return MoveExplanation(
        vm_id=vm.id,
        source_id=source_id,
        destination_id=problem.host_ids[destination],
        saved=saved,
        relieved=taken_back.relieved,
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
    chosen = int(state.hosts[v])
    load, paid = int(state.burden.sum()), int(state.live.paid[v])
    state.apply(v, h)
    load, paid = int(state.burden.sum()) - load, int(state.live.paid[v]) - paid
    state.apply(v, chosen)
    return _RunnerUp(host_id=state.problem.host_ids[h], loss=loss, load=load, move=paid)


def _next_best_of(
    state: State, vms: IntArray, out_of_time: Callable[[], bool]
) -> dict[int, tuple[int, int] | None]:
    """Return, per VM, the best other destination and how much worse the total is with it.

    VMs that there was no time for are left out; ``None`` when no other is allowed. Neither the
    VM's place nor its start counts as other.
    """
    found: dict[int, tuple[int, int] | None] = {}
    start = state.problem.start
    for begin in range(0, len(vms), VMS_AT_ONCE):
        if out_of_time():
            break
        some = vms[begin : begin + VMS_AT_ONCE]
        others = state.relocations(some)
        for taken in (state.hosts[some], start[some]):
            placed = np.flatnonzero(taken != NOWHERE)
            others[placed, taken[placed]] = FORBIDDEN
        best = others.argmin(axis=1)
        losses = others[np.arange(len(some)), best]
        for v, h, loss in zip(some.tolist(), best.tolist(), losses.tolist(), strict=True):
            found[v] = (h, loss) if loss < FORBIDDEN else None
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
