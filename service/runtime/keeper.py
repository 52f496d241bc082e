"""Looks after one cluster: sees it, forecasts, plans when it is due, carries out what may be.

Nothing here sleeps: ``tick`` does what is due and returns, so that hours pass in a test in seconds.
Everything that has to survive this process is in the store: plans and what is wanted of them, what
was seen, the journal; and, as ``Memory``, what the next keeper must know. Whatever is written or
done is done under the lease of the cluster.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from executor.clock import Clock
from executor.drivers.base import Driver
from executor.lease import Lease
from executor.states import MoveState
from forecast.history import History
from service.inventory.clusters import keep_snapshot
from service.inventory.effective import effective
from service.inventory.policies import ClusterSettings
from service.plans.document import decision, num_steps, plan_of, with_entry
from service.plans.schedule import (
    Schedule,
    blackout_ends_at,
    in_blackout,
    is_due,
    next_due,
    schedule_from_document,
)
from service.plans.wishes import plan_id
from service.runtime.carrying import Carrier, Ended, cut_off
from service.runtime.drivers import Opened, Opener, Watched, open_cluster
from service.runtime.forecasting import (
    CONTENTION,
    FORECAST,
    MODEL,
    QUALITY,
    Forecasted,
    Seer,
    contention_document,
    fans_to_bytes,
    quality_document,
)
from service.runtime.gate import objections
from service.runtime.memory import Memory, read_memory, write_memory
from service.runtime.observing import (
    SPANS,
    due_spans,
    observe,
    start_blob,
    start_from_bytes,
    start_to_bytes,
)
from service.runtime.planning import (
    Made,
    Trigger,
    document_of,
    goes_by_itself,
    make_plan,
    no_longer_fits,
    to_be_emptied,
)
from service.runtime.training import NoTrainer, Trainer
from service.runtime.window import Window, on_grid, with_cluster
from service.store.base import (
    AuditEntry,
    Item,
    KeptPlan,
    Kind,
    PlanStage,
    Store,
    Transaction,
)
from service.store.errors import ConflictError
from solver.domain.cluster import Cluster, HostState
from solver.domain.errors import ForeswapError, TemporaryError
from solver.solve import SolveParams

log = logging.getLogger(__name__)

ACTOR: Final = "foreswap"
"""Name of the service itself in the audit log."""
RUNTIME: Final = "runtime"
"""Name of the blob that says what the keeper knows and does."""
DRAIN_AGAIN: Final = timedelta(minutes=15)
"""A host that is still not empty is planned for again after so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperParams:
    """Settings of a keeper.

    Parameters
    ----------
    look_every
        Between two looks at the hosts; while a plan is carried out its guards look more often.
    telemetry_lag
        How long after the end of a bin its readings are there, where monitors deliver them.
    past
        Telemetry that a made-up cluster begins with.
    """

    solve: SolveParams = field(default_factory=SolveParams)
    look_every: timedelta = timedelta(seconds=30)
    telemetry_lag: timedelta = timedelta(minutes=2)
    past: timedelta = timedelta(days=10)


