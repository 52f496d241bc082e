"""Convert foreign telemetry to the tidy Parquet that ``forecast.tidy`` reads.

Two sources are understood:

* the layout of the public Bitbrains archive (GWA-T-12): a folder or a zip of one CSV per VM,
  with ``;`` and tabs between columns. Its time stamps are named milliseconds and are seconds in
  the published files; which of the two is told by their size.
* a plain long CSV, ``vm,ts,metric,value``, where ``metric`` is one of the tidy columns.

Readings are put on the 5-minute grid (each on its nearest bin, the last one wins). Gaps of up to
three bins are interpolated and marked so; longer ones are marked missing and left null. A row
without cores is a VM that is off. The result is written to the side and renamed: either the whole
file is there or nothing. An error names file and line.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from forecast.import_grid import Doubles, ImportReport, Series, Tally, tidy_writer
from forecast.table_files import open_table
from forecast.tidy_columns import LIMITS
from solver.domain.errors import InvalidInputError

MILLISECONDS_FROM: Final = 10_000_000_000
"""Larger stamps are milliseconds: as seconds they would lie beyond the year 2286."""

_BITBRAINS: Final = (
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
_METRICS: Final = tuple(LIMITS)
Progress = Callable[[int, int], None]


def import_bitbrains(
    source: Path | str, target: Path | str, *, progress: Progress | None = None
) -> ImportReport:
    """Convert a folder or zip in the Bitbrains layout.

    A VM is called after its file. Its size is the largest memory ever provisioned; the memory
    provisioned at a time is what was granted, the memory used what was active.

    Parameters
    ----------
    progress
        Called with the VMs done and the VMs in all.

    Raises
    ------
    InvalidInputError
        If there is nothing to read or a line is wrong; names file and line.
    """
    source = Path(source)
    files = _bitbrains_files(source)
    with tidy_writer(Path(target), _METRICS) as write:
        tally = Tally()
        for done, (name, read) in enumerate(files):
            tally.add(write, _bitbrains_series(name, read()))
            if progress is not None:
                progress(done + 1, len(files))
        return tally.report()


def import_long_csv(
    source: Path | str, target: Path | str, *, progress: Progress | None = None
) -> ImportReport:
    """Convert a long CSV with the columns ``vm,ts,metric,value``, in any order of rows.

    ``ts`` is ISO 8601 (UTC unless it says otherwise) or seconds since 1970.

    Raises
    ------
    InvalidInputError
        If a column is missing, a metric is unknown, or a value is wrong; names file and line.
    """
    source = Path(source)
    series = _long_series(source)
    with tidy_writer(Path(target), tuple(series[0].values)) as write:
        tally = Tally()
        for done, one in enumerate(series):
            tally.add(write, one)
            if progress is not None:
                progress(done + 1, len(series))
        return tally.report()


def import_telemetry(
    source: Path | str, target: Path | str, *, progress: Progress | None = None
) -> ImportReport:
    """Convert whatever of the two the source is.

    Raises
    ------
    InvalidInputError
        If it is neither, or wrong.
    """
    source = Path(source)
    if not source.exists():
        raise InvalidInputError(f"{source}: no such file or folder")
    if source.is_dir() or zipfile.is_zipfile(source):
        return import_bitbrains(source, target, progress=progress)
    with source.open("rb") as file:
        head = file.readline(4096)
    if b";" in head:
        return import_bitbrains(source, target, progress=progress)
    return import_long_csv(source, target, progress=progress)


# Bitbrains


def _bitbrains_files(source: Path) -> list[tuple[str, Callable[[], bytes]]]:
    """Return every VM's name and how to read its file, by natural order of names."""
    if not source.exists():
        raise InvalidInputError(f"{source}: no such file or folder")
    found: list[tuple[str, Callable[[], bytes]]]
    if source.is_dir():
        found = [(str(path), path.read_bytes) for path in source.rglob("*.csv")]
    elif zipfile.is_zipfile(source):
        found = _zip_members(source)
    else:
        found = [(str(source), source.read_bytes)]
    if not found:
        raise InvalidInputError(f"{source}: holds no .csv file; expected one per VM")
    found.sort(key=lambda item: (len(item[0]), item[0]))
    stems = [Path(name).stem for name, _ in found]
    twice = (
        {stem for stem in stems if stems.count(stem) > 1} if len(set(stems)) < len(stems) else ()
    )
    for name, _ in found:
        if Path(name).stem in twice:
            raise InvalidInputError(
                f"{name}: another file is called {Path(name).stem!r}, too; expected one per VM"
            )
    return found


