"""The end of a plan's page: what stays as it is, and who had no part in the plan."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from service.store.base import KeptPlan, PlanStage
from service.web.plan_ends import refusals


def shown(result: dict[str, Any] | None) -> str:
    """Return what the page says about what stays, as JSON text; empty for nothing."""
    kept = KeptPlan(
        id="p1",
        cluster_id="c1",
        made_at=datetime(2026, 11, 1, tzinfo=UTC),
        stage=PlanStage.PROPOSED,
        trigger="schedule",
        document={"result": result},
    )
    return "".join(
        json.dumps(part.to_plotly_json(), default=vars) for part in refusals(kept) if part
    )


def test_nothing_is_said_of_a_plan_that_left_nothing() -> None:
    """Nor of one that has no result, or one kept before failures were."""
    assert shown(None) == ""
    assert shown({"refusals": []}) == ""
    assert shown({"refusals": [], "failures": []}) == ""


def test_what_stays_and_who_failed_are_told() -> None:
    """An engine that failed comes first."""
    said = shown({"failures": ["engine cpsat failed"], "refusals": [{"sentence": "h1 stays hot."}]})
    assert said.index("engine cpsat failed; the plan is the others'.") < said.index("h1 stays hot.")
