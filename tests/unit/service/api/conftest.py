"""An application on a store of its own, and clients of every role."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient

from service.api.services import Services
from service.app import App, create_app
from service.security import tokens
from service.security.principal import Principal, Role
from service.store.base import Store
from tests.memory_store import memory_store

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)

Ask = Callable[..., FlaskClient]


@pytest.fixture
def store() -> Store:
    """An empty store."""
    return memory_store()


@pytest.fixture
def services(store: Store) -> Services:
    """What the views work with."""
    return Services(store=store, now=lambda: NOW)


@pytest.fixture
def app(services: Services) -> App:
    """The application."""
    return create_app(services)


@pytest.fixture
def client_of(app: App, store: Store) -> Ask:
    """Return a client that shows a token of a role."""

    def make(role: Role, *, cluster_id: str = "") -> FlaskClient:
        wanted = tokens.NewToken(
            name=f"test-{role.value}",
            role=role,
            owner="tenant-1" if role is Role.OWNER else "",
            cluster_id=cluster_id or ("c1" if role is Role.AGENT else ""),
        )
        maker = Principal(name="test", role=Role.ADMIN)
        with store.begin() as tx:
            _, secret = tokens.create(tx, maker, wanted, NOW)
        client = app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
        return client

    return make


@pytest.fixture
def admin(client_of: Ask) -> FlaskClient:
    """A client that may do everything."""
    return client_of(Role.ADMIN)
