"""What Linux tells of the processes of this machine: which live, and which hold a file's lock.

For leases alone. Everything is read from ``/proc``; what cannot be read is not guessed.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from executor.errors import LeaseHeldError

_PROC: Final = Path("/proc")

KILL_WAIT_S: Final = 10.0
"""A process that is killed is gone in milliseconds unless it waits for a disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMark:
    """Names one process for ever: numbers are used again, start times are not.

    Parameters
    ----------
    started_ticks
        When it began, in clock ticks since the machine started.
    namespace
        Of process numbers; a number says nothing in another one.
    """

    pid: int
    started_ticks: int
    namespace: int

    @classmethod
    def own(cls) -> Self:
        """Return the mark of this process."""
        pid = os.getpid()
        stat = _stat(pid)
        return cls(pid=pid, started_ticks=stat[1] if stat else 0, namespace=_namespace("pid"))

    def is_gone(self) -> bool:
        """Whether the process certainly acts no more; ``False`` if that cannot be seen."""
        if self.namespace != _namespace("pid"):
            return False
        stat = _stat(self.pid)
        if stat is None:
            return not _may_exist(self.pid)
        return stat[0] in "ZX" or stat[1] != self.started_ticks


def clock_domain() -> str:
    """Return a name of the clock of ``boottime_s``: instants of different names do not compare.

    A clock starts anew with the machine, and may be shifted for the processes of a container.
    """
    boot_id = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot_id}/{_namespace('time')}"


def lock_holder(file: int) -> int | None:
    """Return the process that holds the lock (``flock``) of an open file; ``None`` if not seen."""
    wanted = os.fstat(file)
    try:
        lines = (_PROC / "locks").read_text().splitlines()
    except FileNotFoundError:
        return None
    for line in lines:
        words = line.split()
        # Those that wait for a lock have an arrow in the second place.
        if words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(wanted.st_ino):
            pid = int(words[4])
            # File systems name their device in more than one way, so the file itself is compared.
            if pid > 0 and _has_open(pid, wanted):
                return pid
    return None


def kill_lock_holder(pid: int, file: int) -> None:
    """End a process that holds the lock of an open file, and wait until it is gone.

    Nothing happens if it does not hold the lock any more.

    Raises
    ------
    LeaseHeldError
        If this process may not end it, or it does not go.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # From here on the number cannot come to mean another process.
        if lock_holder(file) == pid:
            _kill(handle, pid)
    finally:
        os.close(handle)


def _kill(handle: int, pid: int) -> None:
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise LeaseHeldError(
            f"process {pid} stands still while it acts, and this user may not end it"
        ) from error
    waiting = select.poll()
    waiting.register(handle, select.POLLIN)
    if not waiting.poll(KILL_WAIT_S * 1000):
        raise LeaseHeldError(f"process {pid} was killed and does not go")


def _stat(pid: int) -> tuple[str, int] | None:
    """Return state and start time of a process."""
    try:
        content = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in brackets, may contain anything.
    words = content.rpartition(")")[2].split()
    return words[0], int(words[19])


def _may_exist(pid: int) -> bool:
    """Whether there may be such a process although it is not shown to this user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _namespace(kind: str) -> int:
    """Return what names a namespace of this process; 0 where the kernel has none of the kind."""
    try:
        return (_PROC / "self/ns" / kind).stat().st_ino
    except FileNotFoundError:
        return 0


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    with suppress(OSError):
        for entry in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(entry.stat(), wanted):
                    return True
    return False
