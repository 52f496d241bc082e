"""Whatever is asked, by whomever: no error of the service, no answer outside of its document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from service.api.services import Services
from service.app import App, create_app
from service.security import tokens, users
from service.security.passwords import Passwords
from service.security.principal import Principal, Role
from service.solving.desk import Desk, DeskSettings
from service.solving.pool import PoolSettings, SolverPool
from service.solving.request import SolveLimits
from service.store.base import Job, JobStage, Kind, Store, Transaction
from service.store.sql import open_store
from solver.instances import cluster_to_document, rule_to_document
from tests.api_fuzz import Asked, fuzz, fuzz_bodies
from tests.builders import NOW
from tests.inventories import CLUSTER, fill
from tests.mutations import broken
from tests.plans import PLAN_ID, crowded_host, make_kept
from tests.strategies import clusters

MAKER = Principal(name="test", role=Role.ADMIN)
PASSWORDS = Passwords(time_cost=1, memory_kib=8, parallelism=1)

KNOWN = {
    "cluster_id": [CLUSTER],
    "host_id": ["h1", "h2"],
    "vm_id": ["v1", "v2", "v3"],
    "rule_id": ["r1"],
    "job_id": ["j1"],
    "plan_id": [PLAN_ID],
    "name": ["known"],
}
DIRECT_S = 0.1
"""Longest search that is waited for; the rest becomes jobs."""


def _restore(store: Store) -> None:
    """Put in what requests may meet, as far as it is not there."""
    with store.begin(read_only=True) as tx:
        has_cluster = tx.items.find(Kind.CLUSTER, "", [CLUSTER])
        has_user = users.find(tx, "known")
    if not has_cluster:
        fill(store)
    if has_user is None:
        user = users.User(name="known", role=Role.VIEWER, owner="", password_hash="x")
        with store.begin() as tx:
            users.put(tx, MAKER, user, expected_revision=0, now=NOW)


def _ended_job() -> Job:
    return Job(
        id="j1", kind="solve", asked_by="x", asked_at=NOW, stage=JobStage.DONE, request={},
        result={}, ended_at=NOW,
    )  # fmt: skip


def _credential(tx: Transaction, role: Role) -> str:
    wanted = tokens.NewToken(
        name=f"fuzz-{role.value}",
        role=role,
        owner="tenant-1" if role is Role.OWNER else "",
        cluster_id=CLUSTER if role is Role.AGENT else "",
    )
    return f"Bearer {tokens.create(tx, MAKER, wanted, NOW)[1]}"


@dataclass(frozen=True, kw_only=True)
class Fuzzed:
    """An application with something in it, and a credential of every role."""

    app: App
    credentials: dict[str, str]
    restore: Callable[[], None]


@pytest.fixture(scope="module")
def pool() -> Iterator[SolverPool]:
    """One worker."""
    pool = SolverPool(PoolSettings(max_waiting=10_000))
    pool.start()
    yield pool
    pool.close()


@pytest.fixture
def fuzzed(tmp_path: Path, pool: SolverPool) -> Iterator[Fuzzed]:
    """What is asked."""
    with ExitStack() as stack:
        store: Any = open_store(f"sqlite:///{tmp_path / 'foreswap.db'}")
        stack.callback(store.close)
        settings = DeskSettings(limits=SolveLimits(max_limit_s=5.0), direct_limit_s=DIRECT_S)
        desk = Desk(pool, store, name="test", now=lambda: NOW, settings=settings)
        desk.open()
        stack.callback(desk.close)
        services = Services(store=store, now=lambda: NOW, passwords=PASSWORDS, desk=desk)
        with store.begin() as tx:
            tx.jobs.put(_ended_job(), expected_revision=0)
            tx.plans.put(make_kept(crowded_host()), expected_revision=0)
            credentials = {role.value: _credential(tx, role) for role in Role}
        _restore(store)
        yield Fuzzed(
            app=create_app(services),
            credentials={**credentials, "nobody": ""},
            restore=lambda: _restore(store),
        )


def _require_sound(asked: Asked) -> None:
    assert not asked.wrong, "\n\n".join(f"{name}: {told}" for name, told in asked.wrong.items())


@pytest.mark.timeout(600)
def test_some_requests(fuzzed: Fuzzed) -> None:
    """A few of every operation, the same each time."""
    asked = fuzz(fuzzed.app, fuzzed.credentials, KNOWN, examples=2, restore=fuzzed.restore)
    _require_sound(asked)
    assert any(status < 300 for counted in asked.statuses.values() for status in counted)


BODIES = {
    "snapshots.put": clusters().map(cluster_to_document),
    "solve.run": clusters().map(
        lambda cluster: {
            "cluster": cluster_to_document(cluster),
            "options": {"limit_s": DIRECT_S, "seed": 1},
        }
    ),
    "rules.put": clusters().flatmap(
        lambda cluster: st.sampled_from([rule_to_document(rule) for rule in cluster.rules] or [{}])
    ),
}
"""Bodies that are right, by operation."""


@pytest.mark.parametrize("examples", [15, pytest.param(500, marks=pytest.mark.slow)])
def test_broken_documents(fuzzed: Fuzzed, examples: int) -> None:
    """Clusters and rules, right but for a place or two, are taken or refused, and never fail."""
    admin = {"admin": fuzzed.credentials["admin"]}
    bodies = {name: right.flatmap(broken) for name, right in BODIES.items()}
    asked = fuzz_bodies(fuzzed.app, admin, KNOWN, bodies, examples=examples)
    _require_sound(asked)
    refused = asked.statuses["snapshots.put"]
    assert refused[422] > 0


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_twenty_thousand_requests(fuzzed: Fuzzed) -> None:
    """As many as it takes, with every role among those who ask."""
    num_requests = 0
    for seed in range(1, 1000):
        asked = fuzz(
            fuzzed.app,
            fuzzed.credentials,
            KNOWN,
            examples=50,
            seed=seed,
            restore=fuzzed.restore,
        )
        _require_sound(asked)
        num_requests += asked.num_requests
        if num_requests >= 20_000:
            return
    pytest.fail(f"expected 20000 requests, got {num_requests}")
