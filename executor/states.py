"""Every legal story of a move and of a plan, as tables; no I/O, no clock.

The engine asks :func:`next_move_state` before it does anything; an event that a state does not
know raises and changes nothing. Read a table top-down and you have read the executor.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from executor.errors import IllegalTransitionError


class MoveState(enum.Enum):
    """Where one step of a plan stands."""

    UNAPPROVED = "unapproved"
    """Waits for an operator to approve it."""
    WAITING = "waiting"
    STARTING = "starting"
    """Written down, and the driver is being asked: what really happened is not known yet."""
    RUNNING = "running"
    CANCELLING = "cancelling"
    POST_COPY = "post_copy"
    """Runs at the destination without all of its memory, or is about to: never cancelled."""
    VERIFYING = "verifying"
    """Over as far as the driver tells; both ends are being looked at."""
    BACKING_OFF = "backing_off"
    DONE = "done"
    SKIPPED = "skipped"
    """Never begun: the last check said no."""
    FAILED = "failed"
    """Given up; the VM is as it was before the step."""
    ABORTED = "aborted"
    """Stopped on request; the VM is as it was before the step."""
    ADRIFT = "adrift"
    """The VM runs nowhere or twice: a person must look."""


class MoveEvent(enum.Enum):
    """What may happen to a step."""

    APPROVE = "approve"
    WITHDRAW = "withdraw"
    """An operator does not want it any more; nothing of it is under way."""
    START = "start"
    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    """Refused for now; nothing was begun."""
    REFUSED = "refused"
    """Refused for good; nothing was begun."""
    CANCEL = "cancel"
    SWITCH = "switch"
    """It is to be switched to post-copy, or was found to have been."""
    NOT_SWITCHED = "not_switched"
    """The driver cannot switch it: it goes on as before."""
    ENDED = "ended"
    """Completed, failed, cancelled or out of sight: reality will tell."""
    FOUND_UNDER_WAY = "found_under_way"
    ARRIVED = "arrived"
    """Runs at the destination and nowhere else."""
    RETURNED = "returned"
    """Runs at the source and nowhere else, and another try is due."""
    RETRY = "retry"
    GIVE_UP = "give_up"
    SKIP = "skip"
    ABORT = "abort"
    LOSE = "lose"
    """Reality stayed wrong for too long."""


_S, _E = MoveState, MoveEvent

MOVE_TRANSITIONS: Final[Mapping[MoveState, Mapping[MoveEvent, MoveState]]] = MappingProxyType(
    {
        _S.UNAPPROVED: {
            _E.APPROVE: _S.WAITING,
            _E.WITHDRAW: _S.ABORTED,
            _E.ABORT: _S.ABORTED,
        },
        _S.WAITING: {
            _E.START: _S.STARTING,
            _E.SKIP: _S.SKIPPED,
            _E.WITHDRAW: _S.ABORTED,
            _E.ABORT: _S.ABORTED,
        },
        _S.STARTING: {
            _E.ACCEPTED: _S.RUNNING,
            _E.DEFERRED: _S.BACKING_OFF,
            _E.REFUSED: _S.FAILED,
            _E.ENDED: _S.VERIFYING,
            _E.FOUND_UNDER_WAY: _S.RUNNING,
        },
        _S.RUNNING: {
            _E.ENDED: _S.VERIFYING,
            _E.CANCEL: _S.CANCELLING,
            _E.SWITCH: _S.POST_COPY,
        },
        _S.CANCELLING: {_E.ENDED: _S.VERIFYING, _E.SWITCH: _S.POST_COPY},
        _S.POST_COPY: {_E.ENDED: _S.VERIFYING, _E.NOT_SWITCHED: _S.RUNNING},
        _S.VERIFYING: {
            _E.ARRIVED: _S.DONE,
            _E.RETURNED: _S.BACKING_OFF,
            _E.GIVE_UP: _S.FAILED,
            _E.ABORT: _S.ABORTED,
            _E.FOUND_UNDER_WAY: _S.RUNNING,
            _E.LOSE: _S.ADRIFT,
        },
        _S.BACKING_OFF: {
            _E.RETRY: _S.WAITING,
            _E.GIVE_UP: _S.FAILED,
            _E.WITHDRAW: _S.ABORTED,
            _E.ABORT: _S.ABORTED,
        },
        _S.DONE: {},
        _S.SKIPPED: {},
        _S.FAILED: {},
        _S.ABORTED: {},
        _S.ADRIFT: {},
    }
)

TERMINAL: Final = frozenset(state for state, row in MOVE_TRANSITIONS.items() if not row)
"""States that a step never leaves."""

UNDER_WAY: Final = frozenset({_S.STARTING, _S.RUNNING, _S.CANCELLING, _S.POST_COPY, _S.VERIFYING})
"""States in which the VM may hold memory at both ends."""


class PlanState(enum.Enum):
    """Where a plan stands."""

    NEW = "new"
    RUNNING = "running"
    PAUSED = "paused"
    """Nothing new is started until it is resumed; what is under way goes on."""
    STOPPING = "stopping"
    """Nothing new is started; what is under way comes to its end."""
    FINISHED = "finished"
    """Every step has ended, well or not."""
    ABORTED = "aborted"


class PlanEvent(enum.Enum):
    """What may happen to a plan."""

    BEGIN = "begin"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    SETTLE = "settle"
    """The last step has ended."""


PLAN_TRANSITIONS: Final[Mapping[PlanState, Mapping[PlanEvent, PlanState]]] = MappingProxyType(
    {
        PlanState.NEW: {PlanEvent.BEGIN: PlanState.RUNNING},
        PlanState.RUNNING: {
            PlanEvent.PAUSE: PlanState.PAUSED,
            PlanEvent.STOP: PlanState.STOPPING,
            PlanEvent.SETTLE: PlanState.FINISHED,
        },
        PlanState.PAUSED: {
            PlanEvent.RESUME: PlanState.RUNNING,
            PlanEvent.STOP: PlanState.STOPPING,
            PlanEvent.SETTLE: PlanState.FINISHED,
        },
        PlanState.STOPPING: {PlanEvent.SETTLE: PlanState.ABORTED},
        PlanState.FINISHED: {},
        PlanState.ABORTED: {},
    }
)


def next_move_state(state: MoveState, event: MoveEvent) -> MoveState:
    """Return the state of a step after ``event``.

    Raises
    ------
    IllegalTransitionError
        If the state does not know the event.
    """
    row = MOVE_TRANSITIONS[state]
    if event not in row:
        expected = ", ".join(known.value for known in row) or "nothing more"
        raise IllegalTransitionError(
            f"a step that is {state.value} got {event.value!r}, expected {expected}"
        )
    return row[event]


def next_plan_state(state: PlanState, event: PlanEvent) -> PlanState:
    """Return the state of a plan after ``event``.

    Raises
    ------
    IllegalTransitionError
        If the state does not know the event.
    """
    row = PLAN_TRANSITIONS[state]
    if event not in row:
        expected = ", ".join(known.value for known in row) or "nothing more"
        raise IllegalTransitionError(
            f"a plan that is {state.value} got {event.value!r}, expected {expected}"
        )
    return row[event]
