"""Records reach a real server in order, once, whatever it answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from executor.monitor.delivery import BACKOFF_MAX_S, MAX_RECORDS, RETRY_AFTER_MAX_S, Delivery
from executor.monitor.http import Answer, HttpSender, Verdict
from executor.monitor.outbox import Outbox
from solver.domain.units import HostId
from tests.monitoring import WoundTime
from tests.receiver import TOKEN, Fault, Receiver, running, write_token


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A service that keeps the contract."""
    with running(Receiver()) as receiver:
        yield receiver


class Sending:
    """An outbox, a delivery and the time they live in."""

    def __init__(self, folder: Path, url: str) -> None:
        self.time = WoundTime()
        self.outbox = Outbox(folder / "outbox", max_bytes=10**7)
        self.token_file = write_token(folder)
        sender = HttpSender(url, self.token_file)
        self.delivery = Delivery(self.outbox, sender, HostId("h1"), self.time, random=Random(1))

    def put(self, number: int) -> None:
        """Put in so many minutes, each with its position."""
        for _ in range(number):
            minute = self.outbox._next_seq
            self.outbox.append(b'{"minute_at":"%d"}' % minute)

    def step(self) -> None:
        """Post one batch, unless a pause is on, and do what the answer asks."""
        self.delivery.begin()
        self.delivery.settle(wait_s=30)
        assert not self.delivery.under_way

    def until_empty(self, *, pause_s: float = 400.0, limit: int = 100) -> None:
        """Go on until nothing is left, with so much time between the tries."""
        for _ in range(limit):
            if not self.outbox.num_records:
                return
            self.time.wait(pause_s)
            self.step()
        pytest.fail(f"{self.outbox.num_records} records left: {self.delivery.state}")


@pytest.fixture
def sending(tmp_path: Path, receiver: Receiver) -> Sending:
    """A host that delivers to the receiver."""
    return Sending(tmp_path, receiver.url)


def minutes(receiver: Receiver) -> list[int]:
    """Return the positions of what was stored, in the order it was stored."""
    return [int(minute["minute_at"]) for minute in receiver.minutes]


def test_records_arrive_in_order_and_leave_the_outbox(sending: Sending, receiver: Receiver) -> None:
    """The envelope says whose they are, and the token goes along."""
    sending.put(3)
    sending.step()
    assert minutes(receiver) == [1, 2, 3]
    assert sending.outbox.num_records == 0
    assert sending.delivery.state.delivered == 3
    (envelope,) = receiver.requests
    assert (envelope["schema"], envelope["host"], envelope["first_seq"]) == (1, "h1", 1)
    assert (envelope["dropped"], envelope["damaged"]) == (0, 0)
    assert receiver.tokens == [f"Bearer {TOKEN}"]


def test_nothing_to_send_sends_nothing(sending: Sending, receiver: Receiver) -> None:
    """An empty outbox makes no request."""
    sending.step()
    assert receiver.requests == []


def test_a_batch_is_bounded(sending: Sending, receiver: Receiver) -> None:
    """A backlog goes in several."""
    sending.put(MAX_RECORDS + 5)
    sending.until_empty()
    assert [len(e["records"]) for e in receiver.requests] == [MAX_RECORDS, 5]


def test_a_server_that_dies_after_storing_gets_no_record_twice(
    sending: Sending, receiver: Receiver
) -> None:
    """It stored four of ten and was cut off: all come again, and it knows the four by number."""
    sending.put(10)
    receiver.faults.append(Fault(store_first=4))
    sending.step()
    assert sending.outbox.num_records == 10
    sending.until_empty()
    assert minutes(receiver) == list(range(1, 11))
    assert receiver.repeated == 4


def test_a_part_that_was_accepted_does_not_come_again(sending: Sending, receiver: Receiver) -> None:
    """A service may take fewer than it was sent."""
    sending.put(5)
    receiver.faults.append(Fault(status=200, body=b'{"accepted_through": 2}'))
    sending.step()
    assert sending.outbox.num_records == 3
    sending.step()
    assert minutes(receiver) == [3, 4, 5]


