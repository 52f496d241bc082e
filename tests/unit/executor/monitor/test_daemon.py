"""The monitor as a whole, on time that a test winds."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from executor.monitor.daemon import Monitor, StopSignals, run
from executor.monitor.delivery import Delivery
from executor.monitor.http import HttpSender
from executor.monitor.outbox import Outbox
from executor.monitor.sample import CLOCK_SKEWED, CLOCK_STEPPED, NO_VMS
from executor.monitor.sampler import Sampler
from executor.monitor.supervisor import Supervisor
from executor.monitor.wire import from_json
from solver.domain.units import HostId
from tests.monitoring import START_AT, MadeUpHost, MadeUpVms, WoundTime
from tests.receiver import Fault, Receiver, running, write_token


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A service that keeps the contract; its clock is not compared with the wound one."""
    with running(Receiver()) as receiver:
        yield receiver


class Watched:
    """A made-up host with its monitor."""

    def __init__(self, folder: Path, url: str, *, time: WoundTime | None = None) -> None:
        self.folder = folder
        self.time = time or WoundTime()
        self.vms = MadeUpVms(self.time)
        self.outbox = Outbox(folder / "outbox", max_bytes=10**8)
        self.delivery = Delivery(
            self.outbox,
            HttpSender(url, write_token(folder)),
            HostId("h1"),
            self.time,
            random=Random(1),
        )
        self.monitor = Monitor(
            Sampler(MadeUpHost(self.time), self.vms, self.time),
            self.time,
            host_id=HostId("h1"),
            outbox=self.outbox,
            delivery=self.delivery,
            metrics_file=folder / "foreswap.prom",
        )

    def live(self, minutes: float) -> None:
        """Let time pass on the grid."""
        end_s = self.time.elapsed_s() + 60 * minutes
        while self.time.elapsed_s() < end_s - 0.5:
            self.time.wait(self.monitor.seconds_to_next())
            self.monitor.tick()
            # A request takes no time on the wound clock.
            self.delivery.settle(wait_s=30)


@pytest.fixture
def watched(tmp_path: Path, receiver: Receiver) -> Watched:
    """A host that delivers to the receiver."""
    return Watched(tmp_path, receiver.url)


def instants(receiver: Receiver) -> list[datetime]:
    """Return the minutes that were stored, in the order they were stored."""
    return [datetime.fromisoformat(minute["minute_at"]) for minute in receiver.minutes]


def test_a_minute_is_told_as_it_was(watched: Watched, receiver: Receiver) -> None:
    """Mean, percentile and maximum of what the host and its VM really did."""
    watched.monitor.tick()
    watched.live(2)
    record = from_json(receiver.minutes[0])
    assert record.minute_at == START_AT
    assert (record.num_samples, record.span_s) == (6, 60)
    host = record.host.figures["cpu_used_millicores"]
    assert (host.mean, host.p95, host.max) == pytest.approx((1000, 1000, 1000))
    (vm,) = record.vms
    assert vm.vm_id == "vm1"
    assert vm.figures["cpu_demand_millicores"].mean == pytest.approx(350)
    assert "foreswap_vm_cpu_seconds_total" in (watched.folder / "foreswap.prom").read_text()


def test_an_hour_without_the_service_arrives_afterwards(
    watched: Watched, receiver: Receiver
) -> None:
    """All sixty minutes of it, in order, once."""
    watched.live(2)
    receiver.away = True
    watched.live(60)
    assert watched.outbox.num_records == 60
    receiver.away = False
    watched.live(8)
    found = instants(receiver)
    assert found == [START_AT + timedelta(minutes=number) for number in range(len(found))]
    assert len(found) == 70
    assert receiver.repeated == 0
    assert watched.outbox.num_records == 0


def test_an_hour_with_restarts_and_cut_connections_arrives_too(
    tmp_path: Path, receiver: Receiver
) -> None:
    """A service that stores and dies, and a monitor that is stopped and started, lose nothing."""
    time = WoundTime()
    for _ in range(4):
        watched = Watched(tmp_path, receiver.url, time=time)
        watched.monitor.tick()
        receiver.faults.extend([_cut(0), _cut(3), _cut(1)])
        receiver.away = True
        watched.live(15)
        watched.monitor.stop()
    receiver.away = False
    watched = Watched(tmp_path, receiver.url, time=time)
    watched.live(10)
    found = instants(receiver)
    assert found[:60] == [START_AT + timedelta(minutes=number) for number in range(60)]
    assert found == sorted(set(found))
    assert receiver.repeated > 0


def _cut(store_first: int) -> Fault:
    return Fault(store_first=store_first)


