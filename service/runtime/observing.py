"""What became of plans: the shortfall without and with each, by the demand that was then observed.

Plans that nobody ran are judged as if they had gone as planned; plans that ran, by when their moves
really ended. The other course, VMs staying where they were, is judged on the same demand. That is
the scorecard of recommending: what plans nobody ran would have saved.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from executor.states import MoveState
from forecast.history import STEP_SECONDS, History
from service.plans.document import START_BLOBS, AnyPlan, Expectation, num_steps, plan_of
from service.runtime.move_outcomes import saved_by_vms
from service.runtime.window import on_grid
from service.store.base import KeptPlan, PlanStage
from solver.domain.cluster import Cluster
from solver.domain.plan import Plan, Step
from solver.domain.plan_score import score_plan
from solver.domain.scenario import ScenarioSet, equal_probabilities
from solver.domain.units import MAX_AMOUNT, VmId
from solver.domain.weights import Weights, to_host_s
from solver.instances import cluster_from_document, cluster_to_document

SPANS: Final[Mapping[str, timedelta]] = MappingProxyType(
    {"5m": timedelta(minutes=5), "1h": timedelta(hours=1), "24h": timedelta(hours=24)}
)
"""After how long a plan is looked back on."""

SETTLED: Final = timedelta(minutes=10)
"""Telemetry of a span is there so long after it."""

NOT_RUN: Final = (PlanStage.PROPOSED, PlanStage.REJECTED, PlanStage.SUPERSEDED)


def start_blob(plan_id: str) -> str:
    """Return the name of the blob with the cluster as it was when a plan was made."""
    return f"{START_BLOBS}{plan_id}"


def start_to_bytes(cluster: Cluster) -> bytes:
    """Return a cluster as it was when a plan was made."""
    return gzip.compress(json.dumps(cluster_to_document(cluster)).encode(), mtime=0)


def start_from_bytes(data: bytes) -> Cluster:
    """Return the cluster of :func:`start_to_bytes`."""
    document = json.loads(gzip.decompress(data))
    observed_at = datetime.fromisoformat(document["observed_at"])
    return cluster_from_document(document, now=observed_at)


def due_spans(kept: KeptPlan, now: datetime) -> tuple[str, ...]:
    """Return the spans over which a plan can be looked back on now and was not yet."""
    observed = kept.document.get("observed", {})
    return tuple(
        name
        for name, span in SPANS.items()
        if name not in observed and now >= kept.made_at + span + SETTLED
    )


def observe(kept: KeptPlan, start: Cluster, history: History, span: timedelta) -> Expectation:
    """Return the shortfall of a span without and with a plan, by observed demand.

    Parameters
    ----------
    start
        The cluster when the plan was made.
    history
        Telemetry of at least the span.
    """
    observed = observed_demand(start, history, kept.made_at, span)
    went = as_it_went(kept)
    without, with_plan = score_plan(start, observed, Weights(), went)
    saved = saved_by_vms(start, observed, went)
    return Expectation(
        without_host_s=to_host_s(without),
        with_host_s=to_host_s(with_plan),
        minutes=observed.horizon_seconds / 60,
        saved_by_steps=_by_steps(plan_of(kept), saved),
    )


def observed_demand(
    start: Cluster, history: History, from_at: datetime, span: timedelta
) -> ScenarioSet:
    """Return what was demanded over a span as the one future there was; unread counts as zero."""
    begin_at = on_grid(from_at)
    first = history.bin_at(begin_at)
    num_steps = max(1, round(span.total_seconds() / STEP_SECONDS))
    bins = np.arange(first - 1, first + num_steps)
    inside = (bins >= 0) & (bins < history.num_bins)
    position = {vm_id: v for v, vm_id in enumerate(history.vm_ids)}
    rows = np.array([position.get(vm.id, -1) for vm in start.vms], dtype=np.intp)
    read = history.readings[:, rows][:, :, np.clip(bins, 0, history.num_bins - 1)]
    known = (rows >= 0)[None, :, None] & inside[None, None, :]
    demand = np.clip(np.rint(np.nan_to_num(np.where(known, read, 0.0))), 0, MAX_AMOUNT)
    return ScenarioSet(
        vm_ids=tuple(vm.id for vm in start.vms),
        start_at=begin_at,
        step_seconds=STEP_SECONDS,
        probability_ppm=equal_probabilities(1),
        demand=np.moveaxis(demand, 0, 1)[None].astype(np.int64),
    )


def as_it_went(kept: KeptPlan) -> Plan:
    """Return the plan with the steps that were made, when they were; as planned if it never ran."""
    plan = plan_of(kept)
    progress = kept.document.get("progress")
    if progress is None:
        return plan
    made = [
        _as_made(step, entry, plan.made_at)
        for step, entry in zip(plan.steps, progress["steps"], strict=True)
        if entry["state"] == MoveState.DONE.value and entry["ended_at"]
    ]
    return Plan(made_at=plan.made_at, steps=tuple(sorted(made, key=lambda step: step.start_ms)))


def _by_steps(plan: Plan, saved: Mapping[VmId, int]) -> tuple[float | None, ...]:
    """Return what each step saved: of a VM that moves twice, all of it on its last step."""
    last = {step.vm_id: i for i, step in enumerate(plan.steps)}
    return tuple(
        round(to_host_s(saved[step.vm_id]), 3)
        if last[step.vm_id] == i and step.vm_id in saved
        else None
        for i, step in enumerate(plan.steps)
    )


def _as_made(step: Step, entry: Mapping[str, Any], made_at: datetime) -> Step:
    began = datetime.fromisoformat(entry["started_at"] or entry["ended_at"])
    start_ms, end_ms = (
        round((at - made_at) / timedelta(milliseconds=1))
        for at in (began, datetime.fromisoformat(entry["ended_at"]))
    )
    start_ms = max(0, start_ms)
    return replace(step, start_ms=start_ms, end_ms=max(start_ms + 1, end_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard:
    """What plans that nobody ran would have saved, and what those that ran have saved.

    Parameters
    ----------
    num_plans, num_moves
        Plans that were looked back on, and their moves.
    """

    num_plans: int = 0
    num_moves: int = 0
    without_host_s: float = 0.0
    with_host_s: float = 0.0
    expected_saved_host_s: float = 0.0

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "num_plans": self.num_plans,
            "num_moves": self.num_moves,
            "without_host_s": round(self.without_host_s, 3),
            "with_host_s": round(self.with_host_s, 3),
            "saved_host_s": round(self.without_host_s - self.with_host_s, 3),
            "expected_saved_host_s": round(self.expected_saved_host_s, 3),
        }


def scorecard(plans: Iterable[AnyPlan], *, span: str = "1h") -> dict[str, Any]:
    """Return the scorecard of a cluster's plans, those never run and those that ran apart.

    A plan that was superseded before its span was over counts by itself: each says what following
    it would have saved in the span after it, and spans overlap. So the mean a plan is told too.
    """
    never_run: list[tuple[AnyPlan, Mapping[str, Any]]] = []
    ran: list[tuple[AnyPlan, Mapping[str, Any]]] = []
    for kept in plans:
        observed = kept.document.get("observed", {}).get(span)
        if observed is None:
            continue
        (never_run if kept.stage in NOT_RUN else ran).append((kept, observed))
    return {
        "span": span,
        "not_run": _summed(never_run).to_document(),
        "run": _summed(ran).to_document(),
    }


def _summed(judged: list[tuple[AnyPlan, Mapping[str, Any]]]) -> Scorecard:
    return Scorecard(
        num_plans=len(judged),
        num_moves=sum(num_steps(kept) for kept, _ in judged),
        without_host_s=sum(observed["without_host_s"] for _, observed in judged),
        with_host_s=sum(observed["with_host_s"] for _, observed in judged),
        expected_saved_host_s=sum(
            (kept.document.get("expected") or {}).get("saved_host_s", 0.0) for kept, _ in judged
        ),
    )
