"""Why each move is made, and why what is still wrong stays: data, and one sentence with numbers.

Every figure is a difference of totals of the objective, so it can be recomputed by
``solver.domain.score``. Nothing is decided here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from solver.contention import hot_hosts
from solver.domain.check import Violation
from solver.domain.cluster import VM, Cluster, HostState
from solver.domain.plan import MoveCost
from solver.domain.result import MoveExplanation, Refusal
from solver.domain.score import HostContention
from solver.domain.units import HostId, VmId
from solver.domain.weights import to_host_s
from solver.problem import NOWHERE, Problem
from solver.search.state import FORBIDDEN, State

IntArray = npt.NDArray[np.int64]

MOST_NAMED: Final = 3
"""VMs named in one sentence before the rest is only counted."""

VMS_AT_ONCE: Final = 256
"""VMs whose destinations are looked at together, for the memory that the table takes."""

MOST_LOOKS: Final = 50_000_000
"""Columns of cost looked at for one answer, over all pairs of VM and destination: about three
seconds. What is beyond has no next best destination told, and no reason why it is blocked."""


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
    return {
        problem.vm_ids[v]: _taken_back(state, v).saved + _total(move_costs, problem.vm_ids[v])
        for v in _moved(state).tolist()
    }


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
    moved = _moved(state)
    undone = {v: _taken_back(state, v) for v in moved.tolist()}
    worth_most = sorted(undone, key=lambda v: -undone[v].saved)[: _most_vms(problem)]
    next_best = _next_best_of(state, np.array(worth_most, dtype=np.int64))
    return tuple(
        _explain_move(
            cluster,
            state,
            v,
            move_costs.get(cluster.vms[v].id, MoveCost()),
            taken_back,
            next_best,
            broken=because.get(cluster.vms[v].id),
        )
        for v, taken_back in undone.items()
    )


def explain_refusals(
    cluster: Cluster,
    problem: Problem,
    hosts: IntArray,
    *,
    contention: tuple[HostContention, ...],
    remaining: tuple[Violation, ...],
    hot_host_s: float,
    cut_off: Mapping[VmId, str],
) -> tuple[Refusal, ...]:
    """Return what is still wrong after the answer, and what blocks it.

    Parameters
    ----------
    contention, remaining
        Contention and hard violations after the answer.
    hot_host_s
        Contention score in host-seconds above which a host counts as left hot.
    cut_off
        VMs that no safe order could bring to where they should be, with the reason.
    """
    score = {host.host_id: host for host in contention}
    hot = hot_hosts(contention, hot_host_s)
    vm_position = {vm_id: v for v, vm_id in enumerate(problem.vm_ids)}
    host_position = {host_id: h for h, host_id in enumerate(problem.host_ids)}
    guests: dict[int, list[int]] = defaultdict(list)
    for v, h in enumerate(hosts.tolist()):
        guests[h].append(v)
    broken_by = [[vm_position[vm_id] for vm_id in found.vm_ids] for found in remaining]
    on_hot = [guests[host_position[host_id]] for host_id in hot]
    blocks = _Blocks(cluster, State(problem, hosts), [*broken_by, *on_hot])
    return (
        *(
            Refusal(subject=vm_id, sentence=f"VM {vm_id!r} stays where it is: {reason}")
            for vm_id, reason in cut_off.items()
        ),
        *(
            Refusal(
                subject=host_id,
                sentence=(
                    f"host {host_id!r} stays contended "
                    f"({_host_s(score[host_id].total)}, overload probability "
                    f"{score[host_id].overload_ppm / 10_000:.0f} %): {blocks.clause(vms)}"
                ),
            )
            for host_id, vms in zip(hot, on_hot, strict=True)
        ),
        *(
            Refusal(
                subject=":".join(violation.key),
                sentence=f"{violation.message}; {blocks.clause(vms)}",
            )
            for violation, vms in zip(remaining, broken_by, strict=True)
        ),
    )


def _moved(state: State) -> IntArray:
    moved: IntArray = np.flatnonzero(
        (state.hosts != NOWHERE) & (state.hosts != state.problem.start)
    )
    return moved


def _most_vms(problem: Problem) -> int:
    return max(1, MOST_LOOKS // (problem.num_hosts * max(1, problem.future.demand.shape[1])))


def _total(move_costs: Mapping[VmId, MoveCost], vm_id: VmId) -> int:
    return move_costs[vm_id].total if vm_id in move_costs else 0


@dataclass(frozen=True, slots=True)
class _TakenBack:
    """What taking back one move would lose: of the total, on the host it left, and its old place.

    ``saved`` is what the total would rise by.
    """

    saved: int
    relieved: int
    needs_exchange: bool


def _taken_back(state: State, v: int) -> _TakenBack:
    source, destination = int(state.problem.start[v]), int(state.hosts[v])
    total = state.total
    burden = 0 if source == NOWHERE else int(state.burden[source])
    state.apply(v, source)
    lost = _TakenBack(
        saved=state.total - total,
        relieved=0 if source == NOWHERE else int(state.burden[source]) - burden,
        needs_exchange=state.breaks({source}),
    )
    state.apply(v, destination)
    return lost


def _explain_move(
    cluster: Cluster,
    state: State,
    v: int,
    cost: MoveCost,
    taken_back: _TakenBack,
    next_best: Mapping[int, tuple[int, int] | None],
    *,
    broken: str | None,
) -> MoveExplanation:
    problem = state.problem
    vm = cluster.vms[v]
    source, destination = int(problem.start[v]), int(state.hosts[v])
    saved = taken_back.saved + cost.total
    source_id = None if source == NOWHERE else problem.host_ids[source]
    parts = [f"VM {vm.id!r} (priority {vm.priority})"]
    if source_id is None:
        parts[0] += f" is started on {problem.host_ids[destination]!r}"
    else:
        parts[0] += f" moves from {source_id!r} to {problem.host_ids[destination]!r}"
        parts.append(f"relieves {source_id!r} of {_host_s(taken_back.relieved)}")
    if broken is not None:
        parts.append(f"repairs: {broken}")
    if taken_back.needs_exchange:
        parts.append("is one half of an exchange: its old place is taken")
    parts.append(f"saves {_host_s(saved)} in all")
    parts.append(_cost_clause(cost))
    alternative_id: HostId | None = None
    loss: int | None = None
    if v in next_best:
        other = next_best[v]
        if other is None:
            parts.append("no other destination is allowed")
        else:
            alternative_id, loss = problem.host_ids[other[0]], other[1]
            parts.append(f"{alternative_id!r}, the next best, would be {_host_s(loss)} worse")
    return MoveExplanation(
        vm_id=vm.id,
        source_id=source_id,
        destination_id=problem.host_ids[destination],
        saved=saved,
        cost=cost.total,
        alternative_id=alternative_id,
        alternative_loss=loss,
        sentence="; ".join(parts),
    )


def _next_best_of(state: State, vms: IntArray) -> dict[int, tuple[int, int] | None]:
    """Return, per VM, the best other destination and how much worse the total is with it.

    ``None`` when no other is allowed. Neither the VM's place nor its start counts as other.
    """
    found: dict[int, tuple[int, int] | None] = {}
    start = state.problem.start
    for begin in range(0, len(vms), VMS_AT_ONCE):
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
    return f"costs {_host_s(cost.total)} ({terms})"


class _Blocks:
    """What keeps VMs from being elsewhere, looked at once for all that is to be told."""

    def __init__(self, cluster: Cluster, state: State, groups: Iterable[list[int]]) -> None:
        self._cluster = cluster
        self._host_ids = state.problem.host_ids
        wanted = list(dict.fromkeys(v for group in groups for v in group))
        looked_at = wanted[: _most_vms(state.problem)]
        self._stuck = {v: _why_stuck(cluster, state, v) for v in looked_at}
        free = np.array([v for v, reason in self._stuck.items() if reason is None], dtype=np.int64)
        self._best = _next_best_of(state, free)
        for v, best in self._best.items():
            if best is None:
                self._stuck[v] = _why_no_room(state, v)

    def clause(self, vms: list[int]) -> str:
        """Return what keeps some VMs from being elsewhere, the same reasons told once."""
        if not vms:
            return "no VM can help it"
        reasons: dict[str, list[VmId]] = {}
        moves = []
        for v in vms:
            best = self._best.get(v)
            reason = self._stuck.get(v, "may have somewhere to go: that was not looked into")
            if best is not None:
                moves.append((best[1], v, best[0]))
            elif reason is not None:
                reasons.setdefault(reason, []).append(self._cluster.vms[v].id)
        clauses = []
        cheapest = min(moves, default=None)
        if cheapest is not None:
            loss, v, h = cheapest
            clauses.append(
                f"the best single move left, VM {self._cluster.vms[v].id!r} to "
                f"{self._host_ids[h]!r}, "
                + (
                    f"would cost {_host_s(loss)} more than it saves"
                    if loss >= 0
                    else f"would save {_host_s(-loss)} and was not taken within the limits of the "
                    "plan"
                )
            )
        clauses += [f"{_named(vm_ids)} {reason}" for reason, vm_ids in reasons.items()]
        return "; ".join(clauses)


def _why_stuck(cluster: Cluster, state: State, v: int) -> str | None:
    """Return why a VM may go nowhere at all, ``None`` when somewhere is allowed."""
    vm = cluster.vms[v]
    start = int(state.problem.start[v])
    home = None if start == NOWHERE else cluster.hosts[start]
    others = state.problem.allowed_hosts(np.array([v]))[0]
    if state.hosts[v] != NOWHERE:
        others[int(state.hosts[v])] = False
    if others.any():
        return None
    if home is not None and home.state is HostState.UNREACHABLE:
        return f"cannot be moved: host {home.id!r} is unreachable"
    if home is not None and not vm.migratable:
        return f"cannot be migrated ({vm.not_migratable_reason})"
    if home is not None and _cooling(cluster, vm):
        return "cools down after an earlier move"
    return "may run on no other host that is up: rules forbid the rest"


def _cooling(cluster: Cluster, vm: VM) -> bool:
    return vm.not_before_at is not None and vm.not_before_at > cluster.observed_at


def _why_no_room(state: State, v: int) -> str:
    """Return what a VM lacks on the hosts where it may be."""
    problem = state.problem
    lacking: Counter[int] = Counter()
    hosts = np.flatnonzero(problem.allowed_hosts(np.array([v]))[0])
    hosts = hosts[hosts != state.hosts[v]]
    added = problem.reserved[problem.host_class[hosts], v]
    over = state.reserved[hosts] + added > problem.reserved_limit[hosts]
    for r in np.nonzero(over)[1].tolist():
        lacking[r] += 1
    if not over.any(axis=1).all():
        return "is held back by group rules or by the budget of moves"
    names = " and ".join(problem.resource_names[r] for r, _ in lacking.most_common())
    return f"finds no room: {names} reserved on all {len(hosts)} hosts where it may be"


def _named(vm_ids: list[VmId]) -> str:
    named = ", ".join(repr(vm_id) for vm_id in vm_ids[:MOST_NAMED])
    rest = len(vm_ids) - MOST_NAMED
    return f"VM {named}" if rest <= 0 else f"VM {named} and {rest} more"


def _host_s(units: int) -> str:
    return f"{to_host_s(units):.3g} host-s"
