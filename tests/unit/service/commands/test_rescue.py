"""The way in when no admin can log in any more."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.cli import run
from service.security import users
from service.security.first_start import make_first_admin
from service.security.passwords import Passwords
from service.security.principal import Role
from service.store.base import Credential
from service.store.sql import open_store

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def rescued(url: str, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the password that the command prints."""
    capsys.readouterr()
    assert run(["rescue", *words, "--store", url]) == 0
    found = re.search(r"one-time password (\S+)", capsys.readouterr().out)
    assert found is not None
    return found[1]


def session(name: str) -> Credential:
    """Return a session of a user."""
    return Credential(
        id="s1", kind=users.SESSION, digest="d", subject=name, document={}, made_at=NOW
    )


def test_an_admin_is_given_another_password(
    store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one before is no longer good, sessions are over, and the audit log has it."""
    with closing(open_store(store_url)) as store:
        first = make_first_admin(store, Passwords(), NOW)
        assert first is not None
        with store.begin() as tx:
            tx.credentials.put(session("admin"))
        password = rescued(store_url, capsys)
        with store.begin(read_only=True) as tx:
            admin = users.get(tx, "admin")
            entries = tx.audit.page(limit=10)
            assert not tx.credentials.page(users.SESSION, subject="admin", limit=1)
    assert Passwords().fits(password, admin.password_hash)
    assert not Passwords().fits(first, admin.password_hash)
    assert admin.must_change_password
    assert [entry.actor for entry in entries] == ["service", "service"]


def test_somebody_else_becomes_an_admin(store_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Who is not there is made; nobody else is touched."""
    with closing(open_store(store_url)) as store:
        make_first_admin(store, Passwords(), NOW)
        rescued(store_url, capsys, "grace")
        with store.begin(read_only=True) as tx:
            found = {user.name: user.role for user in users.page(tx, after="", limit=9)}
    assert found == {"admin": Role.ADMIN, "grace": Role.ADMIN}


def test_names_and_places_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No store is made where there is none, and no user of a name that cannot log in."""
    nowhere = f"sqlite:///{tmp_path / 'nothing.db'}"
    assert run(["rescue", "--store", nowhere]) == 1
    assert "there is no store" in capsys.readouterr().err
    with closing(open_store(nowhere)):
        assert run(["rescue", "a/b c", "--store", nowhere]) == 2
    assert "a/b c" in capsys.readouterr().err
