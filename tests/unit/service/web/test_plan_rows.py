"""Plans in words and rows."""

from __future__ import annotations

from typing import Any

import pytest

from service.plans.document import with_entry
from service.store.base import KeptPlan, PlanStage
from service.web.plan_rows import (
    changed_rows,
    counted,
    history_row,
    one_move,
    outcome_rows,
    percent_over,
    shown,
    stage_of,
    step_rows,
    summary,
)
from tests.builders import NOW
from tests.plans import crowded_host, make_kept


def kept(stage: PlanStage, **document: Any) -> KeptPlan:
    """Return a plan without moves."""
    return KeptPlan(
        id="p", cluster_id="c1", made_at=NOW, stage=stage, trigger="manual", document=document
    )


@pytest.fixture(scope="module")
def solved() -> KeptPlan:
    """A plan of several moves, by a real solve."""
    return make_kept(crowded_host())


def told(solved: KeptPlan, *states: str, **more: Any) -> KeptPlan:
    """Return the plan with its first moves in some states, the others waiting."""
    num_steps = len(solved.document["result"]["plan"]["steps"])
    entries = [{"state": state, "fraction": 0.5, **more} for state in states]
    waiting: list[dict[str, Any]] = [{"state": "waiting", "fraction": 0.0}]
    steps = entries + waiting * (num_steps - len(entries))
    return with_entry(solved, PlanStage.RUNNING, progress={"state": "running", "steps": steps})


def test_a_plan_that_moves_nothing_says_why() -> None:
    """The reason stands where the worth of moves would."""
    assert summary(kept(PlanStage.DONE, reason="no host is contended")) == "no host is contended"
    assert summary(kept(PlanStage.DONE)) == "Nothing is worth moving."


def test_a_plan_that_was_asked_for_is_still_to_be_made() -> None:
    """It does not claim that nothing is worth moving."""
    assert summary(kept(PlanStage.WANTED)) == "It is still to be made."


def test_a_plan_that_only_repairs_promises_no_shortfall(solved: KeptPlan) -> None:
    """One that empties a host says so, rather than that it avoids nothing."""
    result = solved.document["result"]
    repairing = {**result, "before": {"repair": 2}, "after": {"repair": 0}}
    nothing = {"saved_host_s": 0.0, "minutes": 60}
    told = summary(with_entry(solved, result=repairing, expected=nothing))
    assert told.endswith("moves would put right what is broken, or empty hosts.")
    much = with_entry(solved, result=repairing, expected={**nothing, "saved_host_s": 41.0})
    assert "would avoid 41.0 host-seconds" in summary(much)


def test_every_stage_has_its_words() -> None:
    """No stage is shown by its name in the program, and a pause is told."""
    for stage in PlanStage:
        assert "_" not in stage_of(kept(stage))
    assert stage_of(kept(PlanStage.RUNNING, wanted={"paused": True})) == "running, paused"
    assert stage_of(kept(PlanStage.WANTED)) == "to be made"


def test_rows_tell_terms_and_reasons(solved: KeptPlan) -> None:
    """The four terms make the cost, and what a move saves and why stands beside it."""
    for row in step_rows(solved):
        terms = row["utilisation"] + row["transfer"] + row["downtime"] + row["latency"]
        assert terms == pytest.approx(row["cost"], abs=0.01)
        assert row["saves"] > row["cost"]
        assert row["state"] == "planned"
        assert row["why"]
        assert row["saved_1h"] is None


def test_decisions_and_progress_are_told(solved: KeptPlan) -> None:
    """What was decided stands until the move has a state of its own."""
    skipped = with_entry(solved, steps={"1": {"decision": "skipped"}})
    assert [row["state"] for row in step_rows(skipped)][:2] == ["planned", "skipped"]
    running = told(skipped, "done", "post_copy")
    assert [row["state"] for row in step_rows(running)][:2] == ["done", "post copy"]
    assert counted(skipped) == ""
    assert counted(told(solved, "done", "failed")).endswith("done, 1 failed")
    assert 0 < percent_over(told(solved, "running")) < percent_over(told(solved, "done")) < 100


def test_only_what_changed_is_sent(solved: KeptPlan) -> None:
    """A page is given the rows whose state or progress is another, and none if none is."""
    before = shown(solved)
    assert changed_rows(before, solved) == ([], before)
    rows, now = changed_rows(before, told(solved, "planned", "running"))
    assert [row["step"] for row in rows if row["state"] == "running"] == [1]
    assert changed_rows(now, told(solved, "planned", "running"))[0] == []
    assert len(changed_rows([], solved)[0]) == len(before)


def test_a_move_is_told_whole(solved: KeptPlan) -> None:
    """Worth, cost, the next best host, and what was measured against what was planned."""
    times = {
        "started_at": "2026-03-02T12:00:00+00:00",
        "ended_at": "2026-03-02T12:00:09.500000+00:00",
        "transferred_mib": 3_500,
        "downtime_ms": 120,
        "attempts": 2,
    }
    groups = {title: dict(pairs) for title, pairs in one_move(told(solved, "done", **times), 0)}
    assert set(groups) == {"Worth it", "What it costs", "Its course"}
    assert groups["Worth it"]["Next best host"]
    assert groups["Its course"]["Takes"].endswith("planned, 9.5 s measured")
    assert groups["Its course"]["Stands still"].endswith("120 ms measured")
    assert groups["Its course"]["Tries"] == "2"


def test_what_came_of_it_stands_beside_what_was_predicted(solved: KeptPlan) -> None:
    """Only a span as long as the predicted one is compared; spans not yet over are left out."""
    num_steps = len(step_rows(solved))
    hour = {"without_host_s": 50.0, "with_host_s": 12.0, "saved_host_s": 38.0, "minutes": 60}
    observed = {
        "5m": {**hour, "minutes": 5},
        "1h": {**hour, "saved_by_steps": [1.5, None, *[0.0] * (num_steps - 2)]},
    }
    judged = with_entry(solved, observed=observed, expected={"saved_host_s": 41.0, "minutes": 60})
    assert [(row["span"], row["predicted"]) for row in outcome_rows(judged)] == [
        ("5 min", None),
        ("1 h", 41.0),
    ]
    assert history_row(judged)["1h"] == "38.0"
    assert history_row(judged)["24h"] == "–"
    assert step_rows(judged)[0]["saved_1h"] == 1.5
    assert step_rows(judged)[0]["saved_5m"] is None
    assert dict(one_move(judged, 0))["What it saved"] == [("After 1 h", "1.5 host-s")]
    assert "What it saved" not in dict(one_move(judged, 1))
