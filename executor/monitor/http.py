"""Posts batches over HTTPS and says what the answer means; knows no outbox and never waits.

The contract with the service stands in docs/monitor.md.
"""

from __future__ import annotations

import enum
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import urllib3

from solver.domain.errors import InvalidInputError

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 30.0
"""The service stores a batch in well under a second; a busy database may take longer."""
MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_TOKEN_BYTES: Final = 4096
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Verdict(enum.Enum):
    """What an answer means for the records that were sent."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """The service will never take one of them, and says which."""
    TOO_LARGE = "too_large"
    KEPT = "kept"
    """Nothing was learnt of them: they stay and are sent again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one post.

    Parameters
    ----------
    seq
        Of ``ACCEPTED``: up to where the service has them; of ``REFUSED``: which it will not take.
    reason
        For people; empty when accepted.
    retry_after_s
        What the service asked for.
    server_at
        The service's clock as it answered.
    """

    verdict: Verdict
    seq: int = 0
    reason: str = ""
    retry_after_s: float | None = None
    server_at: datetime | None = None


class Sender(Protocol):
    """A way to the service."""

    def post(self, body: bytes) -> Answer:
        """Post a body of JSON and return what came of it; never raises for the network."""


class HttpSender:
    """Posts to one address.

    Parameters
    ----------
    url
        ``https``; ``http`` only on this very host, since the token would travel in the open.
    token_file
        Read anew for each post, so that a token can be changed under way; its content is never
        written anywhere else.
    ca_file
        Authorities to trust instead of the system's.

    Raises
    ------
    InvalidInputError
        If the address is of another kind, or token or authorities cannot be read.
    """

    def __init__(self, url: str, token_file: Path, *, ca_file: Path | None = None) -> None:
        self._url = _checked_url(url)
        self._token_file = token_file
        read_token(token_file)
        if ca_file is not None and not ca_file.is_file():
            raise InvalidInputError(f"expected a file, got {str(ca_file)!r}", path="ca_file")
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=1,
            ca_certs=None if ca_file is None else str(ca_file),
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            retries=False,
        )

    def post(self, body: bytes) -> Answer:
        """Post a body, compressed."""
        try:
            token = read_token(self._token_file)
        except InvalidInputError as error:
            return Answer(verdict=Verdict.KEPT, reason=str(error))
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
        }
        try:
            response = self._pool.request(
                "POST",
                self._url,
                body=gzip.compress(body, compresslevel=6),
                headers=headers,
                preload_content=False,
            )
            try:
                content = response.read(MAX_ANSWER_BYTES)
            finally:
                # A connection a minute costs less than one that a proxy closed meanwhile.
                response.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return Answer(verdict=Verdict.KEPT, reason=f"{type(error).__name__}: {error}")
        return understand(response.status, response.headers, content)


def understand(status: int, headers: Mapping[str, str], content: bytes) -> Answer:
    """Return what an HTTP answer means.

    Only the service itself can refuse a record, by a 400 or 422 that names it: what a proxy in
    between says, or a service of another version, leaves every record where it is.
    """
    document = _document(content)
    server_at = _http_date(headers.get("Date", ""))
    accepted = _seq(document, "accepted_through")
    refused = _seq(document, "refused_seq")
    if status == 200 and accepted is not None:
        return Answer(verdict=Verdict.ACCEPTED, seq=accepted, server_at=server_at)
    told = document.get("detail") or document.get("title") or ""
    reason = f"HTTP {status}" + (f": {told:.200}" if isinstance(told, str) and told else "")
    if status in (400, 422) and refused is not None:
        return Answer(verdict=Verdict.REFUSED, seq=refused, reason=reason, server_at=server_at)
    if status == 413:
        return Answer(verdict=Verdict.TOO_LARGE, reason=reason, server_at=server_at)
    if status == 200:
        reason = "HTTP 200 without accepted_through: this is not the service"
    return Answer(
        verdict=Verdict.KEPT,
        reason=reason,
        retry_after_s=_retry_after_s(headers.get("Retry-After", ""), server_at),
        server_at=server_at,
    )


def read_token(path: Path) -> str:
    """Return the token of a file.

    Raises
    ------
    InvalidInputError
        If it cannot be read, others may read it too, or it is no single word. The message never
        shows the content.
    """
    name = f"token file {str(path)!r}"
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            content = file.read(MAX_TOKEN_BYTES + 1)
    except OSError as error:
        raise InvalidInputError(
            f"{name}: expected to read it, got: {error.strerror or error}"
        ) from error
    if mode & 0o007:
        raise InvalidInputError(
            f"{name}: expected that only its owner and group may read it, got mode {mode & 0o777:o}"
        )
    token = content.strip()
    if not token or len(token) > MAX_TOKEN_BYTES or not all(33 <= byte <= 126 for byte in token):
        raise InvalidInputError(
            f"{name}: expected one word of at most {MAX_TOKEN_BYTES} printable ASCII characters"
        )
    return token.decode("ascii")


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not (parts.scheme == "https" or local) or not parts.hostname or parts.username:
        raise InvalidInputError(
            f"expected an address such as https://foreswap.example/api/v1/ingest without a user "
            f"(http only on this host), got {parts.scheme or url!r}",
            path="url",
        )
    return url


def _document(content: bytes) -> dict[str, object]:
    try:
        document = json.loads(content)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _seq(document: Mapping[str, object], name: str) -> int | None:
    value = document.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _http_date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _retry_after_s(text: str, server_at: datetime | None) -> float | None:
    """Return seconds; an instant is meant by the service's own clock."""
    if text.strip().isdigit():
        return float(text)
    at = _http_date(text)
    if at is None or server_at is None:
        return None
    return max(0.0, (at - server_at).total_seconds())
