"""What has expired goes, what has not stays."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from service.housekeeping import kept_tidy, tidy
from service.store.base import Answer, Credential, KeptPlan, PlanStage, Retention, Store
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


def test_plans_that_are_over_are_forgotten(tmp_path: Path) -> None:
    """After their time and with what was kept to judge them; those that wait are not."""
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}", now=lambda: NOW)
    old = KeptPlan(
        id="done",
        cluster_id="c1",
        made_at=NOW - timedelta(days=9),
        stage=PlanStage.DONE,
        trigger="manual",
        document={},
    )
    with opened.begin() as tx:
        tx.plans.put(old, expected_revision=0)
        waits = replace(old, id="waits", stage=PlanStage.PROPOSED)
        tx.plans.put(waits, expected_revision=0)
        tx.plans.put(replace(old, id="new", made_at=NOW), expected_revision=0)
        tx.blobs.put("c1", "start/done", old.made_at, b"x")
    tidy(cast("Store", opened), Retention(plans=timedelta(days=8)), NOW)
    with opened.begin() as tx:
        assert [kept.id for kept in tx.plans.page("c1", limit=9)] == ["new", "waits"]
        assert tx.blobs.get("c1", "start/done") is None
    opened.close()


def test_failed_logins_are_forgotten_after_a_day(tmp_path: Path) -> None:
    """They were counted for minutes and once kept for ever."""
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}", now=lambda: NOW)
    with opened.begin() as tx:
        tx.attempts.note("login/1", NOW - timedelta(days=2))
        tx.attempts.note("login/1", NOW)
    tidy(cast("Store", opened), Retention(), NOW)
    with opened.begin() as tx:
        assert tx.attempts.count("login/1", NOW - timedelta(days=9)) == 1
    opened.close()


def test_it_goes_on_after_what_nobody_foresaw(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One piece that cannot be rolled up once ended tidying until the next start."""
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}", now=lambda: NOW)
    again, calls = threading.Event(), itertools.count()

    def clock() -> datetime:
        if next(calls):
            again.set()
            return NOW
        raise ArithmeticError("a clock of a kind nobody knew")

    with kept_tidy(cast("Store", opened), Retention(), clock, interval_s=0.01):
        assert again.wait(30)
    assert "ArithmeticError" in caplog.text
    opened.close()
