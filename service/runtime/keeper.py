"""Looks after one cluster: sees it, forecasts, plans when it is due, carries out what may be.

Nothing here sleeps: ``tick`` does what is due and returns, so that hours pass in a test in seconds.
Everything that has to survive this process is in the store: plans and what is wanted of them, what
was seen, the journal; and, as ``Memory``, what the next keeper must know. The work is done in four
rooms: ``seeing`` (and ``learning``), ``execution``, ``proposing``, ``hindsight``; here is their
order, and what is told of them.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from executor.clock import Clock
from executor.lease import Lease
from service.inventory.policies import ClusterSettings
from service.plans.schedule import (
    Schedule,
    blackout_ends_at,
    in_blackout,
    next_due,
    schedule_from_document,
)
from service.runtime.carrying import Carrier
from service.runtime.charge import Charge
from service.runtime.drivers import Opened, Opener, Watched, open_cluster
from service.runtime.execution import Execution
from service.runtime.forecasting import Seer
from service.runtime.hindsight import Hindsight
from service.runtime.kept import RUNTIME
from service.runtime.memory import Memory, read_memory
from service.runtime.planning import to_be_emptied
from service.runtime.proposing import Proposer
from service.runtime.seeing import LOOK_EVERY, PAST, TELEMETRY_LAG, Sight
from service.runtime.training import NoTrainer, Trainer
from service.store.base import Item, KeptPlan, Kind, PlanStage, Store, Transaction
from solver.params import SolveParams

_LIVE: Final = (PlanStage.WANTED, PlanStage.PROPOSED, PlanStage.APPROVED, PlanStage.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperParams:
    """Settings of a keeper; see ``seeing`` for the times."""

    solve: SolveParams = field(default_factory=SolveParams)
    look_every: timedelta = LOOK_EVERY
    telemetry_lag: timedelta = TELEMETRY_LAG
    past: timedelta = PAST


class Keeper:
    """Looks after one cluster while its process leads.

    Parameters
    ----------
    lease
        Of the cluster, held already; whoever made it renews it too.
    clock
        Real time, or a test's.
    stop
        Set when it is to end: a search under way is cut short, and its plan dropped.
    """

    def __init__(
        self,
        store: Store,
        cluster_id: str,
        *,
        lease: Lease,
        clock: Clock,
        params: KeeperParams | None = None,
        opener: Opener = open_cluster,
        trainer: Trainer | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        params = params or KeeperParams()
        with store.begin(read_only=True) as tx:
            document = tx.items.get(Kind.CLUSTER, "", cluster_id).document
            memory = read_memory(tx, cluster_id)
        self._driver_document = document.get("driver")
        self._opened: Opened = opener(
            ClusterSettings.from_document(document).driver, store, cluster_id, clock
        )
        driver = None if self._opened.driver is None else Watched(self._opened.driver)
        self._charge = Charge(
            store=store,
            cluster_id=cluster_id,
            lease=lease,
            clock=self._opened.clock,
            real_clock=clock,
            memory=memory,
        )
        self._sight = Sight(
            self._charge,
            driver,
            self._opened.telemetry,
            trainer or NoTrainer(),
            look_every=params.look_every,
            telemetry_lag=params.telemetry_lag,
            past=params.past,
        )
        self._hindsight = Hindsight(self._charge)
        self._execution = Execution(self._charge, self._sight, self._carrier(driver))
        self._proposer = Proposer(
            self._charge,
            self._sight,
            self._hindsight,
            may_act=driver is not None,
            params=params.solve,
            stop=stop or threading.Event(),
        )
        self._schedule = Schedule()
        self._schedule_changed_at: datetime | None = None
        self._told: dict[str, Any] = {}

    @property
    def now(self) -> datetime:
        """The cluster's own present."""
        return self._charge.now

    @property
    def seer(self) -> Seer:
        """Who forecasts."""
        return self._sight.seer

    @property
    def memory(self) -> Memory:
        """What is carried from one plan to the next."""
        return self._charge.memory

    def stop_feeding(self) -> None:
        """Deliver no more telemetry of a made-up cluster, as if its monitors had fallen silent."""
        self._sight.stop_feeding()

    def next_event_at(self) -> datetime:
        """Return when something is due at the latest, but for what operators may want meanwhile."""
        instants = [self._sight.look_at or self.now]
        if (at := self._execution.next_event_at) is not None:
            instants.append(at)
        return max(self.now, min(instants))

    def close(self) -> None:
        """Let go of the hosts; what is under way there goes on."""
        self._opened.close()
        self._sight.close()

    def is_of(self, cluster: Item) -> bool:
        """Tell whether the cluster is still looked after in the same way."""
        return self._driver_document == cluster.document.get("driver")

    def tick(self) -> None:
        """Do everything that is due now.

        Raises
        ------
        LeaseLostError
            If the cluster is another process's now: nothing more is done here.
        """
        with self._charge.store.begin(read_only=True) as tx:
            self._read_schedule(tx)
            plans = tx.plans.page(self._charge.cluster_id, stages=_LIVE, limit=100)
        running = next((p for p in plans if p.stage is PlanStage.RUNNING), None)
        if running is not None:
            self._execution.carry_on(running, self._schedule)
        self._sight.look_if_due(self._schedule.quality)
        if running is None and self._sight.cluster is not None:
            self._begin_or_plan(plans)
        self._hindsight.look_back(self._sight.window.history)
        self._tell()

    def _carrier(self, driver: Watched | None) -> Carrier | None:
        if driver is None:
            return None
        charge = self._charge
        journal = charge.store.journal(charge.cluster_id, charge.lease)
        return Carrier(driver, charge.clock, journal, charge.lease, self._opened.params)

    def _read_schedule(self, tx: Transaction) -> None:
        cluster_id = self._charge.cluster_id
        item = tx.items.find(Kind.SCHEDULE, cluster_id, [cluster_id]).get(cluster_id)
        self._schedule = schedule_from_document(None if item is None else item.document)
        self._schedule_changed_at = None if item is None else item.changed_at

    def _begin_or_plan(self, plans: list[KeptPlan]) -> None:
        approved = next((p for p in plans if p.stage is PlanStage.APPROVED), None)
        if approved is None:
            self._proposer.plan_if_due(plans, self._schedule, changed_at=self._schedule_changed_at)
        elif not in_blackout(self._schedule, self.now) and not self._schedule.paused:
            self._execution.begin(approved, self._schedule)

    def _tell(self) -> None:
        """Keep what the API shows of the keeper, when it has changed."""
        told = self._status()
        if told == self._told:
            return
        with self._charge.writing() as tx:
            tx.blobs.put(self._charge.cluster_id, RUNTIME, self.now, json.dumps(told).encode())
        self._told = told

    def _status(self) -> dict[str, Any]:
        memory, sight, latest = self.memory, self._sight, self.seer.latest
        due_at = None
        if not self._schedule.paused:
            due_at = next_due(self._schedule, memory.last_run_at or self.now)
        return {
            "seen_at": _text(None if sight.cluster is None else sight.cluster.observed_at),
            "forecast_at": _text(None if latest is None else latest.at),
            "forecaster": self.seer.forecaster,
            "objections": list(sight.objections),
            "error": sight.error,
            "last_run_at": _text(memory.last_run_at),
            "last_trigger": memory.last_trigger,
            "last_outcome": memory.last_outcome,
            "next_run_at": _text(due_at),
            "blackout_until": _text(blackout_ends_at(self._schedule, self.now)),
            "retry_at": _text(memory.retry_at),
            "emptying": sorted(() if sight.cluster is None else to_be_emptied(sight.cluster)),
        }


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
