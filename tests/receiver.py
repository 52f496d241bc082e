"""A real HTTP server that keeps the monitor's delivery contract, and can be told to misbehave."""

from __future__ import annotations

import gzip
import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "a-token-of-this-host"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What one request meets instead of the contract.

    Parameters
    ----------
    status
        Answered at once; 0 to answer as the contract says, as far as the rest lets.
    body, headers
        Of that answer.
    store_first
        Of the batch, so many records are stored, and then the connection is cut without an answer.
    """

    status: int = 0
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    store_first: int | None = None


@dataclass
class Receiver:
    """What was received, and how to behave.

    Parameters
    ----------
    faults
        One for each of the next requests.
    away
        Answer every request with 503.
    bad
        Minutes (``minute_at``) that are refused.
    max_records
        More in one batch are too large.
    clock_offset
        Of the server's clock.
    """

    url: str = ""
    faults: deque[Fault] = field(default_factory=deque)
    away: bool = False
    bad: set[str] = field(default_factory=set)
    max_records: int = 1000
    clock_offset: timedelta = timedelta()
    minutes: list[dict[str, Any]] = field(default_factory=list)
    """Stored minutes in the order they were stored."""
    numbers: list[tuple[str, int]] = field(default_factory=list)
    """Stream and number of each of them."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Every envelope that was read, stored or not."""
    tokens: list[str] = field(default_factory=list)
    repeated: int = 0
    """Records that were dropped because they were stored before."""

    def __post_init__(self) -> None:
        self._high: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def store(self, envelope: dict[str, Any], limit: int | None = None) -> int:
        """Store what is new of a batch and return up to where it is stored now."""
        stream = (envelope["host"], envelope["stream"])
        for record in envelope["records"][:limit]:
            if record["seq"] <= self._high.get(stream, 0):
                self.repeated += 1
                continue
            self._high[stream] = record["seq"]
            self.minutes.append(record["minute"])
            self.numbers.append((envelope["stream"], record["seq"]))
        return self._high.get(stream, envelope["first_seq"] - 1)

    def answer(self, token: str, envelope: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Return status and document; ``None`` to cut the connection."""
        with self._lock:
            self.requests.append(envelope)
            self.tokens.append(token)
            fault = self.faults.popleft() if self.faults else Fault()
            if fault.store_first is not None:
                self.store(envelope, fault.store_first)
                return None
            if fault.status:
                return fault.status, {"raw": fault.body, "headers": fault.headers}
            if self.away:
                return 503, {"title": "away"}
            if token != f"Bearer {TOKEN}":
                return 401, {"title": "no such token"}
            if len(envelope["records"]) > self.max_records:
                return 413, {"title": "too large"}
            for record in envelope["records"]:
                if record["minute"].get("minute_at") in self.bad:
                    return 422, {"title": "bad record", "refused_seq": record["seq"]}
            return 200, {"accepted_through": self.store(envelope)}


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        envelope = json.loads(gzip.decompress(body))
        answered = self.receiver.answer(self.headers.get("Authorization", ""), envelope)
        if answered is None:
            self.connection.close()
            return
        status, document = answered
        raw = document.get("raw")
        content = json.dumps(document).encode() if raw is None else raw
        self.send_response_only(status)
        now = datetime.now(UTC) + self.receiver.clock_offset
        self.send_header("Date", format_datetime(now, usegmt=True))
        self.send_header("Content-Length", str(len(content)))
        for name, value in document.get("headers", {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
        return


@contextmanager
def running(receiver: Receiver, *, port: int = 0) -> Iterator[Receiver]:
    """Listen on this host while the block lasts; ``receiver.url`` says where."""
    handler = type("Handler", (_Handler,), {"receiver": receiver})
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}/api/v1/ingest"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def write_token(folder: Path) -> Path:
    """Return a new file that holds the token the receiver knows."""
    path = folder / "token"
    path.write_text(f"{TOKEN}\n", encoding="ascii")
    path.chmod(0o600)
    return path
