"""What single moves of a plan saved, by demand that was observed.

A move's worth is what its absence would have cost: its VM alone stays where it was, all other moves
are made. It counts from the end of the move on. So it touches two hosts only, and a plan of several
hundred moves is judged in a second. Moves that help one another each count what both gained, so the
worths of a plan's moves need not add up to the plan's.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from solver.domain.cluster import Cluster
from solver.domain.plan import Plan, Step
from solver.domain.scenario import ScenarioSet
from solver.domain.score import Contention, IntArray, host_positions
from solver.domain.units import HostId, VmId
from solver.domain.weights import Weights, objective_steps


def saved_by_vms(start: Cluster, observed: ScenarioSet, plan: Plan) -> Mapping[VmId, int]:
    """Return what moving each VM saved, in cost units; VMs that were started are left out.

    Parameters
    ----------
    start
        The cluster before the plan.
    observed
        Demand from the start of the plan on.
    plan
        The steps that were made.
    """
    observed = observed.for_vms(tuple(vm.id for vm in start.vms))
    first: dict[VmId, Step] = {}
    last: dict[VmId, Step] = {}
    for step in plan.steps:
        first.setdefault(step.vm_id, step)
        last[step.vm_id] = step
    judge = _Judge(start, observed, plan)
    return {
        vm_id: judge.saved(vm_id, step.source_id, last[vm_id].end_ms)
        for vm_id, step in first.items()
        if step.source_id is not None
    }


class _Judge:
    """Prices the two hosts of a move with and without it."""

    def __init__(self, start: Cluster, observed: ScenarioSet, plan: Plan) -> None:
        self._contention = Contention(start, observed, Weights())
        self._horizon = objective_steps(observed)
        self._step_ms = observed.step_seconds * 1000
        self._num_steps = max(1, observed.num_steps)
        self._vm_position = {vm.id: v for v, vm in enumerate(start.vms)}
        self._host_position = {host.id: h for h, host in enumerate(start.hosts)}
        self._where = host_positions(start, plan.placement_after(start.placement))

    def saved(self, vm_id: VmId, source_id: HostId, end_ms: int) -> int:
        """Return what a move saved after it had ended."""
        v, source = self._vm_position[vm_id], self._host_position[source_id]
        ends = np.array([source, int(self._where[v])])
        if ends[0] == ends[1]:
            return 0
        vms = np.flatnonzero(np.isin(self._where, ends))
        moved = (self._where[vms] == ends[1]).astype(np.int64)
        stayed = np.where(vms == v, 0, moved)
        saved = self._cost(ends, vms, stayed) - self._cost(ends, vms, moved)
        # Whole numbers of Python: milliseconds times cost units may be more than 64 bits hold.
        parts = zip(saved.tolist(), self._after(end_ms).tolist(), strict=True)
        return sum(cost * after_ms // self._step_ms for cost, after_ms in parts)

    def _cost(self, hosts: IntArray, vms: IntArray, where: IntArray) -> IntArray:
        cost = self._contention.of_some(hosts, vms, where)[0][:, self._horizon]
        total: IntArray = cost.sum(axis=0)
        return total

    def _after(self, end_ms: int) -> IntArray:
        """Return how many milliseconds of each step lie after the end of a move."""
        ends_ms = (np.arange(self._num_steps, dtype=np.int64) + 1) * self._step_ms
        return np.clip(ends_ms - end_ms, 0, self._step_ms)
