"""Who asks with a credential, and how its use is written down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from service.security import authentication, tokens
from service.security.authentication import NOTED_EVERY, authenticate
from service.security.policy import SecurityPolicy
from service.security.principal import Principal, Role
from service.store.base import Store, Transaction
from service.store.errors import StoreError
from service.store.sql import open_store
from tests.builders import NOW

ADMIN = Principal(name="ada", role=Role.ADMIN)
POLICY = SecurityPolicy()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = open_store(f"sqlite:///{tmp_path / 'foreswap.db'}")
    yield opened
    opened.close()


@pytest.fixture
def secret(store: Store) -> str:
    """The secret of a token."""
    with store.begin() as tx:
        wanted = tokens.NewToken(name="scraper", role=Role.VIEWER)
        return tokens.create(tx, ADMIN, wanted, NOW)[1]


class Beset:
    """A store on which something happens just before anybody writes.

    Parameters
    ----------
    meanwhile
        What happens, in a transaction of its own.
    """

    def __init__(self, store: Store, meanwhile: Callable[[Transaction], None]) -> None:
        self._store = store
        self._meanwhile = meanwhile
        self.asking = store.asking

    @contextmanager
    def begin(self, *, read_only: bool = False) -> Iterator[Transaction]:
        """Return a transaction after what happens meanwhile."""
        with self._store.begin() as tx:
            self._meanwhile(tx)
        with self._store.begin(read_only=read_only) as tx:
            yield tx


def last_used_at(store: Store) -> datetime | None:
    """Return when the token was used last, as far as that was written down."""
    with store.begin(read_only=True) as tx:
        return tokens.page(tx, after="", limit=1)[0].last_used_at


def test_a_use_is_noted_once_a_minute(store: Store, secret: str) -> None:
    """Not with every request: each would wait for the writers before it."""
    noted = []
    for seconds in (0, 30, 59, 60, 119):
        assert authenticate(store, POLICY, secret, NOW + timedelta(seconds=seconds)) is not None
        noted.append(last_used_at(store))
    later = NOW + NOTED_EVERY
    assert noted == [NOW, NOW, NOW, later, later]


def test_nobody_waits_for_another_who_notes_the_use(store: Store, secret: str) -> None:
    """While a writer has the turn one request waits for it; the others are let in."""
    with store.begin():
        first = threading.Thread(target=authenticate, args=(store, POLICY, secret, NOW))
        first.start()
        while not authentication._NOTING:
            assert first.is_alive()
        assert authenticate(store, POLICY, secret, NOW) is not None
        assert first.is_alive()
    first.join()
    assert last_used_at(store) == NOW


def test_a_revoked_token_does_not_come_back(store: Store, secret: str) -> None:
    """Though it is revoked between being looked up and its use being noted."""
    beset = Beset(store, lambda tx: tokens.delete(tx, ADMIN, "scraper", NOW))
    assert authenticate(cast("Store", beset), POLICY, secret, NOW) is not None
    assert authenticate(store, POLICY, secret, NOW) is None


def test_nobody_is_refused_because_a_use_could_not_be_noted(store: Store, secret: str) -> None:
    """Until it can be, every request tries."""

    def fail(tx: Transaction) -> None:
        raise StoreError("another writer took more than 15 s")

    for _ in range(2):
        assert authenticate(cast("Store", Beset(store, fail)), POLICY, secret, NOW) is not None
        assert last_used_at(store) is None
    assert authenticate(store, POLICY, secret, NOW) is not None
    assert last_used_at(store) == NOW