@pytest.mark.parametrize(
    "body",
    [b'{"accepted_through": 0}', b"{}", b"<html>welcome</html>", b'{"accepted_through": true}'],
)
def test_an_answer_that_accepts_nothing_is_a_failure(
    sending: Sending, receiver: Receiver, body: bytes
) -> None:
    """A login page answers 200 as well; nothing is forgotten for it."""
    sending.put(2)
    receiver.faults.append(Fault(status=200, body=body))
    sending.step()
    assert sending.outbox.num_records == 2
    assert sending.delivery.state.failures == 1
    sending.until_empty()
    assert minutes(receiver) == [1, 2]


def test_more_than_was_sent_is_not_believed(sending: Sending, receiver: Receiver) -> None:
    """A service that claims numbers of the future does not make them vanish."""
    sending.put(2)
    receiver.faults.append(Fault(status=200, body=b'{"accepted_through": 99}'))
    sending.step()
    sending.put(1)
    sending.until_empty()
    assert minutes(receiver) == [3]


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 415, 422, 429, 500, 502, 503])
def test_what_is_nobodys_fault_is_kept(sending: Sending, receiver: Receiver, status: int) -> None:
    """A wrong token, a proxy's page or a service in trouble costs no record."""
    sending.put(3)
    receiver.faults.append(Fault(status=status, body=b"<html>"))
    sending.step()
    assert sending.outbox.num_records == 3
    assert str(status) in sending.delivery.state.reason
    sending.until_empty()
    assert minutes(receiver) == [1, 2, 3]
    assert sending.delivery.state.refused == 0


def test_a_record_that_is_refused_is_given_up_alone(sending: Sending, receiver: Receiver) -> None:
    """What stands before and behind it arrives, and it is counted."""
    sending.put(10)
    receiver.bad = {"1", "4", "10"}
    sending.until_empty()
    assert minutes(receiver) == [2, 3, 5, 6, 7, 8, 9]
    assert sending.delivery.state.refused == 3
    assert receiver.repeated == 0


@pytest.mark.parametrize("refused", [b"0", b"99", b"-1"])
def test_a_refusal_of_what_was_not_sent_is_not_believed(
    sending: Sending, receiver: Receiver, refused: bytes
) -> None:
    """Only a record of the batch can be refused."""
    sending.put(3)
    receiver.faults.append(Fault(status=422, body=b'{"refused_seq": %s}' % refused))
    sending.step()
    assert sending.outbox.num_records == 3
    assert sending.delivery.state.refused == 0


def test_too_large_a_batch_is_halved(sending: Sending, receiver: Receiver) -> None:
    """Smaller ones follow until one fits, and growing again is slow."""
    sending.put(100)
    receiver.max_records = 30
    sending.until_empty(limit=20)
    assert minutes(receiver) == list(range(1, 101))
    assert [len(e["records"]) for e in receiver.requests] == [100, 50, 25, 26, 27, 22]


def test_a_record_that_is_too_large_alone_is_given_up(sending: Sending, receiver: Receiver) -> None:
    """It would block all others for ever."""
    sending.put(1)
    receiver.faults.append(Fault(status=413))
    sending.step()
    assert sending.outbox.num_records == 0
    assert sending.delivery.state.refused == 1


def test_pauses_grow_and_stay_within_their_bound(sending: Sending, receiver: Receiver) -> None:
    """Full jitter: anything between nothing and a bound that doubles up to five minutes."""
    sending.put(1)
    receiver.away = True
    pauses = []
    for _ in range(30):
        sending.step()
        pause_s = sending.delivery._not_before_s - sending.time.elapsed_s()
        pauses.append(pause_s)
        sending.time.wait(pause_s)
    assert all(0 <= pause_s <= BACKOFF_MAX_S for pause_s in pauses)
    assert pauses[0] <= 5
    assert max(pauses) > 150
    assert len(set(pauses)) == 30


