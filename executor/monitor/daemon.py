"""The loop: sample on a grid, close minutes, deliver in between, end cleanly.

Everything is put together by the caller; ``tick`` does what one instant asks for and returns, so
that a test winds the time. ``run`` calls it on the grid until a signal asks to stop.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

from executor.monitor.delivery import Delivery
from executor.monitor.metrics import Health, exposition, write_atomically
from executor.monitor.outbox import Outbox
from executor.monitor.rates import Differences, Reading
from executor.monitor.rollup import SKEW_LIMIT_S, Rollup
from executor.monitor.sampler import Sampler
from executor.monitor.supervisor import Supervisor
from executor.monitor.timekeeper import Timekeeper
from executor.monitor.wire import encode
from solver.domain.units import HostId

GAP_INTERVALS: Final = 3.5
"""Readings that are further apart than so many intervals are a gap."""

LAST_WAIT_S: Final = 3.0
"""How long a stop waits for a delivery under way; what is not settled is sent again."""

log: Final = logging.getLogger("foreswap.monitor")


class Monitor:
    """Watches one host.

    Parameters
    ----------
    sampler
        Reads host and VMs.
    time
        The clocks.
    host_id
        The host's name in the cluster.
    interval_s
        Between two samples; divides a minute.
    outbox, delivery
        Where records go; both ``None`` to keep none.
    metrics_file
        Prometheus text of the latest reading; ``None`` to write none.
    """

    def __init__(
        self,
        sampler: Sampler,
        time: Timekeeper,
        *,
        host_id: HostId,
        interval_s: int = 10,
        outbox: Outbox | None = None,
        delivery: Delivery | None = None,
        metrics_file: Path | None = None,
    ) -> None:
        self._sampler = sampler
        self._time = time
        self._interval_s = interval_s
        self._outbox = outbox
        self._delivery = delivery
        self._metrics_file = metrics_file
        self._differences = Differences(max_span_s=GAP_INTERVALS * interval_s)
        self._rollup = Rollup(host_id)
        self._news = _News()

    def seconds_to_next(self) -> float:
        """Return how long it is to the next instant of the grid.

        The grid is the wall clock's; one that stands a moment before it counts as there.
        """
        past_s = self._time.now().timestamp() % self._interval_s
        remaining_s = self._interval_s - past_s
        return (
            remaining_s
            if remaining_s > 0.05 * self._interval_s
            else (remaining_s + self._interval_s)
        )

    def tick(self) -> None:
        """Take one sample and do what it asks for."""
        reading = self._sampler.read()
        if self._delivery is not None:
            self._delivery.settle()
        sample = self._differences.sample(reading)
        if sample is not None and self._outbox is not None:
            for record in self._rollup.add(sample, clock_skew_s=self._clock_skew_s):
                self._outbox.append(encode(record))
        if self._delivery is not None:
            self._delivery.begin()
        self._write_metrics(reading)
        self._tell_news(reading)

    def stop(self) -> None:
        """Keep what was sampled of the present minute and end."""
        if self._outbox is None:
            return
        for record in self._rollup.close(clock_skew_s=self._clock_skew_s):
            self._outbox.append(encode(record))
        if self._delivery is not None:
            self._delivery.settle(wait_s=LAST_WAIT_S)
        self._outbox.close()

    @property
    def health(self) -> Health:
        """How the monitor does."""
        outbox, delivery = self._outbox, self._delivery
        if outbox is None or delivery is None:
            return Health()
        return Health(
            pending=outbox.num_records,
            pending_bytes=outbox.num_bytes,
            delivered=delivery.state.delivered,
            refused=delivery.state.refused,
            dropped=outbox.tally.dropped,
            damaged=outbox.tally.damaged,
            failures=delivery.state.failures,
            clock_skew_s=delivery.state.clock_skew_s,
        )

    @property
    def status(self) -> str:
        """How the monitor does, in a few words."""
        if self._outbox is None:
            return "sampling"
        health = self.health
        troubles = "; ".join(self._news.troubles)
        return f"{health.pending} records wait" + (f"; {troubles}" if troubles else "")

    @property
    def _clock_skew_s(self) -> float | None:
        return None if self._delivery is None else self._delivery.state.clock_skew_s

    def _write_metrics(self, reading: Reading) -> None:
        if self._metrics_file is None:
            return
        try:
            write_atomically(self._metrics_file, exposition(reading, self.health))
            self._news.tell("metrics", "")
        except OSError as error:
            self._news.tell("metrics", f"metrics file cannot be written: {error}")

    def _tell_news(self, reading: Reading) -> None:
        self._news.tell("vms", reading.reason and f"VMs cannot be read: {reading.reason}")
        if self._outbox is not None:
            error = self._outbox.write_error
            self._news.tell("outbox", error and f"outbox cannot be written: {error}")
            lost = self._outbox.tally.dropped + self._outbox.tally.damaged
            self._news.tell("lost", f"{lost} records lost" if lost else "")
        if self._delivery is not None:
            reason = self._delivery.state.reason
            self._news.tell("service", reason and f"records cannot be delivered: {reason}")
            skew_s = self._delivery.state.clock_skew_s
            skewed = skew_s is not None and abs(skew_s) > SKEW_LIMIT_S
            self._news.tell("clock", f"the service's clock is {skew_s} s off" if skewed else "")


class _News:
    """Says what changed, once."""

    def __init__(self) -> None:
        self._present: dict[str, str] = {}

    @property
    def troubles(self) -> tuple[str, ...]:
        return tuple(text for text in self._present.values() if text)

    def tell(self, about: str, trouble: str) -> None:
        """Log a trouble that is new, or that one is over; the same again is no news."""
        before = self._present.get(about, "")
        self._present[about] = trouble
        if trouble and not before:
            log.warning("%s", trouble)
        elif before and not trouble:
            log.info("over: %s", before)


class _Stop(BaseException):
    """A signal asked to stop while the loop waited."""


class StopSignals:
    """Ends a wait when SIGTERM or SIGINT comes; anything else is finished first."""

    def __init__(self) -> None:
        self.requested = False
        self._waiting = False

    def install(self) -> None:
        """Take over both signals, from the main thread."""
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGINT, self._note)

    def wait(self, wait: Callable[[float], None], seconds: float) -> None:
        """Wait, at most until a signal comes."""
        try:
            self._waiting = True
            if not self.requested:
                wait(seconds)
            self._waiting = False
        except _Stop:
            self._waiting = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        first = not self.requested
        self.requested = True
        if first and self._waiting:
            raise _Stop


def run(monitor: Monitor, time: Timekeeper, supervisor: Supervisor, signals: StopSignals) -> None:
    """Sample on the grid until a signal asks to stop."""
    try:
        supervisor.ready()
        while not signals.requested:
            monitor.tick()
            supervisor.alive(monitor.status)
            signals.wait(time.wait, monitor.seconds_to_next())
        supervisor.stopping()
    finally:
        monitor.stop()
