"""Read a history from tidy Parquet or CSV: one row per VM and 5-minute bin.

Columns (units in the names; ``ts`` is the start of the bin in UTC)::

    vm  ts  cpu_cores  cpu_used                        required
    mem_mib  mem_granted_mib  mem_active_mib           memory
    disk_read_kbs  disk_write_kbs                      disk
    net_rx_kbs  net_tx_kbs                             network
    state                                              0 measured 1 interpolated 2 off 3 missing
    app_type                                           a category

The file is gone through twice: first the keys (which VM, when), so that the grid is known and
every defect of order is found before anything is allocated; then the values, batch by batch,
straight into their place. A defect ends the reading with one error that names VM, time, column,
value and limit; nothing is silently dropped. Converting other layouts is ``forecast.importers``'.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from forecast.history import (
    CPU_CLIP,
    STEP_SECONDS,
    BinState,
    Floats,
    History,
    HistoryReport,
    utc,
)
from forecast.table_files import open_table
from solver.domain.errors import InvalidInputError
from solver.domain.units import NUM_RESOURCES, Resource, VmId

MAX_CELLS: Final = 1_000_000_000
"""VMs times bins beyond which a time stamp is wrong rather than the cluster large."""

MAX_CORES: Final = 4096.0
"""Largest guest a KVM host can define; more is a unit error."""
MAX_MEMORY_MIB: Final = float(64 * 1024 * 1024)
"""64 TiB."""
MAX_KIB_PER_S: Final = float(2**30 - 1)
"""1 TiB/s in one direction, so that both directions together still fit an amount."""

LIMITS: Final = {
    "cpu_cores": MAX_CORES,
    "cpu_used": MAX_CORES,
    "mem_mib": MAX_MEMORY_MIB,
    "mem_granted_mib": MAX_MEMORY_MIB,
    "mem_active_mib": MAX_MEMORY_MIB,
    "disk_read_kbs": MAX_KIB_PER_S,
    "disk_write_kbs": MAX_KIB_PER_S,
    "net_rx_kbs": MAX_KIB_PER_S,
    "net_tx_kbs": MAX_KIB_PER_S,
}
REQUIRED: Final = ("vm", "ts", "cpu_cores", "cpu_used")
BY_RESOURCE: Final = {
    Resource.CPU: ("cpu_cores", "cpu_used"),
    Resource.MEMORY: ("mem_mib", "mem_granted_mib", "mem_active_mib"),
    Resource.DISK_IO: ("disk_read_kbs", "disk_write_kbs"),
    Resource.NET_IO: ("net_rx_kbs", "net_tx_kbs"),
}


def read_history(
    path: Path | str,
    *,
    resources: Sequence[Resource] | None = None,
    vm_ids: Collection[str] | None = None,
    from_at: datetime | None = None,
    until_at: datetime | None = None,
    now: datetime | None = None,
) -> History:
    """Read a tidy file into a history.

    Parameters
    ----------
    path
        A Parquet or CSV file in the columns of the module's docstring; other columns are ignored.
    resources
        Which resources to read; CPU is always read. All that the file has if ``None``.
    vm_ids
        Which VMs to read; all if ``None``.
    from_at, until_at
        First instant wanted and the first not wanted any more, on the grid.
    now
        Rows that start later are refused; the system's clock if ``None``.

    Returns
    -------
    History
        VMs in the order of their first row.

    Raises
    ------
    InvalidInputError
        If the file is truncated or of another kind, lacks a column or a VM that was asked for, or
        holds a time stamp that is out of order, duplicated, off the grid or in the future, or a
        value that is negative, not finite, absurdly large, or null in a row that is not marked
        missing.
    """
    path = Path(path)
    source = open_table(path)
    absent = [name for name in REQUIRED if name not in source.columns]
    if absent:
        raise InvalidInputError(
            f"{path}: column {absent[0]!r} is missing; expected at least "
            f"{', '.join(REQUIRED)}, found {', '.join(source.columns)}"
        )
    wanted = _wanted(path, source.columns, resources)
    keys = _read_keys(
        path,
        source.batches(("vm", "ts")),
        wanted_vms=frozenset(vm_ids) if vm_ids is not None else None,
        from_s=_seconds(from_at, default=-(2**62)),
        until_s=_seconds(until_at, default=2**62),
        now=utc(now) if now is not None else datetime.now(UTC),
    )
    columns = [name for resource in wanted for name in BY_RESOURCE[resource]]
    columns = [name for name in columns if name in source.columns]
    columns += [name for name in ("state", "app_type") if name in source.columns]
    grid = _Grid.empty(keys, columns)
    row = 0
    for batch in source.batches(tuple(columns)):
        grid.place(path, batch, row)
        row += batch.num_rows
    return grid.history()


def _wanted(
    path: Path, columns: Collection[str], resources: Sequence[Resource] | None
) -> list[Resource]:
    """Return the resources to read: CPU and those asked for, or all that the file has."""
    needs = {
        Resource.MEMORY: ("mem_active_mib", "mem_granted_mib"),
        Resource.DISK_IO: ("disk_read_kbs", "disk_write_kbs"),
        Resource.NET_IO: ("net_rx_kbs", "net_tx_kbs"),
    }
    wanted = [Resource.CPU]
    for resource, names in needs.items():
        found = any(name in columns for name in names)
        if resources is None:
            if found:
                wanted.append(resource)
        elif resource in resources:
            if not found:
                raise InvalidInputError(
                    f"{path}: {resource.field} was asked for, but the file has no column "
                    f"{' or '.join(names)}"
                )
            wanted.append(resource)
    return wanted


def _seconds(at: datetime | None, *, default: int) -> int:
    return default if at is None else int(utc(at).timestamp())


def _stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Keys:
    """Where every row belongs: ``vm`` is -1 for rows that are not wanted."""

    vm_ids: tuple[VmId, ...]
    first_s: int
    num_bins: int
    vm: npt.NDArray[np.int32]
    bins: npt.NDArray[np.int32]


def _read_keys(
    path: Path,
    batches: Iterator[pa.RecordBatch],
    *,
    wanted_vms: frozenset[str] | None,
    from_s: int,
    until_s: int,
    now: datetime,
) -> _Keys:
    codes: dict[str, int] = {}
    last_s: list[int] = []
    vm_parts: list[npt.NDArray[np.int32]] = []
    second_parts: list[npt.NDArray[np.int64]] = []
    row = 0
    for batch in batches:
        vm = _vm_codes(path, batch.column("vm"), codes, last_s, row)
        milliseconds = _milliseconds(path, batch.column("ts"), row)
        names = _Names(path=path, ids=tuple(codes), first_row=row)
        _check_grid(names, vm, milliseconds, now)
        seconds = milliseconds // 1000
        _check_order(names, vm, seconds, last_s)
        vm_parts.append(vm)
        second_parts.append(seconds)
        row += batch.num_rows
    if row == 0:
        raise InvalidInputError(f"{path}: no rows; expected at least one reading")
    vm, seconds = np.concatenate(vm_parts), np.concatenate(second_parts)
    return _select_keys(path, tuple(codes), vm, seconds, wanted_vms, from_s, until_s)


def _select_keys(
    path: Path,
    ids: tuple[str, ...],
    vm: npt.NDArray[np.int32],
    seconds: npt.NDArray[np.int64],
    wanted_vms: frozenset[str] | None,
    from_s: int,
    until_s: int,
) -> _Keys:
    unknown = sorted((wanted_vms or frozenset()) - set(ids))
    if unknown:
        raise InvalidInputError(f"{path}: VM {unknown[0]!r} was asked for, but has no row")
    keep = (seconds >= from_s) & (seconds < until_s)
    if wanted_vms is not None:
        keep &= np.array([name in wanted_vms for name in ids])[vm]
    if not keep.any():
        raise InvalidInputError(
            f"{path}: no row is left in the time asked for; rows run from "
            f"{_stamp(int(seconds.min()))} to {_stamp(int(seconds.max()))}"
        )
    first_s, last_s = int(seconds[keep].min()), int(seconds[keep].max())
    num_bins = (last_s - first_s) // STEP_SECONDS + 1
    kept = np.zeros(len(ids), dtype=bool)
    kept[vm[keep]] = True
    if num_bins * int(kept.sum()) > MAX_CELLS:
        raise InvalidInputError(
            f"{path}: rows run from {_stamp(first_s)} to {_stamp(last_s)}, which is "
            f"{num_bins} bins for {int(kept.sum())} VMs; expected at most {MAX_CELLS} together"
        )
    renumber = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
    bins = np.where(keep, (seconds - first_s) // STEP_SECONDS, 0).astype(np.int32)
    return _Keys(
        vm_ids=tuple(VmId(name) for name, k in zip(ids, kept, strict=True) if k),
        first_s=first_s,
        num_bins=num_bins,
        vm=np.where(keep, renumber[vm], np.int32(-1)),
        bins=bins,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """How to name a row in a message."""

    path: Path
    ids: tuple[str, ...]
    first_row: int

    def row(self, vm: npt.NDArray[np.int32], i: int) -> str:
        return f"{self.path}: row {self.first_row + i + 1}, VM {self.ids[vm[i]]!r}"


def _vm_codes(
    path: Path, column: Any, codes: dict[str, int], last_s: list[int], first_row: int
) -> npt.NDArray[np.int32]:
    """Number the VMs of a batch in the order of their first row in the file."""
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    if column.null_count:
        bad = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise InvalidInputError(
            f"{path}: row {first_row + bad + 1}: the VM is null; expected its name"
        )
    names = [str(name) for name in column.dictionary.to_pylist()]
    local = column.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    table = np.full(len(names), -1, dtype=np.int32)
    used, first_seen = np.unique(local, return_index=True)
    for i in used[np.argsort(first_seen)]:
        name = names[i]
        if not name:
            raise InvalidInputError(f"{path}: a VM has an empty name (after row {first_row})")
        if name not in codes:
            codes[name] = len(codes)
            last_s.append(-(2**62))
        table[i] = codes[name]
    return np.asarray(table[local])


def _milliseconds(path: Path, column: Any, first_row: int) -> npt.NDArray[np.int64]:
    """Return time stamps as milliseconds since 1970; text and whole seconds are understood."""
    if column.null_count:
        bad = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise InvalidInputError(
            f"{path}: row {first_row + bad + 1}: the time stamp is null; expected a time in UTC"
        )
    kind = column.type
    if pa.types.is_integer(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.int64) * 1000
    try:
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            column = _parse_text(column)
        elif not pa.types.is_timestamp(kind):
            raise InvalidInputError(
                f"{path}: column 'ts' is of type {kind}; expected time stamps in UTC"
            )
        stamps = pc.cast(column, pa.timestamp("ms", tz="UTC"), safe=False)
    except pa.ArrowInvalid as error:
        raise InvalidInputError(
            f"{path}: a time stamp between rows {first_row + 1} and {first_row + len(column)} "
            f"cannot be read: {error}; expected e.g. 2013-08-12T13:40:00Z"
        ) from error
    return np.asarray(stamps.cast(pa.int64()).to_numpy(zero_copy_only=False))


def _parse_text(column: Any) -> Any:
    """Read ISO 8601 text; without an offset it is UTC, as the column's definition says."""
    first = column[0].as_py() if len(column) else ""
    has_offset = first.endswith("Z") or "+" in first[10:] or "-" in first[10:]
    if has_offset:
        return pc.cast(column, pa.timestamp("ms", tz="UTC"))
    return pc.assume_timezone(pc.cast(column, pa.timestamp("ms")), "UTC")


