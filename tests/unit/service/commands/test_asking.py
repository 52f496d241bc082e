"""Commands that ask the service, in front of one that answers in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from werkzeug.serving import make_server

from service.api.services import Services
from service.app import create_app
from service.cli import run
from service.commands.outlook import fan_rows, reading_rows
from service.inventory.clusters import keep_snapshot, put_cluster
from service.inventory.policies import ClusterSettings
from service.runtime.kept import CONTENTION
from service.security import accounts, tokens, users
from service.security.passwords import Passwords
from service.security.principal import Principal, Role
from service.store.base import Store
from service.store.sql import open_store
from tests.builders import NOW, make_cluster, make_host, make_vm

ADMIN = Principal(name="ada", role=Role.ADMIN)
CONTENDED = {
    "at": NOW.isoformat(),
    "forecaster": "baseline",
    "total_host_s": 3.5,
    "hosts": [
        {
            "host_id": "h1",
            "current_host_s": 0.0,
            "predicted_host_s": 3.5,
            "score_host_s": 3.5,
            "overload_probability": 0.25,
            "used": {"cpu_millicores": 2500, "memory_mib": 4096},
        }
    ],
}


@dataclass
class Asked:
    """A service with commands in front of it.

    Parameters
    ----------
    capture
        What has been printed.
    """

    services: Services
    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: str, fails: int = 0) -> str:
        """Return what a command prints; it has to end with the exit code ``fails``."""
        code = run(list(words))
        out, err = self.capture.readouterr()
        assert code == fails, err
        return err if fails else out


@pytest.fixture
def ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Asked]:
    """A service with one cluster of one host, and an admin's token."""
    store = cast("Store", open_store(f"sqlite:///{tmp_path}/foreswap.db"))
    quick = Passwords(time_cost=1, memory_kib=8, parallelism=1)
    services = Services(store=store, now=lambda: NOW, passwords=quick)
    secret = _fill(services)
    server = make_server("127.0.0.1", 0, create_app(services), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("FORESWAP_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("FORESWAP_TOKEN", secret)
    monkeypatch.setenv("COLUMNS", "160")
    yield Asked(services=services, capture=capsys)
    server.shutdown()
    thread.join()
    server.server_close()
    store.close()


def _fill(services: Services) -> str:
    cluster = make_cluster([make_host("h1")], [make_vm("v1", "h1"), make_vm("v2", "h1")])
    anna = accounts.WantedUser(
        name="anna", role=Role.VIEWER, password_hash=services.passwords.hash("correct horse")
    )
    with services.store.begin() as tx:
        settings = ClusterSettings(name="one")
        put_cluster(tx, ADMIN, "c1", settings, expected_revision=0, now=NOW)
        keep_snapshot(tx, "c1", cluster, now=NOW)
        accounts.put(tx, ADMIN, anna, expected_revision=0, now=NOW)
        wanted = tokens.NewToken(name="t1", role=Role.ADMIN)
        return tokens.create(tx, ADMIN, wanted, NOW)[1]


def test_contention_is_told_the_worst_first(ask: Asked) -> None:
    """As a table with the sum and the forecaster, or as the API says it; 4 before a forecast."""
    assert "there is no forecast yet" in ask("contention", fails=4)
    with ask.services.store.begin() as tx:
        tx.blobs.put("c1", CONTENTION, NOW, json.dumps(CONTENDED).encode())
    told = ask("contention")
    assert "25%" in told
    assert "together 3.50 host-s, by baseline" in told
    assert json.loads(ask("contention", "--json")) == CONTENDED


def test_forecast_history_and_scorecard_before_there_are_any(ask: Asked) -> None:
    """What is not there ends with 4; a scorecard of no plans is one of zeros."""
    assert "no forecast of 'v1'" in ask("forecast", "vm", "v1", fails=4)
    assert "no reading of host 'h1'" in ask("history", "host", "h1", fails=4)
    assert "expected" in ask("scorecard", "--span", "2h", fails=2)
    assert json.loads(ask("scorecard", "--json"))["not_run"]["num_plans"] == 0
    assert "not run" in ask("scorecard")


def test_a_fan_is_a_row_for_each_resource_and_horizon() -> None:
    """With its quantiles by name."""
    told: dict[str, Any] = {
        "quantiles": [0.05, 0.5],
        "horizon_minutes": [5, 60],
        "resources": {"cpu_millicores": [[1, 2], [3, 4]]},
    }
    assert list(fan_rows(told)) == [
        {"resource": "cpu millicores", "in minutes": 5, "p5": 1, "p50": 2},
        {"resource": "cpu millicores", "in minutes": 60, "p5": 3, "p50": 4},
    ]


def test_readings_leave_out_bins_without_any() -> None:
    """Each of the others with its beginning."""
    told: dict[str, Any] = {
        "start_at": NOW.isoformat(),
        "step_seconds": 300,
        "resources": {"cpu_millicores": [1.0, None, None], "memory_mib": [2.0, None, 3.0]},
    }
    first, last = reading_rows(told)
    assert first["at (UTC)"] == f"{NOW:%Y-%m-%d %H:%M}"
    assert last == {
        "at (UTC)": f"{NOW + timedelta(minutes=10):%Y-%m-%d %H:%M}",
        "cpu_millicores": None,
        "memory_mib": 3.0,
    }


def test_policies_are_shown_and_changed(ask: Asked) -> None:
    """What is not named stays; what is given back is not set; wrong ones change nothing."""
    assert "not set" in ask("policy", "show", "v1")
    ask("policy", "set", "v1", "v2", "--owner", "team", "--priority-max", "7")
    ask("policy", "set", "v1", "--priority-min", "3", "--unset", "priority-max")
    told = json.loads(ask("policy", "show", "v1", "--json"))
    assert (told["owner"], told["priority_min"], told["priority_max"]) == ("team", 3, None)
    assert json.loads(ask("policy", "show", "v2", "--json"))["priority_max"] == 7
    assert "priority_max" in ask("policy", "set", "v2", "--priority-min", "9", fails=2)
    assert "--unset: expected one of owner" in ask("policy", "set", "v1", "--unset", "x", fails=2)
    assert "there is no VM" in ask("policy", "show", "v9", fails=4)


def test_passwords_are_reset_and_sessions_ended(ask: Asked) -> None:
    """The password is printed alone, for scripts; nobody unknown is taken for somebody."""
    password = ask("user", "reset-password", "anna").strip()
    with ask.services.store.begin(read_only=True) as tx:
        anna = users.get(tx, "anna")
    assert ask.services.passwords.fits(password, anna.password_hash)
    assert anna.must_change_password
    assert ask("sessions", "end", "anna") == "sessions of anna that ended: 0\n"
    assert json.loads(ask("sessions", "end", "anna", "--json")) == {"num_ended": 0}
    assert "expected one that exists" in ask("user", "reset-password", "eve", fails=4)


def test_the_log_is_asked_by_who_and_what(ask: Asked) -> None:
    """The newest first, and nothing else."""
    rows = json.loads(ask("audit", "--json", "--action", "clusters.", "--actor", "ada"))
    assert [row["action"] for row in rows] == ["clusters.put"]
    assert json.loads(ask("audit", "--json", "--actor", "nobody")) == []
