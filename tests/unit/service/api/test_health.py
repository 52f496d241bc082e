"""Health, readiness and figures, and what is told of every request."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.api.services import Services
from service.app import create_app
from service.metrics import Metrics
from service.security import tokens
from service.security.principal import Principal, Role
from service.store.base import Item, KeptPlan, Kind, PlanStage, Snapshot, Store
from service.store.errors import StoreError
from service.store.sql import open_store
from solver.domain.units import HostId
from tests.telemetry import host_minute

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ELSEWHERE = {"REMOTE_ADDR": "192.0.2.7"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store in a file."""
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}", now=lambda: NOW)
    yield opened
    opened.close()


def services(
    store: Store, *, access: Literal["local", "token", "everyone"] = "local", **more: Any
) -> Services:
    """Return what the views work with, figures and all."""
    metrics = Metrics(store, lambda: NOW)
    return Services(store=store, now=lambda: NOW, metrics=metrics, metrics_access=access, **more)


def figures(text: str) -> dict[tuple[str, ...], float]:
    """Return the value of each series by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_alive_and_ready(store: Store) -> None:
    """Both are told without a credential."""
    client = create_app(services(store)).test_client()
    assert client.get("/healthz").get_json() == {"alive": True}
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()["checks"]) == (200, {"store": "ok"})


def test_not_ready_while_something_is_in_the_way(store: Store) -> None:
    """What is in the way is named, and the process is alive all the same."""
    checks = {"solver": lambda: "compiling"}
    client = create_app(services(store, checks=checks)).test_client()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.get_json() == {"ready": False, "checks": {"solver": "compiling", "store": "ok"}}
    assert client.get("/healthz").status_code == 200


def test_figures_of_the_store(store: Store) -> None:
    """Contention, open plans and the age of what was seen are read when they are asked for."""
    row = {"host_id": "h1", "score_host_s": 12.5, "overload_probability": 0.25}
    make_cluster(store)
    with store.begin() as tx:
        tx.snapshots.put(
            Snapshot(cluster_id="c1", observed_at=NOW - timedelta(seconds=30), document={})
        )
        tx.blobs.put("c1", "contention", NOW, json.dumps({"hosts": [row]}).encode())
        plan = KeptPlan(
            id="p1",
            cluster_id="c1",
            made_at=NOW,
            stage=PlanStage.PROPOSED,
            trigger="manual",
            document={},
        )
        tx.plans.put(plan, expected_revision=0)
    minute = host_minute("h1", NOW - timedelta(minutes=3))
    store.telemetry.receive("c1", HostId("h1"), stream="s", records=[(1, minute)])
    found = figures(Metrics(store, lambda: NOW).text())
    assert found["foreswap_host_contention_host_seconds", "c1", "h1"] == 12.5
    assert found["foreswap_host_overload_probability", "c1", "h1"] == 0.25
    assert found["foreswap_plans_open", "c1", "proposed"] == 1
    assert found["foreswap_plans_open", "c1", "running"] == 0
    assert found["foreswap_snapshot_age_seconds", "c1"] == 30
    assert found["foreswap_ingest_lag_seconds", "c1", "h1"] == 180
    assert found["foreswap_telemetry_size_bytes",] > 0
    assert found["foreswap_store_size_bytes",] > 0
    assert found["foreswap_store_up",] == 1


def make_cluster(store: Store) -> None:
    """Make a cluster known."""
    item = Item(
        kind=Kind.CLUSTER, cluster_id="", id="c1", document={}, changed_at=NOW, changed_by="t"
    )
    with store.begin() as tx:
        tx.items.put(item, expected_revision=0)


def test_moves_are_counted_once_as_plans_end(store: Store) -> None:
    """What had ended before this process began is left out, and so is what is still running."""

    def plan(plan_id: str, stage: PlanStage, *states: str) -> KeptPlan:
        times = {
            "started_at": NOW.isoformat(),
            "ended_at": (NOW + timedelta(seconds=20)).isoformat(),
        }
        steps = [{"state": state, **times} for state in states]
        document = {"progress": {"steps": steps}, "result": {"gap": 0.25}}
        return KeptPlan(
            id=plan_id,
            cluster_id="c1",
            made_at=NOW,
            stage=stage,
            trigger="manual",
            document=document,
        )

    make_cluster(store)
    metrics = Metrics(store, lambda: NOW)
    with store.begin() as tx:
        tx.plans.put(plan("p1", PlanStage.DONE, "done"), expected_revision=0)
        tx.plans.put(plan("p2", PlanStage.RUNNING, "done"), expected_revision=0)
    metrics.text()
    with store.begin() as tx:
        tx.plans.put(plan("p2", PlanStage.ENDED, "done", "failed"), expected_revision=1)
    metrics.text()
    found = figures(metrics.text())
    assert found["foreswap_plans_ended_total", "c1", "ended"] == 1
    assert found["foreswap_migrations_total", "c1", "done"] == 1
    assert found["foreswap_migrations_total", "c1", "failed"] == 1
    assert found["foreswap_migration_duration_seconds_sum", "c1"] == 40
    assert found["foreswap_solve_gap_ratio", "c1"] == 0.25


def test_quality_of_forecasts(store: Store) -> None:
    """As the process that leads last told it."""
    make_cluster(store)
    told = {"coverage": {"cpu_millicores": {"0.9": 0.88}}, "pinball": {"cpu_millicores": 0.3}}
    with store.begin() as tx:
        tx.blobs.put("c1", "forecast-quality", NOW, json.dumps(told).encode())
    found = figures(Metrics(store, lambda: NOW).text())
    assert found["foreswap_forecast_coverage_ratio", "c1", "0.9", "cpu_millicores"] == 0.88
    assert found["foreswap_forecast_pinball_ratio", "c1", "cpu_millicores"] == 0.3


def test_figures_of_a_store_that_cannot_be_used(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is told, and that the store cannot be used."""

    def broken() -> int:
        raise StoreError("disk on fire")

    monkeypatch.setattr(store, "size_bytes", broken)
    metrics = Metrics(store, lambda: NOW)
    metrics.solved("answered", 1.5)
    found = figures(metrics.text())
    assert found["foreswap_store_up",] == 0
    assert found["foreswap_solve_duration_seconds_count", "answered"] == 1


