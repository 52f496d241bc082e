"""Asking Prometheus: parts, limits, patience, credentials, and what errors say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from forecast.prometheus.client import Access, PrometheusClient
from solver.domain.errors import InvalidInputError, TelemetrySourceError
from tests.fake_prometheus import Canned, FakePrometheus


@pytest.fixture
def fake() -> Iterator[FakePrometheus]:
    """A Prometheus with a level of two hosts: the minute, and twice the minute."""
    with FakePrometheus() as server:
        for host, factor in (("h1", 1.0), ("h2", 2.0)):
            samples = [(60.0 * i, factor * i) for i in range(200)]
            server.add("level", {"host": host}, samples)
        yield server


def client(fake: FakePrometheus, **access: object) -> tuple[PrometheusClient, list[float]]:
    """Return a client that does not sleep, and how long it would have slept."""
    slept: list[float] = []
    values = {"url": fake.url, **access}
    return PrometheusClient(Access(**values), sleep=slept.append), slept  # type: ignore[arg-type]


def test_values_stand_at_their_instants(fake: FakePrometheus) -> None:
    """Each point is told by its position in the stretch asked for, each series by its labels."""
    asker, _ = client(fake)
    first, second = asker.query_range("level", start_s=600, step_s=60, num_points=5)
    assert first.labels["host"] == "h1"
    assert first.at.tolist() == [0, 1, 2, 3, 4]
    assert first.values.tolist() == [10, 11, 12, 13, 14]
    assert second.values.tolist() == [20, 22, 24, 26, 28]


def test_parts_are_put_together(fake: FakePrometheus) -> None:
    """A long stretch is asked for in parts, which meet without a gap and without a repetition."""
    asker, _ = client(fake)
    whole = asker.query_range("level", start_s=0, step_s=60, num_points=100, part_points=100)
    parts = asker.query_range("level", start_s=0, step_s=60, num_points=100, part_points=7)
    assert len(fake.requests) == 1 + 15
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one.at, other.at)
        assert np.array_equal(one.values, other.values)


def test_no_part_is_beyond_the_limit_of_points(fake: FakePrometheus) -> None:
    """More points than Prometheus gives at once are refused before it is asked."""
    asker, _ = client(fake)
    with pytest.raises(InvalidInputError, match=r"expected 1\.\.11000 points, got 11001"):
        asker.query_range("level", start_s=0, step_s=1, num_points=20_000, part_points=11_001)
    asker.query_range("level", start_s=0, step_s=1, num_points=12_000, part_points=11_000)
    assert len(fake.requests) == 2


def test_what_is_too_large_is_halved(fake: FakePrometheus) -> None:
    """A stretch with more samples than the server loads is asked for in halves, to the last."""
    fake.max_samples = 26
    asker, _ = client(fake)
    first, _ = asker.query_range("level", start_s=0, step_s=60, num_points=100)
    assert first.at.tolist() == list(range(100))
    assert len(fake.requests) == 15


def test_a_single_instant_too_large_is_an_error(fake: FakePrometheus) -> None:
    """If not even one instant can be answered, the message has the query and the reason."""
    fake.max_samples = 1
    asker, _ = client(fake)
    with pytest.raises(TelemetrySourceError, match=r"'level' for one instant.*too many samples"):
        asker.query_range("level", start_s=0, step_s=60, num_points=4)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_passing_fault_is_tried_again(fake: FakePrometheus, status: int) -> None:
    """A server that is busy or starting answers later; each wait is longer than the one before."""
    fake.canned = [Canned(status=status, body=b"Service Unavailable")] * 2
    asker, slept = client(fake)
    assert len(asker.query_range("level", start_s=0, step_s=60, num_points=3)) == 2
    assert slept == [1.0, 2.0]


def test_the_wait_that_the_server_asks_for_is_kept(fake: FakePrometheus) -> None:
    """With Retry-After the next try comes no sooner."""
    fake.canned = [Canned(status=429, headers={"Retry-After": "17"})]
    asker, slept = client(fake)
    asker.query_range("level", start_s=0, step_s=60, num_points=3)
    assert slept == [17.0]


def test_patience_ends(fake: FakePrometheus) -> None:
    """After the last try the error has address, query, status and how often it was tried."""
    fake.canned = [Canned(status=503, body=b"Service Unavailable")] * 5
    asker, slept = client(fake, attempts=3)
    with pytest.raises(TelemetrySourceError) as caught:
        asker.query_range("level", start_s=0, step_s=60, num_points=3)
    assert str(caught.value) == (
        f"{fake.url}: query 'level': HTTP 503: 'Service Unavailable' (3 tries)"
    )
    assert len(slept) == 2


def test_a_server_that_is_not_there(fake: FakePrometheus) -> None:
    """Without a connection the address and the reason are told."""
    with FakePrometheus() as gone:
        url = gone.url
    asker, _ = client(fake, url=url, attempts=2)
    with pytest.raises(TelemetrySourceError, match=r"refused.*\(2 tries\)"):
        asker.query_range("level", start_s=0, step_s=60, num_points=3)


def test_a_slow_server_is_given_up(fake: FakePrometheus) -> None:
    """An answer that does not come in time is not waited for; Prometheus was told the limit."""
    never = threading.Event()
    fake.canned = [Canned(hold=never)]
    asker = PrometheusClient(Access(url=fake.url, timeout_s=0.2, attempts=1), grace_s=0.0)
    with pytest.raises(TelemetrySourceError, match=r"[Tt]imed out.*\(1 tries\)"):
        asker.query_range("level", start_s=0, step_s=60, num_points=3)
    never.set()
    assert fake.requests[0]["timeout"] == "0.2s"


def test_a_refused_query_is_told_in_the_words_of_prometheus(fake: FakePrometheus) -> None:
    """What is wrong with a query is known to Prometheus alone; it is not asked twice."""
    asker, slept = client(fake)
    with pytest.raises(
        InvalidInputError, match=r"refuses query 'level\[': bad_data: .*parse error"
    ):
        asker.query_range("level[", start_s=0, step_s=60, num_points=3)
    assert not slept


@pytest.mark.parametrize(
    ("canned", "message"),
    [
        (Canned(body=b"<html>Welcome</html>"), "expected an answer of Prometheus in JSON.*<html>"),
        (Canned(body=b'{"status":"success"'), "expected an answer of Prometheus in JSON"),
        (Canned(body=b"[]"), "expected an answer of Prometheus in JSON"),
        (
            Canned(body=b'{"status":"success","data":{"resultType":"vector","result":[]}}'),
            "expected a matrix, got 'vector'",
        ),
        (
            Canned(
                body=b'{"status":"success","data":{"resultType":"matrix","result":'
                b'[{"metric":{},"values":[[0,"one"]]}]}}'
            ),
            "a series is not as expected",
        ),
        (
            Canned(
                body=b'{"status":"success","data":{"resultType":"matrix","result":'
                b'[{"metric":{},"values":[[60,"1"],[0,"1"]]}]}}'
            ),
            "expected rising ones, every 60 s from 0",
        ),
        (
            Canned(
                body=b'{"status":"success","data":{"resultType":"matrix","result":'
                b'[{"metric":{},"values":[[31,"1"]]}]}}'
            ),
            "has a point at 31",
        ),
        (Canned(status=404, body=b"404 page not found"), "HTTP 404: '404 page not found'"),
        (Canned(status=302, headers={"Location": "/login"}), "HTTP 302"),
        (Canned(status=500, body=b"oops"), "HTTP 500: 'oops'"),
    ],
)
def test_an_answer_that_is_none(fake: FakePrometheus, canned: Canned, message: str) -> None:
    """What is not Prometheus' answer is told with what it is, and not tried again."""
    fake.canned = [canned]
    asker, slept = client(fake)
    with pytest.raises(TelemetrySourceError, match=message):
        asker.query_range("level", start_s=0, step_s=60, num_points=3)
    assert not slept


