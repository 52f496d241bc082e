"""Read the layout of the public Bitbrains archive (GWA-T-12): one CSV per VM and month.

A folder or a zip of files with ``;`` and tabs between columns. Time stamps are named milliseconds
and are seconds in the published files; which of the two is told by their size. A VM is called
after its file; where monthly folders hold files of the same name, they are one VM's, put together
in the order of time. Putting readings on the grid is ``forecast.import_grid``'s business.
"""

from __future__ import annotations

import itertools
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.import_grid import Doubles, Series
from forecast.tidy_columns import LIMITS
from solver.domain.errors import InvalidInputError

MILLISECONDS_FROM: Final = 10_000_000_000
"""Larger stamps are milliseconds: as seconds they would lie beyond the year 2286."""

_COLUMNS: Final = (
    "timestamp [ms]",
    "cpu cores",
    "cpu capacity provisioned [mhz]",
    "cpu usage [mhz]",
    "cpu usage [%]",
    "memory capacity provisioned [kb]",
    "memory usage [kb]",
    "disk read throughput [kb/s]",
    "disk write throughput [kb/s]",
    "network received throughput [kb/s]",
    "network transmitted throughput [kb/s]",
)
_SOURCE: Final = {
    "cpu_cores": 1,
    "cpu_used": 3,
    "mem_granted_mib": 5,
    "mem_active_mib": 6,
    "disk_read_kbs": 7,
    "disk_write_kbs": 8,
    "net_rx_kbs": 9,
    "net_tx_kbs": 10,
}
"""The column that each value comes from."""
_USED: Final = (1, 2, 3, 5, 6, 7, 8, 9, 10)

