"""What a plan does to each host."""

from __future__ import annotations

import pytest

from service.plans.document import with_entry
from service.store.base import KeptPlan
from service.web.plan_hosts import Caps, before_and_after, caps_of, host_rows
from tests.plans import crowded_host, make_kept


@pytest.fixture(scope="module")
def solved() -> KeptPlan:
    """A plan that relieves the first host, by a real solve."""
    return make_kept(crowded_host())


def test_the_contended_host_comes_first_and_is_relieved(solved: KeptPlan) -> None:
    """Contention and risk are told before and after, and moves are counted at both ends."""
    rows = host_rows(solved, {})
    assert rows[0]["host"] == "h1"
    assert rows[0]["before"] > rows[0]["after"]
    assert rows[0]["risk_before"] == 100.0
    num_steps = len(solved.document["result"]["plan"]["steps"])
    assert sum(row["out"] for row in rows) == sum(row["in"] for row in rows) == num_steps
    assert rows[0]["out"] == num_steps
    assert len(before_and_after(rows).data[0].x) >= 1


def test_moves_are_held_against_the_caps(solved: KeptPlan) -> None:
    """At most so many at once, and so much on the link; without caps the amounts alone."""
    caps = caps_of(crowded_host())
    first = host_rows(solved, caps)[0]
    assert first["out_at_once"] == "1 of 2"
    most, _, cap = first["link"].partition(" of ")
    assert cap == "1,000"
    assert 0 < int(most.replace(",", "")) <= 1000
    assert host_rows(solved, {"h1": Caps()})[0]["out_at_once"] == "1"


def test_loads_are_told_where_they_are_known(solved: KeptPlan) -> None:
    """Median and 95th percentile of the peak, in percent; nothing for other hosts and plans."""
    peaks = {"host_id": "h1", "before": {"cpu": {"p50": 0.8, "p95": 1.046}}, "after": {}}
    rows = {row["host"]: row for row in host_rows(with_entry(solved, loads=[peaks]), {})}
    assert rows["h1"]["cpu_before"] == "80 / 105"
    assert rows["h1"]["cpu_after"] == rows["h1"]["memory_before"] == ""
    assert rows["h2"]["cpu_before"] == ""
    assert host_rows(solved, {})[0]["cpu_before"] == ""
