"""An application on a store of its own, and clients of every role."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.api.services import Services
from service.app import App, create_app
from service.security import tokens
from service.security.passwords import Passwords
from service.security.principal import Principal, Role
from service.store.base import Store
from service.store.sql import open_store

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)

Ask = Callable[..., FlaskClient]


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """Return the present instant."""
        return self.now

    def pass_(self, by: timedelta) -> None:
        """Let time pass."""
        self.now += by


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of today's schema, to be copied."""
    path = tmp_path_factory.mktemp("store") / "foreswap.db"
    open_store(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Path:
    """The file of the store."""
    return Path(shutil.copy(empty_database, tmp_path / "foreswap.db"))


def whole(database: Path) -> str:
    """Return everything that a database holds, as text."""
    with closing(sqlite3.connect(database)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return "\n".join(
            repr((name, row))
            for (name,) in names
            for row in connection.execute(f'SELECT * FROM "{name}"')
        )


@pytest.fixture
def store(database: Path) -> Iterator[Store]:
    """An empty store."""
    opened: Any = open_store(f"sqlite:///{database}")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    """The clock of the application."""
    return Clock()


@pytest.fixture(scope="session")
def passwords() -> Passwords:
    """Passwords that are hashed quickly."""
    return Passwords(time_cost=1, memory_kib=8, parallelism=1)


@pytest.fixture
def services(store: Store, clock: Clock, passwords: Passwords) -> Services:
    """What the views work with."""
    return Services(store=store, now=clock, passwords=passwords)


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
