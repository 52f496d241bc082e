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
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from service.cli import run

COMMAND = Path(sysconfig.get_path("scripts")) / "foreswap"
PASSWORD = "correct horse battery staple"


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
    """

    home: Path
    process: subprocess.Popen[str]
    url: str
    first_password: str

    def ask(self, *words: str, stdin: str = "", fails: int = 0) -> str:
        """Return what a command prints; it has to end with the exit code ``fails``.

        It runs in this process: to start one for each would take most of a test's time.
        """
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, surroundings(self.home), clear=True),
            mock.patch.dict(os.environ, FORESWAP_URL=self.url, COLUMNS="200"),
            mock.patch.object(sys, "stdin", io.StringIO(stdin)),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            code = run(list(words))
        assert code == fails, (words, code, out.getvalue(), err.getvalue())
        return out.getvalue() + (err.getvalue() if fails else "")

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
    """Run the service on a free port until the end of the block."""
    log = (home / "service.log").open("a", encoding="utf-8")
    process = subprocess.Popen(
        [COMMAND, "serve", "--port", "0", *options],
        env=surroundings(home, **more),
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        url, password = _told(process, home)
        yield Served(home=home, process=process, url=url, first_password=password)
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
