"""How broken a rule about a group would be if one of its VMs were elsewhere, for all hosts at once.

Adding a VM to a cell changes that cell only, so one pass over the cells answers for every host.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from solver.problem import NOWHERE, Count, GroupRule, count_amount

IntArray = npt.NDArray[np.int64]


def amounts_after_move(rule: GroupRule, hosts: IntArray, v: int) -> IntArray:
    """Return the amount of a rule with VM ``v`` on each host instead, shape ``(H,)``.

    Parameters
    ----------
    hosts
        Host position of every VM, shape ``(V,)``.
    v
        Position of a VM that the rule names, on either side.
    """
    without = hosts.copy()
    without[v] = NOWHERE
    members, others = rule.cells(rule.vms, without), rule.cells(rule.others, without)
    own = bool((rule.vms == v).any())
    running = int((without[rule.vms] != NOWHERE).sum()) + own
    base = count_amount(rule.count, rule.bound, running, members, others)
    by_cell = np.append(base + _added(rule, own, running, members, others), base)
    found: IntArray = by_cell[rule.cell_of]  # a host in no cell reads the last entry
    return found


def _added(
    rule: GroupRule, own: bool, running: int, members: IntArray, others: IntArray
) -> IntArray:
    """Return what one more VM in each cell adds to the amount, shape ``(cells,)``."""
    added: IntArray
    if rule.count is Count.SPLIT:
        added = (others > members if own else members > others).astype(np.int64)
    elif rule.count is Count.DEPENDENCE:
        # One of its own may come to be alone in a cell; one of the others ends that.
        alone = (members == 0) & (others == 0) if own else (members > 0) & (others == 0)
        added = alone.astype(np.int64) * (1 if own else -1)
    elif rule.count is Count.CROWDING:
        added = (members >= rule.bound).astype(np.int64)
    elif rule.count is Count.SCATTER:
        added = -(members == members.max(initial=0)).astype(np.int64)
    else:
        occupied = int((members > 0).sum())
        after = occupied + (members == 0)
        if rule.count is Count.SPREAD:
            wanted = min(rule.bound, running)
            added = np.maximum(0, wanted - after) - max(0, wanted - occupied)
        else:
            added = np.maximum(0, after - rule.bound) - max(0, occupied - rule.bound)
    return added
