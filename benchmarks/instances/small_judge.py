"""Which placements are allowed, and the best of them all: whole placements, tried one by one.

Only the checker and the scorer are asked, so that this is the yardstick of every engine.
"""

from __future__ import annotations

import itertools

from solver.domain.check import check_moves, check_placement, new_or_worse
from solver.domain.cluster import Cluster, HostState, Placement
from solver.domain.scenario import ScenarioSet
from solver.domain.score import score_placement
from solver.domain.weights import Weights


def allowed_by_the_judge(cluster: Cluster, placement: Placement) -> bool:
    """Whether the checker, and the rule that maintenance hosts are not entered, allow it."""
    closed = {host.id for host in cluster.hosts if host.state is HostState.MAINTENANCE}
    if any(placement[vm.id] in closed and placement[vm.id] != vm.host_id for vm in cluster.vms):
        return False
    before = check_placement(cluster, cluster.placement)
    after = check_placement(cluster, placement)
    return not new_or_worse(before, after) and not check_moves(cluster, placement)


def best_total(cluster: Cluster, scenarios: ScenarioSet, prices: Weights) -> int:
    """Return the least total over all placements the checker allows; none of it is the solver's."""
    before = check_placement(cluster, cluster.placement)
    closed = {host.id for host in cluster.hosts if host.state is HostState.MAINTENANCE}
    open_ids = [host.id for host in cluster.hosts if host.id not in closed]
    places = [dict.fromkeys((vm.host_id, *open_ids)) for vm in cluster.vms]
    totals = []
    for targets in itertools.product(*places):
        placement = {vm.id: target for vm, target in zip(cluster.vms, targets, strict=True)}
        if check_moves(cluster, placement):
            continue
        violations = check_placement(cluster, placement)
        if new_or_worse(before, violations):
            continue
        score = score_placement(cluster, scenarios, prices, placement, violations=violations)
        totals.append(score.total)
    return min(totals)
