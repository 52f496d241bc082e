"""The service's own figures, for Prometheus.

Requests and solves of this process are counted as they happen. All else stands in the store, where
the process that leads writes it: contention, forecasts' quality, plans and what became of their
moves, silent hosts, size. It is read when Prometheus asks, so any replica tells the same, but for
plans and moves, which each counts from its own start.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from service.store.base import Kind, PlanHead, PlanStage, Store, Transaction
from service.store.errors import StoreError

MAX_CLUSTERS: Final = 1000
OVER_STAGES: Final = (
    PlanStage.DONE,
    PlanStage.ENDED,
    PlanStage.REJECTED,
    PlanStage.SUPERSEDED,
)
OPEN_STAGES: Final = (
    PlanStage.WANTED,
    PlanStage.PROPOSED,
    PlanStage.APPROVED,
    PlanStage.RUNNING,
)
"""Plans that wait or run; those that are over are counted as they end."""

MAX_OPEN_PLANS: Final = 50
CONTENTION: Final = "contention"
QUALITY: Final = "forecast-quality"
"""Names of blobs in which the process that leads tells what it last found."""

LOOKED_BACK: Final = 20
"""Latest plans that are looked at for what has ended; more do not end between two looks."""

REQUEST_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SOLVE_S: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
MIGRATION_S: Final = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)

_log = logging.getLogger(__name__)


class Metrics:
    """What this process counts, and what it reads when it is asked.

    Parameters
    ----------
    now
        The present instant, aware UTC.
    """

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._registry = registry = CollectorRegistry()
        self._registry.register(_StoreFigures(store, now))
        self._requests = Histogram(
            "foreswap_request_duration_seconds",
            "Time to answer a request.",
            ["operation", "status"],
            buckets=REQUEST_S,
            registry=registry,
        )
        self._solves = Histogram(
            "foreswap_solve_duration_seconds",
            "Time a solve took.",
            ["status"],
            buckets=SOLVE_S,
            registry=registry,
        )
        self._plans = Counter(
            "foreswap_plans_ended", "Plans that ended.", ["cluster", "stage"], registry=registry
        )
        self._migrations = Counter(
            "foreswap_migrations", "Moves that ended.", ["cluster", "outcome"], registry=registry
        )
        self._migration_s = Histogram(
            "foreswap_migration_duration_seconds",
            "Time a move took.",
            ["cluster"],
            buckets=MIGRATION_S,
            registry=registry,
        )
        self._store = store
        self._counted: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def text(self) -> str:
        """Return all figures as Prometheus reads them."""
        with self._lock:
            try:
                self._count_plans()
            except StoreError as error:
                _log.warning("no figures of plans: %s", error)
            return generate_latest(self._registry).decode("utf-8")

    def answered(self, operation: str, status: int, duration_s: float) -> None:
        """Count a request."""
        self._requests.labels(operation, str(status)).observe(duration_s)

    def solved(self, status: str, duration_s: float) -> None:
        """Count a solve."""
        self._solves.labels(status).observe(duration_s)

    def _count_plans(self) -> None:
        """Count what has ended since the last look; at the first one nothing is counted."""
        with self._store.begin(read_only=True) as tx:
            for cluster_id in _clusters(tx):
                over = tx.plans.heads(cluster_id, stages=OVER_STAGES, limit=LOOKED_BACK)
                counted = self._counted.get(cluster_id)
                if counted is not None:
                    for plan in over:
                        if plan.id not in counted:
                            self._count(plan)
                self._counted[cluster_id] = {plan.id for plan in over}

    def _count(self, plan: PlanHead) -> None:
        self._plans.labels(plan.cluster_id, plan.stage.value).inc()
        for step in (plan.document.get("progress") or {}).get("steps", ()):
            self._migrations.labels(plan.cluster_id, step["state"]).inc()
            if step["started_at"] and step["ended_at"]:
                took = datetime.fromisoformat(step["ended_at"]) - datetime.fromisoformat(
                    step["started_at"]
                )
                self._migration_s.labels(plan.cluster_id).observe(took.total_seconds())


def _clusters(tx: Transaction) -> list[str]:
    return [item.id for item in tx.items.page(Kind.CLUSTER, "", limit=MAX_CLUSTERS)]


class _StoreFigures(Collector):
    """What stands in the store, read when it is asked for."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering needs no look into the store."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every figure, or but one if the store cannot be used."""
        up = GaugeMetricFamily("foreswap_store_up", "1 if the store can be used.")
        try:
            found = list(self._read())
        except StoreError as error:
            _log.warning("no figures of the store: %s", error)
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from found

    def _read(self) -> Iterator[Metric]:
        yield _size("foreswap_store_size_bytes", "Size of the store.", self._store.size_bytes())
        yield _size(
            "foreswap_telemetry_size_bytes",
            "Size of telemetry in it.",
            self._store.telemetry.size_bytes(),
        )
        with self._store.begin(read_only=True) as tx:
            clusters = _clusters(tx)
            yield from _contention(tx, clusters)
            yield from _quality(tx, clusters)
            yield _gaps(tx, clusters)
            yield _open_plans(tx, clusters)
            yield self._snapshot_age(tx, clusters)
        yield self._ingest_lag(clusters)

    def _snapshot_age(self, tx: Transaction, clusters: list[str]) -> Metric:
        family = GaugeMetricFamily(
            "foreswap_snapshot_age_seconds", "Time since a cluster was seen.", labels=["cluster"]
        )
        for cluster_id in clusters:
            seen_at = tx.snapshots.observed_at(cluster_id)
            if seen_at is not None:
                family.add_metric([cluster_id], self._since(seen_at))
        return family

    def _ingest_lag(self, clusters: list[str]) -> Metric:
        family = GaugeMetricFamily(
            "foreswap_ingest_lag_seconds",
            "Time since the latest minute that a host's monitor delivered.",
            labels=["cluster", "host"],
        )
        for cluster_id in clusters:
            for host_id, seen_at in self._store.telemetry.last_seen(cluster_id).items():
                family.add_metric([cluster_id, host_id], self._since(seen_at))
        return family

    def _since(self, at: datetime) -> float:
        return max(0.0, (self._now() - at).total_seconds())


def _size(name: str, what: str, num_bytes: int) -> Metric:
    family = GaugeMetricFamily(name, what)
    family.add_metric([], num_bytes)
    return family


def _contention(tx: Transaction, clusters: list[str]) -> Iterator[Metric]:
    labels = ["cluster", "host"]
    score = GaugeMetricFamily(
        "foreswap_host_contention_host_seconds",
        "Priority-weighted shortfall expected of a host in the next hour.",
        labels=labels,
    )
    risk = GaugeMetricFamily(
        "foreswap_host_overload_probability",
        "Probability that a host is overloaded in the next hour.",
        labels=labels,
    )
    for cluster_id in clusters:
        for row in _hosts_of(tx, cluster_id):
            score.add_metric([cluster_id, row["host_id"]], row["score_host_s"])
            risk.add_metric([cluster_id, row["host_id"]], row["overload_probability"])
    yield score
    yield risk


def _hosts_of(tx: Transaction, cluster_id: str) -> list[dict[str, Any]]:
    blob = tx.blobs.get(cluster_id, CONTENTION)
    return [] if blob is None else list(json.loads(blob[1])["hosts"])


def _open_plans(tx: Transaction, clusters: list[str]) -> Metric:
    family = GaugeMetricFamily(
        "foreswap_plans_open",
        f"Plans that wait or run, by stage; of more than {MAX_OPEN_PLANS} so many.",
        labels=["cluster", "stage"],
    )
    for cluster_id in clusters:
        plans = tx.plans.heads(cluster_id, stages=OPEN_STAGES, limit=MAX_OPEN_PLANS)
        for stage in OPEN_STAGES:
            count = sum(plan.stage is stage for plan in plans)
            family.add_metric([cluster_id, stage.value], count)
    return family


def _quality(tx: Transaction, clusters: list[str]) -> Iterator[Metric]:
    coverage = GaugeMetricFamily(
        "foreswap_forecast_coverage_ratio",
        "Share of recent readings at or below a level of the forecast.",
        labels=["cluster", "resource", "level"],
    )
    pinball = GaugeMetricFamily(
        "foreswap_forecast_pinball_ratio",
        "Recent pinball loss over how far demand went meanwhile.",
        labels=["cluster", "resource"],
    )
    for cluster_id in clusters:
        blob = tx.blobs.get(cluster_id, QUALITY)
        told = {} if blob is None else json.loads(blob[1])
        for resource, ratios in told.get("coverage", {}).items():
            for level, ratio in ratios.items():
                coverage.add_metric([cluster_id, resource, level], ratio)
        for resource, ratio in told.get("pinball", {}).items():
            pinball.add_metric([cluster_id, resource], ratio)
    yield coverage
    yield pinball


def _gaps(tx: Transaction, clusters: list[str]) -> Metric:
    family = GaugeMetricFamily(
        "foreswap_solve_gap_ratio",
        "Gap of the latest plan of a cluster between answer and bound; 0 is proven optimal.",
        labels=["cluster"],
    )
    for cluster_id in clusters:
        for plan in tx.plans.heads(cluster_id, limit=1):
            if plan.gap is not None:
                family.add_metric([cluster_id], plan.gap)
    return family
