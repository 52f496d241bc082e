"""Looks back on plans when their time has come: which of them, and what is kept of it.

How a plan is judged by the demand that was then observed belongs to ``observing``.
"""

from __future__ import annotations

from datetime import datetime

from forecast.history import History
from service.plans.document import num_steps
from service.runtime.charge import Charge
from service.runtime.observing import SPANS, due_spans, observe, start_blob, start_from_bytes
from service.store.base import KeptPlan, PlanStage, Transaction


class Hindsight:
    """Judges the plans of one cluster by what was then observed."""

    def __init__(self, charge: Charge) -> None:
        self._charge = charge
        # Ids of plans not yet looked back on over every span; unknown before the first look.
        self._watched: set[str] | None = None

    def watch(self, plan_id: str) -> None:
        """Look back on a plan one day."""
        if self._watched is not None:
            self._watched.add(plan_id)

    def look_back(self, history: History | None) -> None:
        """Judge plans whose time has come."""
        if history is None:
            return
        cluster_id, now = self._charge.cluster_id, self._charge.now
        with self._charge.store.begin(read_only=True) as tx:
            if self._watched is None:
                self._watched = _open_plans(tx, cluster_id)
            found = [_due(tx, cluster_id, name, now) for name in sorted(self._watched)]
            due = [kept for kept in found if kept is not None]
            starts = {kept.id: tx.blobs.get(cluster_id, start_blob(kept.id)) for kept in due}
        for kept in due:
            self._judge(kept, starts[kept.id], history)

    def _judge(
        self, kept: KeptPlan, start: tuple[datetime, bytes] | None, history: History
    ) -> None:
        observed = dict(kept.document.get("observed", {}))
        if start is not None:
            cluster = start_from_bytes(start[1])
            for name in due_spans(kept, self._charge.now):
                observed[name] = observe(kept, cluster, history, SPANS[name]).to_document()
            self._charge.change(kept, observed=observed)
        if start is None or len(observed) == len(SPANS):
            self._let_go(kept)

    def _let_go(self, kept: KeptPlan) -> None:
        assert self._watched is not None
        self._watched.discard(kept.id)
        with self._charge.writing() as tx:
            tx.blobs.delete(kept.cluster_id, start_blob(kept.id))


def _open_plans(tx: Transaction, cluster_id: str) -> set[str]:
    """Return the plans of the last days that were not looked back on over every span."""
    plans = tx.plans.page(cluster_id, limit=200)
    return {
        kept.id
        for kept in plans
        if num_steps(kept) and len(kept.document.get("observed", {})) < len(SPANS)
    }


def _due(tx: Transaction, cluster_id: str, name: str, now: datetime) -> KeptPlan | None:
    kept = tx.plans.get(cluster_id, name)
    live = kept.stage in (PlanStage.APPROVED, PlanStage.RUNNING)
    return None if live or not due_spans(kept, now) else kept
