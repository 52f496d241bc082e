"""TLS for the HTTP server, which has none of its own: handshakes and records without blocking.

One thread reads from and writes to all connections, so no peer may make it wait: a handshake goes
on whenever something has arrived, and a peer that says nothing is closed as any silent one is.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from socket import socket
from typing import Any, Final

from waitress.channel import HTTPChannel

from solver.domain.errors import InvalidInputError

RECORD_BYTES: Final = 2**14
"""Largest record of TLS; whoever reads as much leaves nothing behind that no poll tells of."""

_log = logging.getLogger(__name__)


class NothingYetError(Exception):
    """A record has not arrived as a whole."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what the files of a server make: TLS 1.2 or newer with the library's own ciphers.

    Raises
    ------
    InvalidInputError
        If a file cannot be read, or the two do not belong together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name, file in (("tls_certificate", certificate), ("tls_key", key)):
        if not file.is_file():
            raise InvalidInputError(
                f"expected a PEM file, got {str(file)!r}, which is none", path=f"server.{name}"
            )
    try:
        # Without the function, OpenSSL would ask the terminal for a passphrase.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise InvalidInputError(
            f"expected a certificate and its private key without a passphrase in {certificate} "
            f"and {key}, got: {error}",
            path="server.tls_certificate",
        ) from error
    return context


class RenewedContext:
    """What the files of a server make, made anew when they are replaced.

    Whoever renews a certificate writes two files, one after the other. So they are read once they
    have stayed the same from one look to the next; and files that cannot be used change nothing.

    Parameters
    ----------
    certificate, key
        As for :func:`server_context`, which says what is wrong with those there are at the start.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._read = self._seen = self._state()
        self.context = server_context(certificate, key)

    def look(self) -> None:
        """Take up files that were replaced; connections that stand keep what they began with."""
        before, self._seen = self._seen, self._state()
        if self._seen in (None, self._read) or self._seen != before:
            return
        self._read = self._seen
        try:
            self.context = server_context(*self._files)
        except InvalidInputError as error:
            _log.error("the certificate in use is kept: %s", error)
        else:
            _log.info("the certificate in %s is in use now", self._files[0])

    def _state(self) -> tuple[tuple[int, ...], ...] | None:
        """Return what is another when a file was; ``None`` while one is not there."""
        try:
            stats = [file.stat() for file in self._files]
        except OSError:
            return None
        return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats)


class TlsChannel(HTTPChannel):
    """One connection by TLS.

    The server's thread and the thread that answers may both send; OpenSSL's state of a connection
    must not be used by two at once, so a lock stands around it.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        server: Any,
        sock: socket,
        address: Any,
        *rest: Any,
        **more: Any,
    ) -> None:
        self._tls_lock = threading.RLock()
        self._shaken = False
        self._wants_to_write = False
        sock.setblocking(False)
        wrapped = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        super().__init__(server, wrapped, address, *rest, **more)

    def readable(self) -> bool:
        """Return whether what arrives is to be read now."""
        return not self._shaken or bool(super().readable())

    def writable(self) -> bool:
        """Return whether there is something to send."""
        return self._wants_to_write or bool(super().writable())

    def handle_read(self) -> None:
        """Go on with the handshake, or read."""
        try:
            if self._shake_hands():
                super().handle_read()
        except NothingYetError:
            return

    def handle_write(self) -> None:
        """Go on with the handshake, or send what waits."""
        if self.will_close or self._shake_hands():
            super().handle_write()

    def recv(self, size: int) -> bytes:
        """Return what was received, empty at the end of the connection.

        :raises NothingYetError: if no record has arrived as a whole
        """
        with self._tls_lock:
            try:
                received: bytes = super().recv(max(size, RECORD_BYTES))
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                raise NothingYetError from error
            return received

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Return how much could be sent."""
        with self._tls_lock:
            try:
                sent: int = super().send(data, do_close=do_close)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return 0
            return sent

    def close(self) -> None:
        """Tell the peer that nothing more will come, and close."""
        with self._tls_lock:
            try:
                if self._shaken:
                    self.socket.unwrap()
            except (OSError, ValueError):
                pass  # It does not wait for the peer to say the same.
            super().close()

    def _shake_hands(self) -> bool:
        """Return whether the handshake is done; a connection on which it fails is closed."""
        if self._shaken:
            return True
        self._wants_to_write = False
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            self._wants_to_write = True
            return False
        except OSError:
            self.handle_close()
            return False
        self._shaken = True
        return True


def tls_channel(context: Callable[[], ssl.SSLContext]) -> Any:
    """Return what the server is to make of each connection it accepts, by the context then."""

    def make(server: Any, sock: socket, *rest: Any, **more: Any) -> TlsChannel | None:
        try:
            return TlsChannel(context(), server, sock, *rest, **more)
        except OSError:
            # It had already gone; the server goes on.
            sock.close()
            return None

    return make
