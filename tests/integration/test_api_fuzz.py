"""Whatever is asked, by whomever: no error of the service, no answer outside of its document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from service.api.services import Services
from service.app import App, create_app
from service.security import tokens, users
from service.security.passwords import Passwords
from service.security.principal import Principal, Role
from service.store.base import Transaction
from service.store.sql import open_store
from solver.instances import cluster_to_document, rule_to_document
from tests.api_fuzz import Asked, fuzz, fuzz_bodies
from tests.builders import NOW
from tests.inventories import fill
from tests.mutations import broken
from tests.strategies import clusters

MAKER = Principal(name="test", role=Role.ADMIN)
PASSWORDS = Passwords(time_cost=1, memory_kib=8, parallelism=1)

KNOWN = {
    "cluster_id": ["c1"],
    "host_id": ["h1", "h2"],
    "vm_id": ["v1", "v2", "v3"],
    "rule_id": ["r1"],
    "name": ["known"],
}


def _fill(tx: Transaction) -> None:
    """Put in what requests may meet."""
    user = users.User(name="known", role=Role.VIEWER, owner="", password_hash="x")
    users.put(tx, MAKER, user, expected_revision=0, now=NOW)


def _credential(tx: Transaction, role: Role) -> str:
    wanted = tokens.NewToken(
        name=f"fuzz-{role.value}",
        role=role,
        owner="tenant-1" if role is Role.OWNER else "",
        cluster_id="c1" if role is Role.AGENT else "",
    )
    return f"Bearer {tokens.create(tx, MAKER, wanted, NOW)[1]}"


@pytest.fixture
def fuzzed(tmp_path: Path) -> Iterator[tuple[App, dict[str, str]]]:
    """An application with something in it, and a credential of every role."""
    store: Any = open_store(f"sqlite:///{tmp_path / 'foreswap.db'}")
    services = Services(store=store, now=lambda: NOW, passwords=PASSWORDS)
    fill(store)
    with store.begin() as tx:
        _fill(tx)
        credentials = {role.value: _credential(tx, role) for role in Role}
    yield create_app(services), {**credentials, "nobody": ""}
    store.close()


def _require_sound(asked: Asked) -> None:
    assert not asked.wrong, "\n\n".join(f"{name}: {told}" for name, told in asked.wrong.items())


def test_some_requests(fuzzed: tuple[App, dict[str, str]]) -> None:
    """A few of every operation, the same each time."""
    app, credentials = fuzzed
    asked = fuzz(app, credentials, KNOWN, examples=3)
    _require_sound(asked)
    assert any(status < 300 for counted in asked.statuses.values() for status in counted)


BODIES = {
    "snapshots.put": clusters().map(cluster_to_document),
    "rules.put": clusters().flatmap(
        lambda cluster: st.sampled_from([rule_to_document(rule) for rule in cluster.rules] or [{}])
    ),
}
"""Bodies that are right, by operation."""


@pytest.mark.parametrize("examples", [15, pytest.param(500, marks=pytest.mark.slow)])
def test_broken_documents(fuzzed: tuple[App, dict[str, str]], examples: int) -> None:
    """Clusters and rules, right but for a place or two, are taken or refused, and never fail."""
    app, credentials = fuzzed
    admin = {"admin": credentials["admin"]}
    bodies = {name: right.flatmap(broken) for name, right in BODIES.items()}
    asked = fuzz_bodies(app, admin, KNOWN, bodies, examples=examples)
    _require_sound(asked)
    refused = asked.statuses["snapshots.put"]
    assert refused[422] > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_thousand_requests(fuzzed: tuple[App, dict[str, str]]) -> None:
    """As many as it takes, with every role among those who ask."""
    app, credentials = fuzzed
    num_requests = 0
    for seed in range(1, 1000):
        asked = fuzz(app, credentials, KNOWN, examples=50, seed=seed)
        _require_sound(asked)
        num_requests += asked.num_requests
        if num_requests >= 20_000:
            return
    pytest.fail(f"expected 20000 requests, got {num_requests}")
