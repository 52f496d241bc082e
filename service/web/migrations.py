"""Migrations that plans made so far, out of what the executor told of each step.

What was moved by others than foreswap is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from executor.states import MoveState
from service.store.base import KeptPlan, PlanStage, Transaction

BEGUN: Final = (PlanStage.RUNNING, PlanStage.DONE, PlanStage.ENDED)
MOST_PLANS: Final = 200
"""Plans looked through, the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of a plan that was begun.

    Parameters
    ----------
    source_id
        Empty for a VM that was started.
    reason
        Why it went as it did; empty where it went well.
    why
        Why the plan has the step.
    """

    plan_id: str
    vm_id: str
    source_id: str
    destination_id: str
    state: str
    reason: str
    started_at: datetime
    ended_at: datetime | None
    downtime_ms: int | None
    transferred_mib: int
    why: str

    @property
    def done(self) -> bool:
        """Whether the VM arrived."""
        return self.state == MoveState.DONE.value

    @property
    def duration_s(self) -> float | None:
        """How long it took; ``None`` while it has not ended."""
        return None if self.ended_at is None else (self.ended_at - self.started_at).total_seconds()


def begun_plans(tx: Transaction, cluster_id: str) -> list[KeptPlan]:
    """Return the plans that were begun, the newest first."""
    return tx.plans.page(cluster_id, stages=BEGUN, limit=MOST_PLANS)


def migrations(plans: Iterable[KeptPlan], *, vm_id: str = "", host_id: str = "") -> list[Migration]:
    """Return the migrations of a VM, or in and out of a host, the newest first."""
    found = []
    for kept in plans:
        sentences: dict[str, str] | None = None
        for step, told in _steps(kept):
            ends = (step["source_id"], step["destination_id"])
            if not told.get("started_at") or not (step["vm_id"] == vm_id or host_id in ends):
                continue
            if sentences is None:
                sentences = _sentences(kept)
            found.append(_migration(kept, step, told, sentences))
    return sorted(found, key=lambda each: each.started_at, reverse=True)


def migration_rows(found: Iterable[Migration]) -> list[dict[str, Any]]:
    """Return rows of a table."""
    return [
        {
            "id": f"{each.plan_id} {i}",
            "vm": each.vm_id,
            "at": each.started_at.isoformat(),
            "source": each.source_id,
            "destination": each.destination_id,
            "duration_s": None if each.duration_s is None else round(each.duration_s, 1),
            "downtime_ms": each.downtime_ms,
            "sent_mib": each.transferred_mib,
            "outcome": f"{each.state}: {each.reason}" if each.reason else each.state,
            "plan": each.plan_id,
        }
        for i, each in enumerate(found)
    ]


def why_here(vm_id: str, host_id: str | None, found: Iterable[Migration]) -> str:
    """Return in a sentence or two how a VM came to be where it is.

    Parameters
    ----------
    found
        Its migrations, the newest first.
    """
    if host_id is None:
        return "It runs nowhere."
    last = next((each for each in found if each.done), None)
    if last is None:
        return f"No plan has moved it: it was on {host_id} already."
    if last.destination_id != host_id:
        return (
            f"It was not foreswap that brought it here: the last plan that moved it left it on "
            f"{last.destination_id}."
        )
    return f"Plan {last.plan_id} brought it here. {last.why}".strip()


def _steps(kept: KeptPlan) -> Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return each step with what the executor told of it."""
    result = kept.document.get("result") or {}
    steps = result.get("plan", {}).get("steps", ())
    told = (kept.document.get("progress") or {}).get("steps", ())
    return zip(steps, told, strict=False)


def _sentences(kept: KeptPlan) -> dict[str, str]:
    result = kept.document.get("result") or {}
    return {item["vm_id"]: item["sentence"] for item in result.get("explanations", ())}


def _migration(
    kept: KeptPlan,
    step: Mapping[str, Any],
    told: Mapping[str, Any],
    sentences: Mapping[str, str],
) -> Migration:
    ended_at = told.get("ended_at")
    return Migration(
        plan_id=kept.id,
        vm_id=step["vm_id"],
        source_id=step["source_id"] or "",
        destination_id=step["destination_id"],
        state=told.get("state", ""),
        reason=told.get("reason", ""),
        started_at=datetime.fromisoformat(told["started_at"]),
        ended_at=None if ended_at is None else datetime.fromisoformat(ended_at),
        downtime_ms=told.get("downtime_ms"),
        transferred_mib=round(told.get("transferred_mib") or 0),
        why=sentences.get(step["vm_id"], step.get("reason", "")),
    )
