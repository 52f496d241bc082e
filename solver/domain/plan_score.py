"""What a plan saves when relief counts only as it comes, move by move.

``score`` prices a placement as if its moves took no time; this follows the schedule. Each end of a
move changes two hosts, and only those are priced again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from solver.domain.cluster import Cluster
from solver.domain.plan import Plan
from solver.domain.scenario import ScenarioSet
from solver.domain.score import Contention, IntArray, counted_in, host_positions
from solver.domain.units import HostId, VmId
from solver.domain.weights import Weights, objective_steps


def score_plan(
    cluster: Cluster,
    scenarios: ScenarioSet,
    weights: Weights,
    plan: Plan,
    *,
    counted_ppm: Sequence[int] | None = None,
) -> tuple[int, int]:
    """Return the cost of contention without and with the plan, relief counted as it comes.

    A VM burdens its source until its move ends and its destination from then on. The cost of each
    step is split over the segments between the ends of moves, each rounded down. Moves that end
    after the horizon relieve nothing.

    Parameters
    ----------
    counted_ppm
        By which scenarios count; by default as in the placement without the plan.
    """
    scenarios = scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
    step_ms = scenarios.step_seconds * 1000
    num_steps = max(1, scenarios.num_steps)
    horizon_ms = num_steps * step_ms
    course = _Course(cluster, scenarios, weights, counted_ppm)
    without = int(course.per_step.sum())
    with_plan = 0
    now_ms = 0
    ends = sorted((step.end_ms, i) for i, step in enumerate(plan.steps) if step.end_ms < horizon_ms)
    moments = [(end_ms, [i for _, i in group]) for end_ms, group in groupby(ends, lambda e: e[0])]
    for until_ms, ending in [*moments, (horizon_ms, [])]:
        for t in range(now_ms // step_ms, num_steps):
            overlap = min(until_ms, (t + 1) * step_ms) - max(now_ms, t * step_ms)
            if overlap <= 0:
                break
            with_plan += int(course.per_step[t]) * overlap // step_ms
        now_ms = until_ms
        course.move([(plan.steps[i].vm_id, plan.steps[i].destination_id) for i in ending])
    return without, with_plan


class _Course:
    """Where VMs are as a plan goes on, and what that costs in each step to come."""

    def __init__(
        self,
        cluster: Cluster,
        scenarios: ScenarioSet,
        weights: Weights,
        counted_ppm: Sequence[int] | None,
    ) -> None:
        self._horizon = objective_steps(scenarios)
        self._vm_position = {vm.id: v for v, vm in enumerate(cluster.vms)}
        self._host_position = {host.id: h for h, host in enumerate(cluster.hosts)}
        self._where = host_positions(cluster, cluster.placement)
        if counted_ppm is None:
            counted_ppm = counted_in(cluster, scenarios, weights, self._where)
        self._contention = Contention(cluster, scenarios, weights, counted_ppm)
        self._guests: list[set[int]] = [set() for _ in cluster.hosts]
        for v, h in enumerate(self._where.tolist()):
            if h >= 0:
                self._guests[h].add(v)
        self._by_host = self._contention.of_all(self._where)[0][:, self._horizon]
        self.per_step: IntArray = self._by_host.sum(axis=0)
        """Cost of the whole cluster in each judged step, as VMs are now."""

    def move(self, arrived: list[tuple[VmId, HostId]]) -> None:
        """Have VMs be on other hosts, and price the hosts that this touches."""
        touched: dict[int, None] = {}
        for vm_id, host_id in arrived:
            v, destination = self._vm_position[vm_id], self._host_position[host_id]
            source = int(self._where[v])
            if source >= 0:
                self._guests[source].remove(v)
                touched[source] = None
            self._guests[destination].add(v)
            touched[destination] = None
            self._where[v] = destination
        if not touched:
            return
        chosen = np.array(list(touched), dtype=np.int64)
        vms = np.array([v for h in touched for v in self._guests[h]], dtype=np.int64)
        where = np.repeat(np.arange(len(chosen)), [len(self._guests[h]) for h in touched])
        costs = self._contention.of_some(chosen, vms, where)[0][:, self._horizon]
        self.per_step = self.per_step + (costs - self._by_host[chosen]).sum(axis=0)
        self._by_host[chosen] = costs
