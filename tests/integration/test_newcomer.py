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

ANSWERS_ONLY = {"FORESWAP_RUNTIME__ENABLED": "false"}
"""What goes on by itself is walked through in ``test_first_plan``."""


@pytest.fixture(scope="module")
def repository() -> Path:
    """Root of the checkout."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service in a clean home, and an admin who has logged in."""
    home = tmp_path_factory.mktemp("home")
    with served(home, **ANSWERS_ONLY) as running:
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


@pytest.fixture(scope="module")
def cluster(service: Served, repository: Path) -> str:
    """The cluster of the examples, made known and uploaded."""
    service.ask("cluster", "add", "c1", "--name", "Example")
    example = repository / "docs" / "examples" / "small-cluster.json"
    assert "4 hosts" in service.ask("cluster", "upload", "c1", str(example))
    return "c1"


def test_hosts_and_vms_are_shown(service: Served, cluster: str) -> None:
    """As tables, and with the same names as JSON."""
    assert [row["id"] for row in service.ask_json("clusters")] == [cluster]
    hosts = [row["id"] for row in service.ask_json("hosts")]
    table = service.ask("hosts")
    assert all(host in table for host in hosts)
    [vm, *_] = service.ask_json("vms", "--host", hosts[0])
    assert vm["id"] in service.ask("vms", "--text", vm["id"])
    assert "--cluster" not in service.ask("hosts", "--cluster", "c9", fails=4)


def test_priorities_are_set_and_taken_back(service: Served, cluster: str) -> None:
    """For all of the VMs or for none; undone by what the audit log says stood before."""
    first, second, *_ = (row["id"] for row in service.ask_json("vms"))
    assert "2 of 2" in service.ask("priority", "set", "7", first, second)
    service.ask("priority", "set", "8", first)
    assert "no-such" in service.ask("priority", "set", "9", first, "no-such", fails=2)
    assert _priorities(service)[first] == 8
    service.ask("priority", "undo", first)
    assert _priorities(service)[first] == 7
    assert "priority: 8 → 7" in service.ask("audit", "--limit", "3")
    assert "expected a whole number" in service.ask("priority", "set", "high", first, fails=2)


def test_a_host_is_drained_and_used_again(service: Served, cluster: str) -> None:
    """The reason is shown to others."""
    host = service.ask_json("hosts")[0]["id"]
    service.ask("drain", host, "--reason", "new memory")
    assert _maintenance(service, host) == (True, "maintenance", "new memory")
    service.ask("undrain", host)
    assert _maintenance(service, host) == (False, "up", "")


def test_rules_are_added_and_removed(service: Served, cluster: str) -> None:
    """A wrong one is refused with what is wrong."""
    first, second, *_ = (row["id"] for row in service.ask_json("vms"))
    words = ("--kind", "anti_affinity", "--vm", first, "--vm", second)
    service.ask("rule", "add", "apart", *words)
    assert "anti affinity" in service.ask("rule", "list")
    assert "kind" in service.ask("rule", "add", "odd", "--kind", "near", "--vm", first, fails=2)
    service.ask("rule", "remove", "apart")
    assert "apart" not in [row["id"] for row in service.ask_json("rule", "list")]
    service.ask("rule", "remove", "apart", fails=4)


def test_what_if_a_host_is_lost(service: Served, cluster: str) -> None:
    """It is told what that would come to, and nothing is changed."""
    before = service.ask_json("hosts")
    host = before[0]["id"]
    assert "in the way" in service.ask("whatif", "--lose", host, "--horizon", "present", fails=1)
    more = ("--add-hosts", "4", "--like-host", host)
    assert "feasible: yes" in service.ask("whatif", *more, "--horizon", "present")
    assert service.ask_json("hosts") == before
    assert "h99" in service.ask("whatif", "--lose", "h99", fails=2)


def _maintenance(service: Served, host: str) -> tuple[bool, str, str]:
    [row] = [row for row in service.ask_json("hosts") if row["id"] == host]
    return row["maintenance"], row["state"], row["reason"]


def _priorities(service: Served) -> dict[str, int]:
    return {row["id"]: row["priority"] for row in service.ask_json("vms")}


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


@pytest.mark.timeout(300)
def test_start_stop_and_start_again(tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM both end it with 0, a login outlives that, and systemd is told."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
        served(
            tmp_path, NOTIFY_SOCKET=_bound(systemd, tmp_path / "notify"), **ANSWERS_ONLY
        ) as first,
    ):
        assert systemd.recv(100) == b"READY=1"
        first.log_in()
        assert first.stop(signal.SIGINT) == 0
        assert "foreswap login" not in first.ask("status", fails=6)
    port = first.url.rsplit(":", 1)[1]
    with served(tmp_path, "--port", port, **ANSWERS_ONLY) as again:
        assert again.first_password == ""
        assert again.ask("whoami") == "admin, admin\n"
        assert again.stop(signal.SIGTERM) == 0


def _bound(sock: socket.socket, path: Path) -> str:
    sock.settimeout(30)
    sock.bind(str(path))
    return str(path)
