"""Which process may act on a cluster: at most one at any instant, and never none for long.

A process may be stopped for minutes between deciding and acting: by a signal, a debugger, a machine
that swaps. A lease that merely runs out would then let two act. So whatever acts does so inside
``guard``, which holds a lock and has seen, under that lock, that the lease is still its own; nobody
takes over while the lock is held. A process that stands still *inside* is ended before its
successor begins. Reasons, and what is not covered, stand in docs/decisions.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from executor.durable import sync_folder
from executor.errors import LeaseError, LeaseHeldError, LeaseLostError
from executor.processes import ProcessMark, clock_domain, kill_lock_holder, lock_holder
from solver.domain.errors import InvalidInputError

TTL_S: Final = 60.0
"""Longer than any single call to a hypervisor may take: who is not back by then stands still."""

_LOCK_POLL_S: Final = 0.01
_LOOK_PATIENCE_S: Final = 1.0
"""How long one who wants the lease waits for whoever is inside: it comes again anyway."""

_FORMAT: Final = 1


class Lease(Protocol):
    """The right to act on one cluster."""

    @property
    def token(self) -> int | None:
        """The fencing token: larger for every new holder; ``None`` unless it is held.

        It may be lost already without this process having noticed; only ``guard`` makes sure.
        """

    @property
    def renew_interval_s(self) -> float:
        """How often to renew it."""

    def acquire(self) -> int:
        """Become the holder and return the token; the same one if it is held already.

        :raises LeaseHeldError: if another process holds it; come again later
        :raises LeaseError: if it cannot be read or written
        """

    def renew(self) -> None:
        """Stay the holder for another while.

        :raises LeaseLostError: if it is not held any more
        :raises LeaseHeldError: if that could not be found out now
        :raises LeaseError: if it cannot be read or written
        """

    def release(self) -> None:
        """Let others have it at once; nothing happens if it is not held.

        :raises LeaseHeldError: if that could not be done now
        :raises LeaseError: if it cannot be read or written
        """

    def guard(self) -> AbstractContextManager[int]:
        """Return a context within which nobody else acts nor becomes the holder; its token.

        Entering renews the lease. Guards may be nested. A process that stays inside for longer
        than the lease lasts may be ended.

        :raises LeaseLostError: if it is not held any more; nothing inside was run
        :raises LeaseHeldError: if that could not be found out now; nothing inside was run
        :raises LeaseError: if it cannot be read or written; nothing inside was run
        """


def boottime_s() -> float:
    """Return seconds since the machine started, those it slept included.

    The wall clock may be set by hand or by NTP; this one only goes forward, at the same pace for
    all processes.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holding:
    """What stands in the file.

    Parameters
    ----------
    holder
        Names one lease object of one process; empty once it was released.
    token
        Of the present or last holder; 0 before the first.
    clock
        To which ``expires_at_s`` belongs.
    """

    holder: str = ""
    token: int = 0
    expires_at_s: float = 0.0
    ttl_s: float = 0.0
    clock: str = ""
    host_name: str = ""
    process: ProcessMark | None = None