def test_a_stop_keeps_the_minute_under_way(
    tmp_path: Path, watched: Watched, receiver: Receiver
) -> None:
    """The next life delivers what was sampled of it."""
    watched.monitor.tick()
    watched.live(0.5)
    watched.monitor.stop()
    Watched(tmp_path, receiver.url, time=watched.time).live(1)
    first = from_json(receiver.minutes[0])
    assert (first.minute_at, first.num_samples) == (START_AT, 3)


def test_a_hypervisor_that_is_away_does_not_stop_the_host(
    watched: Watched, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Its records go on without VMs, say so, and the trouble and its end are logged once."""
    caplog.set_level(logging.INFO, "foreswap.monitor")
    watched.monitor.tick()
    watched.live(1)
    watched.vms.away = True
    watched.live(2)
    watched.vms.away = False
    watched.live(2)
    records = [from_json(minute) for minute in receiver.minutes]
    assert [record.num_samples for record in records] == [6] * 5
    assert [len(record.vms) for record in records] == [1, 0, 0, 1, 1]
    assert [NO_VMS in record.flags for record in records] == [False, True, True, False, False]
    about = [entry.message for entry in caplog.records if "VMs" in entry.message]
    assert len(about) == 2
    assert about[1].startswith("over: ")


def test_a_clock_put_right_does_not_stop_the_samples(watched: Watched, receiver: Receiver) -> None:
    """An hour back, and the next sample still comes within ten seconds."""
    watched.monitor.tick()
    watched.live(1)
    watched.time.step(-3600)
    watched.live(2)
    records = [from_json(minute) for minute in receiver.minutes]
    assert len(records) == 3
    assert records[1].minute_at == START_AT - timedelta(minutes=59)
    assert CLOCK_STEPPED in records[1].flags
    assert all(
        record.host.figures["cpu_used_millicores"].mean == pytest.approx(1000) for record in records
    )


def test_a_slow_hypervisor_is_no_clock_that_steps(watched: Watched, receiver: Receiver) -> None:
    """Answers that take between nothing and nine seconds leave six samples in every minute."""
    random = Random(1)
    watched.vms.takes_s = lambda: random.uniform(0, 9)
    watched.monitor.tick()
    watched.live(10)
    records = [from_json(minute) for minute in receiver.minutes]
    assert len(records) >= 9
    assert all(CLOCK_STEPPED not in record.flags for record in records)
    assert {record.num_samples for record in records[1:]} == {6}


def test_a_clock_that_is_off_is_told_in_the_records(watched: Watched, receiver: Receiver) -> None:
    """The wound clock is far from the server's; from the first answer on every record says so."""
    watched.live(3)
    flags = [CLOCK_SKEWED in from_json(minute).flags for minute in receiver.minutes]
    assert flags == [False, True, True]
    skew_s = from_json(receiver.minutes[-1]).clock_skew_s
    assert skew_s is not None
    assert abs(skew_s) > 60


def test_samples_lie_on_the_grid(watched: Watched) -> None:
    """Whenever the last one ended, the next is at a full ten seconds, and never at once again."""
    for past_s, expected_s in ((0, 10), (3, 7), (9.7, 10.3), (9.2, 0.8)):
        watched.time.step(-(watched.time.now().timestamp() % 10))
        watched.time.step(past_s)
        assert watched.monitor.seconds_to_next() == pytest.approx(expected_s, abs=0.01)


def test_metrics_that_cannot_be_written_stop_nothing(
    watched: Watched, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """The trouble is logged once and records go on."""
    (watched.folder / ".foreswap.prom.new").mkdir()
    watched.monitor.tick()
    watched.live(2)
    assert len(receiver.minutes) == 2
    assert sum("metrics file" in entry.message for entry in caplog.records) == 1
    assert "metrics file" in watched.monitor.status


def test_signals_end_the_wait_only(watched: Watched) -> None:
    """A stop asked for within a wait ends it; one asked for before is not waited for at all."""
    signals = StopSignals()
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the wait went on")

    try:
        signals.install()
        signals.wait(wait, 10)
        assert signals.requested
        signals.wait(wait, 10)
        assert waits == [10]
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


class StopsAfter(StopSignals):
    """Asks to stop after so many waits."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self._left = waits

    def wait(self, wait: Any, seconds: float) -> None:
        """Wait, and count."""
        wait(seconds)
        self._left -= 1
        self.requested = self._left == 0


def test_the_loop_runs_until_asked_to_stop(watched: Watched, receiver: Receiver) -> None:
    """It samples on the grid, and on its end leaves the outbox to others."""
    run(watched.monitor, watched.time, Supervisor({}), StopsAfter(14))
    again = Outbox(watched.folder / "outbox", max_bytes=10**8)
    assert again.num_records + len(receiver.minutes) >= 3
    again.close()
