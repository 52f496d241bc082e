"""Plans in words."""

from __future__ import annotations

from typing import Any

from service.store.base import KeptPlan, PlanStage
from service.web.plan_rows import stage_of, summary
from tests.builders import NOW


def kept(stage: PlanStage, **document: Any) -> KeptPlan:
    """Return a plan without moves."""
    return KeptPlan(
        id="p", cluster_id="c1", made_at=NOW, stage=stage, trigger="manual", document=document
    )


def test_a_plan_that_moves_nothing_says_why() -> None:
    """The reason stands where the worth of moves would."""
    assert summary(kept(PlanStage.DONE, reason="no host is contended")) == "no host is contended"
    assert summary(kept(PlanStage.DONE)) == "Nothing is worth moving."


def test_a_plan_that_was_asked_for_is_still_to_be_made() -> None:
    """It does not claim that nothing is worth moving."""
    assert summary(kept(PlanStage.WANTED)) == "It is still to be made."


def test_every_stage_has_its_words() -> None:
    """No stage is shown by its name in the program, and a pause is told."""
    for stage in PlanStage:
        assert "_" not in stage_of(kept(stage))
    assert stage_of(kept(PlanStage.RUNNING, wanted={"paused": True})) == "running, paused"
    assert stage_of(kept(PlanStage.WANTED)) == "to be made"
