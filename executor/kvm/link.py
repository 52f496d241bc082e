"""A host's connection with a time limit on every call, so that no host can hold up the others.

libvirt's calls block. Each host has one worker thread; who asks waits for the answer no longer
than the limit. A host whose worker is still stuck in an earlier call is silent: it is not asked
again before that call has come back, so that threads do not pile up before a dead host. Keepalives
end such calls after a while, and the connection is opened anew; one stuck while it is being opened,
which no keepalive ends, is left to itself after two minutes, a few times at most.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, Protocol, TypeVar

from executor.kvm.api import Connection, Fault, HypervisorError
from solver.domain.errors import TemporaryError
from solver.domain.units import HostId

T = TypeVar("T")

ABANDON_S: Final = 120.0
"""A worker stuck for so long is left to itself: opening a connection has no limit of its own."""

MAX_ABANDONED: Final = 3

RECONNECT_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses between tries to reach a host that cannot be reached."""


class Open(Protocol):
    """Opens a connection to a URI; ``Connection`` itself, or what a test puts in its place."""

    def __call__(self, uri: str) -> Connection:
        """Return an open connection."""


class HostLink:
    """Asks one host, within time limits.

    Parameters
    ----------
    host_id
        For messages.
    uri
        Of its libvirt daemon.
    timeout_s
        Longest wait for an answer.
    open_connection
        How to connect.
    """

    def __init__(
        self,
        host_id: HostId,
        uri: str,
        *,
        timeout_s: float = 10.0,
        open_connection: Open = Connection,
    ) -> None:
        self.host_id = host_id
        self.uri = uri
        self._timeout_s = timeout_s
        self._open = open_connection
        self._connection: Connection | None = None
        self._failures = 0
        self._retry_at_s = 0.0
        self._last_error = ""
        self._lock = threading.Lock()
        self._asked: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]
        self._asked = queue.SimpleQueue()
        self._stuck: Future[Any] | None = None
        self._stuck_since_s = 0.0
        self._abandoned = 0
        self._worker: threading.Thread | None = None

    def ask(self, operation: Callable[[Connection], T]) -> Future[T]:
        """Begin an operation on the host's connection and return at once.

        Raises
        ------
        TemporaryError
            If the host is still silent from an earlier call, or was out of reach a moment ago.
        """
        with self._lock:
            if self._stuck is not None and not self._stuck.done() and not self._abandon():
                raise self._silent("has not answered an earlier question yet")
            self._stuck = None
            wait_s = self._retry_at_s - time.monotonic()
            if self._connection is None and wait_s > 0:
                raise self._silent(self._last_error, delay_s=wait_s)
            if self._worker is None:
                self._worker = threading.Thread(
                    target=self._work,
                    args=(self._asked,),
                    name=f"host-{self.host_id}",
                    daemon=True,
                )
                self._worker.start()
            asked = self._asked
        future: Future[T] = Future()
        asked.put((lambda: operation(self._connected()), future))
        return future

    def _abandon(self) -> bool:
        """Leave a worker that has been stuck for long to itself; return whether that was done."""
        long_s = time.monotonic() - self._stuck_since_s
        if long_s < ABANDON_S or self._abandoned >= MAX_ABANDONED:
            return False
        self._abandoned += 1
        self._asked.put(None)
        self._asked = queue.SimpleQueue()
        self._worker = None
        self._connection = None
        return True

    def wait(self, future: Future[T], *, timeout_s: float | None = None) -> T:
        """Return the answer to what ``ask`` began.

        Raises
        ------
        TemporaryError
            If the host cannot be reached or does not answer in time.
        HypervisorError
            What libvirt said of anything else.
        """
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            return future.result(limit_s)
        except TimeoutError as error:
            with self._lock:
                self._stuck = future
                self._stuck_since_s = time.monotonic()
            raise self._silent(f"did not answer within {limit_s:.3g} s") from error
        except HypervisorError as error:
            if error.fault is Fault.SILENT:
                raise self._silent(str(error)) from error
            raise

    def call(self, operation: Callable[[Connection], T], *, timeout_s: float | None = None) -> T:
        """Ask and wait; see both."""
        return self.wait(self.ask(operation), timeout_s=timeout_s)

    def open_another(self) -> Connection:
        """Return a connection of its own to the host, for a call that lasts; the caller closes it.

        Raises
        ------
        TemporaryError
            If it is not there within the time limit; one that comes later is closed.
        """
        opened: Future[Connection] = Future()

        def run() -> None:
            try:
                connection = self._open(self.uri)
            except HypervisorError as error:
                opened.set_exception(error)
                return
            if opened.set_running_or_notify_cancel():
                opened.set_result(connection)
            else:
                connection.close()

        threading.Thread(target=run, name=f"connect-{self.host_id}", daemon=True).start()
        try:
            return opened.result(self._timeout_s)
        except TimeoutError as error:
            if not opened.cancel():
                # It came in the same instant.
                return opened.result()
            raise self._silent(f"no connection within {self._timeout_s:.3g} s") from error
        except HypervisorError as error:
            raise self._silent(str(error)) from error

    def close(self) -> None:
        """Close the connection once what is under way has ended; do not wait for it."""
        with self._lock:
            if self._worker is not None:
                self._asked.put(None)
                self._worker = None

    # In the worker's thread -------------------------------------------------------------------

    def _work(
        self, questions: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]
    ) -> None:
        while (asked := questions.get()) is not None:
            operation, future = asked
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(operation())
            except BaseException as error:  # noqa: BLE001 - whoever waits gets it
                if isinstance(error, HypervisorError) and error.fault is Fault.SILENT:
                    self._drop()
                future.set_exception(error)
        if questions is self._asked:
            self._drop()

    def _connected(self) -> Connection:
        """Return the connection, opened if need be; only the worker calls this."""
        if self._connection is not None and self._connection.alive:
            return self._connection
        self._drop()
        try:
            connection = self._open(self.uri)
        except HypervisorError as error:
            pause_s = RECONNECT_S[min(self._failures, len(RECONNECT_S) - 1)]
            self._failures += 1
            self._last_error = str(error)
            self._retry_at_s = time.monotonic() + pause_s
            raise HypervisorError(str(error), fault=Fault.SILENT) from error
        self._failures = 0
        self._connection = connection
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except HypervisorError:
                # It was broken already.
                return

    def _silent(self, why: str, *, delay_s: float = 5.0) -> TemporaryError:
        return TemporaryError(
            f"host {self.host_id!r} cannot be reached: {why}",
            delay_s=max(0.1, delay_s),
            host_id=self.host_id,
        )
