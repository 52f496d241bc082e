"""A Prometheus that holds samples in memory: HTTP, JSON, limits and faults as the real one's.

It evaluates the few shapes of PromQL that ``forecast.prometheus`` asks for, with the algorithms of
Prometheus 2: ranges closed on both sides, staleness, and ``rate`` with resets and extrapolation.
``tests/integration/test_prometheus.py`` compares it with the real one on the same samples.
"""

from __future__ import annotations

import json
import math
import re
import threading
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final
from urllib.parse import parse_qs

LOOKBACK_S: Final = 300.0
MAX_POINTS: Final = 11_000
STALE: Final = object()
"""In place of a value: the series has ended, as Prometheus notes when a scrape lacks it."""

Labels = dict[str, str]


class BadQueryError(Exception):
    """What Prometheus calls ``bad_data``."""


@dataclass(slots=True)
class SampleSeries:
    """Samples of one series, in the order of time."""

    labels: Labels
    times: list[float]
    values: list[Any]

    def within(self, start: float, end: float) -> list[tuple[float, float]]:
        """Return the samples of a range, without stale markers."""
        inside = slice(bisect_left(self.times, start), bisect_right(self.times, end))
        pairs = zip(self.times[inside], self.values[inside], strict=True)
        return [(t, v) for t, v in pairs if v is not STALE]

    def at(self, instant: float) -> tuple[float, float] | None:
        """Return the sample that stands for an instant."""
        newest = bisect_right(self.times, instant) - 1
        if newest < 0 or self.times[newest] <= instant - LOOKBACK_S:
            return None
        value = self.values[newest]
        return None if value is STALE else (self.times[newest], value)