Reader = Callable[[], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class VmFiles:
    """All files of one VM: where each is, for messages, and how to read it."""

    vm: str
    files: tuple[tuple[str, Reader], ...]


def find_vms(source: Path) -> list[VmFiles]:
    """Return every VM of a folder, zip or single file, by natural order of file names.

    Raises
    ------
    InvalidInputError
        If there is no file to read, or a zip is encrypted.
    """
    if not source.exists():
        raise InvalidInputError(f"{source}: no such file or folder")
    found: list[tuple[str, Reader]]
    if source.is_dir():
        found = [(str(path), path.read_bytes) for path in source.rglob("*.csv")]
    elif zipfile.is_zipfile(source):
        found = _zip_members(source)
    else:
        found = [(str(source), source.read_bytes)]
    if not found:
        raise InvalidInputError(f"{source}: holds no .csv file; expected one per VM")
    groups: dict[str, list[tuple[str, Reader]]] = {}
    for name, read in sorted(found, key=lambda item: (len(item[0]), item[0])):
        groups.setdefault(Path(name).stem, []).append((name, read))
    return [VmFiles(vm=stem, files=tuple(files)) for stem, files in groups.items()]


def _zip_members(source: Path) -> list[tuple[str, Reader]]:
    def reader(member: str) -> Reader:
        def read() -> bytes:
            try:
                with zipfile.ZipFile(source) as archive:
                    return archive.read(member)
            # A method of compression that is not known is a NotImplementedError.
            except (
                zipfile.BadZipFile,
                zlib.error,
                EOFError,
                NotImplementedError,
                OSError,
            ) as error:
                raise InvalidInputError(f"{source}: damaged at {member}: {error}") from error

        return read

    try:
        with zipfile.ZipFile(source) as archive:
            members = [i for i in archive.infolist() if i.filename.lower().endswith(".csv")]
    except (zipfile.BadZipFile, OSError) as error:
        raise InvalidInputError(f"{source}: damaged zip: {error}") from error
    for member in members:
        if member.flag_bits & 1:
            raise InvalidInputError(
                f"{source}: {member.filename} is encrypted; expected a zip without a password"
            )
    return [(f"{source}:{member.filename}", reader(member.filename)) for member in members]


def read_vm(files: VmFiles, *, now: datetime) -> Series:
    """Return all readings of one VM, put together from its files in the order of time.

    Raises
    ------
    InvalidInputError
        If a line is wrong or lies in the future, or two files overlap in time; names file and line.
    """
    parts = [(name, _read_file(name, read(), now)) for name, read in files.files]
    # A VM may be listed and never read: the archive has such files.
    filled = [(name, part) for name, part in parts if len(part[0])] or parts[:1]
    filled.sort(key=lambda item: item[1][0][:1].tolist())
    for (name, (before, _)), (other, (after, _)) in itertools.pairwise(filled):
        if after[0] <= before[-1]:
            raise InvalidInputError(
                f"{other}: begins at {after[0]}, before {name} ends at {before[-1]} (seconds since "
                f"1970); expected files called {files.vm!r} to be one VM's, month after month"
            )
    seconds = np.concatenate([part[0] for _, part in filled])
    table = np.concatenate([part[1] for _, part in filled])
    return Series(vm=files.vm, seconds=seconds, values=_values(table))


def _read_file(name: str, data: bytes, now: datetime) -> tuple[npt.NDArray[np.int64], Doubles]:
    """Return the checked seconds and raw numbers of one file."""
    lines = _lines(name, data)
    header = [part.strip().lower() for part in lines[0].split(";")] if lines else []
    if tuple(header) != _COLUMNS:
        seen = lines[0][:60] if lines else ""
        raise InvalidInputError(
            f"{name}, line 1: expected the header 'Timestamp [ms]; CPU cores; ...' with "
            f"{len(_COLUMNS)} columns, got {seen!r}"
        )
    # Lines are counted as an editor does, blank ones included.
    rows = _Rows(
        name=name,
        numbered=tuple((i, text) for i, text in enumerate(lines[1:], start=2) if text.strip()),
    )
    table = _numbers(rows)
    seconds = _seconds(rows, table[:, 0], now)
    _check(rows, table)
    return seconds, table


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The lines that hold readings, with their number in the file."""

    name: str
    numbered: tuple[tuple[int, str], ...]

    def where(self, row: int, column: int) -> str:
        """Name one value's place."""
        return f"{self.name}, line {self.numbered[row][0]}, column {_COLUMNS[column]!r}"

    def text(self, row: int, column: int) -> str:
        """Return a value as it stands in the file."""
        return self.numbered[row][1].split(";")[column].strip()


def _lines(name: str, data: bytes) -> list[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{name}: is not text: {error.reason}") from error
    return text.splitlines()


def _numbers(rows: _Rows) -> Doubles:
    """Return the numbers of all rows; the slow path only names the culprit."""
    flat = ";".join(text for _, text in rows.numbered).split(";") if rows.numbered else []
    width = len(_COLUMNS)
    counts = [text.count(";") + 1 for _, text in rows.numbered]
    for (line, _), count in zip(rows.numbered, counts, strict=True):
        if count != width:
            raise InvalidInputError(
                f"{rows.name}, line {line}: expected {width} values, got {count}"
            )
    try:
        return np.array(flat, dtype=np.float64).reshape(-1, width)
    except ValueError as error:
        for k, text in enumerate(flat):
            try:
                float(text)
            except ValueError:
                raise InvalidInputError(
                    f"{rows.where(*divmod(k, width))}: expected a number, got {text.strip()!r}"
                ) from error
        raise


def _seconds(rows: _Rows, stamps: Doubles, now: datetime) -> npt.NDArray[np.int64]:
    factor = 1000.0 if (stamps >= MILLISECONDS_FROM).any() else 1.0
    wrong = ~((stamps >= 0) & (stamps / factor <= now.timestamp()))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidInputError(
            f"{rows.where(row, 0)}: expected a time from 1970 to now, "
            f"{now:%Y-%m-%dT%H:%M:%SZ}, got {rows.text(row, 0)!r}"
        )
    seconds = (stamps / factor).astype(np.int64)
    backwards = np.flatnonzero(np.diff(seconds) < 0)
    if len(backwards):
        row = int(backwards[0]) + 1
        raise InvalidInputError(
            f"{rows.name}, line {rows.numbered[row][0]}: time stamp {rows.text(row, 0)} is before "
            f"the one of the line above, {rows.text(row - 1, 0)}; expected rising time"
        )
    return seconds


def _check(rows: _Rows, table: Doubles) -> None:
    """Refuse what is negative, not finite, or absurdly large in the unit it is kept in."""
    for column in _USED:
        wrong = ~((table[:, column] >= 0) & np.isfinite(table[:, column]))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InvalidInputError(
                f"{rows.where(row, column)}: expected a number of at least 0, "
                f"got {rows.text(row, column)!r}"
            )
    values = _values(table)
    for name, column in _SOURCE.items():
        wrong = values[name] > LIMITS[name]
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InvalidInputError(
                f"{rows.where(row, column)}: expected what makes {name} at most "
                f"{LIMITS[name]:g}, got {rows.text(row, column)!r}"
            )


def _values(table: Doubles) -> dict[str, Doubles]:
    """Return the tidy columns.

    A VM's size is the largest memory ever provisioned; what was provisioned at a time is what was
    granted, what was used was active.
    """
    cores, capacity = table[:, 1], table[:, 2]
    mhz = np.where(cores > 0, capacity / np.maximum(cores, 1.0), 0.0)
    granted = table[:, 5] / 1024.0
    return {
        "cpu_cores": cores,
        "cpu_used": np.where(mhz > 0, table[:, 3] / np.where(mhz > 0, mhz, 1.0), 0.0),
        "mem_mib": np.full(len(table), granted.max() if len(granted) else np.nan),
        "mem_granted_mib": granted,
        "mem_active_mib": table[:, 6] / 1024.0,
        "disk_read_kbs": table[:, 7],
        "disk_write_kbs": table[:, 8],
        "net_rx_kbs": table[:, 9],
        "net_tx_kbs": table[:, 10],
    }