def _check_grid(
    names: _Names,
    vm: npt.NDArray[np.int32],
    milliseconds: npt.NDArray[np.int64],
    now: datetime,
) -> None:
    off_grid = milliseconds % (STEP_SECONDS * 1000) != 0
    if off_grid.any():
        i = int(np.argmax(off_grid))
        raise InvalidInputError(
            f"{names.row(vm, i)}: {_stamp_ms(int(milliseconds[i]))} is off the grid; expected a "
            f"multiple of {STEP_SECONDS} s ('foreswap import' puts raw readings on the grid)"
        )
    future = milliseconds > int(now.timestamp() * 1000)
    if future.any():
        i = int(np.argmax(future))
        raise InvalidInputError(
            f"{names.row(vm, i)}: {_stamp_ms(int(milliseconds[i]))} is in the future; expected "
            f"at most now, {_stamp(int(now.timestamp()))}"
        )


def _stamp_ms(milliseconds: int) -> str:
    try:
        whole = _stamp(milliseconds // 1000)
    except (ValueError, OverflowError, OSError):
        return f"time stamp {milliseconds} ms"
    rest = milliseconds % 1000
    return f"{whole[:-1]}.{rest:03d}Z" if rest else whole


def _check_order(
    names: _Names,
    vm: npt.NDArray[np.int32],
    seconds: npt.NDArray[np.int64],
    last_s: list[int],
) -> None:
    """Check that every VM's time moves forward, within the batch and since earlier ones."""
    order = np.arange(len(vm)) if (vm[1:] >= vm[:-1]).all() else np.argsort(vm, kind="stable")
    sorted_vm, sorted_s = vm[order], seconds[order]
    first_of_vm = np.ones(len(vm), dtype=bool)
    first_of_vm[1:] = sorted_vm[1:] != sorted_vm[:-1]
    before = np.empty_like(sorted_s)
    before[1:] = sorted_s[:-1]
    before[first_of_vm] = np.array(last_s, dtype=np.int64)[sorted_vm[first_of_vm]]
    wrong = sorted_s <= before
    if wrong.any():
        i = int(order[np.flatnonzero(wrong)].min())
        earlier = int(before[np.flatnonzero(order == i)[0]])
        verdict = "appears twice" if earlier == seconds[i] else "is out of order"
        raise InvalidInputError(
            f"{names.row(vm, i)}: {_stamp(int(seconds[i]))} {verdict}; expected later than the "
            f"VM's row before, {_stamp(earlier)}"
        )
    last_of_vm = np.ones(len(vm), dtype=bool)
    last_of_vm[:-1] = first_of_vm[1:]
    for code, second in zip(sorted_vm[last_of_vm], sorted_s[last_of_vm], strict=True):
        last_s[code] = int(second)


@dataclass(slots=True, kw_only=True, eq=False)
class _Grid:
    """The arrays while they are being filled."""

    keys: _Keys
    has_state: bool
    readings: Floats
    granted: Floats
    state: npt.NDArray[np.uint8]
    cores: npt.NDArray[np.float64]
    size: npt.NDArray[np.float64]
    app_types: list[str | None]
    has_memory: bool
    zero_core_rows: int = 0

    @classmethod
    def empty(cls, keys: _Keys, columns: Sequence[str]) -> _Grid:
        shape = (len(keys.vm_ids), keys.num_bins)
        return cls(
            keys=keys,
            has_state="state" in columns,
            readings=np.full((NUM_RESOURCES, *shape), np.nan, dtype=np.float32),
            granted=np.full(shape, np.nan, dtype=np.float32),
            state=np.full(shape, BinState.ABSENT, dtype=np.uint8),
            cores=np.zeros(shape[0]),
            size=np.zeros(shape[0]),
            app_types=[None] * shape[0],
            has_memory="mem_active_mib" in columns or "mem_granted_mib" in columns,
        )

    def place(self, path: Path, batch: pa.RecordBatch, first_row: int) -> None:
        """Check one batch of values and put it into its place."""
        rows = slice(first_row, first_row + batch.num_rows)
        wanted = np.flatnonzero(self.keys.vm[rows] >= 0)
        if not len(wanted):
            return
        vm, bins = self.keys.vm[rows][wanted], self.keys.bins[rows][wanted]
        where = _Where(path=path, keys=self.keys, first_row=first_row, rows=wanted, vm=vm, bin=bins)
        state = self._states(where, batch)
        values = {
            name: where.checked(batch, name, state, self.has_state)
            for name in batch.schema.names
            if name in LIMITS
        }
        no_cores = values["cpu_cores"] == 0
        self.zero_core_rows += int((no_cores & (state != BinState.OFF)).sum())
        state[no_cores] = BinState.OFF
        if not self.has_state:
            state[np.isnan(values["cpu_used"])] = BinState.MISSING
        self.state[vm, bins] = state
        self._place_values(vm, bins, values)
        np.maximum.at(self.cores, vm, np.nan_to_num(values["cpu_cores"]))
        if "mem_mib" in values:
            np.maximum.at(self.size, vm, np.nan_to_num(values["mem_mib"]))
        if "app_type" in batch.schema.names:
            self._place_app_types(vm, batch.column("app_type"), wanted)

    def _states(self, where: _Where, batch: pa.RecordBatch) -> npt.NDArray[np.uint8]:
        if not self.has_state:
            return np.zeros(len(where.rows), dtype=np.uint8)
        column = batch.column("state")
        if column.null_count:
            column = (
                column.fill_null(-1)
                if pa.types.is_signed_integer(column.type)
                else (column.cast(pa.int64()).fill_null(-1))
            )
        raw = np.asarray(column.to_numpy(zero_copy_only=False))[where.rows]
        wrong = (raw < 0) | (raw > BinState.MISSING)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise InvalidInputError(
                f"{where.name(i)}, column 'state': expected 0, 1, 2 or 3, got "
                f"{'null' if raw[i] == -1 else raw[i]}"
            )
        return raw.astype(np.uint8)

    def _place_values(
        self,
        vm: npt.NDArray[np.int32],
        bins: npt.NDArray[np.int32],
        values: dict[str, Floats],
    ) -> None:
        self.readings[Resource.CPU][vm, bins] = values["cpu_used"] * 1000.0
        active, granted = values.get("mem_active_mib"), values.get("mem_granted_mib")
        demand = granted if active is None else active
        if demand is not None:
            self.readings[Resource.MEMORY][vm, bins] = demand
        if granted is not None:
            self.granted[vm, bins] = granted
        for resource in (Resource.DISK_IO, Resource.NET_IO):
            parts = [values[name] for name in BY_RESOURCE[resource] if name in values]
            if parts:
                self.readings[resource][vm, bins] = np.sum(parts, axis=0)

    def _place_app_types(
        self, vm: npt.NDArray[np.int32], column: Any, wanted: npt.NDArray[np.intp]
    ) -> None:
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        names = column.dictionary.to_pylist()
        local = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)[wanted]
        _, first = np.unique(vm[local >= 0], return_index=True)
        for i in np.flatnonzero(local >= 0)[first]:
            if self.app_types[vm[i]] is None:
                self.app_types[vm[i]] = str(names[local[i]])

    def history(self) -> History:
        """Close gaps in the states, mend sizes, clip readings, and return the history."""
        present = self.state != BinState.ABSENT
        inside = np.logical_or.accumulate(present, axis=1)
        inside &= np.logical_or.accumulate(present[:, ::-1], axis=1)[:, ::-1]
        self.state[inside & ~present] = BinState.MISSING
        off, missing = self.state == BinState.OFF, self.state == BinState.MISSING
        read = ~np.isnan(self.readings).all(axis=(1, 2))
        for resource in np.flatnonzero(read):
            self.readings[resource][off] = 0.0
            self.readings[resource][missing] = np.nan
        if self.has_memory:
            self.granted[missing] = np.nan
        vcpus = np.maximum(1, np.ceil(self.cores - 1e-6)).astype(np.int64)
        size, unknown = self._sizes()
        report = HistoryReport(
            rows=int((self.keys.vm >= 0).sum()),
            measured=int((self.state == BinState.MEASURED).sum()),
            interpolated=int((self.state == BinState.INTERPOLATED).sum()),
            off=int(off.sum()),
            missing=int(missing.sum()),
            clipped_cpu=_clip(self.readings[Resource.CPU], 1000.0 * CPU_CLIP * vcpus),
            clipped_memory=_clip(self.readings[Resource.MEMORY], np.where(size > 0, size, np.inf)),
            zero_core_rows=self.zero_core_rows,
            unknown_memory_size=unknown,
        )
        return History(
            vm_ids=self.keys.vm_ids,
            start_at=datetime.fromtimestamp(self.keys.first_s, tz=UTC),
            readings=self.readings,
            state=self.state,
            granted_mib=self.granted,
            vcpus=vcpus,
            memory_size_mib=size,
            app_types=tuple(self.app_types),
            report=report,
        )

    def _sizes(self) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
        size = np.ceil(self.size).astype(np.int64)
        if not self.has_memory:
            return size, ()
        unknown = np.flatnonzero(size == 0)
        for i in unknown:
            largest = np.nanmax(
                np.concatenate([self.granted[i], self.readings[Resource.MEMORY][i], [0.0]])
            )
            size[i] = int(np.ceil(largest))
        return size, tuple(self.keys.vm_ids[i] for i in unknown)


