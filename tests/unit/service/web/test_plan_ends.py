"""The end of a plan's page: what stays as it is, and who had no part in the plan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from service.store.base import KeptPlan, PlanStage
from service.web.plan_ends import failures, refusals


def kept(result: dict[str, Any] | None) -> KeptPlan:
    """Return a plan with a result."""
    return KeptPlan(
        id="p1",
        cluster_id="c1",
        made_at=datetime(2026, 11, 1, tzinfo=UTC),
        stage=PlanStage.PROPOSED,
        trigger="schedule",
        document={"result": result},
    )


def said(parts: Sequence[Any]) -> str:
    """Return parts of a page as JSON text; empty for nothing."""
    return "".join(json.dumps(part.to_plotly_json(), default=vars) for part in parts if part)


@pytest.mark.parametrize("result", [None, {}, {"refusals": [], "failures": []}])
def test_nothing_is_said_where_there_is_nothing(result: dict[str, Any] | None) -> None:
    """Nor of plans without a result, or kept before failures were."""
    assert said(refusals(kept(result))) == said(failures(kept(result))) == ""


def test_what_stays_and_who_failed_are_told() -> None:
    """Each in a place of its own."""
    plan = kept({"failures": ["engine cpsat failed"], "refusals": [{"sentence": "h1 stays hot."}]})
    assert "engine cpsat failed; the plan is what other engines found." in said(failures(plan))
    assert "h1 stays hot." in said(refusals(plan))
