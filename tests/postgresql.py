"""A real PostgreSQL of the tests' own: started in a folder that goes with it."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

PACKAGES = Path("/usr/lib/postgresql")
USER = "foreswap"
READY_S = 30.0
_PR_SET_PDEATHSIG = 1
_ROOM_BYTES = 4 * 2**30


class PostgreSQL:
    """A server, by its socket in a folder.

    Parameters
    ----------
    folder
        Of its socket; its data stands below.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = count(1)

    def url(self, database: str) -> str:
        """Return where a database is found."""
        return f"postgresql+psycopg://{USER}@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"test{next(self._numbers)}"
        self.ask(f"CREATE DATABASE {name}")
        return self.url(name)

    def ask(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement and return its rows."""
        target = {"host": str(self.folder), "user": USER, "dbname": database}
        with psycopg.connect(**target, autocommit=True) as connection:  # type: ignore[arg-type]
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest version; ``None`` without any."""
    found = sorted(PACKAGES.glob("*/bin"), key=lambda path: float(path.parent.name))
    usable = [path for path in found if (path / "initdb").exists()]
    if usable:
        return usable[-1]
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


@contextmanager
def running(binaries: Path) -> Iterator[PostgreSQL]:
    """Start a server, and remove it and all it holds afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="foreswap-pg-", dir=_place()))
    user = _unprivileged()
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        server = _start(binaries, folder, user)
        try:
            yield _ready(PostgreSQL(folder), server)
        finally:
            # At once: nothing of it is needed any more.
            server.send_signal(signal.SIGQUIT)
            server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place() -> Path | None:
    """Return a file system in memory with room for many databases; ``None`` without one."""
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    return memory if usable and shutil.disk_usage(memory).free > _ROOM_BYTES else None


def _unprivileged() -> pwd.struct_passwd | None:
    """Return as whom to run: PostgreSQL refuses to be root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return pwd.getpwnam("postgres" if "postgres" in names else "nobody")


def _start(binaries: Path, folder: Path, user: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
    options: dict[str, Any] = {}
    if user is not None:
        options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data = folder / "data"
    how = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
    made = subprocess.run(
        [binaries / "initdb", "-D", data, "-U", USER, *how],
        cwd=folder,
        capture_output=True,
        check=False,
        **options,
    )
    assert made.returncode == 0, made.stderr.decode()
    # The processes that write are killed, the server is not: it need not wait for the disk.
    settings = [f"unix_socket_directories={folder}", "listen_addresses=", "fsync=off"]
    command: list[str | Path] = [binaries / "postgres", "-D", data]
    for setting in settings:
        command += ["-c", setting]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            preexec_fn=_end_with_parent,
            **options,
        )


def _end_with_parent() -> None:
    """Do not outlive a test run that is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _ready(postgresql: PostgreSQL, server: subprocess.Popen[bytes]) -> PostgreSQL:
    give_up_at_s = time.monotonic() + READY_S
    while True:
        try:
            postgresql.ask("SELECT 1")
        except psycopg.OperationalError:
            log = (postgresql.folder / "log").read_text(errors="replace")
            assert server.poll() is None, log
            assert time.monotonic() < give_up_at_s, log
            time.sleep(0.02)
        else:
            return postgresql
