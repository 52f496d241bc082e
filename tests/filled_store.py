"""A store with something in every table, for tests of copies and upgrades."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from executor.records import PlanBegun
from service.store.base import (
    Answer,
    AuditEntry,
    Credential,
    Item,
    Job,
    JobStage,
    KeptPlan,
    Kind,
    PlanStage,
    Retention,
    Snapshot,
)
from service.store.engine import Database
from service.store.sql import open_store
from service.store.tables import METADATA
from solver.domain.units import HostId
from tests.executor_builders import make_plan, migrate
from tests.telemetry import host_minute, vm_minute

AT = datetime.fromisoformat("2026-03-02T00:00:00.000001+00:00")
DAY = timedelta(days=1)
START = AT.replace(microsecond=0)


def fill(url: str) -> None:
    """Put something into every table but that of leases."""
    store = open_store(url, now=lambda: START + DAY)
    with store.begin() as tx:
        tx.items.put(
            Item(
                kind=Kind.RULE,
                cluster_id="c1",
                id="ü",
                document={"n": 1, "t": "ä\0"},
                changed_at=AT,
            ),
            expected_revision=0,
        )
        tx.snapshots.put(Snapshot(cluster_id="c1", observed_at=AT, document={"hosts": []}))
        tx.plans.put(
            KeptPlan(
                id="p1",
                cluster_id="c1",
                made_at=AT,
                stage=PlanStage.DONE,
                trigger="manual",
                document={"steps": [1]},
            ),
            expected_revision=0,
        )
        tx.jobs.put(
            Job(id="j1", kind="solve", asked_by="e", asked_at=AT, stage=JobStage.DONE, request={}),
            expected_revision=0,
        )
        tx.credentials.put(
            Credential(id="t1", kind="token", digest="d", subject="e", document={}, made_at=AT)
        )
        tx.attempts.note("e", AT)
        tx.audit.append(
            AuditEntry(at=AT, actor="e", action="a", cluster_id="c1", subject="s", after={"x": 1})
        )
        tx.answers.take(Answer(actor="e", key="k", digest="d", at=AT))
        tx.blobs.put("c1", "model", AT, bytes(range(256)))
    store.journal("c1").append(
        PlanBegun(plan_id="p1", at=AT, plan=make_plan(migrate("v1", "h1", "h2")))
    )
    _fill_telemetry(store.telemetry)
    store.close()


def _fill_telemetry(telemetry: Any) -> None:
    def deliver(number: int, at: datetime) -> None:
        minute = host_minute("h1", at, vm_minute("v1", 100.0 * number))
        telemetry.receive("c1", HostId("h1"), stream="s", records=[(number, minute)])

    # One after the other is an hour, a day, a recent bin, and a minute that is due.
    deliver(1, START)
    telemetry.tidy(START + 2 * DAY, Retention())
    telemetry.tidy(START + 2 * DAY, Retention(bins=DAY))
    deliver(2, START + timedelta(minutes=5))
    telemetry.tidy(START + 2 * DAY, Retention())
    deliver(3, START + timedelta(minutes=10))
    telemetry.tidy(START + timedelta(hours=1), Retention())
    deliver(4, START + timedelta(minutes=15))


def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table."""
    database = Database(url)
    with database.reading() as connection:
        found = {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in METADATA.sorted_tables
        }
    database.close()
    return found
