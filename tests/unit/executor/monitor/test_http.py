"""What may be posted where, and that a token stays where it is."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from executor.monitor.http import HttpSender, Verdict, read_token, understand
from solver.domain.errors import InvalidInputError
from tests.machine import without
from tests.receiver import Receiver, _Handler, write_token

BODY = b'{"host":"h1","stream":"s","first_seq":1,"records":[{"seq":1,"minute":{}}]}'


@pytest.mark.parametrize(
    "url",
    [
        "http://foreswap.example/ingest",
        "ftp://foreswap.example/",
        "foreswap.example",
        "https://",
        "https://user:secret@foreswap.example/",
    ],
)
def test_a_token_never_travels_in_the_open(tmp_path: Path, url: str) -> None:
    """Only https, or http on this very host; a secret within an address is not repeated."""
    with pytest.raises(InvalidInputError, match="url: expected") as refusal:
        HttpSender(url, write_token(tmp_path))
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "mode"),
    [("two words", 0o600), ("", 0o600), ("line\r\nInjected: 1", 0o600), ("ümlaut", 0o600),
     ("x" * 5000, 0o600), ("fine", 0o644)],
)  # fmt: skip
def test_a_token_file_is_checked_without_showing_it(
    tmp_path: Path, content: str, mode: int
) -> None:
    """The message names the file, never what it holds."""
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(InvalidInputError, match="token file") as refusal:
        read_token(path)
    assert not content or content not in str(refusal.value)


def test_a_missing_token_file_is_refused_at_once(tmp_path: Path) -> None:
    """Not only at the first delivery."""
    with pytest.raises(InvalidInputError, match="No such file"):
        HttpSender("https://foreswap.example/", tmp_path / "token")


def test_an_instant_to_retry_after_is_by_the_services_clock() -> None:
    """A host whose clock is off still waits as long as was meant."""
    headers = {
        "Date": "Tue, 03 Mar 2026 08:00:00 GMT",
        "Retry-After": "Tue, 03 Mar 2026 08:01:30 GMT",
    }
    answer = understand(503, headers, b"")
    assert answer.retry_after_s == timedelta(seconds=90).total_seconds()


@pytest.mark.parametrize("text", ["soon", "-1", "1e9", ""])
def test_nonsense_to_retry_after_is_ignored(text: str) -> None:
    """The pause is then our own."""
    assert understand(503, {"Retry-After": text, "Date": "x"}, b"").retry_after_s is None


def test_a_problem_document_tells_why() -> None:
    """The service's own words reach the log."""
    answer = understand(403, {}, b'{"detail": "token of another host"}')
    assert answer.verdict is Verdict.KEPT
    assert answer.reason == "HTTP 403: token of another host"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of localhost, key and all."""
    path = tmp_path / "pair.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-addext", "basicConstraints=critical,CA:TRUE"]
    command += ["-keyout", str(path), "-out", str(tmp_path / "certificate.pem")]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        without("a certificate cannot be made: openssl is not installed")
    path.write_text(path.read_text() + (tmp_path / "certificate.pem").read_text())
    return path


@pytest.fixture
def tls(certificate: Path) -> Iterator[Receiver]:
    """A receiver behind TLS."""
    receiver = Receiver()
    handler = type("Handler", (_Handler,), {"receiver": receiver})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        receiver.url = f"https://localhost:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()


def test_a_trusted_certificate_is_accepted(
    tls: Receiver, tmp_path: Path, certificate: Path
) -> None:
    """The operator's own authority is named in the settings."""
    sender = HttpSender(tls.url, write_token(tmp_path), ca_file=certificate)
    answer = sender.post(BODY)
    assert (answer.verdict, answer.seq) == (Verdict.ACCEPTED, 1)


def test_a_stranger_gets_no_token(tls: Receiver, tmp_path: Path) -> None:
    """A certificate nobody vouches for ends the connection before anything was sent."""
    answer = HttpSender(tls.url, write_token(tmp_path)).post(BODY)
    assert answer.verdict is Verdict.KEPT
    assert "certificate" in answer.reason.lower()
    assert tls.requests == []
