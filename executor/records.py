"""What the journal remembers, and its form as one line of JSON.

Records are facts about plans and steps. Where they are kept is ``executor.journal``'s.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from executor.drivers.base import MigrationHandle
from executor.errors import JournalError
from executor.params import OnFailure
from executor.states import MoveEvent, MoveState, PlanEvent, PlanState
from solver.domain.errors import InvalidInputError
from solver.domain.plan import MoveCost, Plan, Step, StepKind
from solver.domain.units import HostId, VmId

FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanBegun:
    """A plan was accepted; everything needed to carry on with it.

    Parameters
    ----------
    approval
        Whether every step waits for an operator to approve it.
    on_failure
        What is due if the plan does not do all it is to do.
    token
        Fencing token under which a record was written, here and below; ``None`` without a lease.
    """

    plan_id: str
    at: datetime
    plan: Plan
    approval: bool = False
    on_failure: OnFailure = OnFailure.REPLAN
    token: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveChanged:
    """A step went through a transition; written before the engine acts on it.

    Parameters
    ----------
    step_idx
        Position in the plan's steps.
    state
        After ``event``.
    attempt
        Number of the present or latest try, from 1; 0 before the first.
    handle
        Of the latest migration, once the driver has told it.
    reason
        Why, for the operator.
    transferred_mib, duration_ms, downtime_ms, iterations
        Measured, as far as known.
    """

    plan_id: str
    at: datetime
    step_idx: int
    event: MoveEvent
    state: MoveState
    attempt: int = 0
    handle: MigrationHandle | None = None
    reason: str = ""
    transferred_mib: int = 0
    duration_ms: int | None = None
    downtime_ms: int | None = None
    iterations: int | None = None
    token: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChanged:
    """A plan went through a transition."""

    plan_id: str
    at: datetime
    event: PlanEvent
    state: PlanState
    reason: str = ""
    token: int | None = None


Record = PlanBegun | MoveChanged | PlanChanged


def encode(record: Record) -> str:
    """Return a record as one line of JSON, without the line's end, its checksum first."""
    body = json.dumps(_to_json(record), ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return f"{zlib.crc32(body.encode('ascii')):08x} {body}"


def decode(line: str) -> Record:
    """Return the record of a line.

    Raises
    ------
    JournalError
        If the checksum does not match, or the content is of another format.
    """
    checksum, _, body = line.partition(" ")
    seen = f"{zlib.crc32(body.encode('utf-8')):08x}"
    if checksum != seen:
        raise JournalError(f"expected checksum {seen}, got {checksum[:8]!r}")
    try:
        return _from_json(json.loads(body))
    except (KeyError, TypeError, ValueError, InvalidInputError) as error:
        raise JournalError(f"not a record of format {FORMAT}: {error!r}") from error


def _to_json(record: Record) -> dict[str, Any]:
    common: dict[str, Any] = {
        "format": FORMAT,
        "plan_id": record.plan_id,
        "at": record.at.isoformat(),
    }
    if record.token is not None:
        common["token"] = record.token
    if isinstance(record, PlanBegun):
        steps = [_step_to_json(step) for step in record.plan.steps]
        made_at = record.plan.made_at.isoformat()
        return {
            **common,
            "kind": "plan_begun",
            "plan": {"made_at": made_at, "steps": steps},
            "approval": record.approval,
            "on_failure": record.on_failure.value,
        }
    changed = {**common, "event": record.event.value, "state": record.state.value}
    changed["reason"] = record.reason
    if isinstance(record, PlanChanged):
        return {**changed, "kind": "plan_changed"}
    return {
        **changed,
        "kind": "move_changed",
        "step_idx": record.step_idx,
        "attempt": record.attempt,
        "handle": record.handle,
        "transferred_mib": record.transferred_mib,
        "duration_ms": record.duration_ms,
        "downtime_ms": record.downtime_ms,
        "iterations": record.iterations,
    }


def _from_json(document: dict[str, Any]) -> Record:
    if document["format"] != FORMAT:
        raise ValueError(f"format {document['format']!r}")
    plan_id = str(document["plan_id"])
    at = datetime.fromisoformat(document["at"])
    token = document.get("token")
    kind = document["kind"]
    if kind == "plan_begun":
        plan = document["plan"]
        steps = tuple(_step_from_json(step) for step in plan["steps"])
        made_at = datetime.fromisoformat(plan["made_at"])
        return PlanBegun(
            plan_id=plan_id,
            at=at,
            plan=Plan(made_at=made_at, steps=steps),
            # Journals written before operators were asked lack both.
            approval=document.get("approval", False),
            on_failure=OnFailure(document.get("on_failure", OnFailure.REPLAN.value)),
            token=token,
        )
    if kind == "plan_changed":
        return PlanChanged(
            plan_id=plan_id,
            at=at,
            event=PlanEvent(document["event"]),
            state=PlanState(document["state"]),
            reason=document["reason"],
            token=token,
        )
    if kind == "move_changed":
        handle = document["handle"]
        return MoveChanged(
            plan_id=plan_id,
            at=at,
            step_idx=document["step_idx"],
            event=MoveEvent(document["event"]),
            state=MoveState(document["state"]),
            attempt=document["attempt"],
            handle=None if handle is None else MigrationHandle(handle),
            reason=document["reason"],
            transferred_mib=document["transferred_mib"],
            duration_ms=document["duration_ms"],
            downtime_ms=document["downtime_ms"],
            # Journals written before it was measured lack it.
            iterations=document.get("iterations"),
            token=token,
        )
    raise ValueError(f"kind {kind!r}")


def _step_to_json(step: Step) -> dict[str, Any]:
    return {**asdict(step), "kind": step.kind.value}


def _step_from_json(document: dict[str, Any]) -> Step:
    source = document["source_id"]
    return Step(
        **{
            **document,
            "kind": StepKind(document["kind"]),
            "vm_id": VmId(document["vm_id"]),
            "source_id": None if source is None else HostId(source),
            "destination_id": HostId(document["destination_id"]),
            "cost": MoveCost(**document["cost"]),
        }
    )
