"""Worker processes for work that holds a processor: started, fed, watched and replaced.

Each worker has a thread here that gives it one piece of work at a time. A worker that dies, hangs
or has grown too large is replaced; the work it had fails with the reason. What waits is bounded:
more is refused at once rather than answered too late.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

from service.solving.errors import (
    OverloadedError,
    PoolClosedError,
    SolvingError,
    WorkCancelledError,
    WorkerError,
)
from service.solving.work import Progress, Work
from service.solving.worker import Begin, Cancel, Ended, Reached, Ready, Taken
from solver.domain.errors import InvalidInputError

LOG: Final = logging.getLogger(__name__)

WORKER: Final = "service.solving.worker"

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
"""Between attempts to start a worker that does not come up."""

MOST_ATTEMPTS: Final = 3
"""Workers that work is given to, as long as none has begun with it."""

END_S: Final = 2.0
"""How long a worker has to end by itself before it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """How many workers, and how much they may take."""

    num_workers: int = 1
    """Solves that run at once; each uses up to two cores."""

    max_waiting: int = 16
    """Pieces of work that may wait beside those that idle workers take; more are refused."""

    max_resident_mib: int = 2048
    """Memory beyond which a worker is replaced once its work is done."""

    start_s: float = 300.0
    """How long a worker may take to be ready: the first on a machine compiles for a minute."""

    patience_s: float = 120.0
    """How long beyond its limit work may take, forecasts included, before its worker is killed."""

    niceness: int = 5
    """Added to the workers', so that requests are answered while they solve."""

    modules: tuple[str, ...] = ("service.solving.forecasting",)
    """What workers load before they are ready."""

    def __post_init__(self) -> None:
        for name, least in (("num_workers", 1), ("max_waiting", 0), ("max_resident_mib", 1)):
            if getattr(self, name) < least:
                raise InvalidInputError(
                    f"expected at least {least}, got {getattr(self, name)}", path=f"solving.{name}"
                )


class Ticket:
    """Work that was taken on: its answer to come, its progress, and the way to end it early."""

    def __init__(self, work: Work, on_progress: Callable[[Progress], None]) -> None:
        self.work = work
        self.future: Future[bytes] = Future()
        self._on_progress = on_progress
        self._begun = threading.Event()
        self._end_early: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self.attempts = 0
        self.cancelled = False

    @property
    def begun(self) -> bool:
        """Whether a worker has it."""
        return self._begun.is_set()

    def result(self, timeout_s: float | None = None) -> bytes:
        """Return the answer.

        :raises SolvingError: if there will be none
        :raises ForeswapError: what the work itself raised, such as ``InvalidInputError``
        :raises TimeoutError: if there is none yet
        """
        return self.future.result(timeout_s)

    def cancel(self) -> None:
        """End it early: running work answers with what it has, waiting work not at all."""
        with self._lock:
            self.cancelled = True
            end_early = self._end_early
        if end_early is not None:
            end_early()

    def tell(self, progress: Progress) -> None:
        """Hand progress on; an error in whoever listens is theirs."""
        with suppress(Exception):
            self._on_progress(progress)

    def hand_out(self, end_early: Callable[[], None]) -> bool:
        """Take note that a worker is to have it; ``False`` if it was cancelled before."""
        with self._lock:
            self.attempts += 1
            self._end_early = end_early
            return not self.cancelled

    def note_begun(self) -> None:
        """Take note that a worker has it."""
        self._begun.set()

    def settle(self, answer: bytes | None, error: Exception | None) -> None:
        """Give it its end, once."""
        with self._lock:
            self._end_early = None
            if self.future.done():
                return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(answer or b"")