def _zip_members(source: Path) -> list[tuple[str, Callable[[], bytes]]]:
    def reader(member: str) -> Callable[[], bytes]:
        def read() -> bytes:
            try:
                with zipfile.ZipFile(source) as archive:
                    return archive.read(member)
            except (zipfile.BadZipFile, OSError) as error:
                raise InvalidInputError(f"{source}: damaged at {member}: {error}") from error

        return read

    with zipfile.ZipFile(source) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
    return [(f"{source}:{name}", reader(name)) for name in names]


def _bitbrains_series(name: str, data: bytes) -> Series:
    lines = _lines(name, data)
    header = [part.strip().lower() for part in lines[0].split(";")] if lines else []
    if tuple(header) != _BITBRAINS:
        seen = lines[0][:60] if lines else ""
        raise InvalidInputError(
            f"{name}, line 1: expected the header 'Timestamp [ms]; CPU cores; ...' with "
            f"{len(_BITBRAINS)} columns, got {seen!r}"
        )
    table = _numbers(name, lines, len(_BITBRAINS))
    stamps = table[:, 0]
    factor = 1000.0 if len(stamps) and stamps.max() >= MILLISECONDS_FROM else 1.0
    seconds = (stamps / factor).astype(np.int64)
    backwards = np.flatnonzero(np.diff(seconds) < 0)
    if len(backwards):
        line = int(backwards[0]) + 3
        raise InvalidInputError(
            f"{name}, line {line}: time stamp {stamps[line - 2]:.0f} is before the one of the line "
            f"above, {stamps[line - 3]:.0f}; expected rising time"
        )
    mhz = np.where(table[:, 1] > 0, table[:, 2] / np.maximum(table[:, 1], 1.0), np.nan)
    granted = table[:, 5] / 1024.0
    values = {
        "cpu_cores": table[:, 1],
        "cpu_used": np.where(mhz > 0, table[:, 3] / np.where(mhz > 0, mhz, 1.0), 0.0),
        "mem_mib": np.full(len(table), granted.max() if len(granted) else np.nan),
        "mem_granted_mib": granted,
        "mem_active_mib": table[:, 6] / 1024.0,
        "disk_read_kbs": table[:, 7],
        "disk_write_kbs": table[:, 8],
        "net_rx_kbs": table[:, 9],
        "net_tx_kbs": table[:, 10],
    }
    _check_values(name, values, first_line=2)
    return Series(vm=Path(name).stem, seconds=seconds, values=values)


