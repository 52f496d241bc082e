"""What may be decided on a plan, and what is asked before."""

from __future__ import annotations

from typing import Any

import pytest

from service.plans.document import with_entry
from service.security import roles
from service.security.principal import Principal, Role
from service.store.base import KeptPlan, PlanStage
from service.web.plan_deciding import ABORT, CHOICES, offered, question, which_steps
from tests.plans import crowded_host, make_kept


@pytest.fixture(scope="module")
def solved() -> KeptPlan:
    """A proposed plan of several moves."""
    return make_kept(crowded_host())


def test_what_moves_vms_is_asked_twice() -> None:
    """Approving, the whole or a part, and aborting; every choice is an operation of the API."""
    asked = {choice.label for choice in CHOICES.values() if choice.asks}
    assert asked == {"Approve", "Approve selected", "Abort"}
    for choice in CHOICES.values():
        roles.require(Principal(name="olga", role=Role.OPERATOR), choice.operation, "c1")


def test_choices_follow_the_stage(solved: KeptPlan) -> None:
    """Nothing is offered for a plan that is over; a paused one is resumed, not paused again."""
    running = with_entry(solved, PlanStage.RUNNING)
    assert "plan-approve" in offered(solved)
    assert offered(solved, acting=False) == {"plan-reject"}
    assert offered(running) == {"plan-pause", ABORT, "plan-skip-steps"}
    assert "plan-approve-steps" in offered(with_entry(running, stepwise=True))
    paused = with_entry(running, wanted={"paused": True})
    assert "plan-resume" in offered(paused)
    assert "plan-pause" not in offered(paused)
    assert offered(with_entry(solved, PlanStage.DONE)) == frozenset()


def test_the_question_says_what_is_moved(solved: KeptPlan) -> None:
    """Steps left out do not count, and whether hosts are real is told."""
    steps = solved.document["result"]["plan"]["steps"]
    whole = question("plan-approve", solved, (), "libvirt")
    assert whole[0].startswith(f"{len(steps)} moves on ")
    assert "real hosts" in whole[-1]
    fewer = with_entry(solved, steps={"0": {"decision": "skipped"}})
    told = question("plan-approve", fewer, (), "simulated")
    assert told[1] == "1 move left out."
    assert "nothing real" in told[2]
    one = question("plan-approve-steps", solved, [1], "none")
    assert one[0].startswith("1 move on 2 hosts")
    assert "others wait" in one[1]
    assert "cancelled" in question(ABORT, solved, (), "libvirt")[1]


def test_selected_rows_name_their_steps() -> None:
    """A choice on the plan is made once, one on moves for each of them."""
    rows: list[dict[str, Any]] = [{"step": 2}, {"step": 0.0}]
    assert which_steps("plan-approve", rows) == [()]
    assert which_steps("plan-skip-steps", rows) == [(2,), (0,)]
