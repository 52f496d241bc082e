"""Migrations out of plans, and what they tell of where VMs were."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from service.store.base import KeptPlan, PlanStage
from service.web.host_rows import why_hot
from service.web.migrations import Migration, migration_rows, migrations, why_here
from service.web.readings import undisturbed, were_there
from solver.domain.units import VmId
from tests.builders import NOW
from tests.unit.service.web.test_course import STEP, history, past_fan


def step(vm_id: str, source: str | None, destination: str) -> dict[str, Any]:
    """Return a step as a plan's document has it."""
    return {"vm_id": vm_id, "source_id": source, "destination_id": destination, "reason": ""}


def told(state: str, at: datetime | None, seconds: float = 3.0) -> dict[str, Any]:
    """Return what the executor told of a step."""
    ended_at = None if at is None else (at + timedelta(seconds=seconds)).isoformat()
    return {
        "state": state,
        "reason": "no room" if state == "failed" else "",
        "started_at": None if at is None else at.isoformat(),
        "ended_at": ended_at,
        "downtime_ms": 90,
        "transferred_mib": 1500.4,
    }


def kept(name: str, *steps: tuple[dict[str, Any], dict[str, Any]]) -> KeptPlan:
    """Return a plan that was begun."""
    result = {
        "plan": {"steps": [each for each, _ in steps]},
        "explanations": [{"vm_id": "v1", "sentence": "h1 would run short."}],
        "refusals": [
            {"unmet": "hot_host", "subject": "h1", "sentence": "h1 stays hot."},
            {"unmet": "hot_host", "subject": "h2", "sentence": "h2 stays hot."},
            {"unmet": "wish", "subject": "h1", "sentence": "a wish."},
        ],
    }
    document = {"result": result, "progress": {"steps": [each for _, each in steps]}}
    return KeptPlan(
        id=name,
        cluster_id="c1",
        made_at=NOW,
        stage=PlanStage.DONE,
        trigger="schedule",
        document=document,
    )


def moves_of_v1() -> list[Migration]:
    """Return two migrations of a VM, of which the later failed."""
    first = kept("p1", (step("v1", "h1", "h2"), told("done", NOW)))
    second = kept("p2", (step("v1", "h2", "h3"), told("failed", NOW + timedelta(hours=1))))
    return migrations([second, first], vm_id="v1")


def test_the_newest_comes_first_with_what_became_of_it() -> None:
    """Duration, downtime, what was sent, the outcome with its reason, the plan."""
    last, first = migration_rows(moves_of_v1())
    assert (first["source"], first["destination"], first["plan"]) == ("h1", "h2", "p1")
    assert (first["duration_s"], first["downtime_ms"], first["sent_mib"]) == (3.0, 90, 1500)
    assert (first["outcome"], last["outcome"]) == ("done", "failed: no room")


def test_steps_that_were_not_begun_are_no_migrations() -> None:
    """Nor are those of other VMs; a host sees what came and what went."""
    plan = kept(
        "p1",
        (step("v1", "h1", "h2"), told("waiting", None)),
        (step("v2", None, "h1"), told("done", NOW)),
        (step("v3", "h1", "h3"), told("running", NOW)),
    )
    assert migrations([plan], vm_id="v1") == []
    assert {each.vm_id for each in migrations([plan], host_id="h1")} == {"v2", "v3"}
    assert migrations([plan], vm_id="v2")[0].source_id == ""
    assert migrations([kept("p2")], host_id="h1") == []


def test_why_a_vm_is_where_it_is() -> None:
    """A plan with its reason, somebody else, or nothing that is known."""
    moves = moves_of_v1()
    assert why_here("v1", "h2", moves) == "Plan p1 brought it here. h1 would run short."
    assert "left it on h2" in why_here("v1", "h9", moves)
    assert "was on h1 already" in why_here("v1", "h1", [])
    assert why_here("v1", None, []) == "It runs nowhere."


def test_a_host_had_a_vm_from_its_arrival_to_its_leaving() -> None:
    """Bin by bin; a VM that never moved has always been where it is."""
    read = history(np.ones((3, 6)))
    moves = [
        *migrations([kept("a", (step("v0", "h2", "h1"), told("done", NOW + STEP)))], vm_id="v0"),
        *migrations(
            [kept("b", (step("v0", "h1", "h2"), told("done", NOW + 4 * STEP)))], vm_id="v0"
        ),
    ]
    there = were_there(read, {VmId("v1")}, "h1", moves)
    assert there.tolist() == [
        [False, False, True, True, True, False],
        [True] * 6,
        [False] * 6,
    ]


def test_a_vm_without_a_reading_is_there_all_the_same() -> None:
    """After its last reading it is there and not read; before its first it was not yet."""
    read = history(np.ones((1, 4)))
    read = replace(read, state=np.array([[255, 0, 0, 255]], dtype=np.uint8))
    there = were_there(read, {VmId("v0")}, "h1", [])
    assert there.tolist() == [[False, True, True, True]]


def test_hours_in_which_a_vm_came_or_went_judge_no_forecast() -> None:
    """A forecast of a host takes its VMs to stay; a move that failed disturbs nothing."""
    fans = [past_fan(bins, 400, 500, 600) for bins in (0, 12, 24)]
    moved = kept("a", (step("v0", "h1", "h2"), told("done", NOW + 14 * STEP)))
    failed = kept("b", (step("v0", "h1", "h2"), told("failed", NOW + 2 * STEP)))
    moves = migrations([moved, failed], host_id="h1")
    assert [fan.at for fan in undisturbed(fans, moves)] == [NOW, NOW + 24 * STEP]


def test_what_the_last_plan_says_of_a_host() -> None:
    """Why it is left hot, then what relieves it; of others and of wishes nothing."""
    plan = kept("p1", (step("v1", "h1", "h2"), told("done", NOW)))
    assert why_hot(plan, "h1") == ["h1 stays hot.", "h1 would run short."]
    assert why_hot(plan, "h3") == []
    assert why_hot(None, "h1") == []
