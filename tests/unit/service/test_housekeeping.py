"""What has expired goes, what has not stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from service.housekeeping import tidy
from service.store.base import Answer, Credential, Retention, Store
from service.store.sql import open_store

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_what_has_expired_is_removed(tmp_path: Path) -> None:
    """Sessions by their end, kept answers after a day."""
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}", now=lambda: NOW)
    session = Credential(
        id="old", kind="session", digest="a", subject="ada", document={}, made_at=NOW
    )
    answer = Answer(actor="ada", key="old", digest="d", at=NOW - timedelta(days=2))
    with opened.begin() as tx:
        tx.credentials.put(replace(session, expires_at=NOW - timedelta(seconds=1)))
        tx.credentials.put(replace(session, id="new", digest="b"))
        tx.answers.take(answer)
        tx.answers.take(replace(answer, key="new", at=NOW))
    tidy(cast("Store", opened), Retention(), NOW)
    with opened.begin() as tx:
        assert [one.id for one in tx.credentials.page("session", limit=9)] == ["new"]
        assert tx.answers.take(answer) is None
        assert tx.answers.take(replace(answer, key="new")) is not None
    opened.close()