def _clip(readings: Floats, limit: npt.NDArray[np.floating[Any]]) -> int:
    """Clip each VM's readings to its limit in place; return how many were beyond it."""
    bound = limit.astype(np.float32)[:, None]
    count = int((readings > bound).sum())
    np.minimum(readings, bound, out=readings)
    return count


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Where:
    """Names the wanted rows of one batch, and checks their values."""

    path: Path
    keys: _Keys
    first_row: int
    rows: npt.NDArray[np.intp]
    vm: npt.NDArray[np.int32]
    bin: npt.NDArray[np.int32]

    def name(self, i: int) -> str:
        stamp = _stamp(self.keys.first_s + int(self.bin[i]) * STEP_SECONDS)
        return (
            f"{self.path}: row {self.first_row + int(self.rows[i]) + 1}, "
            f"VM {self.keys.vm_ids[self.vm[i]]!r}, {stamp}"
        )

    def checked(
        self, batch: pa.RecordBatch, column: str, state: npt.NDArray[np.uint8], has_state: bool
    ) -> Floats:
        """Return a column's wanted values, NaN for null; raise for the first bad one."""
        raw = batch.column(column)
        try:
            values = raw.cast(pa.float64()).to_numpy(zero_copy_only=False)[self.rows]
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InvalidInputError(
                f"{self.path}: column {column!r} is of type {raw.type}; expected numbers"
            ) from error
        unknown = np.isnan(values)
        if unknown.any():
            self._check_nulls(raw, column, unknown, state, has_state)
        limit = LIMITS[column]
        # NaN compares false, so that nulls pass here; they were judged above.
        wrong = (values < 0) | (values > limit)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise InvalidInputError(
                f"{self.name(i)}, column {column!r}: expected 0..{limit:g}, got {values[i]:g}"
            )
        return np.asarray(values, dtype=np.float32)

    def _check_nulls(
        self,
        raw: Any,
        column: str,
        unknown: npt.NDArray[np.bool_],
        state: npt.NDArray[np.uint8],
        has_state: bool,
    ) -> None:
        null = raw.is_null().to_numpy(zero_copy_only=False)[self.rows]
        not_a_number = unknown & ~null & (state != BinState.MISSING)
        if not_a_number.any():
            i = int(np.argmax(not_a_number))
            raise InvalidInputError(
                f"{self.name(i)}, column {column!r}: expected a number, got NaN"
            )
        # A VM's size may be unknown, a reading of a row that claims to be measured may not.
        if column == "mem_mib" or not has_state:
            return
        stray = null & (state < BinState.OFF)
        if stray.any():
            i = int(np.argmax(stray))
            raise InvalidInputError(
                f"{self.name(i)}, column {column!r}: null in a row of state {state[i]}; expected "
                f"a number, or state {int(BinState.MISSING)} for a missing reading"
            )
