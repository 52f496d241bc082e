"""The gate, and what makes a host's contention score rise."""

from __future__ import annotations

from typing import Any

import pytest

from solver.contention import hot_hosts
from solver.domain.errors import InvalidInputError
from solver.domain.score import HostContention, host_contention
from solver.domain.units import HostId
from solver.domain.weights import Weights, to_units
from solver.params import SolveParams
from tests.builders import make_cluster, make_host, make_scenarios, make_vm


def score_of(*, predicted: float, present: float, priority: int) -> int:
    """Return the contention score of a host of 10 cores with one VM."""
    cluster = make_cluster([make_host("h1")], [make_vm("v1", "h1", cores=16, priority=priority)])
    scenarios = make_scenarios(cluster, {"v1": predicted}, present={"v1": present})
    (host,) = host_contention(cluster, scenarios, Weights(), cluster.placement)
    return host.total


@pytest.mark.parametrize(
    "more", [{"predicted": 13.0}, {"present": 13.0}, {"priority": 6}], ids=lambda m: next(iter(m))
)
def test_score_rises_with_each_of_its_causes_alone(more: dict[str, Any]) -> None:
    """Predicted load, current load and priority: each one more is worse."""
    base: dict[str, Any] = {"predicted": 12.0, "present": 12.0, "priority": 5}
    assert score_of(**(base | more)) > score_of(**base)


def hosts_at(*host_s: float) -> list[HostContention]:
    """Return hosts h0, h1, … with the given scores."""
    return [
        HostContention(
            host_id=HostId(f"h{i}"), current=0, predicted=to_units(score), overload_ppm=0
        )
        for i, score in enumerate(host_s)
    ]


@pytest.mark.parametrize(
    ("score", "was_acting", "expected"),
    [(19.9, False, False), (20.1, False, True), (1.1, True, True), (0.9, True, False)],
)
def test_hysteresis(score: float, was_acting: bool, expected: bool) -> None:
    """Balancing begins above the higher threshold and ends below the lower."""
    threshold_host_s = SolveParams(was_acting=was_acting).threshold_host_s
    assert bool(hot_hosts(hosts_at(0.0, score), threshold_host_s)) is expected


def test_hot_hosts_come_worst_first() -> None:
    """Only those above the threshold, the worst one first."""
    assert hot_hosts(hosts_at(2.0, 9.0, 5.0, 7.0), 4.0) == ["h1", "h3", "h2"]


def test_thresholds_in_the_wrong_order_are_refused() -> None:
    """A stop above act would never rest."""
    with pytest.raises(InvalidInputError, match=r"stop 3\.0 and act 2\.0"):
        SolveParams(act_threshold_host_s=2.0, stop_threshold_host_s=3.0)
