"""What keeps VMs from helping by a move of their own: the obstacles, the best move, one clause."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from solver.domain.cluster import HostState
from solver.domain.result import Hindrance, Obstacle, SingleMove
from solver.domain.units import VmId
from solver.domain.weights import to_host_s
from solver.explain.places import Closed, Places
from solver.problem import NOWHERE, BoolArray
from solver.search.state import FORBIDDEN

MOST_NAMED: Final = 3
"""VMs, and groups of them, that one sentence names before the rest is only counted."""

NO_MOVE_HELPS: Final = "no single move of a VM would help"


def find_obstacles(
    places: Places, candidates: Iterable[tuple[int, BoolArray]]
) -> tuple[tuple[Obstacle, ...], SingleMove | None, str]:
    """Return what blocks VMs that could help, the best move that nothing blocks, and both in words.

    Parameters
    ----------
    candidates
        VMs, each with the places where it would help, shape ``(H,)``.
    """
    alike: dict[tuple[tuple[tuple[Hindrance, str], int], ...], list[VmId]] = defaultdict(list)
    best: tuple[int, int, int] | None = None
    looked_at, unseen = False, ""
    for v, helpful in candidates:
        unseen = places.tired
        if unseen:
            break
        if not helpful.any():
            continue
        looked_at = True
        closed, deltas = places.look(v, helpful)
        h = int(deltas.argmin())
        if deltas[h] >= FORBIDDEN:
            alike[_signature(closed)].append(places.problem.vm_ids[v])
        elif best is None or deltas[h] < best[0]:
            best = int(deltas[h]), v, h
    if not looked_at:
        nothing = f"what blocks it was not looked into, {unseen}" if unseen else NO_MOVE_HELPS
        return (), None, nothing
    groups = sorted(alike.items(), key=lambda group: -len(group[1]))
    move = None if best is None else _single_move(places, *best)
    clauses = [] if move is None else [_told_move(move)]
    clauses += [_told_group(signature, vm_ids) for signature, vm_ids in groups[:MOST_NAMED]]
    rest = sum(len(vm_ids) for _, vm_ids in groups[MOST_NAMED:])
    if rest:
        clauses.append(f"{rest} more VMs find no place either")
    if unseen:
        clauses.append(f"other VMs were not looked at, {unseen}")
    obstacles = tuple(
        Obstacle(
            hindrance=hindrance,
            name=name,
            vm_ids=tuple(vm_ids),
            num_hosts=number,
            of_hosts=sum(number for _, number in signature),
        )
        for signature, vm_ids in groups
        for (hindrance, name), number in signature
    )
    return obstacles, move, "; ".join(clauses)


def host_s(units: int) -> str:
    """Return a cost for a sentence."""
    return f"{to_host_s(units):.3g} host-s"


def _signature(closed: Closed) -> tuple[tuple[tuple[Hindrance, str], int], ...]:
    return tuple(sorted(closed.items(), key=lambda item: (-item[1], item[0])))


def _single_move(places: Places, delta: int, v: int, h: int) -> SingleMove:
    """Return a move with what it costs beyond what the answer pays for the VM already."""
    state, now = places.state, int(places.hosts[v])
    costs = [
        state.problem.move_rows(np.array([v]))[0, at] if at != NOWHERE else 0 for at in (h, now)
    ]
    cost = int(costs[0] - costs[1])
    return SingleMove(
        vm_id=state.problem.vm_ids[v],
        destination_id=state.problem.host_ids[h],
        saved=cost - delta,
        cost=cost,
    )


def _told_move(move: SingleMove) -> str:
    result = (
        f"save {host_s(move.saved)}"
        if move.saved >= 0
        else f"make the rest {host_s(-move.saved)} worse"
    )
    told = (
        f"the best single move left, VM {move.vm_id!r} to {move.destination_id!r}, would cost "
        f"{host_s(move.cost)} and {result}"
    )
    if move.saved > move.cost:
        told += ", and was not found to be safe within the limits of the plan"
    return told


def _told_group(
    signature: Sequence[tuple[tuple[Hindrance, str], int]], vm_ids: Sequence[VmId]
) -> str:
    one = len(vm_ids) == 1
    named = ", ".join(repr(vm_id) for vm_id in vm_ids[:MOST_NAMED])
    rest = len(vm_ids) - MOST_NAMED
    who = f"{'VM' if one else 'VMs'} {named}" + (f" and {rest} more" if rest > 0 else "")
    (hindrance, name), _ = signature[0]
    match hindrance:
        case Hindrance.UNREACHABLE:
            return f"{who} cannot be moved: host {name!r} is unreachable"
        case Hindrance.NOT_MIGRATABLE:
            return f"{who} cannot be migrated ({name})"
        case Hindrance.COOLING_DOWN:
            return f"{who} {'cools' if one else 'cool'} down after an earlier move"
    total = sum(number for _, number in signature)
    where = "the only host" if total == 1 else f"the {total} hosts"
    phrases = [
        _told_hindrance(hindrance, name, number, total) for (hindrance, name), number in signature
    ]
    would = "it would help" if one else "they would help"
    return f"{who} {'finds' if one else 'find'} no place on {where} where {would}: " + ", ".join(
        phrases
    )


def _told_hindrance(hindrance: Hindrance, name: str, number: int, total: int) -> str:
    where = "it" if total == 1 else "all" if number == total else str(number)
    match hindrance:
        case Hindrance.ROOM:
            return f"{name} lacking on {where}"
        case Hindrance.RULE:
            return f"rule {name!r} closes {where}"
        case Hindrance.COMPATIBILITY:
            return f"{name} not provided by {where}"
        case Hindrance.BUDGET:
            return f"the budget of moves closes {where}"
    state = "in maintenance" if name == HostState.MAINTENANCE.value else name
    return f"{where} {'is' if number == 1 else 'are'} {state}"
