"""Machines made of namespaces: each has a network, mounts, a hostname and processes of its own.

A machine lives as long as its first process, which waits for the end of its standard input: the
kernel closes that when the process that holds the machine ends in whatever way, and with a first
process the kernel ends all others of its machine and takes away its network and its mounts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from tests.integration.lab.requirements import SYSTEM_PATH, UNSHARE

ENVIRONMENT = {**os.environ, "PATH": SYSTEM_PATH}
LOOK_AGAIN_S = 0.01

# Bash, because it also reaps the daemons that are left to it.
_FIRST_PROCESS = """
set -eu
hostname "$1"
eval "$2"
echo ready
read -r _ || true
trap - EXIT
eval "$3"
"""


def wait_until(holds: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Wait until a condition holds.

    :raises TimeoutError: naming ``what`` after ``timeout_s``
    """
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        time.sleep(LOOK_AGAIN_S)


class MachineProcess:
    """A process inside a machine that a test goes on with.

    Attributes
    ----------
    pid
        Its identity on the machine outside.
    """

    def __init__(self, command: list[str], output: Path) -> None:
        self.output = output
        with output.open("ab") as file:
            self._outside = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=ENVIRONMENT,
            )
        wait_until(self._has_begun, 10.0, f"start of {command}")

    def _has_begun(self) -> bool:
        """Find the process inside; its command may already have ended."""
        if self._outside.poll() is not None:
            return True
        inside = psutil.Process(self._outside.pid).children()
        if inside:
            self.pid: int = inside[0].pid
        return bool(inside)

    def said(self, text: str) -> bool:
        """Return whether its output holds a text."""
        return text in self.output.read_text(encoding="utf-8", errors="replace")

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self._outside.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> int:
        """Wait for its end and return its exit status.

        :raises subprocess.TimeoutExpired: if it goes on
        """
        return self._outside.wait(timeout_s)

    def close(self) -> None:
        """Kill it, if it goes on."""
        self.send_signal(signal.SIGKILL)
        self._outside.wait()


class Machine:
    """A running machine; made running, gone after ``close``.

    Parameters
    ----------
    name
        Its hostname.
    log
        File for what its first process complains about.
    at_start, at_end
        Lines of bash run inside, as it starts and when its holder has ended without closing it.
    """

    def __init__(self, name: str, *, log: Path, at_start: str = "", at_end: str = "") -> None:
        self.name = name
        self._log = log
        first_process = ("bash", "-c", _FIRST_PROCESS, "bash")
        with log.open("ab") as complaints:
            self._outside = subprocess.Popen(
                [*UNSHARE, "--kill-child", *first_process, name, at_start, at_end],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=ENVIRONMENT,
                # An interrupt typed at the terminal is for the tests, which then close the lab.
                start_new_session=True,
            )
        assert self._outside.stdout is not None
        if self._outside.stdout.readline() != b"ready\n":
            self._outside.wait()
            raise RuntimeError(f"{name} did not start: {log.read_text(errors='replace')}")
        (first,) = psutil.Process(self._outside.pid).children()
        self.first_pid: int = first.pid
        self._processes_of = _processes_of(self.first_pid)

    def command(self, arguments: Sequence[str | Path]) -> list[str]:
        """Return the command that runs ``arguments`` inside."""
        inside = ["nsenter", "--target", str(self.first_pid)]
        inside += ["--net", "--mount", "--uts", "--pid", "--"]
        # The end of nsenter is then the end of what it runs.
        return [*inside, "setpriv", "--pdeathsig", "KILL", "--", *map(str, arguments)]

    def start(self, *arguments: str | Path, output: Path) -> MachineProcess:
        """Start a command inside that goes on; its output is added to a file."""
        return MachineProcess(self.command(arguments), output)

    def run(self, *arguments: str | Path, text: str | None = None, timeout_s: float = 60.0) -> str:
        """Run a command inside to its end and return its output.

        :raises subprocess.CalledProcessError: with its output, if it fails
        """
        return self._run(self.command(arguments), text, timeout_s)

    def run_in_network(self, *arguments: str, text: str | None = None) -> str:
        """Run a command of the machine outside, in the network of this one alone."""
        inside = ["nsenter", "--target", str(self.first_pid), "--net", "--"]
        return self._run([*inside, *arguments], text, 60.0)

    @staticmethod
    def _run(command: list[str], text: str | None, timeout_s: float) -> str:
        answer = subprocess.run(
            command,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENVIRONMENT,
            timeout=timeout_s,
            check=False,
        )
        if answer.returncode != 0:
            error = subprocess.CalledProcessError(answer.returncode, command, answer.stdout)
            error.add_note(answer.stdout)
            raise error
        return answer.stdout

    def processes(self) -> list[psutil.Process]:
        """Return its processes but the first, as seen from outside."""
        return [process for process in psutil.process_iter() if self._holds(process.pid)]

    def _holds(self, pid: int) -> bool:
        if pid == self.first_pid:
            return False
        try:
            return _processes_of(pid) == self._processes_of
        except OSError:
            return False

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to every process but the first."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    @property
    def is_running(self) -> bool:
        """Whether it has not been closed."""
        return self._outside.poll() is None

    def close(self) -> None:
        """End every process of the machine at once, as a loss of power does."""
        if self.is_running:
            os.kill(self.first_pid, signal.SIGKILL)
        self._outside.wait()
        for stream in (self._outside.stdin, self._outside.stdout):
            assert stream is not None
            stream.close()


def _processes_of(pid: int) -> Path:
    """Return what names the process namespace that a process is in."""
    return Path(f"/proc/{pid}/ns/pid").readlink()
