"""Where the executor writes what it is about to do, so that a crash can be recovered from.

A record is durable once ``append`` returns. Only the *last* line can be torn, by a crash while it
was written: nothing had been done yet, so it is dropped and reported. Anything else that does not
read back is damage, and an error that names the line.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from executor.durable import sync_folder
from executor.errors import JournalError
from executor.lease import Lease
from executor.records import MoveChanged, PlanBegun, PlanChanged, Record, decode, encode
from executor.states import MoveEvent, PlanState


class Journal(Protocol):
    """An append-only list of records."""

    def append(self, record: Record) -> None:
        """Write a record; on return it survives the end of the process and of the machine.

        :raises JournalError: if it could not be written; the journal reads as it did before
        :raises LeaseLostError: if the journal belongs to whoever holds a lease, and that is not
            this process any more; the journal reads as it did before
        """

    def read(self) -> tuple[Record, ...]:
        """Return every record in the order written.

        :raises JournalError: if a record is damaged
        """


class MemoryJournal:
    """A journal that lives as long as the object: for replays and tests.

    Records pass through their written form, so that what cannot be written fails here too.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._lines = [encode(record) for record in records]

    def append(self, record: Record) -> None:
        """Keep a record."""
        self._lines.append(encode(record))

    def read(self) -> tuple[Record, ...]:
        """Return every record in the order written."""
        return tuple(decode(line) for line in self._lines)


class FileJournal:
    """A journal in a file of one record per line, forced to disk record by record.

    Parameters
    ----------
    path
        Made if absent; its folder must exist.
    lease
        Whoever holds it may read and write the journal, and nobody else; to be held already. What
        others have written meanwhile is read first. Without one the journal is locked while open:
        two executors that wrote one journal would drive one cluster.

    Attributes
    ----------
    torn_tail
        What was dropped of a last line that a crash had torn; empty if none was.

    Raises
    ------
    JournalError
        If the file cannot be opened, is open elsewhere, or a whole line is damaged.
    LeaseLostError
        If the lease is not held.
    """

    def __init__(self, path: Path, lease: Lease | None = None) -> None:
        self._path = path
        self._lease = lease
        self._token: int | None = None
        self._size = 0
        self.torn_tail = b""
        # Whether something that is no record may stand behind the last whole one.
        self._tail_unsure = False
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            sync_folder(path.parent)
        except OSError as error:
            raise JournalError(f"journal {str(path)!r} cannot be opened: {error}") from error
        try:
            self._lock()
            if lease is None:
                self._load()
            else:
                with self._turn():
                    pass
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the journal cannot be used after."""
        os.close(self._file)

    def append(self, record: Record) -> None:
        """Write a record and force it to disk.

        After a failure the journal may end in a piece of a line. Nothing is written behind that
        piece: it is removed first, and while that fails every record is refused.
        """
        line = encode(record).encode("ascii") + b"\n"
        with self._turn():
            self._append(line)

    def _append(self, line: bytes) -> None:
        if self._tail_unsure:
            self._take_back()
        self._tail_unsure = True
        try:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError(f"{written} of {len(line)} bytes were written")
            os.fsync(self._file)
        except OSError as error:
            self._take_back()
            raise JournalError(f"journal {str(self._path)!r} cannot be written: {error}") from error
        self._size += len(line)
        self._tail_unsure = False

    def read(self) -> tuple[Record, ...]:
        """Return every record in the order written."""
        with self._turn():
            return self._records(self._content()[: self._size])

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Keep others out, and know what they have written since this process had its last turn."""
        if self._lease is None:
            yield
            return
        with self._lease.guard() as token:
            if token != self._token:
                self._load()
                self._token = token
            yield

    def _load(self) -> None:
        """Read the file, and remove a last line that a crash has torn."""
        content = self._content()
        size = content.rfind(b"\n") + 1
        self._records(content[:size])
        self._size = size
        self._tail_unsure = False
        self.torn_tail = content[size:]
        if self.torn_tail:
            self._take_back()

    def _lock(self) -> None:
        """Lock the file, against those without a lease alone if there is one."""
        kind = fcntl.LOCK_EX if self._lease is None else fcntl.LOCK_SH
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except OSError as error:
            raise JournalError(f"journal {str(self._path)!r} is in use: {error}") from error

    def _content(self) -> bytes:
        return self._path.read_bytes()

    def _records(self, content: bytes) -> tuple[Record, ...]:
        records = []
        for number, line in enumerate(content.splitlines(), start=1):
            try:
                records.append(decode(line.decode("ascii")))
            except (JournalError, UnicodeDecodeError) as error:
                raise JournalError(f"{self._path}:{number}: {error}") from error
        return tuple(records)

    def _take_back(self) -> None:
        """Remove what a failed write may have left behind the last whole record."""
        try:
            os.ftruncate(self._file, self._size)
            os.fsync(self._file)
        except OSError as error:
            raise JournalError(
                f"journal {str(self._path)!r} may end in a torn line, and takes no record before "
                f"that is removed: {error}"
            ) from error
        self._tail_unsure = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedPlan:
    """A plan that was begun and has not ended.

    Parameters
    ----------
    moves
        Last record of each step that has one, by the step's position.
    started_at
        When each step was first begun.
    """

    begun: PlanBegun
    state: PlanState
    reason: str = ""
    moves: dict[int, MoveChanged]
    started_at: dict[int, datetime]


def unfinished_plan(records: Iterable[Record]) -> UnfinishedPlan | None:
    """Return the plan that was begun last, unless it has ended."""
    found: UnfinishedPlan | None = None
    for record in records:
        if isinstance(record, PlanBegun):
            found = UnfinishedPlan(begun=record, state=PlanState.RUNNING, moves={}, started_at={})
        elif found is not None and record.plan_id == found.begun.plan_id:
            if isinstance(record, PlanChanged):
                found = replace(found, state=record.state, reason=record.reason)
            else:
                found.moves[record.step_idx] = record
                if record.event is MoveEvent.START:
                    found.started_at.setdefault(record.step_idx, record.at)
    if found is None or found.state in (PlanState.FINISHED, PlanState.ABORTED):
        return None
    return found
