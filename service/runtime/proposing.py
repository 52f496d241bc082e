"""When a plan is due and for what, and where one that was made goes: proposed, approved, nowhere.

The plan itself is made by ``planning``; here are its occasions and its bookkeeping.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from service.plans.document import decision, num_steps
from service.plans.schedule import Schedule, in_blackout, is_due
from service.plans.wishes import plan_id
from service.runtime.charge import ACTOR, Charge
from service.runtime.hindsight import Hindsight
from service.runtime.observing import start_blob, start_to_bytes
from service.runtime.planning import (
    Made,
    Trigger,
    document_of,
    goes_by_itself,
    make_plan,
    to_be_emptied,
)
from service.runtime.seeing import Sight
from service.store.base import KeptPlan, PlanStage, Transaction
from solver.domain.cluster import Cluster, HostState
from solver.domain.errors import ForeswapError
from solver.params import SolveParams

log = logging.getLogger(__name__)

DRAIN_AGAIN: Final = timedelta(minutes=15)
"""A host that is still not empty is planned for again after so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What a plan is made for.

    Parameters
    ----------
    wanted
        The plan that somebody asked for and that is still to be made; ``None`` if nobody did.
    proposed
        Plans that wait for approval, and whose place the new one takes.
    """

    trigger: Trigger
    schedule: Schedule
    wanted: KeptPlan | None = None
    proposed: tuple[KeptPlan, ...] = ()


class Proposer:
    """Plans for one cluster when it is time to.

    Parameters
    ----------
    hindsight
        Is told of every plan that is kept, to look back on it.
    may_act
        Whether the cluster has a driver: without one plans are recommendations.
    stop
        Set when this process is to end: a search is cut short, and its plan dropped.
    """

    def __init__(
        self,
        charge: Charge,
        sight: Sight,
        hindsight: Hindsight,
        *,
        may_act: bool,
        params: SolveParams,
        stop: threading.Event,
    ) -> None:
        self._charge = charge
        self._sight = sight
        self._hindsight = hindsight
        self._may_act = may_act
        self._params = params
        self._stop = stop

    def plan_if_due(
        self, plans: Sequence[KeptPlan], schedule: Schedule, *, changed_at: datetime | None
    ) -> None:
        """Make a plan if one is asked for or due.

        Parameters
        ----------
        plans
            Those that are not over, none of them approved or running.
        changed_at
            When the schedule was set; ``None`` for the default one.
        """
        wanted = next((p for p in plans if p.stage is PlanStage.WANTED), None)
        trigger = Trigger.MANUAL if wanted else self._trigger(plans, schedule, changed_at)
        if trigger is None:
            return
        proposed = tuple(p for p in plans if p.stage is PlanStage.PROPOSED)
        occasion = Occasion(trigger=trigger, schedule=schedule, wanted=wanted, proposed=proposed)
        try:
            self._plan(occasion)
        except ForeswapError as error:
            log.warning("cluster %s: no plan: %s", self._charge.cluster_id, error)
            self._note_run(trigger, f"no plan could be made: {error}")
            if wanted is not None:
                self._charge.change(wanted, stage=PlanStage.ENDED, reason=f"no plan: {error}")

    # When -------------------------------------------------------------------------------------

    def _trigger(
        self, plans: Sequence[KeptPlan], schedule: Schedule, changed_at: datetime | None
    ) -> Trigger | None:
        """Return what a plan is due for now, if for anything."""
        cluster, memory, now = self._cluster(), self._charge.memory, self._charge.now
        if self._drain_due(plans, cluster):
            return Trigger.DRAIN
        if schedule.paused or in_blackout(schedule, now):
            return None
        if memory.closed - _closed(cluster):
            return Trigger.RETURN
        if memory.retry_at is not None and now >= memory.retry_at:
            return Trigger.RETRY
        since = memory.last_run_at
        if schedule.cron is not None and changed_at is not None:
            since = max(since or changed_at, changed_at)
        return Trigger.SCHEDULE if is_due(schedule, now, since=since) else None

    def _drain_due(self, plans: Sequence[KeptPlan], cluster: Cluster) -> bool:
        """Tell whether hosts are to be emptied that no plan is there for."""
        emptying = to_be_emptied(cluster)
        if not emptying:
            return False
        if emptying - self._charge.memory.closed:
            return True
        waits = any(p.stage is PlanStage.PROPOSED and p.trigger == Trigger.DRAIN for p in plans)
        last = self._charge.memory.drained_at
        return not waits and (last is None or self._charge.now - last >= DRAIN_AGAIN)

    # What -------------------------------------------------------------------------------------

    def _plan(self, occasion: Occasion) -> None:
        self._sight.see()
        exempt = occasion.trigger in (Trigger.MANUAL, Trigger.DRAIN)
        if self._sight.objections and not exempt:
            outcome = "nothing was done: " + "; ".join(self._sight.objections)
            self._note_run(occasion.trigger, outcome)
            return
        cluster, memory, schedule = self._cluster(), self._charge.memory, occasion.schedule
        forecasted = self._sight.forecast_of(cluster)
        made = make_plan(
            cluster,
            forecasted,
            schedule=schedule,
            trigger=occasion.trigger,
            moves_lately=memory.moves_since(self._charge.now - schedule.limits.window),
            cooldowns=memory.cooldowns,
            migration=memory.migration(),
            params=self._params,
            was_acting=memory.was_acting,
            stop=self._stop,
        )
        if self._stop.is_set():
            return  # what was asked for is still wanted, what is due is still due
        memory.was_acting = made.result.balancing
        self._keep(made, occasion, cluster, forecasted.forecaster)

    def _keep(self, made: Made, occasion: Occasion, cluster: Cluster, forecaster: str) -> None:
        """Write a plan that was made, in the place of those proposed before."""
        wanted = occasion.wanted
        document = document_of(
            made,
            trigger=occasion.trigger,
            schedule=occasion.schedule,
            forecaster=forecaster,
            objections=self._sight.objections,
            asked_by="" if wanted is None else wanted.document["asked_by"],
            reason="",
        )
        stage = self._stage(made, occasion.schedule)
        if stage is PlanStage.APPROVED:
            document["decision"] = decision(
                "approved", by=ACTOR, at=self._charge.now, reason="automatic"
            )
        self._charge.supersede(occasion.proposed, "a newer plan was made")
        reason = str(document["reason"])
        if wanted is None and (not made.plan.steps or made.held_back):
            self._note_run(occasion.trigger, made.held_back or reason)
            return
        kept = KeptPlan(
            id=plan_id(made.plan.made_at) if wanted is None else wanted.id,
            cluster_id=self._charge.cluster_id,
            made_at=made.plan.made_at,
            stage=stage,
            trigger=occasion.trigger.value,
            document=document,
        )
        self._note_plan(kept, occasion, reason, cluster)

    def _stage(self, made: Made, schedule: Schedule) -> PlanStage:
        if self._may_act and goes_by_itself(schedule, objections=self._sight.objections, made=made):
            return PlanStage.APPROVED
        return PlanStage.PROPOSED if made.plan.steps else PlanStage.DONE

    def _note_run(self, trigger: Trigger, outcome: str) -> None:
        """Write that it was planned, and what came of it."""
        self._remember(trigger, outcome)
        with self._charge.writing() as tx:
            self._charge.remember(tx)

    def _note_plan(
        self, kept: KeptPlan, occasion: Occasion, outcome: str, cluster: Cluster
    ) -> None:
        """Write that it was planned, and the plan."""
        self._remember(occasion.trigger, outcome)
        with self._charge.writing() as tx:
            self._charge.remember(tx)
            if not self._is_still_wanted(tx, occasion.wanted):
                return
            revision = 0 if occasion.wanted is None else occasion.wanted.revision
            tx.plans.put(kept, expected_revision=revision)
            if num_steps(kept):
                start = start_to_bytes(cluster)
                tx.blobs.put(kept.cluster_id, start_blob(kept.id), kept.made_at, start)
            self._charge.log(tx, kept, "plans.made")
        if num_steps(kept):
            self._hindsight.watch(kept.id)
        log.info("cluster %s: plan %s: %s", kept.cluster_id, kept.id, outcome)

    def _is_still_wanted(self, tx: Transaction, wanted: KeptPlan | None) -> bool:
        """Tell whether a plan that was asked for was not rejected while it was made."""
        return wanted is None or tx.plans.get(wanted.cluster_id, wanted.id) == wanted

    def _remember(self, trigger: Trigger, outcome: str) -> None:
        memory = self._charge.memory
        memory.last_run_at = self._charge.now
        memory.last_trigger, memory.last_outcome = trigger.value, outcome
        memory.retry_at = None
        if trigger is Trigger.DRAIN:
            memory.drained_at = self._charge.now
        memory.closed = _closed(self._cluster())

    def _cluster(self) -> Cluster:
        assert self._sight.cluster is not None
        return self._sight.cluster


def _closed(cluster: Cluster) -> frozenset[str]:
    """Return the hosts in maintenance."""
    return frozenset(h.id for h in cluster.hosts if h.state is HostState.MAINTENANCE)