def test_odd_numbers_are_numbers(fake: FakePrometheus) -> None:
    """NaN and infinities come through as such."""
    fake.add("odd", {}, [(0.0, float("nan")), (60.0, float("inf")), (120.0, float("-inf"))])
    asker, _ = client(fake)
    (series,) = asker.query_range("odd", start_s=0, step_s=60, num_points=3)
    assert np.array_equal(series.values, [np.nan, np.inf, -np.inf], equal_nan=True)


def test_a_token_is_read_for_each_request(fake: FakePrometheus, tmp_path: Path) -> None:
    """A token that is renewed in its file is used at once."""
    token = tmp_path / "token"
    token.write_text("old\n")
    fake.token = "Bearer new"
    asker, _ = client(fake, bearer_token_file=token)
    with pytest.raises(InvalidInputError, match="HTTP 401: 'Unauthorized'; expected to be let in"):
        asker.query_range("level", start_s=0, step_s=60, num_points=3)
    token.write_text("new\n")
    assert asker.query_range("level", start_s=0, step_s=60, num_points=3)


def test_basic_authentication(fake: FakePrometheus, tmp_path: Path) -> None:
    """User name and password are sent as proxies before Prometheus expect them."""
    (tmp_path / "password").write_text("open sesame\n")
    fake.token = "Basic YWxpOm9wZW4gc2VzYW1l"
    asker, _ = client(fake, username="ali", password_file=tmp_path / "password")
    assert asker.query_range("level", start_s=0, step_s=60, num_points=3)


def test_a_secret_that_cannot_be_read(fake: FakePrometheus, tmp_path: Path) -> None:
    """The file is named, and nothing is sent."""
    asker, _ = client(fake, bearer_token_file=tmp_path / "none")
    with pytest.raises(InvalidInputError, match=r"bearer_token_file: .*none cannot be read"):
        asker.query_range("level", start_s=0, step_s=60, num_points=3)
    assert not fake.requests


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"url": "prometheus:9090"}, "expected the address of a Prometheus"),
        ({"url": "http://"}, "expected the address of a Prometheus"),
        ({"url": "http://me:secret@host"}, "without a user name"),
        ({"url": "http://host", "username": "me"}, "together or neither"),
        ({"url": "https://host", "ca_file": Path("none.pem")}, "ca_file: expected a file of cert"),
        ({"url": "http://host", "timeout_s": 0.0}, "timeout_s: expected more than 0"),
        ({"url": "http://host", "attempts": 0}, r"attempts: expected 1\.\.20, got 0"),
        (
            {
                "url": "http://host",
                "username": "me",
                "password_file": Path("p"),
                "bearer_token_file": Path("t"),
            },
            "got both",
        ),
    ],
)
def test_impossible_access(values: dict[str, object], message: str) -> None:
    """Ways to reach a server that cannot work are refused at once."""
    with pytest.raises(InvalidInputError, match=message):
        Access(**values)  # type: ignore[arg-type]
