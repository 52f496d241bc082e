"""What refusals claim, against the judge: closed is closed, and open costs what is told."""

from __future__ import annotations

from hypothesis import given

from benchmarks.instances.small_judge import allowed_by_the_judge
from solver.compiler.compile import compile_problem
from solver.domain.check import check_placement
from solver.domain.cluster import Cluster, Placement
from solver.domain.result import Refusal, Unmet
from solver.domain.scenario import ScenarioSet
from solver.domain.score import host_contention, score_placement
from solver.domain.weights import Weights
from solver.explain.refusals import explain_refusals
from tests.strategies import problems

WEIGHTS = Weights()


def helps(cluster: Cluster, refusal: Refusal, placement: Placement) -> bool:
    """Whether a placement is better than the cluster's in what a refusal is about."""
    if refusal.unmet is Unmet.HOT_HOST:
        return True
    amounts = [
        {":".join(v.key): v.amount for v in check_placement(cluster, where)}
        for where in (cluster.placement, placement)
    ]
    return amounts[1].get(refusal.subject, 0) < amounts[0][refusal.subject]


@given(problems(max_hosts=4, max_vms=6))
def test_obstacles_and_best_moves_are_the_judges(
    problem_data: tuple[Cluster, ScenarioSet],
) -> None:
    """For every hot host and everything broken, of a cluster left as it is."""
    cluster, scenarios = problem_data
    problem = compile_problem(cluster, scenarios, WEIGHTS)
    refusals = explain_refusals(
        cluster,
        problem,
        problem.start,
        contention=host_contention(cluster, scenarios, WEIGHTS, cluster.placement),
        violations=check_placement(cluster, cluster.placement),
        hot_host_s=1.0,
        cut_off={},
        contradictions={},
    )
    stay = score_placement(cluster, scenarios, WEIGHTS, cluster.placement)
    for refusal in refusals:
        for obstacle in refusal.obstacles:
            for vm_id in obstacle.vm_ids:
                others = {host.id for host in cluster.hosts} - {cluster.placement[vm_id]}
                helpful = [
                    placement
                    for placement in (cluster.placement | {vm_id: host_id} for host_id in others)
                    if helps(cluster, refusal, placement)
                ]
                assert len(helpful) == obstacle.of_hosts
                assert not any(allowed_by_the_judge(cluster, placement) for placement in helpful)
        if refusal.best is not None:
            moved = cluster.placement | {refusal.best.vm_id: refusal.best.destination_id}
            assert allowed_by_the_judge(cluster, moved)
            assert helps(cluster, refusal, moved)
            there = score_placement(cluster, scenarios, WEIGHTS, moved)
            assert refusal.best.cost == there.migration
            assert refusal.best.cost - refusal.best.saved == there.total - stay.total
