"""From an approved plan to one that is over: begun if it still fits, carried on, written down.

How a plan is carried out belongs to ``carrying``; here is what becomes of its stage, and what is
learnt from it: what moves took, which VMs are left alone for a while, whether to plan again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from executor.states import MoveState
from service.plans.acting import why_not
from service.plans.document import plan_of
from service.plans.schedule import Schedule, in_blackout
from service.runtime.carrying import Carrier, Ended, cut_off
from service.runtime.charge import Charge
from service.runtime.planning import Trigger, no_longer_fits
from service.runtime.seeing import Sight
from service.store.base import KeptPlan, PlanStage

log = logging.getLogger(__name__)


class Execution:
    """Has the plans of one cluster carried out, one at a time.

    Parameters
    ----------
    carrier
        ``None`` where nothing can be moved.
    """

    def __init__(self, charge: Charge, sight: Sight, carrier: Carrier | None) -> None:
        self._charge = charge
        self._sight = sight
        self._carrier = carrier
        if carrier is not None and carrier.recover():
            log.info("cluster %s: taking up the plan that was interrupted", charge.cluster_id)

    @property
    def next_event_at(self) -> datetime | None:
        """When something is to be done next; ``None`` while no plan is carried out."""
        if self._carrier is None or not self._carrier.is_active():
            return None
        return self._carrier.next_event_at or self._charge.now

    def carry_on(self, running: KeptPlan, schedule: Schedule) -> None:
        """Do what is due of a running plan."""
        carrier = self._carrier
        if carrier is None:
            self._end(running, cut_off(running), schedule)
            return
        if not carrier.is_active():
            if not carrier.knows(running):
                self._charge.change(running, stage=PlanStage.APPROVED)
            else:
                self._end(running, carrier.ended(running), schedule)
            return
        carrier.carry_on(running, in_blackout=in_blackout(schedule, self._charge.now))
        if not carrier.is_active():
            self._end(running, carrier.ended(running), schedule)
        elif (progress := carrier.progress()) != running.document.get("progress"):
            self._note_moves(running, progress)
            self._charge.change(running, progress=progress)

    def begin(self, approved: KeptPlan, schedule: Schedule) -> None:
        """Begin an approved plan if it still fits the cluster as it is now."""
        with self._charge.store.begin(read_only=True) as tx:
            reason = why_not(tx, approved.cluster_id)
        if reason or self._carrier is None:
            self._charge.supersede([approved], reason or "the cluster has no driver any more")
            return
        if approved.document.get("wanted", {}).get("paused"):
            return
        cluster = self._sight.see()
        assert cluster is not None
        reason = no_longer_fits(cluster, plan_of(approved))
        if reason:
            self._charge.supersede([approved], reason)
            return
        running = self._charge.change(approved, stage=PlanStage.RUNNING)
        if running is not None:
            self._carrier.begin(running)
            self.carry_on(running, schedule)

    def _end(self, running: KeptPlan, ended: Ended, schedule: Schedule) -> None:
        """Write down how a plan ended, and what is to be learnt from it."""
        self._learn(running, ended)
        self._plan_retry(running, ended, schedule)
        self._sight.see()
        stage = PlanStage.DONE if ended.complete else PlanStage.ENDED
        self._charge.change(running, stage=stage, progress=ended.progress)
        log.info("cluster %s: plan %s is %s", self._charge.cluster_id, running.id, stage.value)

    def _learn(self, running: KeptPlan, ended: Ended) -> None:
        memory = self._charge.memory
        self._note_moves(running, ended.progress)
        entries = ended.progress.get("steps", ())
        for step, entry in zip(plan_of(running).steps, entries, strict=True):
            if entry["state"] == MoveState.DONE.value and entry["ended_at"]:
                over_at = datetime.fromisoformat(entry["ended_at"])
                memory.cooldowns.record(step.vm_id, over_at)
                memory.moved_at.append(over_at)
        memory.add_measured(ended.measured)

    def _note_moves(self, running: KeptPlan, progress: Mapping[str, Any]) -> None:
        """Tell the forecaster of each move once it is over.

        Not only once the plan is: an hour after the first moves, forecasts are held against what
        was read during them.
        """
        entries = progress.get("steps", ())
        for step, entry in zip(plan_of(running).steps, entries, strict=True):
            if entry["started_at"] and entry["ended_at"]:
                began = datetime.fromisoformat(entry["started_at"])
                over = datetime.fromisoformat(entry["ended_at"])
                self._sight.seer.note_move(step.vm_id, began, max(began, over))

    def _plan_retry(self, running: KeptPlan, ended: Ended, schedule: Schedule) -> None:
        memory = self._charge.memory
        aborted = "abort" in running.document.get("wanted", {})
        tries = memory.tries + 1 if running.trigger == Trigger.RETRY else 0
        memory.retry_at = None
        if not ended.complete and not aborted and tries < schedule.retries:
            memory.retry_at = self._charge.now + schedule.retry_after
        memory.tries = tries