class Keeper:
    """Looks after one cluster while its process leads.

    Parameters
    ----------
    lease
        Of the cluster, held already; whoever made it renews it too.
    clock
        Real time, or a test's.
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
    ) -> None:
        self._store = store
        self._cluster_id = cluster_id
        self._lease = lease
        self._params = params or KeeperParams()
        self._trainer = trainer or NoTrainer()
        with store.begin(read_only=True) as tx:
            document = tx.items.get(Kind.CLUSTER, "", cluster_id).document
            self._memory = read_memory(tx, cluster_id)
        self._driver_document = document.get("driver")
        self._opened: Opened = opener(
            ClusterSettings.from_document(document).driver, store, cluster_id, clock
        )
        self._clock = self._opened.clock
        self._driver = None if self._opened.driver is None else Watched(self._opened.driver)
        self._carrier = self._make_carrier(self._driver)
        self._window = Window(store.telemetry, cluster_id)
        self._seer = Seer()
        self._cluster: Cluster | None = None
        self._objections: tuple[str, ...] = ()
        self._look_at: datetime | None = None
        self._fed_until: datetime | None = None
        self._model_made_at: datetime | None = None
        self._schedule = Schedule()
        self._schedule_changed_at: datetime | None = None
        self._error = ""
        self._told: dict[str, Any] = {}
        self._watched_plans: set[str] | None = None
        if self._carrier is not None and self._carrier.recover():
            log.info("cluster %s: taking up the plan that was interrupted", cluster_id)

    @property
    def now(self) -> datetime:
        """The cluster's own present."""
        return self._clock.now()

    @property
    def seer(self) -> Seer:
        """Who forecasts."""
        return self._seer

    @property
    def memory(self) -> Memory:
        """What is carried from one plan to the next."""
        return self._memory

    def stop_feeding(self) -> None:
        """Deliver no more telemetry of a made-up cluster, as if its monitors had fallen silent."""
        self._opened = replace(self._opened, telemetry=None)

    def next_event_at(self) -> datetime:
        """Return when something is due at the latest, but for what operators may want meanwhile."""
        instants = [self._look_at or self.now]
        if self._carrier is not None and self._carrier.is_active():
            instants.append(self._carrier.next_event_at or self.now)
        return max(self.now, min(instants))

    def close(self) -> None:
        """Let go of the hosts; what is under way there goes on."""
        self._opened.close()
        self._trainer.close()

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
        with self._store.begin(read_only=True) as tx:
            self._read_schedule(tx)
            plans = tx.plans.page(self._cluster_id, stages=_LIVE, limit=100)
        running = next((p for p in plans if p.stage is PlanStage.RUNNING), None)
        if running is not None:
            self._carry_on(running)
        if self._look_at is None or self.now >= self._look_at:
            self._look()
        if running is None and self._cluster is not None:
            self._begin_or_plan(plans)
        self._look_back()
        self._tell()

    # Seeing -----------------------------------------------------------------------------------

    def _read_schedule(self, tx: Transaction) -> None:
        found = tx.items.find(Kind.SCHEDULE, self._cluster_id, [self._cluster_id])
        item = found.get(self._cluster_id)
        self._schedule = schedule_from_document(None if item is None else item.document)
        self._schedule_changed_at = None if item is None else item.changed_at

    def _look(self) -> None:
        """See the cluster, and look ahead when a bin of telemetry is over."""
        self._look_at = self.now + self._params.look_every
        self._error = ""
        try:
            self._see()
            if self._cluster is not None:
                self._look_ahead(self._cluster)
        except TemporaryError as error:
            self._error = str(error)
            log.warning("cluster %s: %s", self._cluster_id, error)

    def _see(self) -> None:
        with self._lease.guard():
            seen = None if self._driver is None else self._driver.bare_snapshot()
            with self._store.begin() as tx:
                if seen is not None:
                    keep_snapshot(tx, self._cluster_id, seen, now=self.now)
                if tx.snapshots.observed_at(self._cluster_id) is not None:
                    self._cluster = effective(tx, self._cluster_id)
        if self._driver is not None:
            self._driver.wanted = self._cluster

    def _look_ahead(self, cluster: Cluster) -> None:
        lag = timedelta(0) if self._opened.telemetry else self._params.telemetry_lag
        end_at = on_grid(self.now - lag)
        if self._seer.latest is not None and self._seer.latest.at >= end_at:
            return
        self._feed(end_at)
        self._window.read_until(end_at)
        self._objections = objections(
            self._schedule.quality,
            cluster,
            self._window.history,
            now=self.now,
            last_seen=self._store.telemetry.last_seen(self._cluster_id),
        )
        self._take_model()
        forecasted = self._seer.look_ahead(cluster, self._history(cluster, end_at))
        self._show(cluster, forecasted)
        self._train_if_due(end_at)

    def _history(self, cluster: Cluster, end_at: datetime) -> History:
        return with_cluster(self._window.history, cluster, end_at)

    def _feed(self, end_at: datetime) -> None:
        """Deliver the telemetry of a cluster that has no monitors."""
        if self._opened.telemetry is None:
            return
        if self._fed_until is None:
            self._window.read_until(end_at)
            known = self._window.history
            self._fed_until = end_at - self._params.past if known is None else known.end_at
        if self._fed_until < end_at:
            bins = self._opened.telemetry(self._fed_until, end_at)
            self._store.telemetry.put_history(self._cluster_id, bins)
            self._fed_until = end_at

    def _show(self, cluster: Cluster, forecasted: Forecasted) -> None:
        """Keep what the API shows of a forecast."""
        assert self._seer.online is not None
        fans = fans_to_bytes(forecasted, self._seer.online, cluster)
        contention = json.dumps(contention_document(cluster, forecasted)).encode()
        quality = json.dumps(quality_document(forecasted, self._seer.online)).encode()
        with self._lease.guard(), self._store.begin() as tx:
            tx.blobs.put(self._cluster_id, FORECAST, forecasted.at, fans)
            tx.blobs.put(self._cluster_id, CONTENTION, forecasted.at, contention)
            tx.blobs.put(self._cluster_id, QUALITY, forecasted.at, quality)

    # Learning ---------------------------------------------------------------------------------

    def _take_model(self) -> None:
        """Forecast with the model in the store, if there is another one than in use."""
        made_at = self._trainer.made_at(self._cluster_id)
        if made_at is None or made_at == self._model_made_at:
            return
        with self._store.begin(read_only=True) as tx:
            kept = tx.blobs.get(self._cluster_id, MODEL)
        if kept is None:
            return
        self._model_made_at = made_at
        try:
            self._seer.take_over(kept[1])
        except ForeswapError as error:
            log.warning("cluster %s: model left aside: %s", self._cluster_id, error)

    def _train_if_due(self, end_at: datetime) -> None:
        reason = self._trainer.reason(self._seer, self._window.history, now=end_at)
        if reason:
            log.info("cluster %s: training: %s", self._cluster_id, reason)
            self._trainer.start(self._cluster_id, end_at)

    # Carrying out -----------------------------------------------------------------------------

    def _make_carrier(self, driver: Driver | None) -> Carrier | None:
        if driver is None:
            return None
        journal = self._store.journal(self._cluster_id, self._lease)
        return Carrier(driver, self._clock, journal, self._lease, self._opened.params)

    def _carry_on(self, running: KeptPlan) -> None:
        carrier = self._carrier
        if carrier is None:
            self._end(running, cut_off(running))
            return
        if not carrier.is_active():
            if not carrier.knows(running):
                self._change(running, stage=PlanStage.APPROVED)
            else:
                self._end(running, carrier.ended(running))
            return
        carrier.carry_on(running, in_blackout=in_blackout(self._schedule, self.now))
        if not carrier.is_active():
            self._end(running, carrier.ended(running))
        elif (progress := carrier.progress()) != running.document.get("progress"):
            self._change(running, progress=progress)

    def _begin(self, approved: KeptPlan) -> None:
        """Begin an approved plan if it still fits the cluster as it is now."""
        if self._carrier is None or self._driver is None:
            self._supersede([approved], "the cluster has no driver: it can only be recommended")
            return
        if approved.document.get("wanted", {}).get("paused"):
            return
        self._see()
        assert self._cluster is not None
        reason = no_longer_fits(self._cluster, plan_of(approved))
        if reason:
            self._supersede([approved], reason)
            return
        running = self._change(approved, stage=PlanStage.RUNNING)
        if running is not None:
            self._carrier.begin(running)
            self._carry_on(running)

    def _end(self, running: KeptPlan, ended: Ended) -> None:
        """Write down how a plan ended, and what is to be learnt from it."""
        memory = self._memory
        for step, entry in zip(
            plan_of(running).steps, ended.progress.get("steps", ()), strict=True
        ):
            if entry["started_at"] and entry["ended_at"]:
                began, over = (
                    datetime.fromisoformat(entry[name]) for name in ("started_at", "ended_at")
                )
                self._seer.note_move(step.vm_id, began, max(began, over))
            if entry["state"] == MoveState.DONE.value and entry["ended_at"]:
                over_at = datetime.fromisoformat(entry["ended_at"])
                memory.cooldowns.record(step.vm_id, over_at)
                memory.moved_at.append(over_at)
        memory.add_measured(ended.measured)
        self._plan_retry(running, ended)
        self._see()
        stage = PlanStage.DONE if ended.complete else PlanStage.ENDED
        self._change(running, stage=stage, progress=ended.progress)
        log.info("cluster %s: plan %s is %s", self._cluster_id, running.id, stage.value)

    def _plan_retry(self, running: KeptPlan, ended: Ended) -> None:
        aborted = "abort" in running.document.get("wanted", {})
        tries = self._memory.tries + 1 if running.trigger == Trigger.RETRY else 0
        self._memory.retry_at = None
        if not ended.complete and not aborted and tries < self._schedule.retries:
            self._memory.retry_at = self.now + self._schedule.retry_after
        self._memory.tries = tries

    # Planning ---------------------------------------------------------------------------------

    def _begin_or_plan(self, plans: list[KeptPlan]) -> None:
        approved = next((p for p in plans if p.stage is PlanStage.APPROVED), None)
        if approved is not None:
            if not in_blackout(self._schedule, self.now) and not self._schedule.paused:
                self._begin(approved)
            return
        wanted = next((p for p in plans if p.stage is PlanStage.WANTED), None)
        trigger = Trigger.MANUAL if wanted is not None else self._trigger(plans)
        if trigger is None:
            return
        proposed = [p for p in plans if p.stage is PlanStage.PROPOSED]
        try:
            self._plan(trigger, wanted, proposed)
        except ForeswapError as error:
            log.warning("cluster %s: no plan: %s", self._cluster_id, error)
            self._note_run(trigger, f"no plan could be made: {error}")
            if wanted is not None:
                self._change(wanted, stage=PlanStage.ENDED, reason=f"no plan: {error}")

    def _trigger(self, plans: list[KeptPlan]) -> Trigger | None:
        """Return what a plan is due for now, if for anything."""
        assert self._cluster is not None
        memory, now = self._memory, self.now
        if self._drain_due(plans):
            return Trigger.DRAIN
        if self._schedule.paused or in_blackout(self._schedule, now):
            return None
        closed = _closed(self._cluster)
        if memory.closed - closed:
            return Trigger.RETURN
        if memory.retry_at is not None and now >= memory.retry_at:
            return Trigger.RETRY
        since = memory.last_run_at
        if self._schedule.cron is not None and self._schedule_changed_at is not None:
            since = max(since or self._schedule_changed_at, self._schedule_changed_at)
        return Trigger.SCHEDULE if is_due(self._schedule, now, since=since) else None

    def _drain_due(self, plans: list[KeptPlan]) -> bool:
        """Tell whether hosts are to be emptied that no plan is there for."""
        assert self._cluster is not None
        emptying = to_be_emptied(self._cluster)
        if not emptying:
            return False
        if emptying - self._memory.closed:
            return True
        waits = any(p.stage is PlanStage.PROPOSED and p.trigger == Trigger.DRAIN for p in plans)
        last = self._memory.drained_at
        return not waits and (last is None or self.now - last >= DRAIN_AGAIN)

    def _plan(self, trigger: Trigger, wanted: KeptPlan | None, proposed: list[KeptPlan]) -> None:
        self._see()
        cluster = self._cluster
        assert cluster is not None
        exempt = trigger in (Trigger.MANUAL, Trigger.DRAIN)
        if self._objections and not exempt:
            self._note_run(trigger, "nothing was done: " + "; ".join(self._objections))
            return
        forecasted = self._seer.latest
        if forecasted is None or {vm.id for vm in cluster.vms} - set(forecasted.scenarios.vm_ids):
            forecasted = self._seer.look_ahead(cluster, self._history(cluster, on_grid(self.now)))
        made = make_plan(
            cluster,
            forecasted,
            schedule=self._schedule,
            trigger=trigger,
            moves_lately=self._memory.moves_since(self.now - self._schedule.limits.window),
            cooldowns=self._memory.cooldowns,
            migration=self._memory.migration(),
            params=self._params.solve,
            was_acting=self._memory.was_acting,
        )
        self._memory.was_acting = made.result.balancing
        self._keep(made, trigger, wanted, proposed, cluster, forecasted)

    def _keep(
        self,
        made: Made,
        trigger: Trigger,
        wanted: KeptPlan | None,
        proposed: list[KeptPlan],
        cluster: Cluster,
        forecasted: Forecasted,
    ) -> None:
        """Write a plan that was made, in the place of those proposed before."""
        document = document_of(
            made,
            trigger=trigger,
            schedule=self._schedule,
            forecaster=forecasted.forecaster,
            objections=self._objections,
            asked_by="" if wanted is None else wanted.document["asked_by"],
            reason="",
        )
        stage = PlanStage.PROPOSED
        if self._driver is not None and goes_by_itself(
            self._schedule, objections=self._objections, made=made
        ):
            stage = PlanStage.APPROVED
            document["decision"] = decision("approved", by=ACTOR, at=self.now, reason="automatic")
        elif not made.plan.steps:
            stage = PlanStage.DONE
        self._supersede(proposed, "a newer plan was made")
        reason = str(document["reason"])
        if wanted is None and (not made.plan.steps or made.held_back):
            self._note_run(trigger, made.held_back or reason)
            return
        kept = KeptPlan(
            id=plan_id(made.plan.made_at) if wanted is None else wanted.id,
            cluster_id=self._cluster_id,
            made_at=made.plan.made_at,
            stage=stage,
            trigger=trigger.value,
            document=document,
        )
        self._note_run(trigger, reason, kept=kept, wanted=wanted, cluster=cluster)

    def _note_run(
        self,
        trigger: Trigger,
        outcome: str,
        *,
        kept: KeptPlan | None = None,
        wanted: KeptPlan | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        """Write that it was planned, what came of it, and the plan if there is one."""
        memory = self._memory
        memory.last_run_at = self.now
        memory.last_trigger, memory.last_outcome = trigger.value, outcome
        memory.retry_at = None
        if trigger is Trigger.DRAIN:
            memory.drained_at = self.now
        if self._cluster is not None:
            memory.closed = _closed(self._cluster)
        with self._lease.guard(), self._store.begin() as tx:
            write_memory(tx, self._cluster_id, self.now, memory)
            if kept is None:
                return
            if wanted is not None and tx.plans.get(self._cluster_id, wanted.id) != wanted:
                return  # it was rejected while it was made
            tx.plans.put(kept, expected_revision=0 if wanted is None else wanted.revision)
            if cluster is not None and num_steps(kept):
                start = start_to_bytes(cluster)
                tx.blobs.put(self._cluster_id, start_blob(kept.id), kept.made_at, start)
            tx.audit.append(_entry(kept, "plans.made", self.now, before=None))
        if self._watched_plans is not None and num_steps(kept):
            self._watched_plans.add(kept.id)
        log.info("cluster %s: plan %s: %s", self._cluster_id, kept.id, outcome)

    def _supersede(self, plans: list[KeptPlan], reason: str) -> None:
        for kept in plans:
            entry = decision("superseded", by=ACTOR, at=self.now, reason=reason)
            self._change(kept, stage=PlanStage.SUPERSEDED, decision=entry)

    # Looking back -----------------------------------------------------------------------------

    def _look_back(self) -> None:
        """Judge plans whose time has come by the demand that was observed."""
        history = self._window.history
        if history is None:
            return
        with self._store.begin(read_only=True) as tx:
            if self._watched_plans is None:
                self._watched_plans = _open_plans(tx, self._cluster_id)
            due = [
                kept
                for name in sorted(self._watched_plans)
                if (kept := _due(tx, self._cluster_id, name, self.now)) is not None
            ]
            starts = {kept.id: tx.blobs.get(self._cluster_id, start_blob(kept.id)) for kept in due}
        for kept in due:
            self._judge(kept, starts[kept.id], history)

    def _judge(
        self, kept: KeptPlan, start: tuple[datetime, bytes] | None, history: History
    ) -> None:
        assert self._watched_plans is not None
        observed = dict(kept.document.get("observed", {}))
        if start is not None:
            cluster = start_from_bytes(start[1])
            for name in due_spans(kept, self.now):
                observed[name] = observe(kept, cluster, history, SPANS[name]).to_document()
            self._change(kept, observed=observed)
        if start is None or len(observed) == len(SPANS):
            self._watched_plans.discard(kept.id)
            with self._lease.guard(), self._store.begin() as tx:
                tx.blobs.delete(self._cluster_id, start_blob(kept.id))

    # Writing ----------------------------------------------------------------------------------

    def _change(
        self, kept: KeptPlan, *, stage: PlanStage | None = None, **entries: Any
    ) -> KeptPlan | None:
        """Write a plan with entries changed, and the memory with it.

        ``None`` if somebody was faster: what an operator wrote stays, and the next tick sees it.
        """
        changed = with_entry(kept, stage, **entries)
        with self._lease.guard(), self._store.begin() as tx:
            try:
                written = tx.plans.put(changed, expected_revision=kept.revision)
            except ConflictError:
                return None
            if stage is not None:
                tx.audit.append(_entry(written, f"plans.{stage.value}", self.now, before=kept))
            write_memory(tx, self._cluster_id, self.now, self._memory)
        return written

    def _tell(self) -> None:
        """Keep what the API shows of the keeper, when it has changed."""
        told = self._status()
        if told == self._told:
            return
        with self._lease.guard(), self._store.begin() as tx:
            tx.blobs.put(self._cluster_id, RUNTIME, self.now, json.dumps(told).encode())
        self._told = told

    def _status(self) -> dict[str, Any]:
        memory, latest = self._memory, self._seer.latest
        due_at = None
        if not self._schedule.paused:
            due_at = next_due(self._schedule, memory.last_run_at or self.now)
        return {
            "seen_at": _text(None if self._cluster is None else self._cluster.observed_at),
            "forecast_at": _text(None if latest is None else latest.at),
            "forecaster": self._seer.forecaster,
            "objections": list(self._objections),
            "error": self._error,
            "last_run_at": _text(memory.last_run_at),
            "last_trigger": memory.last_trigger,
            "last_outcome": memory.last_outcome,
            "next_run_at": _text(due_at),
            "blackout_until": _text(blackout_ends_at(self._schedule, self.now)),
            "retry_at": _text(memory.retry_at),
            "emptying": sorted(() if self._cluster is None else to_be_emptied(self._cluster)),
        }


_LIVE: Final = (PlanStage.WANTED, PlanStage.PROPOSED, PlanStage.APPROVED, PlanStage.RUNNING)


def _closed(cluster: Cluster) -> frozenset[str]:
    """Return the hosts in maintenance."""
    return frozenset(h.id for h in cluster.hosts if h.state is HostState.MAINTENANCE)


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


def _entry(kept: KeptPlan, action: str, now: datetime, *, before: KeptPlan | None) -> AuditEntry:
    return AuditEntry(
        at=now,
        actor=ACTOR,
        action=action,
        cluster_id=kept.cluster_id,
        subject=f"/clusters/{kept.cluster_id}/plans/{kept.id}",
        before=None if before is None else {"stage": before.stage.value},
        after={"stage": kept.stage.value},
    )


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
