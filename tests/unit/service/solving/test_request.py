"""Requests to solve: every form of demand becomes scenarios, and every slip names its place."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from service.solving.request import SolveLimits, solve_work
from service.solving.schema import SolveRequest
from service.solving.work import Progress, SolveWork
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import ScenarioSet
from solver.domain.units import Resource
from solver.instances import cluster_to_document, scenarios_to_document
from tests.builders import NOW, make_cluster, make_host, make_scenarios, make_vm

NUM_BINS = 48
PIN_OF_A_STRANGER = {"id": "r", "kind": "pin", "vm_ids": ["v9"], "host_ids": ["h1"]}


def hot_cluster() -> Any:
    """Return two hosts, all four VMs on the first."""
    hosts = [make_host("h1", cores=8), make_host("h2", cores=8)]
    return make_cluster(hosts, [make_vm(f"v{i}", "h1", cores=4) for i in range(4)])


def work_of(**more: Any) -> SolveWork:
    """Return the work of a request about the hot cluster."""
    request = {"cluster": cluster_to_document(hot_cluster()), **more}
    return solve_work(SolveRequest.model_validate(request), now=NOW, limits=SolveLimits())


def scenarios_of(work: SolveWork) -> ScenarioSet:
    """Return the futures that the work solves."""
    return work.demand.scenarios(work.cluster, seed=0, num_scenarios=work.num_scenarios)


def quantiles(**more: Any) -> dict[str, Any]:
    """Return quantiles of CPU of 1, 2 and 4 cores, for all VMs alike, throughout the hour."""
    rows = [[1000.0, 2000.0, 4000.0]] * 2
    return {
        "at": NOW.isoformat(),
        "horizon_minutes": [5, 60],
        "levels": [0.1, 0.5, 0.9],
        "demand": {f"v{i}": {"cpu_millicores": rows} for i in range(4)},
        **more,
    }


def history(**more: Any) -> dict[str, Any]:
    """Return four hours of steady CPU and memory up to the snapshot."""
    rows = {"cpu_millicores": [3000.0] * NUM_BINS, "memory_mib": [1024.0] * NUM_BINS}
    start = NOW - timedelta(minutes=5 * NUM_BINS)
    return {"start_at": start.isoformat(), "demand": {f"v{i}": rows for i in range(4)}, **more}


def test_without_demand_vms_count_with_their_allocation() -> None:
    """The present load, where nothing else is known, is what was promised; it lasts an hour."""
    scenarios = scenarios_of(work_of())
    assert scenarios.horizon_seconds == 3600
    assert (scenarios.demand[0, :, Resource.CPU] == 4000).all()
    assert (scenarios.demand[0, :, Resource.MEMORY] == 4096).all()


def test_usage_takes_the_place_of_the_allocation() -> None:
    """A VM whose use is given counts with it, the others with their allocation."""
    scenarios = scenarios_of(work_of(usage={"v1": {"cpu_millicores": 100}}))
    assert scenarios.demand[0, :, Resource.CPU, 1].tolist() == [4000, 100, 4000, 4000]


def test_scenarios_are_taken_as_they_are() -> None:
    """A scenario document reaches the solver unchanged."""
    given = make_scenarios(hot_cluster(), {"v0": [1, 3], "v1": 2})
    assert np.array_equal(
        scenarios_of(work_of(scenarios=scenarios_to_document(given))).demand, given.demand
    )


def test_quantiles_become_joint_futures() -> None:
    """Each VM keeps its own distribution: the median and the spread that were given."""
    options = {"num_scenarios": 64}
    scenarios = scenarios_of(work_of(quantiles=quantiles(), options=options))
    cpu = scenarios.demand[:, :, Resource.CPU, 1:]
    assert scenarios.num_scenarios == 64
    assert cpu.min() >= 1000
    assert cpu.max() <= 4000
    assert 1700 <= np.average(cpu[:, 0, 0], weights=scenarios.probability_ppm) <= 2700
    assert (scenarios.demand[:, :, Resource.CPU, 0] == 2000).all()


def test_history_is_forecast() -> None:
    """Steady readings are expected to go on about as they were."""
    scenarios = scenarios_of(work_of(history=history(), options={"num_scenarios": 16}))
    cpu = scenarios.demand[:, :, Resource.CPU, 1:]
    assert abs(float(np.median(cpu)) - 3000) < 100


def test_the_answer_is_the_result_document() -> None:
    """Solving gives status, plan, explanations and scores, and told progress on the way."""
    told: list[Progress] = []
    work = work_of(options={"limit_s": 1, "act_threshold_host_s": 1.0})
    answer = json.loads(work.run(told.append, threading.Event()))
    assert answer["foreswap"] == "result"
    assert answer["status"] in ("optimal", "feasible")
    assert len(answer["plan"]["steps"]) == 2
    assert answer["after"]["host_s"]["contention"] < answer["before"]["host_s"]["contention"]
    assert answer["before"]["host_s"]["total"] == answer["before"]["total"] / 1e9
    assert told[-1].best <= told[0].best


def test_rules_of_the_request_take_the_place_of_the_clusters() -> None:
    """A question may be asked under other rules without touching the document."""
    ban = {"id": "r", "kind": "ban", "vm_ids": ["v0"], "host_ids": ["h2"]}
    work = work_of(options={"rules": [ban]})
    assert [rule.id for rule in work.cluster.rules] == ["r"]


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"usage": {}, "quantiles": quantiles()}, "usage"),
        ({"options": {"limit_s": 301}}, "options.limit_s"),
        (
            {"options": {"act_threshold_host_s": 1, "stop_threshold_host_s": 2}},
            "options.stop_threshold_host_s",
        ),
        (
            {
                "options": {
                    "rules": [{"id": "r", "kind": "pin", "vm_ids": ["v9"], "host_ids": ["x"]}]
                }
            },
            "options.rules[0].vm_ids",
        ),
        ({"quantiles": quantiles(levels=[0.5, 0.5, 0.9])}, "quantiles.levels"),
        ({"quantiles": quantiles(levels=[0.5])}, "quantiles.demand['v0'].cpu_millicores"),
        ({"quantiles": quantiles(horizon_minutes=[10, 5])}, "quantiles.horizon_minutes"),
        (
            {"history": history(demand={"v0": {"cpu_millicores": []}})},
            "history.demand['v0'].cpu_millicores",
        ),
    ],
)
def test_a_slip_names_its_place(more: dict[str, Any], path: str) -> None:
    """What is wrong across fields is refused with the path from the top of the request."""
    with pytest.raises(InvalidInputError) as caught:
        work_of(**more)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"usage": {"v9": {}}}, "usage"),
        ({"quantiles": quantiles(demand={})}, "quantiles.demand"),
        ({"history": history(demand={})}, "history"),
        ({"history": history(start_at=(NOW - timedelta(days=2)).isoformat())}, "history"),
    ],
)
def test_demand_that_does_not_fit_the_cluster_is_refused(more: dict[str, Any], path: str) -> None:
    """VMs that are unknown, or of which nothing is told, are errors when scenarios are made."""
    with pytest.raises(InvalidInputError) as caught:
        scenarios_of(work_of(**more))
    assert caught.value.path == path
