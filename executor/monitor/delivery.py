"""Decides when to send what of the outbox, and what an answer does to it.

One batch at a time, in order. After a failure the pause is drawn evenly between 0 and a bound that
doubles (full jitter [1]_), so that a thousand hosts do not come back in the same second.

References
----------
.. [1] Brooker (2015). Exponential Backoff And Jitter. AWS Architecture Blog.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final

from executor.monitor.background import Errand
from executor.monitor.http import Answer, Sender, Verdict
from executor.monitor.outbox import Batch, Outbox
from executor.monitor.timekeeper import Timekeeper
from solver.domain.units import HostId

ENVELOPE_SCHEMA: Final = 1
MAX_RECORDS: Final = 120
MAX_BATCH_BYTES: Final = 1024 * 1024
"""Before compression, which makes about a tenth of it: what every proxy lets through."""
BACKOFF_S: Final = 5.0
BACKOFF_MAX_S: Final = 300.0
"""After five minutes a service that is back should be noticed."""
RETRY_AFTER_MAX_S: Final = 3600.0
"""However long a service asks for: by mistake it might be a year."""
MAX_ROUND_TRIP: Final = timedelta(seconds=10)
"""Answers that took longer say too little about the service's clock."""


@dataclass(slots=True, kw_only=True)
class DeliveryState:
    """What there is to say about deliveries.

    Parameters
    ----------
    delivered, refused
        Records, since the process started.
    failures
        Tries since the last success.
    reason
        Why the last try failed; empty after a success.
    clock_skew_s
        The service's clock minus the host's when it last answered.
    """

    delivered: int = 0
    refused: int = 0
    failures: int = 0
    reason: str = ""
    clock_skew_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Posted:
    answer: Answer
    began_at: datetime
    ended_at: datetime


class Delivery:
    """Carries an outbox to the service.

    Parameters
    ----------
    outbox
        Only used from the thread that calls; posting itself goes on beside it.
    sender
        The way to the service.
    host_id
        Whose records they are.
    time
        The clocks.
    random
        Draws the pauses.
    """

    def __init__(
        self,
        outbox: Outbox,
        sender: Sender,
        host_id: HostId,
        time: Timekeeper,
        *,
        random: Random | None = None,
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._host_id = host_id
        self._time = time
        self._random = random or Random()
        self._errand: Errand[_Posted] = Errand("delivery")
        self._batch: Batch | None = None
        self._limit = MAX_RECORDS
        self._not_before_s = float("-inf")
        self.state = DeliveryState()

    @property
    def under_way(self) -> bool:
        """Whether a batch was posted whose answer was not settled yet."""
        return self._errand.busy

    def begin(self) -> None:
        """Post the oldest records, unless a batch is under way or a pause is on."""
        if self.under_way or self._time.elapsed_s() < self._not_before_s:
            return
        batch = self._outbox.batch(max_records=self._limit, max_bytes=MAX_BATCH_BYTES)
        if batch is None:
            return
        self._batch = batch
        body = self._body(batch)
        self._errand.begin(lambda: self._post(body))

    def settle(self, *, wait_s: float = 0.0) -> None:
        """Do to the outbox what the answer means, if it came within ``wait_s``."""
        posted = self._errand.take(wait_s=wait_s)
        if posted is None:
            return
        batch, self._batch = self._batch, None
        assert batch is not None
        self._compare_clocks(posted)
        self._apply(batch, posted.answer)

    def _apply(self, batch: Batch, answer: Answer) -> None:
        if answer.verdict is Verdict.ACCEPTED and answer.seq >= batch.first_seq:
            self._accept(batch, answer.seq)
        elif answer.verdict is Verdict.ACCEPTED:
            self._fail(f"accepted nothing: it says it has all before {answer.seq + 1}", None)
        elif answer.verdict is Verdict.REFUSED and batch.first_seq <= answer.seq <= batch.last_seq:
            self._refuse(batch, answer)
        elif answer.verdict is Verdict.TOO_LARGE:
            self._shrink(batch, answer)
        else:
            self._fail(answer.reason, answer.retry_after_s)

    def _accept(self, batch: Batch, through_seq: int) -> None:
        # A service that claims more than it was sent is not believed.
        through_seq = min(through_seq, batch.last_seq)
        self.state.delivered += sum(1 for seq, _ in batch.entries if seq <= through_seq)
        self._outbox.accept(batch.stream, through_seq)
        # By one, so that a limit found by halving is not run into at every other batch.
        self._limit = min(MAX_RECORDS, self._limit + 1)
        self._succeed()

    def _refuse(self, batch: Batch, answer: Answer) -> None:
        """Give up a record that is first in line; otherwise send what stands before it first."""
        before = sum(1 for seq, _ in batch.entries if seq < answer.seq)
        if before:
            self._limit = before
            self._succeed()
            return
        self._give_up_first(batch)
        self._limit = MAX_RECORDS
        self._succeed()
        self.state.reason = f"record {answer.seq} was refused: {answer.reason}"

    def _shrink(self, batch: Batch, answer: Answer) -> None:
        """Send half as much; a record that is too large by itself is given up."""
        if len(batch.entries) > 1:
            self._limit = len(batch.entries) // 2
            self._succeed()
            return
        self._give_up_first(batch)
        self._fail(f"record {batch.first_seq} was given up: {answer.reason}", None)

    def _give_up_first(self, batch: Batch) -> None:
        self.state.refused += 1
        self._outbox.accept(batch.stream, batch.first_seq)

    def _succeed(self) -> None:
        self.state.failures = 0
        self.state.reason = ""
        self._not_before_s = float("-inf")

    def _fail(self, reason: str, retry_after_s: float | None) -> None:
        bound_s = min(BACKOFF_MAX_S, BACKOFF_S * 2.0 ** min(self.state.failures, 32))
        pause_s = self._random.uniform(0, bound_s)
        asked_s = min(RETRY_AFTER_MAX_S, retry_after_s or 0.0)
        self._not_before_s = self._time.elapsed_s() + max(pause_s, asked_s)
        self.state.failures += 1
        self.state.reason = reason

    def _compare_clocks(self, posted: _Posted) -> None:
        """Learn how far the clocks are apart; HTTP tells whole seconds only."""
        took = posted.ended_at - posted.began_at
        if posted.answer.server_at is None or not timedelta() <= took <= MAX_ROUND_TRIP:
            return
        middle_at = posted.began_at + took / 2
        skew_s = (posted.answer.server_at - middle_at).total_seconds() + 0.5
        self.state.clock_skew_s = round(skew_s, 1)

    def _post(self, body: bytes) -> _Posted:
        began_at = self._time.now()
        answer = self._sender.post(body)
        return _Posted(answer=answer, began_at=began_at, ended_at=self._time.now())

    def _body(self, batch: Batch) -> bytes:
        """Return the envelope around records, which are JSON already."""
        head = {
            "schema": ENVELOPE_SCHEMA,
            "host": self._host_id,
            "stream": batch.stream,
            "first_seq": batch.first_seq,
            "sent_at": self._time.now().isoformat(),
            "dropped": self._outbox.tally.dropped,
            "damaged": self._outbox.tally.damaged,
        }
        records = b",".join(b'{"seq":%d,"minute":%s}' % entry for entry in batch.entries)
        return json.dumps(head).encode("ascii")[:-1] + b', "records": [' + records + b"]}"
