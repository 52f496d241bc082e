"""Keeps records on disk until the service has accepted them.

Guarantees: a record that was written survives kill -9 and power cuts; records leave in the order
they came; each has a number within a stream, by which a receiver drops what it has already, so
that they arrive once. The folder never takes more than its bound: the oldest are dropped first,
and counted. A disk that cannot be written costs nothing that is there already: new records wait in
memory, can be delivered from there, and are written when the disk is well again.

Nothing but the constructor raises for the state of the disk.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from executor.durable import sync_folder
from executor.monitor.segments import (
    Line,
    Segment,
    SegmentWriter,
    encode_line,
    find_segments,
    segment_path,
)
from solver.domain.errors import InvalidInputError

MIN_BYTES: Final = 64 * 1024
SEGMENTS_IN_BOUND: Final = 32
"""The oldest are dropped a file at a time: a thirty-second of what is kept."""
MAX_SEGMENT_BYTES: Final = 1024 * 1024
MAX_WAITING: Final = 120
"""Records that wait in memory for a disk that cannot be written: two hours of them."""
MAX_WAITING_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Records to be delivered together.

    Parameters
    ----------
    stream
        Of all of them.
    entries
        Number and record, numbers rising, not always by one; never empty.
    """

    stream: str
    entries: tuple[tuple[int, bytes], ...]

    @property
    def first_seq(self) -> int:
        """Number of the first record."""
        return self.entries[0][0]

    @property
    def last_seq(self) -> int:
        """Number of the last record."""
        return self.entries[-1][0]


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of records, since the folder was made.

    Parameters
    ----------
    dropped
        To keep within bounds, before they were delivered.
    damaged
        Lines on disk that did not read back.
    """

    dropped: int = 0
    damaged: int = 0


class Outbox:
    """Records in a folder, from the oldest to the newest.

    Parameters
    ----------
    folder
        Made if absent; its parent must exist. It is locked while open.
    max_bytes
        Bound of all files of records together; at least ``MIN_BYTES``.

    Attributes
    ----------
    tally
        What was lost.
    write_error
        Why the disk could not be written last time; empty if it could.

    Raises
    ------
    InvalidInputError
        If the bound is too small, or the folder cannot be made or read, or is in use.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        if max_bytes < MIN_BYTES:
            raise InvalidInputError(
                f"expected a bound of {MIN_BYTES} bytes or more, got {max_bytes}", path="max_bytes"
            )
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = min(MAX_SEGMENT_BYTES, max_bytes // SEGMENTS_IN_BOUND)
        self.tally = Tally()
        self.write_error = ""
        self._stream = uuid.uuid4().hex
        self._next_seq = 1
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._waiting_bytes = 0
        self._writer: SegmentWriter | None = None
        self._unsaved = False
        self._lock = self._open_folder()
        try:
            self._segments = find_segments(folder)
            self._next_ordinal = self._segments[-1].ordinal + 1 if self._segments else 1
            self._accepted = ("", 0)
            self._load_state()
            for segment in self._segments:
                segment.num_records = sum(1 for _ in self._records(segment))
            while self._segments and self._done(self._segments[0]):
                self._pass_over(self._segments[0])
                self._remove_oldest()
        except OSError as error:
            os.close(self._lock)
            raise _unusable(folder, error) from error

    # What callers use -----------------------------------------------------------------------

    @property
    def num_records(self) -> int:
        """Records that still have to be delivered."""
        return sum(segment.num_records for segment in self._segments) + len(self._waiting)

    @property
    def num_bytes(self) -> int:
        """Length of all files of records."""
        return sum(segment.num_bytes for segment in self._segments)

    def append(self, payload: bytes) -> None:
        """Keep a record: one line without its end.

        On return it is on disk, or ``write_error`` says why not. One of more than half the bound is
        dropped.
        """
        assert b"\n" not in payload
        seq, self._next_seq = self._next_seq, self._next_seq + 1
        dropped_before = self.tally.dropped
        if len(payload) > self._max_bytes // 2:
            self.tally.dropped += 1
        else:
            self._waiting.append((seq, payload))
            self._waiting_bytes += len(payload)
        self.write_waiting()
        while len(self._waiting) > MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES:
            self._take_waiting()
            self.tally.dropped += 1
        if self._unsaved or self.tally.dropped != dropped_before:
            self.save_state()

    def write_waiting(self) -> None:
        """Write what waits in memory, as far as the disk lets."""
        try:
            while self._waiting:
                self._write(encode_line(*self._waiting[0]))
                self._take_waiting()
            self.write_error = ""
        except OSError as error:
            self.write_error = error.strerror or str(error)

    def batch(self, *, max_records: int, max_bytes: int) -> Batch | None:
        """Return the oldest records, all of one stream; ``None`` if there are none.

        Parameters
        ----------
        max_records, max_bytes
            Bounds of the batch; one record is returned however long it is.
        """
        stream = ""
        entries: list[tuple[int, bytes]] = []
        num_bytes = 0
        for of_stream, seq, payload in self._pending():
            full = len(entries) >= max_records or num_bytes + len(payload) > max_bytes
            if entries and (full or of_stream != stream):
                break
            stream = of_stream
            if not entries or seq > entries[-1][0]:
                entries.append((seq, payload))
                num_bytes += len(payload)
        return Batch(stream=stream, entries=tuple(entries)) if entries else None

    def accept(self, stream: str, through_seq: int) -> None:
        """Forget the records of a stream up to a number: they were delivered, or never can be."""
        self._accepted = (stream, through_seq)
        for segment in self._segments:
            self._pass_over(segment)
            if segment.num_records:
                break
        if stream == self._stream:
            while self._waiting and self._waiting[0][0] <= through_seq:
                self._take_waiting()
        # Files may go before this is written down: no later life gives their numbers again.
        while self._segments and self._done(self._segments[0]):
            self._remove_oldest()
        self.save_state()

    def save_state(self) -> None:
        """Write down what was accepted and lost; if that fails, receivers drop what comes again."""
        stream, seq = self._accepted
        document = {"stream": stream, "accepted_seq": seq, **asdict(self.tally)}
        body = json.dumps(document).encode("ascii")
        partial = self._folder / "state.new"
        try:
            with partial.open("wb") as file:
                file.write(b"%08x %s\n" % (zlib.crc32(body), body))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._folder / "state")
            sync_folder(self._folder)
            self._unsaved = False
        except OSError as error:
            self._unsaved = True
            self.write_error = error.strerror or str(error)

    def close(self) -> None:
        """Write what can be written and leave the folder to others."""
        self.write_waiting()
        self.save_state()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        os.close(self._lock)

    # Reading --------------------------------------------------------------------------------

    def _pending(self) -> Iterator[tuple[str, int, bytes]]:
        """Yield what has to be delivered: on disk first, since what waits is younger."""
        for segment in self._segments:
            for seq, payload in self._records(segment):
                yield segment.stream, seq, payload
        for seq, payload in self._waiting:
            yield self._stream, seq, payload

    def _records(self, segment: Segment) -> Iterator[tuple[int, bytes]]:
        for line in segment.lines():
            if self._is_pending(segment, line):
                yield line.seq, line.payload

    def _is_pending(self, segment: Segment, line: Line) -> bool:
        stream, accepted_seq = self._accepted
        accepted = segment.stream == stream and line.seq <= accepted_seq
        return not line.damaged and not accepted

    def _pass_over(self, segment: Segment) -> None:
        """Go to a file's first pending record, counting what of it did not read back."""
        start = segment.start
        num_pending = num_passed = num_damaged = 0
        for line in segment.lines():
            if self._is_pending(segment, line):
                num_pending += 1
            elif not num_pending:
                start = line.end
                num_damaged += line.damaged
                num_passed += not line.damaged
        vanished = segment.num_records - num_pending - num_passed - num_damaged
        self.tally.damaged += num_damaged + max(0, vanished)
        segment.start = start
        segment.num_records = num_pending

    # Writing --------------------------------------------------------------------------------

    def _write(self, line: bytes) -> None:
        """Append a line to the newest file, beginning another and dropping the oldest as needed."""
        if self._writer is not None and (
            not self._writer.sound or self._segments[-1].num_bytes + len(line) > self._segment_bytes
        ):
            self._writer.close()
            self._writer = None
        while self._segments and self.num_bytes + len(line) > self._max_bytes:
            self._drop_oldest()
        if self._writer is None:
            self._begin_segment()
        assert self._writer is not None
        self._writer.append(line)

    def _begin_segment(self) -> None:
        ordinal = self._next_ordinal
        path = segment_path(self._folder, ordinal, self._stream)
        segment = Segment(path=path, ordinal=ordinal, stream=self._stream)
        self._writer = SegmentWriter(segment)
        self._segments.append(segment)
        self._next_ordinal += 1

    def _drop_oldest(self) -> None:
        self.tally.dropped += self._segments[0].num_records
        self._remove_oldest()

    def _done(self, segment: Segment) -> bool:
        """Whether a file holds nothing more and nothing will be written to it."""
        written_to = self._writer is not None and segment is self._segments[-1]
        return not segment.num_records and not written_to

    def _remove_oldest(self) -> None:
        segment = self._segments.pop(0)
        if not self._segments and self._writer is not None:
            self._writer.close()
            self._writer = None
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            self.write_error = error.strerror or str(error)

    def _take_waiting(self) -> None:
        _, payload = self._waiting.popleft()
        self._waiting_bytes -= len(payload)

    # The folder -----------------------------------------------------------------------------

    def _open_folder(self) -> int:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unusable(self._folder, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise InvalidInputError(
                f"outbox {str(self._folder)!r}: expected it to be free, but another monitor uses it"
            ) from error
        return lock

    def _load_state(self) -> None:
        """Take up what was written down; one that is damaged or missing is as good as none."""
        try:
            checksum, _, body = (self._folder / "state").read_bytes().rstrip().partition(b" ")
        except FileNotFoundError:
            return
        if checksum != b"%08x" % zlib.crc32(body):
            return
        document = json.loads(body)
        self._accepted = (document.get("stream", ""), document.get("accepted_seq", 0))
        self.tally.dropped = document.get("dropped", 0)
        self.tally.damaged = document.get("damaged", 0)


def _unusable(folder: Path, error: OSError) -> InvalidInputError:
    return InvalidInputError(
        f"outbox {str(folder)!r}: expected a folder to keep records in, got: {error}"
    )
