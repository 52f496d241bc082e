"""The tables of legal stories."""

from __future__ import annotations

import pytest

from executor.errors import IllegalTransitionError
from executor.states import (
    MOVE_TRANSITIONS,
    PLAN_TRANSITIONS,
    TERMINAL,
    UNDER_WAY,
    MoveEvent,
    MoveState,
    PlanEvent,
    PlanState,
    next_move_state,
    next_plan_state,
)


@pytest.mark.parametrize("state", list(MoveState))
@pytest.mark.parametrize("event", list(MoveEvent))
def test_every_move_event_is_legal_or_raises(state: MoveState, event: MoveEvent) -> None:
    """There is no third way, and the error names the state, the event and what was expected."""
    if event in MOVE_TRANSITIONS[state]:
        assert next_move_state(state, event) is MOVE_TRANSITIONS[state][event]
    else:
        with pytest.raises(IllegalTransitionError, match=f"{state.value}.*{event.value}.*expect"):
            next_move_state(state, event)


@pytest.mark.parametrize("state", list(PlanState))
@pytest.mark.parametrize("event", list(PlanEvent))
def test_every_plan_event_is_legal_or_raises(state: PlanState, event: PlanEvent) -> None:
    """The same for plans."""
    if event in PLAN_TRANSITIONS[state]:
        assert next_plan_state(state, event) is PLAN_TRANSITIONS[state][event]
    else:
        with pytest.raises(IllegalTransitionError):
            next_plan_state(state, event)


def test_every_state_is_reached_and_left() -> None:
    """The first ones lead to every state, and from every state an end can be reached."""
    reached = {MoveState.WAITING, MoveState.UNAPPROVED}
    while new := {s for r in reached for s in MOVE_TRANSITIONS[r].values()} - reached:
        reached |= new
    assert reached == set(MoveState)
    ends = set(TERMINAL)
    while new := {s for s in MoveState if ends & set(MOVE_TRANSITIONS[s].values())} - ends:
        ends |= new
    assert ends == set(MoveState)


def test_what_is_in_post_copy_is_never_cancelled() -> None:
    """Neither a time limit nor an operator can ask for it: the state does not know the event."""
    row = MOVE_TRANSITIONS[MoveState.POST_COPY]
    assert MoveState.POST_COPY in UNDER_WAY
    assert row == {
        MoveEvent.ENDED: MoveState.VERIFYING,
        MoveEvent.NOT_SWITCHED: MoveState.RUNNING,
    }


def test_what_is_under_way_ends_only_by_looking_at_reality() -> None:
    """Success and loss are told by where the VM is, never by what a driver says."""
    told_by = {
        state
        for state, row in MOVE_TRANSITIONS.items()
        for after in row.values()
        if after in (MoveState.DONE, MoveState.ADRIFT)
    }
    assert told_by == {MoveState.VERIFYING}
    assert told_by <= UNDER_WAY