@dataclass(slots=True)
class Canned:
    """An answer that is given instead of a right one."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None
    """Answer only when this is set."""


class FakePrometheus:
    """Serves samples on a free port of this machine; use it in ``with``.

    ``canned`` answers are given first, one for each request. ``requests`` keeps the fields of
    every request, and ``headers`` what came with it.
    """

    def __init__(self) -> None:
        self.series: list[SampleSeries] = []
        self.canned: list[Canned] = []
        self.requests: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.max_samples: int | None = None
        self.token: str | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakePrometheus:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for canned in self.canned:
            if canned.hold is not None:
                canned.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, metric: str, labels: Labels, samples: Iterable[tuple[float, Any]]) -> None:
        """Hold a series."""
        times, values = [], []
        for at, value in samples:
            times.append(at)
            values.append(value)
        self.series.append(SampleSeries({"__name__": metric, **labels}, times, values))

    def answer(self, fields: dict[str, str]) -> tuple[int, bytes]:
        """Return status and body for the fields of a ``query_range``."""
        start, end, step = (float(fields[name]) for name in ("start", "end", "step"))
        count = math.floor((end - start) / step) + 1
        if count > MAX_POINTS:
            return 400, _error(
                "bad_data",
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the "
                "query resolution (?step=XX)",
            )
        try:
            evaluate = compile_query(fields["query"], self.series)
        except BadQueryError as error:
            return 400, _error("bad_data", str(error))
        found: dict[tuple[tuple[str, str], ...], list[list[Any]]] = defaultdict(list)
        loaded = 0
        for i in range(count):
            at = start + i * step
            for labels, value in evaluate(at):
                found[tuple(sorted(labels.items()))].append([at, _spelled(value)])
                loaded += 1
        if self.max_samples is not None and loaded > self.max_samples:
            return 422, _error(
                "execution",
                "query processing would load too many samples into memory in query execution",
            )
        result = [{"metric": dict(key), "values": values} for key, values in found.items()]
        data = {"resultType": "matrix", "result": result}
        return 200, json.dumps({"status": "success", "data": data}).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = (
                -1
            )  # one packet an answer: else each waits for the acknowledgement of another

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                parsed = parse_qs(self.rfile.read(length).decode())
                fields = {name: values[0] for name, values in parsed.items()}
                fake.requests.append(fields)
                fake.headers.append(dict(self.headers))
                canned = fake.canned.pop(0) if fake.canned else None
                if canned is not None:
                    if canned.hold is not None:
                        canned.hold.wait(30)
                    self._send(canned.status, canned.body, canned.headers)
                elif fake.token is not None and self.headers["Authorization"] != fake.token:
                    self._send(401, b"Unauthorized\n", {})
                elif self.path != "/api/v1/query_range":
                    self._send(404, b"404 page not found\n", {})
                else:
                    self._send(*fake.answer(fields), {})

            def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def _error(kind: str, message: str) -> bytes:
    answer = {"status": "error", "errorType": kind, "error": message}
    return json.dumps(answer, separators=(",", ":")).encode()


def _spelled(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


# PromQL, as far as it is needed

Vector = list[tuple[Labels, float]]
Evaluator = Callable[[float], Vector]

_AGGREGATE = re.compile(r"^(sum|max|min|count) by \(([^)]*)\) \((.*)\)$")
_OVER_TIME = re.compile(r"^(\w+)\((.*)\[(\d+)s\]\)$")
_TIMESTAMP = re.compile(r"^timestamp\((.*)\)$")
_SELECTOR = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?$")
_FOLDS: dict[str, Callable[[list[float]], float]] = {
    "sum": math.fsum,
    "max": max,
    "min": min,
    "count": len,
}


def compile_query(query: str, held: list[SampleSeries]) -> Evaluator:
    """Return what evaluates a query at an instant."""
    if match := _AGGREGATE.match(query):
        return _aggregate(match[1], match[2].split(", "), compile_query(match[3], held))
    if match := _OVER_TIME.match(query):
        return _over_time(match[1], _selected(match[2], held), float(match[3]))
    if match := _TIMESTAMP.match(query):
        return _instant(_selected(match[1], held), 0)
    return _instant(_selected(query, held), 1)


def _selected(text: str, held: list[SampleSeries]) -> list[SampleSeries]:
    match = _SELECTOR.match(text)
    if not match:
        raise BadQueryError(f'invalid parameter "query": 1:1: parse error: {text!r}')
    wanted = {"__name__": match[1]}
    wanted |= dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
    unwanted = re.findall(r'(\w+)!~"([^"]*)"', match[2] or "")
    return [
        series
        for series in held
        if all(series.labels.get(name, "") == value for name, value in wanted.items())
        and not any(re.fullmatch(what, series.labels.get(name, "")) for name, what in unwanted)
    ]


def _aggregate(fold: str, by: list[str], inner: Evaluator) -> Evaluator:
    def evaluate(at: float) -> Vector:
        groups: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for labels, value in inner(at):
            groups[tuple(labels.get(name, "") for name in by)].append(value)
        return [
            ({n: v for n, v in zip(by, key, strict=True) if v}, _FOLDS[fold](values))
            for key, values in groups.items()
        ]

    return evaluate


def _instant(selected: list[SampleSeries], part: int) -> Evaluator:
    def evaluate(at: float) -> Vector:
        found = [(series.labels, series.at(at)) for series in selected]
        return [(labels, sample[part]) for labels, sample in found if sample is not None]

    return evaluate


def _over_time(function: str, selected: list[SampleSeries], length: float) -> Evaluator:
    def of(at: float, samples: list[tuple[float, float]]) -> float | None:
        values = [value for _, value in samples]
        match function:
            case "rate":
                return rate(samples, at - length, at)
            case "count_over_time":
                return float(len(values))
            case "avg_over_time":
                return math.fsum(values) / len(values)
            case "sum_over_time":
                return math.fsum(values)
            case "min_over_time":
                return min(values)
            case "max_over_time":
                return max(values)
        raise BadQueryError(f"unknown function with name {function!r}")

    of(0.0, [(0.0, 0.0), (1.0, 1.0)])

    def evaluate(at: float) -> Vector:
        vector = []
        for series in selected:
            samples = series.within(at - length, at)
            value = of(at, samples) if samples else None
            if value is not None:
                vector.append((series.labels, value))
        return vector

    return evaluate


def rate(samples: list[tuple[float, float]], start: float, end: float) -> float | None:
    """Return what a counter gained per second, over a whole range, as Prometheus 2 reckons it."""
    if len(samples) < 2:
        return None
    (first_at, first), (last_at, last) = samples[0], samples[-1]
    gained, previous = last - first, first
    for _, value in samples:
        if value < previous:
            gained += previous
        previous = value
    sampled = last_at - first_at
    interval = sampled / (len(samples) - 1)
    to_start, to_end = first_at - start, end - last_at
    if gained > 0 and first >= 0:
        to_start = min(to_start, sampled * first / gained)
    reach = sampled
    for gap in (to_start, to_end):
        reach += gap if gap < 1.1 * interval else interval / 2
    return gained * reach / sampled / (end - start)
