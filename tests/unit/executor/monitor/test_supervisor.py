"""What systemd is told, as it would hear it."""

from __future__ import annotations

import socket
from pathlib import Path

from executor.monitor.supervisor import Supervisor


def test_systemd_is_told(tmp_path: Path) -> None:
    """Ready, alive with a status when that changed, and stopping."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        supervisor = Supervisor({"NOTIFY_SOCKET": path})
        supervisor.ready()
        supervisor.alive("3 records wait")
        supervisor.alive("3 records wait")
        supervisor.stopping()
        heard = [listener.recv(4096).decode() for _ in range(4)]
    assert heard == ["READY=1", "WATCHDOG=1\nSTATUS=3 records wait", "WATCHDOG=1", "STOPPING=1"]


def test_an_abstract_address_is_understood() -> None:
    """Containers are handed one that stands in no folder."""
    name = "foreswap-test-of-notifications"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        Supervisor({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert listener.recv(4096) == b"READY=1"


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    """Neither without an address nor with one where nobody listens."""
    Supervisor({}).ready()
    Supervisor({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).alive("fine")
