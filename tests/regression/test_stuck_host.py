"""A host that nothing can cool, or not enough, while others are nearly well."""

from __future__ import annotations

from dataclasses import replace

from solver.domain.result import SolveStatus
from solver.params import SolveParams
from solver.solve import solve
from tests.builders import make_cluster, make_host, make_scenarios, make_vm

PARAMS = SolveParams(limit_s=20, work_limit=1, act_threshold_host_s=1000, stop_threshold_host_s=1)


def test_a_host_whose_vms_all_have_to_stay_does_not_keep_the_gate_open() -> None:
    """Only h1 is above the threshold, and its VM cannot leave: h2 is left alone, h1 explained.

    Balancing went on as long as h1 was hot, for ever, and each cycle insured h2 anew against what
    is not worth acting on.
    """
    cluster = make_cluster(
        [make_host("h1"), make_host("h2"), make_host("h3")],
        [
            make_vm("stuck", "h1", cores=20, not_migratable_reason="passthrough"),
            make_vm("a", "h2", cores=8),
            make_vm("b", "h2", cores=8),
        ],
    )
    scenarios = make_scenarios(cluster, {"stuck": 20, "a": 6, "b": 5})
    for was_acting, moved in ((False, 0), (True, 1)):
        result = solve(cluster, scenarios, replace(PARAMS, was_acting=was_acting))
        assert len(result.plan.steps) == moved
        assert result.balancing is was_acting
        assert "h1" in {refusal.subject for refusal in result.refusals}
    assert solve(cluster, scenarios, PARAMS).status is SolveStatus.NO_BENEFICIAL_MOVE


def test_a_host_left_hot_is_explained_by_the_threshold_in_force() -> None:
    """While balancing goes on, a host above the lower threshold that stays hot is told of.

    The higher one was asked, below which a cycle that acted on a host said nothing about it.
    """
    cluster = make_cluster(
        [make_host("h1"), make_host("h2", memory_gib=2)],
        [make_vm("a", "h1", cores=8), make_vm("b", "h1", cores=8)],
    )
    scenarios = make_scenarios(cluster, {"a": 6, "b": 5})
    assert not solve(cluster, scenarios, PARAMS).refusals
    (refusal,) = solve(cluster, scenarios, replace(PARAMS, was_acting=True)).refusals
    assert refusal.subject == "h1"
