"""What a plan saves as it comes, followed move by move, is what scoring each moment anew gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from solver.domain.cluster import Cluster
from solver.domain.plan import Plan
from solver.domain.plan_score import score_plan
from solver.domain.scenario import ScenarioSet
from solver.domain.score import Contention, host_positions
from solver.domain.weights import Weights, objective_steps
from solver.sequencing.order import sequence
from tests.strategies import problems


def anew(cluster: Cluster, scenarios: ScenarioSet, plan: Plan) -> tuple[int, int]:
    """Return the same from the whole cluster at every moment at which a move ends."""
    scenarios = scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
    contention = Contention(cluster, scenarios, Weights())
    step_ms = scenarios.step_seconds * 1000
    horizon_ms = max(1, scenarios.num_steps) * step_ms

    def per_step(now_ms: int) -> list[int]:
        placement = cluster.placement
        for step in sorted(plan.steps, key=lambda step: step.end_ms):
            if step.end_ms <= now_ms:
                placement[step.vm_id] = step.destination_id
        by_host, _ = contention.of_all(host_positions(cluster, placement))
        return [int(cost) for cost in by_host[:, objective_steps(scenarios)].sum(axis=0)]

    ends = sorted({step.end_ms for step in plan.steps if step.end_ms < horizon_ms})
    total = 0
    for begin_ms, end_ms in zip([0, *ends], [*ends, horizon_ms], strict=True):
        for t, cost in enumerate(per_step(begin_ms)):
            overlap = min(end_ms, (t + 1) * step_ms) - max(begin_ms, t * step_ms)
            total += cost * max(0, overlap) // step_ms
    return sum(per_step(0)), total


@given(problems(), st.data())
def test_following_a_plan_is_scoring_every_moment(
    problem: tuple[Cluster, ScenarioSet], data: st.DataObject
) -> None:
    """To the last unit, parked VMs and starts included."""
    cluster, scenarios = problem
    places = st.sampled_from([host.id for host in cluster.hosts])
    target = {vm.id: data.draw(places) for vm in cluster.vms}
    plan = sequence(cluster, target, urgency={}).plan
    assert score_plan(cluster, scenarios, Weights(), plan) == anew(cluster, scenarios, plan)
