"""What is recommended, in one sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from service.plans.document import with_entry
from service.store.base import KeptPlan, PlanStage
from service.web.recommendation import Words, doubts, recommend
from tests.builders import NOW

STATUS = {"last_outcome": "nothing worth moving", "last_run_at": NOW.isoformat()}


def kept(stage: PlanStage, num_steps: int = 3, *, hindrance: str = "", **more: Any) -> KeptPlan:
    """Return a plan of some moves that would save 41 host-seconds in an hour."""
    refusals = [{"obstacles": [{"hindrance": hindrance}]}] if hindrance else []
    document = {
        "reason": "the reason",
        "result": {"plan": {"steps": [{}] * num_steps}, "refusals": refusals},
        "expected": {"saved_host_s": 41.2, "minutes": 60},
    }
    plan = KeptPlan(
        id="p", cluster_id="c1", made_at=NOW, stage=stage, trigger="schedule", document=document
    )
    return with_entry(plan, **more)


def text(words: Words) -> str:
    """Return a sentence with its instants as times of day."""
    return "".join(word if isinstance(word, str) else f"{word:%H:%M}" for word in words)


def test_a_proposed_plan_says_what_it_avoids_and_by_when() -> None:
    """The end of the hour it was judged over is told, and that no more would help."""
    found = recommend([kept(PlanStage.PROPOSED)], STATUS)
    by = NOW + timedelta(hours=1)
    assert found.plan_id == "p"
    assert text(found.words) == (
        f"3 moves would avoid 41 host-seconds of shortfall by {by:%H:%M}; "
        "nothing else is worth moving."
    )


def test_what_a_limit_leaves_undone_is_told() -> None:
    """Where moves are used up, it is not claimed that nothing else is worth moving."""
    found = recommend([kept(PlanStage.PROPOSED, 1, hindrance="budget")], STATUS)
    assert text(found.words).startswith("1 move would avoid")
    assert text(found.words).endswith(
        "more would help, but the number of moves allowed is used up."
    )


def test_a_plan_that_saves_nothing_gives_its_reason() -> None:
    """A drain is proposed for what it is for."""
    expected = {"saved_host_s": -2.0, "minutes": 60}
    found = recommend([kept(PlanStage.PROPOSED, expected=expected)], STATUS)
    assert text(found.words) == "Proposed: the reason."


@pytest.mark.parametrize(
    ("stage", "begins"),
    [
        (PlanStage.WANTED, "A plan was asked for"),
        (PlanStage.APPROVED, "3 moves approved"),
        (PlanStage.RUNNING, "1 of 3 moves made"),
    ],
)
def test_a_plan_under_way_comes_first(stage: PlanStage, begins: str) -> None:
    """What is decided or asked for is told as that."""
    progress = {"steps": [{"state": "done"}, {"state": "running"}, {"state": "waiting"}]}
    assert text(recommend([kept(stage, progress=progress)], STATUS).words).startswith(begins)
    proposed = replace(kept(PlanStage.PROPOSED), id="newer")
    if stage is not PlanStage.WANTED:
        assert recommend([proposed, kept(stage)], STATUS).plan_id == "p"


def test_nothing_to_move_is_told_with_when_it_was_judged() -> None:
    """Without a plan to decide on, the last outcome stands there."""
    words = recommend([], STATUS).words
    assert text(words) == f"Nothing is proposed. At {NOW:%H:%M}: nothing worth moving."


def test_before_the_first_plan_it_is_told_when_one_is_due() -> None:
    """A cluster that was never looked at is told apart from one whose first plan is due."""
    assert text(recommend([], None).words) == "This cluster was not looked at yet."
    due = {"last_outcome": "", "last_run_at": None, "next_run_at": NOW.isoformat()}
    assert text(recommend([], due).words).endswith(f"the first is due at {NOW:%H:%M}.")
    assert "none is due" in text(recommend([], due | {"next_run_at": None}).words)


def test_doubts_are_errors_and_objections() -> None:
    """Both are told, the error first; none before the first look."""
    assert doubts({"error": "no answer", "objections": ["silent"]}) == ("no answer", "silent")
    assert doubts({"error": "", "objections": []}) == doubts(None) == ()
