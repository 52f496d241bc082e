"""Ask Prometheus for series over a stretch of time: HTTP, limits, patience and precise errors.

What the series mean is not known here. A stretch is asked for in parts that stay below the points
Prometheus gives per series; a part that it finds too large is halved until it is not. What may pass
(no connection, 429, 502, 503, 504) is tried again; what will not is told with the query and
Prometheus' own words.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import numpy as np
import numpy.typing as npt
import urllib3

from solver.domain.errors import InvalidInputError, TelemetrySourceError

MAX_POINTS: Final = 11_000
"""Prometheus refuses to give more points of one series in one answer."""
PASSING: Final = frozenset({429, 502, 503, 504})
"""Statuses of a server, or of a proxy before it, that may answer the next time."""
LONGEST_WAIT_S: Final = 60.0
MAX_ANSWER_BYTES: Final = 2**30
"""A part never needs as much; more is another kind of server, or needs smaller parts."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a Prometheus.

    Parameters
    ----------
    url
        ``http://`` or ``https://``, with the path below which ``/api/v1`` stands, if any.
    bearer_token_file
        File with a token to send; read for every request, so that it may be renewed.
    username, password_file
        Basic authentication; not together with a token.
    ca_file
        Certificates to check the server's by, instead of the system's.
    timeout_s
        How long one answer may take; Prometheus is told to give up then, too.
    attempts
        How often one request is tried in all.
    """

    url: str
    bearer_token_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    timeout_s: float = 60.0
    attempts: int = 4

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise InvalidInputError(
                f"expected the address of a Prometheus such as http://prometheus:9090, "
                f"got {self.url!r}",
                path="url",
            )
        if parts.username is not None:
            raise InvalidInputError(
                "expected an address without a user name in it; username and password_file "
                "belong into the settings",
                path="url",
            )
        if (self.username is None) != (self.password_file is None):
            raise InvalidInputError("expected username and password_file together or neither")
        if self.username is not None and self.bearer_token_file is not None:
            raise InvalidInputError("expected bearer_token_file or username, got both")
        if self.ca_file is not None and not self.ca_file.is_file():
            raise InvalidInputError(
                f"expected a file of certificates, got {str(self.ca_file)!r}", path="ca_file"
            )
        if not 0 < self.timeout_s <= 3600:
            raise InvalidInputError(
                f"expected more than 0 and up to 3600, got {self.timeout_s:g}", path="timeout_s"
            )
        if not 1 <= self.attempts <= 20:
            raise InvalidInputError(f"expected 1..20, got {self.attempts}", path="attempts")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RangeSeries:
    """One series of an answer.

    Parameters
    ----------
    labels
        Its labels.
    at
        Positions of its points in the stretch asked for, rising, ``int64`` of shape ``(n,)``.
    values
        The points, ``float64`` of shape ``(n,)``; NaN and infinities as Prometheus has them.
    """

    labels: Mapping[str, str]
    at: npt.NDArray[np.int64]
    values: Doubles


class PrometheusClient:
    """Asks one Prometheus; holds a connection, so close it or use it in ``with``.

    Parameters
    ----------
    sleep
        Waits so many seconds between tries.
    grace_s
        How much longer than Prometheus was given an answer is waited for.
    """

    def __init__(
        self,
        access: Access,
        *,
        sleep: Callable[[float], None] = time.sleep,
        grace_s: float = 5.0,
    ) -> None:
        self._access = access
        self._sleep = sleep
        self._pool = urllib3.PoolManager(
            ca_certs=None if access.ca_file is None else str(access.ca_file),
            timeout=urllib3.Timeout(
                connect=min(10.0, access.timeout_s), read=access.timeout_s + grace_s
            ),
            retries=False,
        )

    def __enter__(self) -> PrometheusClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()

    def query_range(
        self, query: str, *, start_s: int, step_s: int, num_points: int, part_points: int = 1000
    ) -> list[RangeSeries]:
        """Return the series of a query at ``num_points`` instants, ``step_s`` apart.

        Parameters
        ----------
        start_s
            The first instant, in seconds since 1970.
        part_points
            How many instants to ask for at once, at most ``MAX_POINTS``.

        Returns
        -------
        list of RangeSeries
            Each set of labels once, in the order of first sight.

        Raises
        ------
        TelemetrySourceError
            If Prometheus cannot be reached, does not answer in time, or answers what is no answer.
        InvalidInputError
            If it refuses the query, or who asks.
        """
        if not 1 <= part_points <= MAX_POINTS:
            raise InvalidInputError(f"expected 1..{MAX_POINTS} points, got {part_points}")
        found: dict[tuple[tuple[str, str], ...], list[RangeSeries]] = {}
        for first in range(0, num_points, part_points):
            span = _Span(start_s, step_s, first, min(part_points, num_points - first))
            for series in self._part(query, span):
                found.setdefault(tuple(sorted(series.labels.items())), []).append(series)
        return [_joined(parts) for parts in found.values()]

    def _part(self, query: str, span: _Span) -> list[RangeSeries]:
        try:
            answer = self._ask("query_range", query, span.parameters(query))
        except _TooLargeError as error:
            if span.num_points == 1:
                raise TelemetrySourceError(
                    f"{self._access.url}: query {query!r} for one instant: {error}; expected an "
                    "answer within Prometheus' limits"
                ) from error
            return [series for half in span.halves() for series in self._part(query, half)]
        return [self._series(query, item, span) for item in answer]

    def _ask(self, what: str, query: str, fields: Mapping[str, str]) -> Sequence[Any]:
        """Return the matrix of an answer; try again while there is hope."""
        wait_s, last = 0.5, ""
        for attempt in range(self._access.attempts):
            if attempt:
                self._sleep(wait_s)
            wait_s = min(LONGEST_WAIT_S, 2.0 * wait_s)
            try:
                status, headers, body = self._send(what, fields)
            except urllib3.exceptions.SSLError as error:
                raise self._unavailable(query, f"TLS: {error}") from error
            except urllib3.exceptions.HTTPError as error:
                last = f"{type(error).__name__}: {error}"
                continue
            if status not in PASSING or _is_too_large(body):
                return self._matrix(query, status, body)
            last = f"HTTP {status}: {_words(body)}"
            wait_s = max(wait_s, min(LONGEST_WAIT_S, _retry_after(headers)))
        raise self._unavailable(query, f"{last} ({self._access.attempts} tries)")

    def _send(self, what: str, fields: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        # In the body, a query may be as long as it likes.
        response = self._pool.request(
            "POST",
            f"{self._access.url.rstrip('/')}/api/v1/{what}",
            body=urlencode({**fields, "timeout": f"{self._access.timeout_s:g}s"}),
            headers={"Content-Type": "application/x-www-form-urlencoded", **self._headers()},
            redirect=False,
            preload_content=False,
        )
        try:
            body = response.read(MAX_ANSWER_BYTES + 1)
        finally:
            response.release_conn()
        if len(body) > MAX_ANSWER_BYTES:
            raise _TooLargeError(f"answer of more than {MAX_ANSWER_BYTES} bytes")
        return response.status, response.headers, body

    def _headers(self) -> dict[str, str]:
        access = self._access
        if access.bearer_token_file is not None:
            token = _secret(access.bearer_token_file, "bearer_token_file")
            return {"Authorization": f"Bearer {token}", "Accept-Encoding": "gzip"}
        headers = {"Accept-Encoding": "gzip"}
        if access.username is not None and access.password_file is not None:
            password = _secret(access.password_file, "password_file")
            headers |= urllib3.make_headers(basic_auth=f"{access.username}:{password}")
        return headers

    def _matrix(self, query: str, status: int, body: bytes) -> Sequence[Any]:
        if _is_too_large(body):
            raise _TooLargeError(_words(body))
        if status in (401, 403):
            raise InvalidInputError(
                f"{self._access.url}: HTTP {status}: {_words(body)}; expected to be let in by "
                "bearer_token_file or username and password_file"
            )
        if status in (400, 422):
            raise InvalidInputError(f"{self._access.url} refuses query {query!r}: {_words(body)}")
        if status != 200:
            raise self._unavailable(query, f"HTTP {status}: {_words(body)}; expected 200")
        try:
            document = json.loads(body)
            kind, result = document["data"]["resultType"], document["data"]["result"]
        except (ValueError, KeyError, TypeError) as error:
            raise self._unavailable(
                query, f"expected an answer of Prometheus in JSON, got {_words(body)}"
            ) from error
        if document.get("status") != "success" or kind != "matrix" or not isinstance(result, list):
            raise self._unavailable(query, f"expected a matrix, got {kind!r}: {_words(body)}")
        return result

    def _series(self, query: str, item: Any, span: _Span) -> RangeSeries:
        try:
            labels = {str(name): str(value) for name, value in item["metric"].items()}
            seconds = np.array([point[0] for point in item["values"]], dtype=np.float64)
            values = np.array([float(point[1]) for point in item["values"]])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise self._unavailable(
                query, f"a series is not as expected: {str(item)[:200]}"
            ) from error
        at = np.rint((seconds - span.start_s) / span.step_s).astype(np.int64)
        wrong = np.abs(at * span.step_s + span.start_s - seconds) > 0.5
        wrong |= (at < span.first) | (at >= span.first + span.num_points)
        wrong[1:] |= np.diff(at) <= 0
        if wrong.any():
            raise self._unavailable(
                query,
                f"series {labels} has a point at {seconds[int(np.argmax(wrong))]} (seconds since "
                f"1970); expected rising ones, every {span.step_s} s from {span.start_s}",
            )
        return RangeSeries(labels=labels, at=at, values=values)

    def _unavailable(self, query: str, what: str) -> TelemetrySourceError:
        return TelemetrySourceError(f"{self._access.url}: query {query!r}: {what}")


class _TooLargeError(Exception):
    """Prometheus' own limits were reached; a shorter stretch may pass."""