def _lines(name: str, data: bytes) -> list[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{name}: is not text: {error.reason}") from error
    return text.splitlines()


def _numbers(name: str, lines: list[str], num_columns: int) -> Doubles:
    """Return the numbers of all lines after the header; the slow path only names the culprit."""
    rows = [line for line in lines[1:] if line.strip()]
    flat = ";".join(rows).split(";") if rows else []
    try:
        table = np.array(flat, dtype=np.float64)
        if table.size == len(rows) * num_columns:
            return table.reshape(-1, num_columns)
    except ValueError:
        pass  # found again below, with its line
    for i, line in enumerate(lines[1:], start=2):
        parts = line.split(";")
        if line.strip() and len(parts) != num_columns:
            raise InvalidInputError(
                f"{name}, line {i}: expected {num_columns} values, got {len(parts)}"
            )
        for k, part in enumerate(parts if line.strip() else []):
            try:
                float(part)
            except ValueError as error:
                raise InvalidInputError(
                    f"{name}, line {i}, column {_BITBRAINS[k]!r}: expected a number, "
                    f"got {part.strip()!r}"
                ) from error
    raise InvalidInputError(f"{name}: cannot be read as a table of {num_columns} columns")


def _check_values(name: str, values: dict[str, Doubles], *, first_line: int) -> None:
    for column, numbers in values.items():
        limit = LIMITS[column]
        wrong = ~((numbers >= 0) & (numbers <= limit))
        if wrong.any():
            i = int(np.argmax(wrong))
            raise InvalidInputError(
                f"{name}, line {first_line + i}: {column} expected 0..{limit:g}, got {numbers[i]:g}"
            )


# Long CSV


def _long_series(source: Path) -> list[Series]:
    table_file = open_table(source)
    expected = ("vm", "ts", "metric", "value")
    absent = [column for column in expected if column not in table_file.columns]
    if absent:
        raise InvalidInputError(
            f"{source}, line 1: column {absent[0]!r} is missing; expected {','.join(expected)}, "
            f"found {','.join(table_file.columns)}"
        )
    table = pa.Table.from_batches(table_file.batches(expected))
    if not table.num_rows:
        raise InvalidInputError(f"{source}: no rows; expected at least one reading")
    vm, vm_names = _codes(source, table, "vm")
    metric, metric_names = _codes(source, table, "metric")
    unknown = [name for name in metric_names if name not in _METRICS]
    if unknown:
        line = int(np.argmax(metric == metric_names.index(unknown[0]))) + 2
        raise InvalidInputError(
            f"{source}, line {line}: unknown metric {unknown[0]!r}; expected one of "
            f"{', '.join(_METRICS)}"
        )
    value = table["value"].to_numpy(zero_copy_only=False).astype(np.float64)
    limits = np.array([LIMITS[name] for name in metric_names])[metric]
    wrong = ~((value >= 0) & (value <= limits))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise InvalidInputError(
            f"{source}, line {i + 2}: {metric_names[metric[i]]} of VM {vm_names[vm[i]]!r}: "
            f"expected 0..{limits[i]:g}, got {value[i]:g}"
        )
    seconds = _long_seconds(source, table["ts"].to_pylist())
    for needed in ("cpu_cores", "cpu_used"):
        if needed not in metric_names:
            raise InvalidInputError(f"{source}: no row has the metric {needed!r}; it is required")
    # Sorted once by VM; a mask for each VM would make the work grow with their square.
    order = np.argsort(vm, kind="stable")
    bounds = np.searchsorted(vm[order], np.arange(len(vm_names) + 1))
    series = []
    for code, name in enumerate(vm_names):
        mine = order[bounds[code] : bounds[code + 1]]
        series.append(_one_long(name, seconds[mine], metric[mine], metric_names, value[mine]))
        for column, numbers in series[-1].values.items():
            if np.isnan(numbers).all():
                raise InvalidInputError(
                    f"{source}: VM {name!r} has no reading of {column!r}, which other VMs have"
                )
    return series


def _codes(source: Path, table: Any, column: str) -> tuple[npt.NDArray[np.int64], list[str]]:
    values = table[column].combine_chunks()
    if values.null_count:
        line = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False))) + 2
        raise InvalidInputError(f"{source}, line {line}: {column!r} is empty")
    encoded = values.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, [str(name) for name in encoded.dictionary.to_pylist()]


def _long_seconds(source: Path, stamps: list[str | None]) -> npt.NDArray[np.int64]:
    seconds = np.empty(len(stamps), dtype=np.int64)
    seen: dict[str | None, int] = {}
    for i, stamp in enumerate(stamps):
        if stamp not in seen:
            seen[stamp] = _parse_stamp(source, i + 2, stamp)
        seconds[i] = seen[stamp]
    return seconds


def _parse_stamp(source: Path, line: int, stamp: str | None) -> int:
    text = (stamp or "").strip()
    try:
        if text.replace(".", "", 1).isdigit():
            number = float(text)
            return int(number / 1000.0 if number >= MILLISECONDS_FROM else number)
        parsed = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"{source}, line {line}: time stamp {text!r} cannot be read; expected e.g. "
            "2026-02-02T00:05:00Z or seconds since 1970"
        ) from error
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())


def _one_long(
    vm: str,
    seconds: npt.NDArray[np.int64],
    metric: npt.NDArray[np.int64],
    metric_names: list[str],
    value: Doubles,
) -> Series:
    stamps, row = np.unique(seconds, return_inverse=True)
    names = [name for name in _METRICS if name in metric_names]
    values = {name: np.full(len(stamps), np.nan) for name in names}
    for code, name in enumerate(metric_names):
        at = metric == code
        values[name][row[at]] = value[at]
    # Sizes are told once and hold until told otherwise.
    for name in ("cpu_cores", "mem_mib"):
        if name in values:
            values[name] = _held(values[name])
    return Series(vm=vm, seconds=stamps, values=values)


def _held(values: Doubles) -> Doubles:
    """Fill unknown values with the one before, and the first with the first known."""
    known = ~np.isnan(values)
    if not known.any():
        return values
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    return values[np.where(last < 0, int(np.argmax(known)), last)]
