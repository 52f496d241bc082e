"""What a whole placement costs and whether it is allowed, added up from the compiled problem."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from solver.problem import NOWHERE, Columns, IntArray, Problem


def total_of(problem: Problem, hosts: IntArray) -> int:
    """Return the objective of a placement, shape ``(V,)``, in cost units."""
    return (
        int(shortfall_cost(problem, problem.future, hosts).sum())
        + int(problem.capacity_repair(used_on(problem, hosts), np.arange(problem.num_hosts)).sum())
        + _placing(problem, hosts)
        + sum(rule.price * rule.amount(hosts) for rule in problem.group_rules)
        + problem.disruption_price * int(moved_of_groups(problem, hosts).max(initial=0))
    )


def keeps(problem: Problem, hosts: IntArray) -> bool:
    """Return whether a placement keeps every place, capacity, rule and budget that is hard."""
    placed = np.flatnonzero(hosts != NOWHERE)
    places = problem.places
    allowed = places.allowed_rows[places.allowed_class[placed], hosts[placed]]
    moved = moved_vms(problem, hosts)
    ends = np.bincount(
        np.concatenate([problem.start[moved], hosts[moved]]), minlength=problem.num_hosts
    )
    return bool(
        (allowed | (hosts[placed] == problem.start[placed])).all()
        and (problem.start[hosts == NOWHERE] == NOWHERE).all()
        and (used_on(problem, hosts) <= problem.reserved_limit).all()
        and (problem.max_moves is None or len(moved) <= problem.max_moves)
        and (problem.max_moves_per_host is None or ends.max() <= problem.max_moves_per_host)
        and all(
            rule.limit is None or rule.amount(hosts) <= rule.limit for rule in problem.group_rules
        )
    )


def nearest_allowed(problem: Problem, hosts: IntArray, wanted: IntArray) -> IntArray:
    """Return a placement that is allowed, with as many VMs as go in turn where they are wanted.

    Parameters
    ----------
    hosts
        A placement that is allowed, shape ``(V,)``.
    """
    if keeps(problem, wanted):
        return wanted
    hosts = hosts.copy()
    leader = np.arange(problem.num_vms)
    for clump in problem.clumps:
        leader[list(clump)] = clump[0]
    for first in np.unique(leader[hosts != wanted]).tolist():
        together = np.flatnonzero(leader == first)
        before = hosts[together]
        hosts[together] = wanted[together]
        if not keeps(problem, hosts):
            hosts[together] = before
    return hosts


def shortfall_cost(problem: Problem, columns: Columns, hosts: IntArray) -> IntArray:
    """Return what each host pays for being above thresholds, shape ``(H,)``."""
    cost = np.zeros(problem.num_hosts, dtype=np.int64)
    for b, over in over_thresholds(problem, columns, hosts):
        cost += np.maximum(0, over) @ columns.prices[b]
    return cost


def over_thresholds(
    problem: Problem, columns: Columns, hosts: IntArray
) -> Iterator[tuple[int, IntArray]]:
    """Yield each band with the load of it and those before it, minus thresholds, shape ``(H, C)``.

    It is one array, which the next band is added to.
    """
    placed = np.flatnonzero(hosts != NOWHERE)
    over = -columns.threshold
    for b in reversed(range(problem.num_bands)):
        served = placed[problem.band[placed] == b]
        add_up(over, hosts[served], columns.demand[served])
        yield b, over


def add_up(sums: IntArray, hosts: IntArray, amounts: IntArray) -> None:
    """Add the amounts of VMs to the sums of their hosts, as ``numpy.add.at`` does, in less time.

    Parameters
    ----------
    sums
        Shape ``(H, C)``, changed.
    hosts, amounts
        Shapes ``(n,)`` and ``(n, C)``.
    """
    if not len(hosts):
        return
    order = np.argsort(hosts, kind="stable")
    first = np.flatnonzero(np.diff(hosts[order], prepend=-1))
    sums[hosts[order[first]]] += np.add.reduceat(amounts[order], first, axis=0)


def used_on(problem: Problem, hosts: IntArray) -> IntArray:
    """Return what is reserved on each host, with what is held there, shape ``(H, R)``."""
    used = np.zeros(problem.capacity.shape, dtype=np.int64)
    placed = np.flatnonzero(hosts != NOWHERE)
    where = hosts[placed]
    add_up(used, where, problem.reserved[problem.host_class[where], placed])
    gone = moved_vms(problem, hosts)
    where = problem.start[gone]
    held = problem.reserved[problem.host_class[where], gone] * problem.held
    add_up(used, where, held)
    return used


def moved_vms(problem: Problem, hosts: IntArray) -> IntArray:
    """Return the VMs that migrate."""
    moved: IntArray = np.flatnonzero(
        (hosts != NOWHERE) & (problem.start != NOWHERE) & (hosts != problem.start)
    )
    return moved


def move_costs(problem: Problem, hosts: IntArray) -> tuple[IntArray, IntArray]:
    """Return the VMs that migrate, and what each of these moves costs."""
    moved = moved_vms(problem, hosts)
    if not moved.size:
        return moved, moved
    return moved, problem.move_rows(moved)[np.arange(len(moved)), hosts[moved]]


def outlay(problem: Problem, hosts: IntArray, *, both_ends: bool = False) -> IntArray:
    """Return what each host costs: its shortfall, and the moves of VMs that left it.

    Parameters
    ----------
    both_ends
        Whether a move counts where the VM came to as well.
    """
    found = shortfall_cost(problem, problem.future, hosts)
    moved, costs = move_costs(problem, hosts)
    np.add.at(found, problem.start[moved], costs)
    if both_ends:
        np.add.at(found, hosts[moved], costs)
    return found


def moved_of_groups(problem: Problem, hosts: IntArray) -> IntArray:
    """Return how many VMs of each application group migrate."""
    groups = problem.app_group[moved_vms(problem, hosts)]
    return np.bincount(groups[groups >= 0], minlength=int(problem.app_group.max(initial=-1)) + 1)


def _placing(problem: Problem, hosts: IntArray) -> int:
    """Return what moves and places cost."""
    placed = np.flatnonzero(hosts != NOWHERE)
    places = problem.places
    cost = int(places.price_rows[places.price_class[placed], hosts[placed]].sum())
    cost += int(problem.nowhere_prices[hosts == NOWHERE].sum())
    return cost + int(move_costs(problem, hosts)[1].sum())
