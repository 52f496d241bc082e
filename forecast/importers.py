"""Convert foreign telemetry to the tidy Parquet that ``forecast.tidy`` reads.

Two sources are understood:

* the layout of the public Bitbrains archive (GWA-T-12), which ``forecast.import_bitbrains`` knows;
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

from forecast.history import utc
from forecast.import_bitbrains import MILLISECONDS_FROM, find_vms, read_vm
from forecast.import_grid import Doubles, ImportReport, Series, Tally, tidy_writer
from forecast.table_files import PARQUET_MAGIC, open_table
from forecast.tidy_columns import LIMITS
from solver.domain.errors import InvalidInputError

_METRICS: Final = tuple(LIMITS)
Progress = Callable[[int, int], None]


def import_bitbrains(
    source: Path | str,
    target: Path | str,
    *,
    progress: Progress | None = None,
    now: datetime | None = None,
) -> ImportReport:
    """Convert a folder or zip in the Bitbrains layout.

    Parameters
    ----------
    progress
        Called with the VMs done and the VMs in all.
    now
        Later readings are refused; the system's clock if ``None``.

    Raises
    ------
    InvalidInputError
        If there is nothing to read or a line is wrong; names file and line.
    """
    source = Path(source)
    vms = find_vms(source)
    until = _now(now)
    with tidy_writer(Path(target), _METRICS) as write:
        tally = Tally()
        for done, files in enumerate(vms):
            tally.add(write, read_vm(files, now=until))
            if progress is not None:
                progress(done + 1, len(vms))
        return tally.report()


def import_long_csv(
    source: Path | str,
    target: Path | str,
    *,
    progress: Progress | None = None,
    now: datetime | None = None,
) -> ImportReport:
    """Convert a long CSV with the columns ``vm,ts,metric,value``, in any order of rows.

    ``ts`` is ISO 8601 (UTC unless it says otherwise) or seconds since 1970.

    Raises
    ------
    InvalidInputError
        If a column is missing, a metric is unknown, or a value is wrong; names file and line.
    """
    source = Path(source)
    series = _long_series(source, _now(now))
    with tidy_writer(Path(target), tuple(series[0].values)) as write:
        tally = Tally()
        for done, one in enumerate(series):
            tally.add(write, one)
            if progress is not None:
                progress(done + 1, len(series))
        return tally.report()


def import_telemetry(
    source: Path | str,
    target: Path | str,
    *,
    progress: Progress | None = None,
    now: datetime | None = None,
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
        return import_bitbrains(source, target, progress=progress, now=now)
    with source.open("rb") as file:
        head = file.readline(4096)
    if b";" in head:
        return import_bitbrains(source, target, progress=progress, now=now)
    return import_long_csv(source, target, progress=progress, now=now)


def _now(now: datetime | None) -> datetime:
    return datetime.now(UTC) if now is None else utc(now)


# Long CSV


def _long_series(source: Path, now: datetime) -> list[Series]:
    table_file = open_table(source)
    with source.open("rb") as file:
        if file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC:
            raise InvalidInputError(f"{source}: is a Parquet file; expected a long CSV")
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
        line = _line(source, int(np.argmax(metric == metric_names.index(unknown[0]))))
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
            f"{source}, line {_line(source, i)}: {metric_names[metric[i]]} of VM "
            f"{vm_names[vm[i]]!r}: expected 0..{limits[i]:g}, got {value[i]:g}"
        )
    seconds = _long_seconds(source, table["ts"].to_pylist(), now)
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
        line = _line(source, int(np.argmax(values.is_null().to_numpy(zero_copy_only=False))))
        raise InvalidInputError(f"{source}, line {line}: {column!r} is empty")
    encoded = values.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, [str(name) for name in encoded.dictionary.to_pylist()]


def _line(source: Path, row: int) -> int:
    """Return the line of a row as an editor counts it: empty lines hold no row."""
    with source.open(encoding="utf-8", errors="replace") as file:
        lines = [i for i, text in enumerate(file, start=1) if text.rstrip("\r\n")]
    return lines[row + 1]


def _long_seconds(source: Path, stamps: list[str | None], now: datetime) -> npt.NDArray[np.int64]:
    seconds = np.empty(len(stamps), dtype=np.int64)
    seen: dict[str | None, int] = {}
    for i, stamp in enumerate(stamps):
        if stamp not in seen:
            seen[stamp] = second = _parse_stamp(source, i, stamp)
            if not 0 <= second <= now.timestamp():
                raise InvalidInputError(
                    f"{source}, line {_line(source, i)}: expected a time from 1970 to now, "
                    f"{now:%Y-%m-%dT%H:%M:%SZ}, got {stamp!r}"
                )
        seconds[i] = seen[stamp]
    return seconds


def _parse_stamp(source: Path, row: int, stamp: str | None) -> int:
    text = (stamp or "").strip()
    try:
        if text.replace(".", "", 1).isdigit():
            number = float(text)
            return int(number / 1000.0 if number >= MILLISECONDS_FROM else number)
        parsed = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"{source}, line {_line(source, row)}: time stamp {text!r} cannot be read; expected "
            "e.g. 2026-02-02T00:05:00Z or seconds since 1970"
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
