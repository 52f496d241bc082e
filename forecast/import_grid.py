"""Put raw readings of any source on the 5-minute grid and write them as tidy Parquet."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from forecast.history import MAX_FILLED_BINS, STEP_SECONDS, BinState
from solver.domain.errors import InvalidInputError

MAX_GRID_BINS: Final = 5_000_000
"""47 years of bins; more means a wrong time stamp."""
ROW_GROUP_ROWS: Final = 400_000

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What was converted; counts are of VM-bins, except ``readings``, rows of the source."""

    vms: int
    readings: int
    merged: int
    interpolated: int
    off: int
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """Raw readings of one VM: ``seconds`` rising, ``values`` by metric, NaN where unknown.

    All series of a source have the same metrics.
    """

    vm: str
    seconds: npt.NDArray[np.int64]
    values: dict[str, Doubles]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gridded:
    """One VM bin by bin, from its first to its last.

    Parameters
    ----------
    first_bin
        Index of the first bin, counted from 1970.
    values
        By metric, shape ``(num_bins,)``; NaN in missing bins.
    state
        :class:`~forecast.history.BinState` of each bin, ``uint8``.
    merged
        Readings that shared their bin with another.
    """

    vm: str
    first_bin: int
    values: dict[str, Doubles]
    state: npt.NDArray[np.uint8]
    merged: int


@dataclass(slots=True)
class Tally:
    vms: int = 0
    readings: int = 0
    merged: int = 0
    states: npt.NDArray[np.int64] | None = None

    def add(self, write: Callable[[pa.Table], None], series: Series) -> None:
        if not len(series.seconds):
            return  # a VM that was listed but never read: the archive has such files
        one = on_grid(series)
        write(_table(one))
        self.vms += 1
        self.readings += len(series.seconds)
        self.merged += one.merged
        counts = np.bincount(one.state, minlength=4).astype(np.int64)
        self.states = counts if self.states is None else self.states + counts

    def report(self) -> ImportReport:
        if self.states is None:
            raise InvalidInputError("no readings found; expected at least one")
        return ImportReport(
            vms=self.vms,
            readings=self.readings,
            merged=self.merged,
            interpolated=int(self.states[BinState.INTERPOLATED]),
            off=int(self.states[BinState.OFF]),
            missing=int(self.states[BinState.MISSING]),
        )


def on_grid(series: Series, *, step_seconds: int = STEP_SECONDS) -> Gridded:
    """Put the readings of one VM, at least one, on the grid.

    Each goes to its nearest bin, where the last one known counts. Gaps of up to ``MAX_FILLED_BINS``
    between two measured bins are interpolated, longer ones are missing; no cores mean off.

    Raises
    ------
    InvalidInputError
        If they lie further apart than any history.
    """
    bins = (series.seconds + step_seconds // 2) // step_seconds
    first, num_bins = int(bins[0]), int(bins[-1] - bins[0]) + 1
    if num_bins > MAX_GRID_BINS:
        raise InvalidInputError(
            f"VM {series.vm!r}: readings run from {series.seconds[0]} to {series.seconds[-1]} "
            f"(seconds since 1970), which is {num_bins} bins; expected at most {MAX_GRID_BINS}"
        )
    place = (bins - first).astype(np.intp)
    # Readings of one bin may come at different seconds of it: known ones are not overwritten.
    values = {name: np.full(num_bins, np.nan) for name in series.values}
    for name, numbers in series.values.items():
        known = ~np.isnan(numbers)
        values[name][place[known]] = numbers[known]
    measured = ~np.any([np.isnan(values[name]) for name in values if name != "mem_mib"], axis=0)
    state = np.where(measured, BinState.MEASURED, BinState.MISSING).astype(np.uint8)
    state[measured & (values["cpu_cores"] == 0)] = BinState.OFF
    short = _short_gaps(state)
    if short.any():
        clean = np.flatnonzero(state == BinState.MEASURED)
        for numbers in values.values():
            numbers[short] = np.interp(np.flatnonzero(short), clean, numbers[clean])
    state[short] = BinState.INTERPOLATED
    for numbers in values.values():
        numbers[state == BinState.MISSING] = np.nan
    merged = len(place) - len(np.unique(place))
    return Gridded(vm=series.vm, first_bin=first, values=values, state=state, merged=merged)


def _short_gaps(state: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Tell which missing bins lie in gaps of at most three between two measured ones."""
    missing = state == BinState.MISSING
    edges = np.diff(np.concatenate([[0], missing.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    short = np.zeros(len(state), dtype=bool)
    for start, end in zip(starts, ends, strict=True):
        inside = start > 0 and end < len(state)
        if inside and end - start <= MAX_FILLED_BINS:
            short[start:end] = state[start - 1] == state[end] == BinState.MEASURED
    return short


def _table(one: Gridded) -> pa.Table:
    num_bins = len(one.state)
    stamps = (one.first_bin + np.arange(num_bins, dtype=np.int64)) * STEP_SECONDS * 1000
    columns = [
        pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(num_bins, dtype=np.int32)), pa.array([one.vm])
        ),
        pa.array(stamps).cast(pa.timestamp("ms", tz="UTC")),
        *(pa.array(numbers, pa.float32(), from_pandas=True) for numbers in one.values.values()),
        pa.array(one.state),
    ]
    return pa.Table.from_arrays(columns, schema=_schema(tuple(one.values)))


def _schema(metrics: tuple[str, ...]) -> pa.Schema:
    return pa.schema(
        [
            ("vm", pa.dictionary(pa.int32(), pa.string())),
            ("ts", pa.timestamp("ms", tz="UTC")),
            *((name, pa.float32()) for name in metrics),
            ("state", pa.uint8()),
        ]
    )


@contextmanager
def tidy_writer(target: Path, metrics: tuple[str, ...]) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that appends rows; rename the file when all went well, else remove it."""
    if not target.parent.is_dir():
        raise InvalidInputError(f"{target}: the folder {target.parent} does not exist")
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".partial")
    os.close(handle)
    partial = Path(name)
    waiting: list[pa.Table] = []
    try:
        with pq.ParquetWriter(partial, _schema(metrics), compression="zstd") as file:

            def flush() -> None:
                if waiting:
                    file.write_table(pa.concat_tables(waiting).unify_dictionaries())
                    waiting.clear()

            def write(table: pa.Table) -> None:
                waiting.append(table)
                if sum(part.num_rows for part in waiting) >= ROW_GROUP_ROWS:
                    flush()

            yield write
            flush()
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.chmod(0o644)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