def test_nothing_is_sent_within_a_pause(sending: Sending, receiver: Receiver) -> None:
    """A service that asks for time gets it, up to an hour."""
    sending.put(1)
    for asked, wait_s in (("120", 120), (str(10**9), RETRY_AFTER_MAX_S)):
        receiver.faults.append(Fault(status=503, headers={"Retry-After": asked}))
        sending.step()
        num_requests = len(receiver.requests)
        sending.time.wait(wait_s - 1)
        sending.step()
        assert len(receiver.requests) == num_requests
        sending.time.wait(1)
    sending.step()
    assert minutes(receiver) == [1]


def test_a_service_that_does_not_listen_is_waited_for(tmp_path: Path) -> None:
    """A refused connection is a failure like others; records arrive when it is back."""
    receiver = Receiver()
    with running(receiver):
        url = receiver.url
    sending = Sending(tmp_path, url)
    sending.put(3)
    sending.step()
    assert sending.outbox.num_records == 3
    assert TOKEN not in sending.delivery.state.reason
    with running(receiver, port=int(url.split(":")[2].split("/")[0])):
        sending.until_empty()
    assert minutes(receiver) == [1, 2, 3]


@pytest.mark.parametrize("offset_s", [-3600, 0, 90])
def test_the_clocks_are_compared(tmp_path: Path, receiver: Receiver, offset_s: int) -> None:
    """The service's Date header tells how far this host's clock is off."""
    receiver.clock_offset = timedelta(seconds=offset_s)
    sending = Sending(tmp_path, receiver.url)
    sending.time.step((datetime.now(UTC) - sending.time.now()).total_seconds())
    sending.put(1)
    sending.step()
    assert sending.delivery.state.clock_skew_s == pytest.approx(offset_s, abs=3)


def test_a_token_can_be_changed_under_way(sending: Sending, receiver: Receiver) -> None:
    """The file is read for each delivery; a wrong one loses nothing."""
    sending.token_file.write_text("wrong")
    sending.put(1)
    sending.step()
    assert "401" in sending.delivery.state.reason
    sending.token_file.write_text(TOKEN)
    sending.until_empty()
    assert minutes(receiver) == [1]


def test_a_token_that_vanished_loses_nothing(sending: Sending, receiver: Receiver) -> None:
    """Nothing is sent without it."""
    sending.token_file.unlink()
    sending.put(1)
    sending.step()
    assert receiver.requests == []
    assert "token file" in sending.delivery.state.reason
    assert sending.outbox.num_records == 1


class Hanging:
    """A service that never answers while the test holds it."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def post(self, body: bytes) -> Answer:
        """Answer once released."""
        self.released.wait(30)
        return Answer(verdict=Verdict.ACCEPTED, seq=1)


def test_a_service_that_hangs_holds_up_nobody(tmp_path: Path) -> None:
    """Settling returns at once, nothing else is begun, and the answer counts when it comes."""
    sender = Hanging()
    time = WoundTime()
    outbox = Outbox(tmp_path / "outbox", max_bytes=10**6)
    delivery = Delivery(outbox, sender, HostId("h1"), time)
    outbox.append(b"{}")
    delivery.begin()
    delivery.settle()
    delivery.begin()
    assert delivery.under_way
    assert outbox.num_records == 1
    sender.released.set()
    delivery.settle(wait_s=30)
    assert outbox.num_records == 0


def test_records_of_two_lives_go_apart(
    tmp_path: Path, receiver: Receiver, sending: Sending
) -> None:
    """A batch is of one stream, the older one first."""
    sending.put(2)
    sending.outbox.close()
    again = Sending(tmp_path, receiver.url)
    again.put(1)
    again.until_empty()
    streams: list[Any] = [e["stream"] for e in receiver.requests]
    assert len(streams) == len(set(streams)) == 2
    assert minutes(receiver) == [1, 2, 1]
