"""The outbox's files: one record a line, each with a checksum and a number.

A line is ``checksum number record``. The number rises within a *stream*, which is one life of the
process: a new life writes files and a stream of its own, so that no number is ever given twice,
whatever a crash or damage took away. What stands behind a file's last line end was torn by a crash
while it was written; nobody was told that it was kept, so it is passed over. Any other line that
does not read back is damage: passed over too, and counted.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from executor.durable import sync_folder

_NAME: Final = re.compile(r"^(\d{10})-([0-9a-f]{32})\.log$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a file.

    Parameters
    ----------
    seq
        Number within the stream; 0 for a damaged line.
    payload
        The record; empty for a damaged line.
    end
        Where the next line begins.
    """

    seq: int
    payload: bytes
    end: int

    @property
    def damaged(self) -> bool:
        """Whether it does not read back."""
        return self.seq == 0


@dataclass(slots=True, kw_only=True)
class Segment:
    """A file of records of one stream.

    Parameters
    ----------
    ordinal
        Position among all files of the outbox.
    num_bytes
        Its length, torn tail included.
    num_records
        Whole records in it that still have to be delivered.
    start
        Where the first of them may begin.
    """

    path: Path
    ordinal: int
    stream: str
    num_bytes: int = 0
    num_records: int = 0
    start: int = 0

    def lines(self) -> Iterator[Line]:
        """Yield the lines from ``start`` on; none if the file cannot be read."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.start)
                end = self.start
                for text in file:
                    if not text.endswith(b"\n"):
                        return
                    end += len(text)
                    yield decode_line(text, end)
        except OSError:
            return


def segment_path(folder: Path, ordinal: int, stream: str) -> Path:
    """Return the place of a file."""
    return folder / f"{ordinal:010d}-{stream}.log"


def find_segments(folder: Path) -> list[Segment]:
    """Return the files of a folder in their order; others are left alone."""
    found = []
    for path in folder.iterdir():
        match = _NAME.match(path.name)
        if match and path.is_file():
            num_bytes = path.stat().st_size
            found.append(
                Segment(path=path, ordinal=int(match[1]), stream=match[2], num_bytes=num_bytes)
            )
    return sorted(found, key=lambda segment: segment.ordinal)


def encode_line(seq: int, payload: bytes) -> bytes:
    """Return a record as a line."""
    body = b"%d %s" % (seq, payload)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decode_line(text: bytes, end: int) -> Line:
    """Return a whole line that ends before ``end``."""
    body = text[9:-1]
    number, _, payload = body.partition(b" ")
    if text[:9] != b"%08x " % zlib.crc32(body) or not number.isdigit() or int(number) == 0:
        return Line(seq=0, payload=b"", end=end)
    return Line(seq=int(number), payload=payload, end=end)


class SegmentWriter:
    """Appends to one file, forced to disk line by line.

    Parameters
    ----------
    segment
        A file that does not exist yet; made at once.

    Attributes
    ----------
    sound
        Whether the file ends in a whole line.

    Raises
    ------
    OSError
        If it cannot be made.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self.sound = True
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._file = os.open(segment.path, flags, 0o600)
        try:
            sync_folder(segment.path.parent)
        except OSError:
            self.close()
            segment.path.unlink(missing_ok=True)
            raise

    def append(self, line: bytes) -> None:
        """Write a line; on return it survives the end of the process and of the machine.

        :raises OSError: if it could not be written; the file reads as it did before. Unless
            ``sound`` still holds, something torn stands at its end and nothing more may be written.
        """
        segment = self._segment
        try:
            written = os.write(self._file, line)
            if written < len(line):
                # The rest tells by its error what was in the way.
                os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError:
            self.sound = False
            os.ftruncate(self._file, segment.num_bytes)
            self.sound = True
            raise
        segment.num_bytes += len(line)
        segment.num_records += 1

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
