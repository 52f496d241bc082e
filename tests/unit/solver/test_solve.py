"""Parameters are checked, results are put together right."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.instances.synthetic import synthetic
from solver.domain.errors import InvalidInputError
from solver.domain.result import SolveStatus
from solver.domain.rules import AntiAffinity
from solver.domain.units import VmId
from solver.params import SolveParams
from solver.portfolio import Answer, Found, Search, Share
from solver.solve import solve
from tests.builders import make_cluster, make_host, make_scenarios, make_vm


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"engine": "magic"}, "expected one of"),
        ({"limit_s": 0.0}, "more than 0 seconds"),
        ({"limit_s": math.nan}, "more than 0 seconds"),
        ({"work_limit": -1.0}, "more than 0 seconds"),
        ({"seed": -1}, "0..2147483647, got -1"),
        ({"stop_threshold_host_s": 21.0}, "got stop 21.0 and act 20.0"),
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, Any], message: str) -> None:
    """One precise sentence with the path of the parameter."""
    with pytest.raises(InvalidInputError) as caught:
        SolveParams(**wrong)
    assert message in str(caught.value)
    assert str(caught.value).startswith("params.")


def test_a_result_is_whole() -> None:
    """Status, bound, engine, time and plan of a small answer."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")], [make_vm("v1"), make_vm("v2", priority=3)]
    )
    scenarios = make_scenarios(cluster, {"v1": 6.0, "v2": 6.0})
    result = solve(cluster, scenarios)
    assert result.status is SolveStatus.OPTIMAL
    assert result.bound == result.after.total < result.before.total
    assert result.gap == 0.0
    assert result.engine == "greedy"
    assert 0 < result.runtime_s < 5
    assert [step.vm_id for step in result.plan.steps] == ["v2"]
    assert result.plan.made_at == cluster.observed_at
    assert result.after.move_costs[VmId("v2")] == result.plan.steps[0].cost
    assert (result.remaining, result.refusals, result.failures) == ((), (), ())


def test_urgent_relief_goes_first() -> None:
    """With one move at a time, the host that suffers more is relieved first."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2"), make_host("h3"), make_host("h4")],
        [make_vm(name, "h1" if name < "c" else "h2") for name in "abcd"],
    )
    cluster = replace(cluster, budget=replace(cluster.budget, max_parallel=1))
    result = solve(cluster, make_scenarios(cluster, {"a": 6.0, "b": 6.0, "c": 9.0, "d": 9.0}))
    assert [step.source_id for step in result.plan.steps] == ["h2", "h1"]


def test_demand_in_another_order_and_of_more_vms_is_understood() -> None:
    """Scenarios may name VMs the cluster does not have, in any order."""
    more = make_cluster([make_host("h1"), make_host("h2")], [make_vm(n) for n in ("x", "b", "a")])
    scenarios = make_scenarios(more, {"x": 50.0, "b": 6.0, "a": 6.0})
    cluster = make_cluster(more.hosts, [make_vm("a"), make_vm("b")])
    result = solve(cluster, scenarios)
    assert len(result.plan.steps) == 1
    assert result.after.contention == 0


def test_progress_of_a_repair_in_two_searches_never_falls_back() -> None:
    """Regression: the second search began to tell anew, after bounds that held for some VMs alone.

    Of the two that must part, neither finds room unless a third VM makes some: first those that
    take part in the violation are moved in vain, then all.
    """
    cluster = make_cluster(
        [
            make_host("h1", memory_gib=40),
            make_host("h2", memory_gib=20),
            make_host("h3", memory_gib=8),
        ],
        [
            make_vm("v1", "h1", memory_gib=16),
            make_vm("v2", "h1", memory_gib=16),
            make_vm("v3", "h2", memory_gib=6),
        ],
        rules=(AntiAffinity(id="apart", vm_ids=(VmId("v1"), VmId("v2"))),),
    )
    told: list[Answer] = []
    result = solve(cluster, make_scenarios(cluster, {}), on_progress=told.append)
    assert {step.vm_id for step in result.plan.steps} >= {"v3"}
    assert not result.remaining
    totals = [answer.total for answer in told]
    assert totals == sorted(totals, reverse=True)
    assert all(answer.bound <= result.after.total for answer in told)
    assert totals[-1] == result.after.total


@pytest.mark.engine_fails
def test_a_failed_engine_is_told_with_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever search of a solve it failed in, and once."""
    made = synthetic(num_hosts=8, num_vms=80, fill=0.8, seed=1)

    def failing(self: Search, share: Share) -> Found:
        raise RuntimeError("no more room")

    monkeypatch.setattr(Search, "by_cpsat", failing)
    params = SolveParams(limit_s=60.0, work_limit=0.1)
    result = solve(made.cluster, made.futures(), params)
    assert result.failures == ("engine cpsat failed: RuntimeError: no more room",)
    assert result.plan.steps
    assert result.after.total < result.before.total
