"""Why each move is made, and why what is still wrong stays: data, and one sentence with numbers.

Every figure is a difference of totals of the objective, so it can be recomputed by
``solver.domain.score``. Nothing is decided here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

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

MOST_NAMED = 3
"""VMs named in one sentence before the rest is only counted."""


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
        cost = move_costs.get(vm_id, MoveCost())
        found.append(
            _explain_move(cluster, state, v, cost, next_best[v], broken=because.get(vm_id))
        )
    return tuple(found)


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
    state = State(problem, hosts)
    score = {host.host_id: host for host in contention}
    found = [
        Refusal(subject=vm_id, sentence=f"VM {vm_id!r} stays where it is: {reason}")
        for vm_id, reason in cut_off.items()
    ]
    for host_id in hot_hosts(contention, hot_host_s):
        guests = np.flatnonzero(hosts == problem.host_ids.index(host_id)).tolist()
        found.append(
            Refusal(
                subject=host_id,
                sentence=(
                    f"host {host_id!r} stays contended "
                    f"({_host_s(score[host_id].total)}, overload probability "
                    f"{score[host_id].overload_ppm / 10_000:.0f} %): "
                    f"{_blocked(cluster, state, guests)}"
                ),
            )
        )
    position = {vm_id: v for v, vm_id in enumerate(problem.vm_ids)}
    for violation in remaining:
        members = [position[vm_id] for vm_id in violation.vm_ids]
        found.append(
            Refusal(
                subject=":".join(violation.key),
                sentence=f"{violation.message}; {_blocked(cluster, state, members)}",
            )
        )
    return tuple(found)


def _explain_move(
    cluster: Cluster,
    state: State,
    v: int,
    cost: MoveCost,
    next_best: tuple[int, int] | None,
    *,
    broken: str | None,
) -> MoveExplanation:
    problem = state.problem
    vm = cluster.vms[v]
    source, destination = int(problem.start[v]), int(state.hosts[v])
    total, burden = state.total, state.burden.copy()
    state.apply(v, source)
    saved = state.total - total + cost.total
    relieved = 0 if source == NOWHERE else int(state.burden[source] - burden[source])
    needs_exchange = state.breaks({source})
    state.apply(v, destination)
    source_id = None if source == NOWHERE else problem.host_ids[source]
    parts = [f"VM {vm.id!r} (priority {vm.priority})"]
    if source_id is None:
        parts[0] += f" is started on {problem.host_ids[destination]!r}"
    else:
        parts[0] += f" moves from {source_id!r} to {problem.host_ids[destination]!r}"
        parts.append(f"relieves {source_id!r} of {_host_s(relieved)}")
    if broken is not None:
        parts.append(f"repairs: {broken}")
    if needs_exchange:
        parts.append("is one half of an exchange: its old place is taken")
    parts.append(f"saves {_host_s(saved)} in all")
    parts.append(_cost_clause(cost))
    alternative_id: HostId | None = None
    loss: int | None = None
    if next_best is None:
        parts.append("no other destination is allowed")
    else:
        alternative_id, loss = problem.host_ids[next_best[0]], next_best[1]
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
    return f"costs {_host_s(cost.total)} ({terms})"


def _blocked(cluster: Cluster, state: State, vms: list[int]) -> str:
    """Return what keeps some VMs from being elsewhere, the same reasons told once."""
    if not vms:
        return "no VM can help it"
    reasons: dict[str, list[VmId]] = {}
    stuck = {v: _why_stuck(cluster, state, v) for v in vms}
    free = np.array([v for v in vms if stuck[v] is None], dtype=np.int64)
    moves = []
    for v, best in _next_best_of(state, free).items():
        if best is None:
            stuck[v] = _why_no_room(state, v)
        else:
            moves.append((best[1], v, best[0]))
    for v in vms:
        reason = stuck[v]
        if reason is not None:
            reasons.setdefault(reason, []).append(cluster.vms[v].id)
    cheapest = min(moves, default=None)
    clauses = []
    if cheapest is not None:
        loss, v, h = cheapest
        clauses.append(
            f"the best single move left, VM {cluster.vms[v].id!r} to "
            f"{state.problem.host_ids[h]!r}, "
            + (
                f"would cost {_host_s(loss)} more than it saves"
                if loss >= 0
                else f"would save {_host_s(-loss)} and was not taken within the limits of the plan"
            )
        )
    clauses += [f"{_named(vm_ids)} {reason}" for reason, vm_ids in reasons.items()]
    return "; ".join(clauses)


def _why_stuck(cluster: Cluster, state: State, v: int) -> str | None:
    """Return why a VM may go nowhere at all, ``None`` when somewhere is allowed."""
    vm = cluster.vms[v]
    home = {host.id: host for host in cluster.hosts}.get(vm.host_id or HostId(""))
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
