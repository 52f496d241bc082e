"""The HTTP server: plain and by TLS, peers that say nothing, an orderly end, taken addresses."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3

from service.settings import ServerSettings
from service.tls import RenewedContext
from service.web_server import WebServer, listen
from solver.domain.errors import ForeswapError, InvalidInputError
from tests.machine import without

BIG = b"0123456789abcdef" * 2**16


class Application:
    """Answers with what was sent; ``/big`` with a megabyte, ``/slow`` when it is told to."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        body = environ["wsgi.input"].read()
        if environ["PATH_INFO"] == "/slow":
            self.entered.set()
            self.go_on.wait(10)
        if environ["PATH_INFO"] == "/big":
            body = BIG
        scheme = environ["wsgi.url_scheme"]
        start("200 OK", [("Content-Length", str(len(body))), ("X-Scheme", scheme)])
        return [body]


@contextmanager
def serving(
    application: Application, **settings: Any
) -> Iterator[tuple[WebServer, threading.Thread]]:
    """Run a server on a free port, and stop it at the end."""
    chosen = ServerSettings(port=0, **settings)
    server = WebServer(application, listen(chosen), chosen)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server, thread
    finally:
        application.go_on.set()
        server.stop()
        thread.join(10)
        assert not thread.is_alive()


def is_reachable(port: int) -> bool:
    """Return whether a connection is accepted."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def make_pair(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of localhost and its key."""
    if shutil.which("openssl") is None:
        without("a certificate cannot be made: openssl is not installed")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        [*command, *names, "-out", certificate, "-keyout", key], check=True, capture_output=True
    )
    return certificate, key


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of localhost and its key."""
    return make_pair(tmp_path_factory.mktemp("tls"))


def shown_certificate(port: int) -> str:
    """Return the certificate that a new connection is shown."""
    return ssl.get_server_certificate(("localhost", port), timeout=10)


def test_answers_plain_requests() -> None:
    """A body goes there and back."""
    with serving(Application()) as (server, _):
        answer = urllib3.request("POST", f"http://127.0.0.1:{server.port}/", body=b"hello")
        assert (answer.status, answer.data) == (200, b"hello")


def test_answers_by_tls(pair: tuple[Path, Path]) -> None:
    """Megabytes go both ways, request after request on one connection, and the scheme is known."""
    certificate, key = pair
    settings = {"tls_certificate": certificate, "tls_key": key}
    with (
        serving(Application(), **settings) as (server, _),
        urllib3.PoolManager(ca_certs=str(certificate)) as pool,
    ):
        base = f"https://localhost:{server.port}"
        for _ in range(5):
            assert pool.request("GET", base + "/big").data == BIG
            answer = pool.request("POST", base + "/", body=BIG)
            assert answer.data == BIG
            assert answer.headers["X-Scheme"] == "https"


def test_peers_that_do_not_shake_hands_keep_nobody_waiting(pair: tuple[Path, Path]) -> None:
    """Silent and talking nonsense, they do not stop the answers to others."""
    certificate, key = pair
    settings = {"tls_certificate": certificate, "tls_key": key}
    with serving(Application(), **settings) as (server, _):
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(30)]
        silent[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
        context = ssl.create_default_context(cafile=str(certificate))
        answer = urllib3.PoolManager(ssl_context=context).request(
            "POST", f"https://localhost:{server.port}/", body=b"x", timeout=5, retries=False
        )
        assert answer.data == b"x"
        for peer in silent:
            peer.close()


def test_finishes_requests_under_way() -> None:
    """Told to stop, the server takes no more connections and answers what it has begun."""
    application = Application()
    with serving(application) as (server, thread):
        answers: list[bytes] = []
        url = f"http://127.0.0.1:{server.port}/slow"
        asking = threading.Thread(
            target=lambda: answers.append(urllib3.request("POST", url, body=b"done").data)
        )
        asking.start()
        assert application.entered.wait(10)
        server.stop()
        while is_reachable(server.port):
            pass
        assert thread.is_alive()
        application.go_on.set()
        asking.join(10)
        thread.join(10)
        assert answers == [b"done"]
        assert not thread.is_alive()


def test_does_not_wait_for_ever_for_the_last_request() -> None:
    """After the time of the settings the server ends all the same."""
    application = Application()
    with serving(application, shutdown_s=0.1) as (server, thread):
        peer = socket.create_connection(("127.0.0.1", server.port))
        peer.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        assert application.entered.wait(10)
        server.stop()
        thread.join(10)
        assert not thread.is_alive()
        peer.close()


def test_a_taken_address_is_refused() -> None:
    """The refusal names the address and what may have it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ForeswapError, match=rf"127.0.0.1:{port} is in use"):
            listen(ServerSettings(port=port))


def test_an_address_of_another_machine_is_refused() -> None:
    """The setting is named."""
    with pytest.raises(InvalidInputError, match=r"server\.host: expected an address of this"):
        listen(ServerSettings(host="192.0.2.1", port=0))


def test_wrong_files_of_tls_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """A missing file, and a key that is none."""
    certificate, _ = pair
    for key, expected in ((tmp_path / "none.pem", "tls_key"), (certificate, "tls_certificate")):
        settings = ServerSettings(port=0, tls_certificate=certificate, tls_key=key)
        with listen(settings) as sock, pytest.raises(InvalidInputError, match=expected):
            WebServer(Application(), sock, settings)


def test_a_renewed_certificate_is_taken_up(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """New connections are shown it; one that stands goes on, and half of a pair changes nothing."""
    certificate, key = (Path(shutil.copy(file, tmp_path)) for file in pair)
    (tmp_path / "new").mkdir()
    new_certificate, new_key = make_pair(tmp_path / "new")
    old, new = certificate.read_text(), new_certificate.read_text()
    settings = {"tls_certificate": certificate, "tls_key": key}
    with (
        serving(Application(), **settings) as (server, _),
        urllib3.PoolManager(ca_certs=str(pair[0])) as pool,
    ):
        base = f"https://localhost:{server.port}/"
        assert pool.request("POST", base, body=b"before").data == b"before"
        new_certificate.replace(certificate)
        assert shown_certificate(server.port) == old
        new_key.replace(key)
        ends_s = time.monotonic() + 30
        while shown_certificate(server.port) != new:
            assert time.monotonic() < ends_s, "the new certificate is not shown"
        # It trusts the old certificate alone, so this is the connection it had.
        assert pool.request("POST", base, body=b"after", retries=False).data == b"after"


def test_files_of_tls_are_read_once_they_rest(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Not while they are written, not without each other, and not again and again."""
    certificate, key = (Path(shutil.copy(file, tmp_path)) for file in pair)
    (tmp_path / "new").mkdir()
    renewed = RenewedContext(certificate, key)
    first = renewed.context
    key.write_text("half a k", encoding="ascii")
    renewed.look()
    key.unlink()
    renewed.look()
    shutil.copy(certificate, key)
    renewed.look()
    renewed.look()
    assert renewed.context is first, "it took up what is no pair"
    for file in make_pair(tmp_path / "new"):
        file.replace(tmp_path / file.name)
    renewed.look()
    assert renewed.context is first, "it read what has just been written"
    renewed.look()
    second = renewed.context
    assert second is not first
    renewed.look()
    assert renewed.context is second, "it read again what it had read"