def test_requests_are_counted_by_operation(store: Store) -> None:
    """Paths are not labels: there would be no end to them."""
    client = create_app(services(store)).test_client()
    client.get("/api/v1/tokens")
    client.get("/healthz")
    found = figures(client.get("/metrics").get_data(as_text=True))
    assert found["foreswap_request_duration_seconds_count", "tokens.list", "401"] == 1
    assert found["foreswap_request_duration_seconds_count", "health.live", "200"] == 1


def test_who_may_read_figures(store: Store) -> None:
    """This machine, whoever shows a token, or everyone, as the settings say."""
    local = create_app(services(store)).test_client()
    assert local.get("/metrics", environ_base=ELSEWHERE).status_code == 403
    assert local.get("/metrics", environ_base={"REMOTE_ADDR": "::1"}).status_code == 200
    everyone = create_app(services(store, access="everyone")).test_client()
    assert everyone.get("/metrics", environ_base=ELSEWHERE).status_code == 200
    by_token = create_app(services(store, access="token")).test_client()
    assert by_token.get("/metrics").status_code == 401
    with store.begin() as tx:
        wanted = tokens.NewToken(name="prometheus", role=Role.VIEWER)
        admin = Principal(name="test", role=Role.ADMIN)
        _, secret = tokens.create(tx, admin, wanted, NOW)
    headers = {"Authorization": f"Bearer {secret}"}
    assert by_token.get("/metrics", headers=headers).status_code == 200


def test_requests_are_logged_with_their_name(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The name that a proxy gave stays; one that could forge a line is replaced."""
    client = create_app(services(store)).test_client()
    with caplog.at_level(logging.INFO):
        answer = client.get("/api/v1/tokens", headers={"X-Request-ID": "abc-1"})
        forged = client.get("/api/v1/a%0Ab", headers={"X-Request-ID": "x y"})
    assert answer.headers["X-Request-ID"] == "abc-1"
    assert forged.headers["X-Request-ID"] != "x y"
    first, second = (r for r in caplog.records if r.name == "service.api.observing")
    assert first.getMessage() == "GET /api/v1/tokens 401"
    assert (first.request_id, first.operation) == ("abc-1", "tokens.list")  # type: ignore[attr-defined]
    assert "\n" not in second.getMessage()
