"""A cluster that a keeper looks after, hour by hour, as tests of the runtime need it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from executor.clock import ManualClock
from service.inventory.clusters import keep_snapshot, put_cluster
from service.inventory.policies import ClusterSettings, DriverSettings
from service.plans import wishes
from service.runtime.drivers import Opener, open_cluster
from service.runtime.keeper import Keeper, KeeperParams
from service.runtime.simulated import Load
from service.runtime.training import NoTrainer, Trainer
from service.security.principal import Principal, Role
from service.store.base import KeptPlan, PlanStage, Store
from service.store.sql import open_store
from solver.domain.cluster import Cluster
from solver.domain.units import Resource
from solver.params import SolveParams
from tests.builders import make_host

START = datetime(2026, 3, 3, 8, 2, tzinfo=UTC)
"""A Tuesday morning: the load of the day is about to come."""
CLUSTER = "c1"
SEED = 1
OPERATOR = Principal(name="olga", role=Role.OPERATOR)
PARAMS = KeeperParams(
    solve=SolveParams(work_limit=0.02, limit_s=20.0, engine="greedy"),
    past=timedelta(hours=6),
    look_every=timedelta(minutes=2),
)


def crowded(num_vms: int = 8, num_hosts: int = 3) -> Cluster:
    """Return a cluster whose VMs all stand on the first host, for which they are too many."""
    load = Load(SEED)
    demand = load.of(load.vms, START, 12)[Resource.CPU].mean(axis=1)
    busiest = [load.vms[v] for v in np.argsort(-demand)[:num_vms]]
    cores = round(float(np.sort(demand)[-num_vms:].sum()) * 0.6 / 1000)
    hosts = [make_host(f"h{i + 1}", cores=cores, memory_gib=1024) for i in range(num_hosts)]
    return Cluster(
        observed_at=START,
        hosts=tuple(hosts),
        vms=tuple(replace(vm, host_id=hosts[0].id) for vm in busiest),
    )


class Kept:
    """A cluster in a store, and its keeper; time passes only when told to."""

    def __init__(
        self,
        folder: Path,
        *,
        schedule: Mapping[str, Any] | None = None,
        driver: DriverSettings | None = None,
        opener: Opener = open_cluster,
        cluster: Cluster | None = None,
        trainer: Callable[[Store], Trainer] = lambda store: NoTrainer(),
        past: timedelta = PARAMS.past,
        time_zone: str = "UTC",
    ) -> None:
        self._opener = opener
        self._params = replace(PARAMS, past=past)
        self.clock = ManualClock(START)
        self.store: Store = open_store(f"sqlite:///{folder / 'store.db'}", now=self.clock.now)
        self._trainer = trainer(self.store)
        settings = ClusterSettings(
            name="one",
            time_zone=time_zone,
            driver=driver or DriverSettings(kind="simulated", seed=SEED),
        )
        with self.store.begin() as tx:
            put_cluster(tx, OPERATOR, CLUSTER, settings, expected_revision=0, now=self.clock.now())
            keep_snapshot(tx, CLUSTER, cluster or crowded(), now=self.clock.now())
        if schedule is not None:
            self.set_schedule(schedule)
        self.lease = self.store.lease(CLUSTER, ttl_s=60)
        self.lease.acquire()
        self.keeper = self.new_keeper()

    def new_keeper(self, stop: threading.Event | None = None) -> Keeper:
        """Return a keeper, as after a restart."""
        self.keeper = Keeper(
            self.store,
            CLUSTER,
            lease=self.lease,
            clock=self.clock,
            params=self._params,
            opener=self._opener,
            trainer=self._trainer,
            stop=stop,
        )
        return self.keeper

    def set_schedule(self, document: Mapping[str, Any]) -> None:
        """Set the schedule, over whatever stands."""
        with self.store.begin() as tx:
            wishes.put_schedule(
                tx, OPERATOR, CLUSTER, document, expected_revision=None, now=self.clock.now()
            )

    def pass_time(
        self, until: Callable[[], bool] | None = None, *, hours: float = 1.0, step_s: float = 120.0
    ) -> None:
        """Let time pass, tick by tick, until something is so or the time is over."""
        end_at = self.clock.now() + timedelta(hours=hours)
        self.keeper.tick()
        while self.clock.now() < end_at and not (until is not None and until()):
            pause = max(1.0, (self.keeper.next_event_at() - self.clock.now()).total_seconds())
            self.clock.advance(min(step_s, pause))
            self.keeper.tick()

    def plans(self, *stages: PlanStage) -> list[KeptPlan]:
        """Return the plans, the newest first."""
        with self.store.begin(read_only=True) as tx:
            return tx.plans.page(CLUSTER, stages=stages or None, limit=100)

    def plan(self, plan_id: str) -> KeptPlan:
        """Return one plan as it stands."""
        with self.store.begin(read_only=True) as tx:
            return tx.plans.get(CLUSTER, plan_id)

    def wish(self, what: Callable[..., KeptPlan], *args: Any, **more: Any) -> KeptPlan:
        """Want something of a plan, as an operator does."""
        with self.store.begin() as tx:
            return what(tx, OPERATOR, CLUSTER, *args, now=self.clock.now(), **more)

    def status(self) -> dict[str, Any]:
        """Return what the API shows of the keeper."""
        with self.store.begin(read_only=True) as tx:
            kept = tx.blobs.get(CLUSTER, "runtime")
        assert kept is not None
        shown: dict[str, Any] = json.loads(kept[1])
        return shown