class FileLease:
    """A lease in a file, for processes of one machine.

    Parameters
    ----------
    path
        Of the file; its folder must exist and be on a local disk. A second file beside it,
        ``<path>.lock``, is what is locked.
    ttl_s
        How long the lease lasts without being renewed.
    now_s
        The clock; for tests.

    Raises
    ------
    InvalidInputError
        If ``ttl_s`` is not positive.
    LeaseError
        If the machine does not tell when it was started.
    """

    def __init__(
        self, path: Path, *, ttl_s: float = TTL_S, now_s: Callable[[], float] = boottime_s
    ) -> None:
        if not ttl_s > 0:
            raise InvalidInputError(f"expected more than 0, got {ttl_s}", path="ttl_s")
        self._path = path
        self._ttl_s = ttl_s
        self._now_s = now_s
        try:
            self._clock = clock_domain()
        except OSError as error:
            raise LeaseError(f"this machine does not tell when it started: {error}") from error
        self._holder = str(uuid.uuid4())
        self._token: int | None = None
        # Threads of one process take turns; one thread may nest.
        self._turn = threading.RLock()
        self._inside = False
        # What was seen last of another's lease and lock, and since when it is the same.
        self._seen_holding: tuple[_Holding, float] | None = None
        self._seen_lock: tuple[int, float] | None = None

    @property
    def token(self) -> int | None:
        """The fencing token; ``None`` unless it is held, as far as this process knows."""
        return self._token

    @property
    def renew_interval_s(self) -> float:
        """A third of its life: two renewals may come late."""
        return self._ttl_s / 3

    def acquire(self) -> int:
        """Become the holder and return the token."""
        with self._turn:
            # Looking does not disturb the holder; whether it is still so is seen under the lock.
            self._require_free(self._read())
            return self._take()

    def _take(self) -> int:
        with self._locked(min(_LOOK_PATIENCE_S, self.renew_interval_s)):
            holding = self._read()
            if self._is_own(holding):
                self._write(self._renewed(holding))
                return holding.token
            self._require_free(holding)
            self._token = None
            taken = self._renewed(replace(holding, holder=self._holder, token=holding.token + 1))
            self._write(taken, durably=True)
            self._token = taken.token
            self._seen_holding = None
            return taken.token

    def renew(self) -> None:
        """Stay the holder for another while."""
        with self.guard():
            pass

    def release(self) -> None:
        """Let others have it at once."""
        with self._turn, self._locked(self.renew_interval_s):
            holding = self._read()
            if self._is_own(holding):
                self._write(replace(holding, holder=""))
            self._token = None

    @contextmanager
    def guard(self) -> Iterator[int]:
        """Return a context within which nobody else acts nor becomes the holder."""
        with self._turn:
            if self._inside:
                yield self._require_token()
                return
            self._require_token()
            with self._locked(self.renew_interval_s):
                holding = self._read()
                if not self._is_own(holding):
                    self._token = None
                    raise LeaseLostError(
                        f"lease {str(self._path)!r} was lost: expected token of this process, "
                        f"got {holding.token}, {_whose(holding)}"
                    )
                self._write(self._renewed(holding))
                self._inside = True
                try:
                    yield holding.token
                finally:
                    self._inside = False

    def _require_token(self) -> int:
        if self._token is None:
            raise LeaseLostError(f"lease {str(self._path)!r} is not held by this process")
        return self._token

    # Whose it is ----------------------------------------------------------------------------

    def _is_own(self, holding: _Holding) -> bool:
        """Whether it is this object's, and not inherited by a fork."""
        mine = holding.holder == self._holder and holding.token == self._token
        return mine and holding.process is not None and holding.process.pid == os.getpid()

    def _require_free(self, holding: _Holding) -> None:
        if holding.holder in ("", self._holder) or self._has_run_out(holding):
            return
        if self._same_clock(holding) and holding.process and holding.process.is_gone():
            return
        raise LeaseHeldError(f"lease {str(self._path)!r} is held: {_whose(holding)}")

    def _same_clock(self, holding: _Holding) -> bool:
        return holding.clock == self._clock

    def _has_run_out(self, holding: _Holding) -> bool:
        """Whether it was not renewed for as long as it lasts.

        Of another clock (the machine was started anew, or a container has its own) the instant
        says nothing: then it has run out once it was seen unchanged for so long.
        """
        now_s = self._now_s()
        if self._same_clock(holding):
            return now_s >= holding.expires_at_s
        if self._seen_holding is None or self._seen_holding[0] != holding:
            self._seen_holding = holding, now_s
        return now_s - self._seen_holding[1] >= holding.ttl_s

    def _renewed(self, holding: _Holding) -> _Holding:
        return replace(
            holding,
            expires_at_s=self._now_s() + self._ttl_s,
            ttl_s=self._ttl_s,
            clock=self._clock,
            host_name=socket.gethostname(),
            process=ProcessMark.own(),
        )

    # The lock -------------------------------------------------------------------------------

    @contextmanager
    def _locked(self, patience_s: float) -> Iterator[None]:
        """Hold the lock: for as long as a thought, or as one call to a hypervisor."""
        path = self._path.with_name(self._path.name + ".lock")
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LeaseError(f"lease {str(path)!r} cannot be opened: {error}") from error
        try:
            self._lock(file, patience_s)
            yield
        finally:
            # Closing frees the lock, and so does the end of the process.
            os.close(file)

    def _lock(self, file: int, patience_s: float) -> None:
        """Wait for the lock, but not long, and not for one that stands still."""
        give_up_at_s = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = lock_holder(file)
                if pid is not None and self._stands_still(pid):
                    kill_lock_holder(pid, file)
                    continue
            except OSError as error:
                raise LeaseError(f"lease {str(self._path)!r} cannot be locked: {error}") from error
            else:
                self._seen_lock = None
                return
            if time.monotonic() >= give_up_at_s or pid == os.getpid():
                by = "" if pid is None else f" by process {pid}"
                raise LeaseHeldError(f"lease {str(self._path)!r} is in use{by}")
            time.sleep(_LOCK_POLL_S)

    def _stands_still(self, pid: int) -> bool:
        """Whether a process stays inside for longer than the lease lasts.

        A holder's lease is renewed when it enters; of others, which only look, it counts how long
        they have been seen inside.
        """
        now_s = self._now_s()
        if self._seen_lock is None or self._seen_lock[0] != pid:
            self._seen_lock = pid, now_s
        if pid == os.getpid():
            return False
        holding = self._read()
        if holding.holder and holding.process is not None and holding.process.pid == pid:
            return self._has_run_out(holding)
        return now_s - self._seen_lock[1] >= self._ttl_s

    # The file -------------------------------------------------------------------------------

    def _read(self) -> _Holding:
        try:
            document = json.loads(self._path.read_bytes())
            if document.pop("format") != _FORMAT:
                raise ValueError("another format")
            mark = document.pop("process")
            process = None if mark is None else ProcessMark(**mark)
            return _Holding(**document, process=process)
        except FileNotFoundError:
            return _Holding()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise LeaseError(f"lease {str(self._path)!r} cannot be read: {error!r}") from error

    def _write(self, holding: _Holding, *, durably: bool = False) -> None:
        """Replace the file as a whole; a new token survives the end of the machine too."""
        document: dict[str, Any] = {"format": _FORMAT, **asdict(holding)}
        beside = self._path.with_name(self._path.name + ".new")
        try:
            with beside.open("w", encoding="ascii") as file:
                json.dump(document, file)
                file.flush()
                if durably:
                    os.fsync(file.fileno())
            beside.replace(self._path)
            if durably:
                sync_folder(self._path.parent)
        except OSError as error:
            raise LeaseError(f"lease {str(self._path)!r} cannot be written: {error}") from error


def _whose(holding: _Holding) -> str:
    if not holding.holder or holding.process is None:
        return "released"
    return f"process {holding.process.pid} on {holding.host_name!r}"
