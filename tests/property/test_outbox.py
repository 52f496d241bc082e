"""Whatever happens to an outbox, it behaves as a list with a bound."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from executor.monitor.outbox import MIN_BYTES, Outbox
from executor.monitor.segments import find_segments


class OutboxMachine(RuleBasedStateMachine):
    """Compares an outbox with the list of what it should hold.

    Ends of the process, torn tails and lost notes are mixed with damage. Records carry their
    position, so that one that is lost, doubled or out of order shows.
    """

    @initialize()
    def begin(self) -> None:
        """Open an outbox in a new folder."""
        self.folder = Path(tempfile.mkdtemp(prefix="outbox-"))
        self.outbox = Outbox(self.folder / "outbox", max_bytes=MIN_BYTES)
        self.expected: list[bytes] = []
        self.spoilt: set[bytes] = set()
        self.received: set[tuple[str, int]] = set()
        self.num_made = 0

    def teardown(self) -> None:
        """Remove the folder."""
        if hasattr(self, "folder"):
            self.outbox.close()
            shutil.rmtree(self.folder)

    @rule(number=st.integers(1, 20), size=st.integers(0, 5000))
    def append(self, number: int, size: int) -> None:
        """Keep records; those dropped for them are the oldest."""
        for _ in range(number):
            payload = b"%09d" % self.num_made + b"." * size
            self.num_made += 1
            before = self.outbox.tally.dropped
            self.outbox.append(payload)
            self.expected.append(payload)
            self._drop(self.outbox.tally.dropped - before)

    @rule(max_records=st.integers(1, 40), part=st.floats(0, 1))
    def deliver(self, max_records: int, part: float) -> None:
        """Accept a part of a batch: it is the oldest part of what should be there."""
        batch = self.outbox.batch(max_records=max_records, max_bytes=10**5)
        if batch is None:
            assert not self._whole()
            return
        assert [payload for _, payload in batch.entries] == self._whole()[: len(batch.entries)]
        taken = batch.entries[: round(part * len(batch.entries))]
        if not taken:
            return
        self.outbox.accept(batch.stream, taken[-1][0])
        for seq, payload in taken:
            assert (batch.stream, seq) not in self.received
            self.received.add((batch.stream, seq))
            self.expected = self.expected[self.expected.index(payload) + 1 :]

    @rule(clean=st.booleans(), torn=st.binary(max_size=30))
    def restart(self, clean: bool, torn: bytes) -> None:
        """End the process, in order or not, perhaps in the middle of a write."""
        self.outbox.close()
        segments = find_segments(self.folder / "outbox")
        if segments and not clean:
            with segments[-1].path.open("ab") as file:
                file.write(torn.replace(b"\n", b""))
        self._reopen()

    @precondition(lambda self: self._whole())
    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        """Spoil one record on disk while the process is down."""
        victim = data.draw(st.sampled_from(self._whole()))
        self.outbox.close()
        for segment in find_segments(self.folder / "outbox"):
            content = segment.path.read_bytes()
            segment.path.write_bytes(content.replace(b" " + victim[:9], b" *" + victim[1:9]))
        self.spoilt.add(victim)
        self._reopen()

    @invariant()
    def holds_what_it_should(self) -> None:
        """The number of records is right, and the files keep to the bound."""
        if hasattr(self, "outbox"):
            assert self.outbox.num_records == len(self._whole())
            assert self.outbox.num_bytes <= MIN_BYTES + 100

    def _reopen(self) -> None:
        self.outbox = Outbox(self.folder / "outbox", max_bytes=MIN_BYTES)

    def _whole(self) -> list[bytes]:
        return [payload for payload in self.expected if payload not in self.spoilt]

    def _drop(self, number: int) -> None:
        """Take the oldest away, spoilt ones among them too."""
        if number:
            last = self._whole()[number - 1]
            self.expected = self.expected[self.expected.index(last) + 1 :]


OutboxMachine.TestCase.settings = settings(stateful_step_count=20)
TestOutbox = OutboxMachine.TestCase