@dataclass(frozen=True, slots=True)
class _Span:
    """A part of the stretch: ``num_points`` of its instants, from position ``first`` on."""

    start_s: int
    step_s: int
    first: int
    num_points: int

    def parameters(self, query: str) -> dict[str, str]:
        start = self.start_s + self.first * self.step_s
        end = start + (self.num_points - 1) * self.step_s
        return {"query": query, "start": str(start), "end": str(end), "step": str(self.step_s)}

    def halves(self) -> tuple[_Span, _Span]:
        half = self.num_points // 2
        return (
            _Span(self.start_s, self.step_s, self.first, half),
            _Span(self.start_s, self.step_s, self.first + half, self.num_points - half),
        )


def _joined(parts: Sequence[RangeSeries]) -> RangeSeries:
    if len(parts) == 1:
        return parts[0]
    return RangeSeries(
        labels=parts[0].labels,
        at=np.concatenate([part.at for part in parts]),
        values=np.concatenate([part.values for part in parts]),
    )


def _words(body: bytes) -> str:
    """Return what an answer says of its error, or how it begins."""
    try:
        document = json.loads(body)
        return f"{document['errorType']}: {document['error']}"
    except (ValueError, KeyError, TypeError):
        return repr(" ".join(body[:200].decode("utf-8", errors="replace").split()))


def _is_too_large(body: bytes) -> bool:
    """Tell whether an answer says that less should be asked for at once."""
    if not body.startswith(b'{"status":"error"'):
        return False
    words = _words(body)
    return any(
        sign in words
        for sign in ("too many samples", "exceeded maximum resolution", "query timed out")
    )


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0  # a date: the wait that grows by itself will do


def _secret(path: Path, name: str) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}", path=name) from error
    if not text or not text.isprintable():
        raise InvalidInputError(f"{path}: expected one line of text", path=name)
    return text