class SolverPool:
    """A few worker processes and what waits for them.

    ``start`` returns at once; ``ready`` tells when every worker has its kernels compiled.

    Parameters
    ----------
    on_ended
        Told of all work that a worker has had: ``answered``, ``refused`` or ``lost`` with its
        worker, and how many seconds it took.
    """

    def __init__(
        self,
        settings: PoolSettings | None = None,
        *,
        on_ended: Callable[[str, float], None] = lambda status, duration_s: None,
    ) -> None:
        self.settings = settings or PoolSettings()
        self.on_ended = on_ended
        self._waiting: deque[Ticket] = deque()
        self._num_idle = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._seats = [_Seat(self, number) for number in range(self.settings.num_workers)]

    def start(self) -> None:
        """Start the workers."""
        for seat in self._seats:
            seat.thread.start()

    @property
    def ready(self) -> bool:
        """Whether every worker is loaded."""
        return all(seat.ready.is_set() for seat in self._seats)

    def wait_until_ready(self, timeout_s: float) -> bool:
        """Return whether every worker was ready within a time."""
        ends_s = time.monotonic() + timeout_s
        return all(seat.ready.wait(max(0.0, ends_s - time.monotonic())) for seat in self._seats)

    @property
    def num_waiting(self) -> int:
        """How many pieces of work no worker has begun."""
        with self._changed:
            return len(self._waiting)

    @property
    def process_ids(self) -> list[int]:
        """The workers that live, by process number."""
        return [seat.process_id for seat in self._seats if seat.process_id]

    def submit(
        self, work: Work, *, on_progress: Callable[[Progress], None] = lambda progress: None
    ) -> Ticket:
        """Take work on.

        Parameters
        ----------
        on_progress
            Called from a thread of the pool; it should return soon.

        Raises
        ------
        OverloadedError
            If as much is waiting as may.
        PoolClosedError
            If the pool is closed.
        """
        ticket = Ticket(work, on_progress)
        with self._changed:
            if self._closing.is_set():
                raise PoolClosedError("the service is ending and takes on no more work")
            if len(self._waiting) >= self.settings.max_waiting + self._num_idle:
                raise OverloadedError(
                    f"{len(self._waiting)} requests are waiting to be solved, as many as may; "
                    "come again later",
                    retry_after_s=self._retry_after_s(),
                )
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """End work early, whether it waits or runs."""
        ticket.cancel()
        with self._changed:
            if ticket not in self._waiting:
                return
            self._waiting.remove(ticket)
        ticket.settle(None, WorkCancelledError("it was cancelled before it began"))

    def close(self) -> None:
        """End every worker and fail what is not done."""
        with self._changed:
            self._closing.set()
            left = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for ticket in left:
            ticket.settle(None, PoolClosedError("the service ended before it began"))
        for seat in self._seats:
            seat.end()
        for seat in self._seats:
            if seat.thread.is_alive():
                seat.thread.join(2 * END_S + 1.0)

    @property
    def closing(self) -> threading.Event:
        """Set once the pool is to end."""
        return self._closing

    def take(self) -> Ticket | None:
        """Return the next work, waiting for it; ``None`` when the pool closes."""
        with self._changed:
            self._num_idle += 1
            self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
            self._num_idle -= 1
            return self._waiting.popleft() if self._waiting else None

    def put_back(self, ticket: Ticket) -> None:
        """Let work that no worker has seen be the next again."""
        with self._changed:
            if not self._closing.is_set():
                self._waiting.appendleft(ticket)
                self._changed.notify()
                return
        ticket.settle(None, PoolClosedError("the service ended before it began"))

    def _retry_after_s(self) -> int:
        """Return about when one place will be free."""
        if not self._waiting:
            return 1
        due_s = sum(ticket.work.limit_s for ticket in self._waiting)
        return max(1, min(600, math.ceil(due_s / len(self._waiting) / len(self._seats))))


