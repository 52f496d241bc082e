"""The service as a process of its own, and commands that ask it, in a home of their own."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import urllib3

from service.cli import run

COMMAND = Path(sysconfig.get_path("scripts")) / "foreswap"
UNTRAINED = {"FORESWAP_RUNTIME__TRAINING": "false"}
"""For tests of something else: training holds a core for as long as they take."""
PASSWORD = "correct horse battery staple"
SOON_S = 120.0


def surroundings(home: Path, **more: str) -> dict[str, str]:
    """Return an environment in which nothing of this machine's user is seen."""
    kept = ("PATH", "LANG", "NUMBA_CACHE_DIR", "VIRTUAL_ENV")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        **more,
    }


@dataclass
class Served:
    """A service that runs, and who asks it.

    Parameters
    ----------
    home
        Where both keep what they keep.
    url
        Where it listens.
    command
        What was started, and is asked by.
    """

    home: Path
    process: subprocess.Popen[str]
    url: str
    first_password: str
    command: Path = COMMAND

    def ask(self, *words: str, stdin: str = "", fails: int = 0) -> str:
        """Return what a command prints; it has to end with the exit code ``fails``.

        The command of this environment runs in this process: to start one for each would take most
        of a test's time.
        """
        run_it = self._run_here if self.command == COMMAND else self._run_there
        code, out, err = run_it(words, stdin)
        assert code == fails, (words, code, out, err)
        return out + (err if fails else "")

    def _run_here(self, words: tuple[str, ...], stdin: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self._environment(), clear=True),
            mock.patch.object(sys, "stdin", io.StringIO(stdin)),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            code = run(list(words))
        return code, out.getvalue(), err.getvalue()

    def _run_there(self, words: tuple[str, ...], stdin: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [self.command, *words],
            env=self._environment(),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def _environment(self) -> dict[str, str]:
        return surroundings(self.home, FORESWAP_URL=self.url, COLUMNS="200")

    def ask_json(self, *words: str) -> Any:
        """Return what a command prints as JSON."""
        return json.loads(self.ask(*words, "--json"))

    def log_in(self) -> str:
        """Log in as the first admin, with a password of their own."""
        words = ("login", "--user", "admin", "--password-stdin")
        return self.ask(*words, stdin=f"{self.first_password}\n{PASSWORD}\n")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the service by a signal and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(90)


@contextmanager
def served(home: Path, *options: str, **more: str) -> Iterator[Served]:
    """Run the service of this environment on a free port until the end of the block."""
    with served_by(COMMAND, home, *options, **more) as service:
        yield service


@contextmanager
def served_by(command: Path, home: Path, *options: str, **more: str) -> Iterator[Served]:
    """Run the service of a command on a free port until the end of the block."""
    log = (home / "service.log").open("a", encoding="utf-8")
    process = subprocess.Popen(
        [command, "serve", "--port", "0", *options],
        env=surroundings(home, **more),
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        url, password = _told(process, home)
        yield Served(home=home, process=process, url=url, first_password=password, command=command)
    finally:
        process.kill()
        process.wait()
        log.close()


def _told(process: subprocess.Popen[str], home: Path) -> tuple[str, str]:
    """Return where the service listens, and the first admin's password if it made one."""
    assert process.stdout is not None
    password = ""
    for line in process.stdout:
        if found := re.search(r"is in (\S+);", line):
            password = Path(found[1]).read_text(encoding="utf-8").strip()
        if found := re.match(r"listening on (\S+)", line):
            return found[1], password
    raise AssertionError((home / "service.log").read_text(encoding="utf-8"))


class Program:
    """Somebody who asks by HTTP with a token, as the commands do by theirs."""

    def __init__(self, service: Served) -> None:
        self._url = f"{service.url}/api/v1"
        secret = service.ask("token", "create", "program", "--role", "operator").strip()
        self._headers = {"Authorization": f"Bearer {secret}"}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON of an answer, which has to be one of success."""
        answer = urllib3.request(method, self._url + path, json=body, headers=self._headers)
        assert answer.status < 300, (path, answer.status, answer.data)
        return json.loads(answer.data)


def eventually(look: Callable[[], Any]) -> Any:
    """Return the first thing seen, looking until it is there."""
    ends_s = time.monotonic() + SOON_S
    while not (seen := look()):
        assert time.monotonic() < ends_s
        time.sleep(0.2)
    return seen


def waiting_plan(program: Program, cluster_id: str) -> str:
    """Return the id of a plan that waits to be approved; empty if there is none."""
    plans = program.ask("GET", f"/clusters/{cluster_id}/plans?stage=proposed")["items"]
    return plans[0]["id"] if plans else ""
