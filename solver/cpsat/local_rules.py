"""What hard group rules say about the VMs on one host, whatever is on the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from solver.problem import NOWHERE, Count, IntArray, Problem


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalRules:
    """Hard group rules as far as they bind within a host.

    Parameters
    ----------
    ties
        Sets of VMs that are on one host or on none of them.
    crowds
        VMs, of which at most a number are on one host, and the hosts for which that holds.
    splits
        Pairs of groups of which no two share a host, and the hosts for which that holds.
    """

    ties: tuple[IntArray, ...]
    crowds: tuple[tuple[IntArray, int, IntArray], ...]
    splits: tuple[tuple[IntArray, IntArray, IntArray], ...]


def local_rules(problem: Problem) -> LocalRules:
    """Return what the hard rules of a problem say within hosts."""
    ties: list[IntArray] = []
    crowds, splits = [], []
    for rule in problem.group_rules:
        if rule.limit is None:
            continue
        if rule.count is Count.CROWDING:
            crowds.append((rule.vms, rule.bound + rule.limit, rule.cell_of))
        elif rule.count is Count.SPLIT and rule.limit == 0:
            splits.append((rule.vms, rule.others, rule.cell_of))
        elif rule.ties and rule.limit == 0 and (problem.start[rule.vms] != NOWHERE).all():
            ties.append(rule.vms)
    return LocalRules(ties=tuple(_united(ties)), crowds=tuple(crowds), splits=tuple(splits))


def _united(ties: Sequence[IntArray]) -> list[IntArray]:
    """Return sets of which no two share a VM."""
    set_of: dict[int, set[int]] = {}
    for tie in ties:
        members = set(tie.tolist())
        members.update(*(set_of.get(v, ()) for v in tie.tolist()))
        for v in members:
            set_of[v] = members
    return [np.array(members) for members in sorted({tuple(sorted(s)) for s in set_of.values()})]
