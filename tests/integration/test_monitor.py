"""`foreswap monitor` as a process of its own, delivering to a real server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from executor.monitor.outbox import Outbox
from executor.monitor.wire import from_json
from service.cli import run
from tests.receiver import TOKEN, Receiver, running, write_token

COMMAND = "from service.cli import main; main()"
DEADLINE_S = 60.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A service that keeps the contract."""
    with running(Receiver()) as receiver:
        yield receiver


class Daemon:
    """A monitor under a systemd that the test plays."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notifications.settimeout(DEADLINE_S)
        address = folder / "notify"
        address.unlink(missing_ok=True)
        self._notifications.bind(str(address))
        self._log = folder / "log"
        command = [sys.executable, "-c", COMMAND, "monitor", "--url", url, "--interval", "1"]
        command += ["--token-file", str(write_token(folder)), "--outbox", str(folder / "outbox")]
        command += ["--metrics-file", str(folder / "foreswap.prom"), "--libvirt-uri", ""]
        environment = {**os.environ, "NOTIFY_SOCKET": str(address)}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stderr=log)

    def heard(self) -> str:
        """Return what systemd is told next."""
        return self._notifications.recv(4096).decode()

    def wait_alive(self, times: int) -> None:
        """Wait until it was ready, and alive so many times."""
        assert self.heard() == "READY=1"
        for _ in range(times):
            assert self.heard().startswith("WATCHDOG=1")

    def end(self, number: int) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(DEADLINE_S)
        self._notifications.close()
        return code

    @property
    def log(self) -> str:
        """What it wrote on standard error."""
        return self._log.read_text(encoding="utf-8")


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, at most a minute."""
    waiter = threading.Event()
    for _ in range(int(DEADLINE_S / 0.05)):
        if condition():
            return
        waiter.wait(0.05)
    pytest.fail("the condition never held")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_clean_and_keeps_what_was_sampled(
    tmp_path: Path, receiver: Receiver, number: int
) -> None:
    """Exit code 0, systemd is told, and the next start delivers the minute that was cut."""
    first = Daemon(tmp_path, receiver.url)
    first.wait_alive(3)
    assert first.end(number) == 0
    second = Daemon(tmp_path, receiver.url)
    second.wait_alive(1)
    eventually(lambda: len(receiver.minutes) > 0)
    assert second.end(signal.SIGTERM) == 0
    record = from_json(receiver.minutes[0])
    assert record.num_samples >= 1
    assert record.host.num_cpus == os.cpu_count()
    assert 0 <= record.host.figures["cpu_used_millicores"].mean <= 1000 * record.host.num_cpus * 1.1
    assert "foreswap_host_load1" in (tmp_path / "foreswap.prom").read_text()
    assert set(receiver.tokens) == {f"Bearer {TOKEN}"}
    assert TOKEN not in second.log


def test_kill_9_loses_no_record_that_was_kept(tmp_path: Path, receiver: Receiver) -> None:
    """Records of a service's absence survive, and arrive in order, once."""
    receiver.away = True
    kept = 0
    for _ in range(2):
        daemon = Daemon(tmp_path, receiver.url)
        daemon.wait_alive(2)
        assert daemon.end(signal.SIGTERM) == 0
        killed = Daemon(tmp_path, receiver.url)
        killed.wait_alive(2)
        assert killed.end(signal.SIGKILL) == -signal.SIGKILL
        outbox = Outbox(tmp_path / "outbox", max_bytes=10**6)
        assert outbox.num_records > kept
        kept = outbox.num_records
        outbox.close()
    receiver.away = False
    last = Daemon(tmp_path, receiver.url)
    eventually(lambda: len(receiver.minutes) >= kept)
    assert last.end(signal.SIGTERM) == 0
    assert "records cannot be delivered: HTTP 503" in last.log
    instants = [minute["minute_at"] for minute in receiver.minutes]
    assert instants == sorted(instants)
    assert len(receiver.numbers) == len(set(receiver.numbers))


def test_once_prints_one_reading(capsys: pytest.CaptureFixture[str]) -> None:
    """Prometheus text on standard output, and nothing is kept."""
    assert run(["monitor", "--once", "--libvirt-uri", ""]) == 0
    out = capsys.readouterr().out
    assert "# TYPE foreswap_host_cpu_seconds_total counter\n" in out
    assert "foreswap_vm_source_up 1\n" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--libvirt-uri", ""], "url: expected a url to deliver to, or a metrics file"),
        (["--interval", "7"], "interval_s: expected seconds that divide a minute"),
        (["--url", "https://f.example/"], "token_file: expected a path"),
        (["--config", "absent.toml"], "absent.toml"),
    ],
)
def test_bad_settings_end_with_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and the place that is wrong."""
    assert run(["monitor", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_the_monitor_loads_nothing_heavy() -> None:
    """On every hypervisor a monitor of tens of MB runs; NumPy alone would double it."""
    script = """
import sys
from executor.monitor.__main__ import main
assert main(['{"libvirt_uri": ""}']) == 2
heavy = {"numpy", "scipy", "pyarrow", "sklearn", "pydantic", "typer", "rich", "libvirt"}
print(sorted(heavy & set(sys.modules)))
"""
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "[]\n"
    assert "error: url: expected a url" in answer.stderr
