"""What is known of one cluster now and of its next hour: hosts, telemetry, forecast, objections.

Looks at the hosts every so often, and ahead whenever a bin of telemetry is over. What to do about
what is seen belongs to the rooms that plan and execute.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from typing import Final

from forecast.history import History
from service.inventory.clusters import keep_snapshot
from service.inventory.effective import effective
from service.plans.schedule import Quality
from service.runtime.charge import Charge
from service.runtime.drivers import Telemetry, Watched
from service.runtime.forecasting import (
    Forecasted,
    Seer,
    contention_document,
    fans_to_bytes,
    quality_document,
)
from service.runtime.gate import objections
from service.runtime.kept import CONTENTION, FORECAST, OUTLOOK, QUALITY
from service.runtime.learning import Learner
from service.runtime.outlook import outlook_document
from service.runtime.past_fans import to_keep
from service.runtime.training import Trainer
from service.runtime.window import Window, on_grid, with_cluster
from service.whatif.kept import FUTURES, KeptForecast, futures_to_bytes, worth_keeping
from solver.domain.cluster import Cluster
from solver.domain.errors import TemporaryError

log = logging.getLogger(__name__)

LOOK_EVERY: Final = timedelta(seconds=30)
"""Between two looks at the hosts; while a plan is carried out its guards look more often."""
TELEMETRY_LAG: Final = timedelta(minutes=2)
"""How long after the end of a bin its readings are there, where monitors deliver them."""
PAST: Final = timedelta(days=10)
"""Telemetry that a made-up cluster begins with."""


class Sight:
    """Sees one cluster.

    Parameters
    ----------
    driver
        ``None`` where snapshots are posted.
    telemetry
        Bins of a span of time, where no monitor delivers them; ``None`` where monitors do.

    Attributes
    ----------
    cluster
        As it was seen last, with all that is wanted of it; ``None`` before that.
    objections
        Why nothing should be done on the telemetry there is.
    error
        Why the last look has failed; empty if it has not.
    """

    def __init__(
        self,
        charge: Charge,
        driver: Watched | None,
        telemetry: Telemetry | None,
        trainer: Trainer,
        *,
        look_every: timedelta,
        telemetry_lag: timedelta,
        past: timedelta,
    ) -> None:
        self._charge = charge
        self._driver = driver
        self._telemetry = telemetry
        self._look_every = look_every
        self._telemetry_lag = timedelta(0) if telemetry else telemetry_lag
        self._past = past
        self._fed_until: datetime | None = None
        self.window = Window(charge.store.telemetry, charge.cluster_id)
        self.seer = Seer()
        self._learner = Learner(charge, self.seer, trainer)
        self.cluster: Cluster | None = None
        self.objections: tuple[str, ...] = ()
        self.error = ""
        self.look_at: datetime | None = None

    def look_if_due(self, quality: Quality) -> None:
        """See the cluster, and look ahead when a bin of telemetry is over."""
        if self.look_at is not None and self._charge.now < self.look_at:
            return
        self.look_at = self._charge.now + self._look_every
        self.error = ""
        try:
            self.see()
            if self.cluster is not None:
                self._look_ahead(self.cluster, quality)
        except TemporaryError as error:
            self.error = str(error)
            log.warning("cluster %s: %s", self._charge.cluster_id, error)

    def see(self) -> Cluster | None:
        """Look at the hosts, and return the cluster with all that is wanted of it."""
        charge = self._charge
        with charge.lease.guard():
            seen = None if self._driver is None else self._driver.bare_snapshot()
            with charge.writing() as tx:
                if seen is not None:
                    keep_snapshot(tx, charge.cluster_id, seen, now=charge.now)
                if tx.snapshots.observed_at(charge.cluster_id) is not None:
                    self.cluster = effective(tx, charge.cluster_id)
        if self._driver is not None:
            self._driver.wanted = self.cluster
        return self.cluster

    def forecast_of(self, cluster: Cluster) -> Forecasted:
        """Return the latest forecast, made anew if it does not know a VM of the cluster."""
        latest = self.seer.latest
        if latest is None or {vm.id for vm in cluster.vms} - set(latest.scenarios.vm_ids):
            end_at = on_grid(self._charge.now)
            return self.seer.look_ahead(cluster, self._history(cluster, end_at))
        return latest

    def stop_feeding(self) -> None:
        """Deliver no more telemetry of a made-up cluster, as if its monitors had fallen silent."""
        self._telemetry = None

    def close(self) -> None:
        """Give up what is being trained."""
        self._learner.close()

    def _look_ahead(self, cluster: Cluster, quality: Quality) -> None:
        end_at = on_grid(self._charge.now - self._telemetry_lag)
        if self.seer.latest is not None and self.seer.latest.at >= end_at:
            return
        self._feed(end_at)
        last_seen = self._charge.store.telemetry.last_seen(self._charge.cluster_id)
        self.window.read_until(end_at, last_seen=last_seen)
        self.objections = objections(
            quality,
            cluster,
            self.window.history,
            now=self._charge.now,
            last_seen=last_seen,
        )
        self._learner.take_over()
        self._show(cluster, self.seer.look_ahead(cluster, self._history(cluster, end_at)))
        self._learner.train_if_due(self.window.history, end_at)

    def _history(self, cluster: Cluster, end_at: datetime) -> History:
        return with_cluster(self.window.history, cluster, end_at)

    def _feed(self, end_at: datetime) -> None:
        """Deliver the telemetry of a cluster that has no monitors."""
        if self._telemetry is None:
            return
        if self._fed_until is None:
            self.window.read_until(end_at)
            known = self.window.history
            self._fed_until = end_at - self._past if known is None else known.end_at
        if self._fed_until < end_at:
            bins = self._telemetry(self._fed_until, end_at)
            self._charge.store.telemetry.put_history(self._charge.cluster_id, bins)
            self._fed_until = end_at

    def _show(self, cluster: Cluster, forecasted: Forecasted) -> None:
        """Keep what others are told of a forecast, or go on from."""
        assert self.seer.online is not None
        fans = fans_to_bytes(forecasted, self.seer.online, cluster)
        futures = KeptForecast(
            at=forecasted.at,
            forecaster=forecasted.forecaster,
            scenarios=worth_keeping(forecasted.scenarios, seed=0),
        )
        shown = {
            FORECAST: fans,
            FUTURES: futures_to_bytes(futures),
            OUTLOOK: json.dumps(outlook_document(cluster, forecasted, fans)).encode(),
            CONTENTION: json.dumps(contention_document(cluster, forecasted)).encode(),
            QUALITY: json.dumps(quality_document(forecasted, self.seer.online)).encode(),
        }
        store, cluster_id = self._charge.store, self._charge.cluster_id
        shown |= to_keep(store, cluster_id, forecasted.at, fans)
        with self._charge.writing() as tx:
            for name, data in shown.items():
                tx.blobs.put(cluster_id, name, forecasted.at, data)
