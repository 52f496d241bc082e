"""The HTTP server: waitress, by TLS if it is to, with an orderly end.

It knows nothing of what it serves. Whoever starts it opens the socket first, so that an address
that is taken is found before anything else is begun.
"""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from waitress import create_server

from service.settings import ServerSettings
from service.tls import RenewedContext, tls_channel
from solver.domain.errors import ForeswapError, InvalidInputError

POLL_S: Final = 1.0
LOOK_S: Final = 1.0
"""Between two looks at the files of TLS."""
MAX_CONNECTIONS: Final = 1000
MAX_HEADER_BYTES: Final = 64 * 1024


def listen(settings: ServerSettings) -> socket.socket:
    """Return a socket bound to the address of the settings.

    Raises
    ------
    InvalidInputError
        If there is no such address on this machine.
    ForeswapError
        If somebody has it already.
    """
    address = f"{settings.host}:{settings.port}"
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, place = found[0]
        return _bound(socket.socket(family, kind, protocol), place)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ForeswapError(
                f"server.port: expected a free port, but {address} is in use: either the service "
                "runs already, or another program has it (choose one with --port)"
            ) from error
        raise InvalidInputError(
            f"expected an address of this machine, got {address}: {error.strerror}",
            path="server.host",
        ) from error


def _bound(sock: socket.socket, place: Any) -> socket.socket:
    try:
        # Connections of a service that has just ended do not keep its successor waiting.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(place)
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    return sock


class WebServer:
    """Answers requests with an application until it is told to stop.

    Parameters
    ----------
    application
        WSGI.
    sock
        From :func:`listen`; closed at the end.

    Raises
    ------
    InvalidInputError
        If the files of TLS cannot be used.
    """

    def __init__(self, application: Any, sock: socket.socket, settings: ServerSettings) -> None:
        self._tls: RenewedContext | None = None
        if settings.tls_certificate is not None and settings.tls_key is not None:
            self._tls = RenewedContext(settings.tls_certificate, settings.tls_key)
        self._look_s = time.monotonic() + LOOK_S
        self._shutdown_s = settings.shutdown_s
        self._stopping = False
        self._server = create_server(
            application, sockets=[sock], **_adjustments(settings, has_tls=self._tls is not None)
        )
        if (tls := self._tls) is not None:
            self._server.channel_class = tls_channel(lambda: tls.context)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.effective_port)

    def stop(self) -> None:
        """Let ``run`` end; may be called from any thread and from a signal's handler."""
        self._stopping = True
        # The poll is waiting, and goes on waiting after a signal.
        with contextlib.suppress(OSError):
            self._server.pull_trigger()

    def run(self, on_tick: Callable[[], None] = lambda: None) -> None:
        """Answer requests until stopped; then take no more and finish those under way.

        Parameters
        ----------
        on_tick
            Called once a second or more often, for as long as requests are taken.
        """
        try:
            while not self._stopping:
                self._poll()
                self._look_at_tls()
                on_tick()
            self._finish()
        finally:
            self._server.task_dispatcher.shutdown(timeout=1)
            self._server.asyncore.close_all(self._server._map)

    def _poll(self) -> None:
        self._server.asyncore.loop(timeout=POLL_S, map=self._server._map, use_poll=True, count=1)

    def _look_at_tls(self) -> None:
        now_s = time.monotonic()
        if self._tls is not None and now_s >= self._look_s:
            self._look_s = now_s + LOOK_S
            self._tls.look()

    def _finish(self) -> None:
        self._server.accepting = False
        self._server.del_channel()
        self._server.socket.close()
        deadline = time.monotonic() + self._shutdown_s
        while time.monotonic() < deadline and any(map(_is_busy, self._channels())):
            self._server.asyncore.loop(
                timeout=min(POLL_S, 0.05), map=self._server._map, use_poll=True, count=1
            )

    def _channels(self) -> list[Any]:
        return list(self._server.active_channels.values())


def _is_busy(channel: Any) -> bool:
    return bool(channel.requests or channel.total_outbufs_len)


def _adjustments(settings: ServerSettings, *, has_tls: bool) -> dict[str, Any]:
    values: dict[str, Any] = {
        "threads": settings.threads,
        "ident": None,
        "url_scheme": "https" if has_tls else "http",
        "asyncore_use_poll": True,
        "connection_limit": MAX_CONNECTIONS,
        "max_request_header_size": MAX_HEADER_BYTES,
        "max_request_body_size": settings.max_body_mib * 2**20,
        "clear_untrusted_proxy_headers": True,
        "expose_tracebacks": False,
    }
    if settings.trusted_proxy:
        values["trusted_proxy"] = settings.trusted_proxy
        values["trusted_proxy_headers"] = {
            "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
        }  # fmt: skip
    return values


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` at SIGTERM and SIGINT within the block, as often as they come."""

    def told(number: int, frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
