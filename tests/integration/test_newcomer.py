"""The first hour of a newcomer: start the service, log in, look around, stop and start again."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from tests.served import COMMAND, PASSWORD, Served, served, surroundings


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service in a clean home, and an admin who has logged in."""
    home = tmp_path_factory.mktemp("home")
    with served(home) as running:
        running.log_in()
        yield running


def test_nobody_is_answered_without_a_login(service: Served) -> None:
    """The refusal says how to log in; whether the service lives everybody may know."""
    stranger = Served(
        home=service.home / "stranger",
        process=service.process,
        url=service.url,
        first_password="",
    )
    assert "foreswap login" in stranger.ask("status", fails=3)
    assert "alive" in stranger.ask("status", "--alive")


def test_secrets_are_for_the_user_only(service: Served) -> None:
    """First password, login and database are readable to nobody else; no password is logged."""
    folder = service.home / "state" / "foreswap"
    for name in ("admin-password", "login.json", "foreswap.db"):
        assert stat.S_IMODE((folder / name).stat().st_mode) & 0o077 == 0, name
    log = (service.home / "service.log").read_text(encoding="utf-8")
    assert "POST /api/v1/session 201" in log
    assert service.first_password not in log
    assert PASSWORD not in log


def test_the_service_says_how_it_is(service: Served) -> None:
    """By the command, and by what machines ask."""
    assert service.ask("whoami") == "admin, admin\n"
    told = json.loads(urllib3.request("GET", f"{service.url}/readyz").data)
    assert told["checks"]["store"] == "ok"
    figures = urllib3.request("GET", f"{service.url}/metrics").data.decode()
    assert "foreswap_store_up 1.0" in figures


def test_tokens_are_made_used_and_revoked(service: Served) -> None:
    """A program asks with a token until it is revoked, and what was done is in the audit log."""
    secret = service.ask("token", "create", "reader").strip()
    assert [token["name"] for token in service.ask_json("token", "list")] == ["reader"]
    headers = {"Authorization": f"Bearer {secret}"}
    url = f"{service.url}/api/v1/session"
    assert urllib3.request("GET", url, headers=headers).status == 200
    service.ask("token", "revoke", "reader")
    assert urllib3.request("GET", url, headers=headers).status == 401
    assert "expected" in service.ask("token", "revoke", "reader", fails=4)


def test_a_second_start_is_refused(service: Served) -> None:
    """It says who has the folder; in a folder of its own, that the port is taken."""
    port = service.url.rsplit(":", 1)[1]
    for home, expected in (
        (service.home, f"in use by a service that runs already (process {service.process.pid})"),
        (service.home / "other", f"127.0.0.1:{port} is in use"),
    ):
        home.mkdir(exist_ok=True)
        second = subprocess.run(
            [COMMAND, "serve", "--port", port],
            env=surroundings(home),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert second.returncode == 1
        assert expected in " ".join(second.stderr.split())


def test_start_stop_and_start_again(tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM both end it with 0, a login outlives that, and systemd is told."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
        served(tmp_path, NOTIFY_SOCKET=_bound(systemd, tmp_path / "notify")) as first,
    ):
        assert systemd.recv(100) == b"READY=1"
        first.log_in()
        assert first.stop(signal.SIGINT) == 0
        assert "foreswap login" not in first.ask("status", fails=6)
    port = first.url.rsplit(":", 1)[1]
    with served(tmp_path, "--port", port) as again:
        assert again.first_password == ""
        assert again.ask("whoami") == "admin, admin\n"
        assert again.stop(signal.SIGTERM) == 0


def _bound(sock: socket.socket, path: Path) -> str:
    sock.settimeout(30)
    sock.bind(str(path))
    return str(path)