class _Seat:
    """One worker after another, and the thread that serves it."""

    def __init__(self, pool: SolverPool, number: int) -> None:
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run, name=f"solver-{number}", daemon=True)
        self._pool = pool
        self._process: _Process | None = None

    @property
    def process_id(self) -> int:
        """The worker's number; 0 while there is none."""
        process = self._process
        return process.id if process is not None else 0

    def end(self) -> None:
        """End the worker; its thread finds the pool closing."""
        process = self._process
        if process is not None:
            process.hang_up()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._pool.closing.is_set():
            self._process = _Process(self._pool.settings)
            try:
                self._process.wait_until_ready(self._pool.settings.start_s)
                self.ready.set()
                pause_s = FIRST_PAUSE_S
                self._feed(self._process)
            except WorkerError as error:
                if not self._pool.closing.is_set():
                    LOG.error("a worker is replaced: %s", error)
                    if not self.ready.is_set():
                        self._pool.closing.wait(pause_s)
                        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            finally:
                self.ready.clear()
                self._process.end()
                self._process = None

    def _feed(self, process: _Process) -> None:
        """Give one piece of work after another, until the worker has grown too large or died."""
        while (ticket := self._pool.take()) is not None:
            began_s = time.monotonic()
            try:
                ended = self._carry_out(process, ticket)
            except SolvingError as error:
                self._pool.on_ended("lost", time.monotonic() - began_s)
                self._fail(ticket, error)
                raise
            if ended is None:
                continue
            status = "answered" if ended.error is None else "refused"
            self._pool.on_ended(status, time.monotonic() - began_s)
            ticket.settle(ended.answer, ended.error)
            if ended.resident_mib > self._pool.settings.max_resident_mib:
                LOG.info("a worker of %d MiB is replaced", ended.resident_mib)
                return

    def _fail(self, ticket: Ticket, error: SolvingError) -> None:
        """Settle work whose worker died; one that died before it began costs no work."""
        if self._pool.closing.is_set():
            ticket.settle(None, PoolClosedError("the service ended before it was done"))
        elif ticket.begun or ticket.attempts >= MOST_ATTEMPTS:
            ticket.settle(None, error)
        else:
            self._pool.put_back(ticket)

    def _carry_out(self, process: _Process, ticket: Ticket) -> Ended | None:
        number = process.next_number()
        if not ticket.hand_out(lambda: process.send_quietly(Cancel(number=number))):
            ticket.settle(None, WorkCancelledError("it was cancelled before it began"))
            return None
        process.send(Begin(number=number, work=ticket.work))
        if ticket.cancelled:  # Asked for before the worker knew of it.
            process.send_quietly(Cancel(number=number))
        ends_s = time.monotonic() + ticket.work.limit_s + self._pool.settings.patience_s
        while True:
            message = process.receive(ends_s - time.monotonic())
            if isinstance(message, Ended):
                return message
            if isinstance(message, Taken):
                ticket.note_begun()
            elif isinstance(message, Reached):
                ticket.tell(message.progress)


class _Process:
    """A worker process and the pipe to it; every trouble with it is a ``WorkerError``."""

    def __init__(self, settings: PoolSettings) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", WORKER, str(theirs.fileno()), *settings.modules],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
                # An interrupt at a terminal is the server's business.
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())
        self._sending = threading.Lock()
        self._numbers = itertools.count(1)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self.id, os.nice(0) + settings.niceness)

    @property
    def id(self) -> int:
        return self._popen.pid

    def next_number(self) -> int:
        return next(self._numbers)

    def wait_until_ready(self, timeout_s: float) -> None:
        message = self.receive(timeout_s)
        if not isinstance(message, Ready):
            raise WorkerError(f"expected a worker that is ready, got {message!r}")

    def send(self, message: Begin | Cancel) -> None:
        try:
            with self._sending:
                self._connection.send(message)
        except OSError as error:
            raise WorkerError(self._death()) from error
        except Exception as error:
            raise WorkerError(f"the work cannot be told to a worker: {error!r}") from error

    def send_quietly(self, message: Cancel) -> None:
        with suppress(WorkerError):
            self.send(message)

    def receive(self, timeout_s: float) -> object:
        try:
            if not self._connection.poll(max(0.0, timeout_s)):
                raise WorkerError("the worker did not answer in time")
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise WorkerError(self._death()) from error
        except WorkerError:
            raise
        except Exception as error:
            # Nobody but this thread serves the seat: it has to outlive whatever it is told.
            raise WorkerError(f"what the worker told cannot be read: {error!r}") from error

    def hang_up(self) -> None:
        """Close the pipe: the worker ends, and whoever reads from it here learns of it."""
        with suppress(ProcessLookupError):
            self._popen.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """End the process, for certain, and wait for it."""
        self.hang_up()
        try:
            self._popen.wait(END_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._connection.close()

    def _death(self) -> str:
        """Say how the worker ended."""
        with suppress(subprocess.TimeoutExpired):
            code = self._popen.wait(END_S)
            if code < 0:
                return f"the worker process was ended by {signal.Signals(-code).name}"
            return f"the worker process ended with exit code {code}"
        return "the worker process closed its pipe"
