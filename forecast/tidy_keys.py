"""First pass over a tidy file: which VM and when each row is, and whether time runs as it should.

What the rows say is read by ``forecast.tidy_grid`` once the keys are known to be sound.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableSequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from forecast.history import STEP_SECONDS
from forecast.table_files import names_of
from forecast.tidy_columns import stamp
from solver.domain.errors import InvalidInputError
from solver.domain.units import VmId

MAX_CELLS: Final = 1_000_000_000
"""VMs times bins beyond which a time stamp is wrong rather than the cluster large."""


LONGEST_S: Final = 3 * 366 * 86_400
"""A history goes back three years at most, when its stamps are not to be trusted."""
END_S: Final = 7_258_118_400
"""2200-01-01, in seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Keys:
    """Where every row belongs: ``vm`` is -1 for rows that are not wanted.

    ``defects`` counts, by name and VM, the rows that were mended or left out; ``lost`` does so for
    VMs of which nothing was left.
    """

    vm_ids: tuple[VmId, ...]
    first_s: int
    num_bins: int
    vm: npt.NDArray[np.int32]
    bins: npt.NDArray[np.int32]
    defects: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    lost: dict[str, dict[str, int]] = field(default_factory=dict)


def read_keys(
    path: Path,
    batches: Iterator[pa.RecordBatch],
    *,
    wanted_vms: frozenset[str] | None,
    from_s: int,
    until_s: int,
    now: datetime,
    mend: bool = False,
) -> Keys:
    codes: dict[str, int] = {}
    last_s: list[int] = []
    vm_parts: list[npt.NDArray[np.int32]] = []
    second_parts: list[npt.NDArray[np.int64]] = []
    faults = _Faults()
    row = 0
    for batch in batches:
        vm = _vm_codes(path, batch.column("vm"), codes, last_s, row)
        milliseconds = _milliseconds(path, batch.column("ts"), row, mend=mend)
        names = _Names(path=path, ids=tuple(codes), first_row=row)
        if mend:
            vm, seconds = faults.mended(vm, milliseconds, now, last_s)
        else:
            _check_grid(names, vm, milliseconds, now)
            seconds = milliseconds // 1000
            _check_order(names, vm, seconds, last_s)
        vm_parts.append(vm)
        second_parts.append(seconds)
        row += batch.num_rows
    if row == 0:
        raise InvalidInputError(f"{path}: no rows; expected at least one reading")
    vm, seconds = np.concatenate(vm_parts), np.concatenate(second_parts)
    if not mend:
        return _select_keys(path, tuple(codes), vm, seconds, wanted_vms, from_s, until_s)
    vm = faults.without_astray(vm, seconds)
    vm = faults.without_repeated(vm, seconds)
    if not (vm >= 0).any():
        raise InvalidInputError(f"{path}: every row is in the future; expected past ones")
    keys = _select_keys(path, tuple(codes), vm, seconds, wanted_vms, from_s, until_s)
    counts = faults.counts(len(codes))
    kept = np.isin(np.array(list(codes)), np.array(keys.vm_ids))
    rows_left = np.bincount(vm[vm >= 0], minlength=len(codes))
    lost = {
        name: {fault: int(count[i]) for fault, count in counts.items() if count[i]}
        for i, name in enumerate(codes)
        if not rows_left[i]
    }
    return replace(keys, defects={fault: count[kept] for fault, count in counts.items()}, lost=lost)


def _select_keys(
    path: Path,
    ids: tuple[str, ...],
    vm: npt.NDArray[np.int32],
    seconds: npt.NDArray[np.int64],
    wanted_vms: frozenset[str] | None,
    from_s: int,
    until_s: int,
) -> Keys:
    unknown = sorted((wanted_vms or frozenset()) - set(ids))
    if unknown:
        raise InvalidInputError(f"{path}: VM {unknown[0]!r} was asked for, but has no row")
    keep = (vm >= 0) & (seconds >= from_s) & (seconds < until_s)
    if wanted_vms is not None:
        keep &= np.array([name in wanted_vms for name in ids])[vm]
    if not keep.any():
        raise InvalidInputError(
            f"{path}: no row is left in the time asked for; rows run from "
            f"{stamp(int(seconds.min()))} to {stamp(int(seconds.max()))}"
        )
    first_s, last_s = int(seconds[keep].min()), int(seconds[keep].max())
    num_bins = (last_s - first_s) // STEP_SECONDS + 1
    kept = np.zeros(len(ids), dtype=bool)
    kept[vm[keep]] = True
    if num_bins * int(kept.sum()) > MAX_CELLS:
        raise InvalidInputError(
            f"{path}: rows run from {stamp(first_s)} to {stamp(last_s)}, which is "
            f"{num_bins} bins for {int(kept.sum())} VMs; expected at most {MAX_CELLS} together"
        )
    renumber = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
    bins = np.where(keep, (seconds - first_s) // STEP_SECONDS, 0).astype(np.int32)
    return Keys(
        vm_ids=tuple(VmId(name) for name, k in zip(ids, kept, strict=True) if k),
        first_s=first_s,
        num_bins=num_bins,
        vm=np.where(keep, renumber[vm], np.int32(-1)),
        bins=bins,
    )


@dataclass(slots=True, kw_only=True)
class _Faults:
    """Rows that a reader who mends puts right or leaves out, as VM codes, one for each."""

    found: dict[str, list[npt.NDArray[np.int32]]] = field(default_factory=dict)

    def mended(
        self,
        vm: npt.NDArray[np.int32],
        milliseconds: npt.NDArray[np.int64],
        now: datetime,
        last_s: list[int],
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the VM of each row, -1 for rows of the future, and the bin each row lies in."""
        seconds = milliseconds // 1000
        off_grid = milliseconds % (STEP_SECONDS * 1000) != 0
        seconds -= seconds % STEP_SECONDS
        future = milliseconds > int(now.timestamp() * 1000)
        self._note("off_grid", vm[off_grid & ~future])
        self._note("future", vm[future])
        past, past_s = vm[~future], seconds[~future]
        # Rows of one bin are repeated, not disordered.
        self._note("disordered", past[past_s < previous_of_vm(past, past_s, last_s)])
        return np.where(future, np.int32(-1), vm), seconds

    def without_astray(
        self, vm: npt.NDArray[np.int32], seconds: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int32]:
        """Return the VM of each row, -1 for those that would stretch the grid over years."""
        newest = int(seconds[vm >= 0].max(initial=0))
        astray = (vm >= 0) & (seconds < newest - LONGEST_S)
        self._note("astray", vm[astray])
        return np.where(astray, np.int32(-1), vm)

    def without_repeated(
        self, vm: npt.NDArray[np.int32], seconds: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int32]:
        """Return the VM of each row, -1 for all but the last row of a VM's bin."""
        order = np.lexsort((np.arange(len(vm)), seconds, vm))
        same = (vm[order][1:] == vm[order][:-1]) & (seconds[order][1:] == seconds[order][:-1])
        repeated = np.zeros(len(vm), dtype=bool)
        repeated[order[:-1][same & (vm[order][1:] >= 0)]] = True
        self._note("repeated", vm[repeated])
        return np.where(repeated, np.int32(-1), vm)

    def counts(self, num_vms: int) -> dict[str, npt.NDArray[np.int64]]:
        """Return how many rows of each VM had each fault."""
        return {
            name: np.bincount(np.concatenate(parts), minlength=num_vms).astype(np.int64)
            for name, parts in self.found.items()
        }

    def _note(self, name: str, vm: npt.NDArray[np.int32]) -> None:
        self.found.setdefault(name, []).append(vm)


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
    column = names_of(path, column, "vm")
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


def _milliseconds(
    path: Path, column: Any, first_row: int, *, mend: bool = False
) -> npt.NDArray[np.int64]:
    """Return time stamps as milliseconds since 1970; text and whole seconds are understood.

    With ``mend`` those of no plausible time become 1970 or 2200, and are left out later.
    """
    if column.null_count:
        bad = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise InvalidInputError(
            f"{path}: row {first_row + bad + 1}: the time stamp is null; expected a time in UTC"
        )
    kind = column.type
    if pa.types.is_integer(kind):
        seconds = column.to_numpy(zero_copy_only=False)
        # Judged before they are multiplied, which would make any number of a large one.
        if mend:
            return np.asarray(np.clip(seconds, 0, END_S), dtype=np.int64) * 1000
        _check_era(path, seconds, first_row, per_second=1)
        return np.asarray(seconds, dtype=np.int64) * 1000
    try:
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            column = _parse_text(column)
        elif not pa.types.is_timestamp(kind):
            raise InvalidInputError(
                f"{path}: column 'ts' is of type {kind}; expected time stamps in UTC"
            )
        finest = pc.CastOptions(pa.timestamp("ms", tz="UTC"), allow_time_truncate=True)
        stamps = pc.cast(column, options=finest)
    except pa.ArrowInvalid as error:
        raise InvalidInputError(
            f"{path}: a time stamp between rows {first_row + 1} and {first_row + len(column)} "
            f"cannot be read: {error}; expected e.g. 2013-08-12T13:40:00Z"
        ) from error
    milliseconds = np.asarray(stamps.cast(pa.int64()).to_numpy(zero_copy_only=False))
    if mend:
        return np.asarray(np.clip(milliseconds, 0, END_S * 1000))
    _check_era(path, milliseconds, first_row, per_second=1000)
    return milliseconds


def _check_era(
    path: Path, stamps: npt.NDArray[np.integer[Any]], first_row: int, *, per_second: int
) -> None:
    """Refuse time stamps before 1970 or after 2199: they are in another unit, or damaged."""
    wrong = (stamps < 0) | (stamps >= END_S * per_second)
    if wrong.any():
        i = int(np.argmax(wrong))
        unit = "s" if per_second == 1 else "ms"
        raise InvalidInputError(
            f"{path}: row {first_row + i + 1}: the time stamp is {stamps[i]} {unit} since 1970; "
            "expected a time of the years 1970 to 2199 (whole numbers count seconds)"
        )


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
            f"at most now, {stamp(int(now.timestamp()))}"
        )


def _stamp_ms(milliseconds: int) -> str:
    try:
        whole = stamp(milliseconds // 1000)
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
    before = previous_of_vm(vm, seconds, last_s)
    wrong = seconds <= before
    if wrong.any():
        i = int(np.argmax(wrong))
        earlier = int(before[i])
        verdict = "appears twice" if earlier == seconds[i] else "is out of order"
        raise InvalidInputError(
            f"{names.row(vm, i)}: {stamp(int(seconds[i]))} {verdict}; expected later than the "
            f"VM's row before, {stamp(earlier)}"
        )


def previous_of_vm(
    vm: npt.NDArray[np.int32], values: npt.NDArray[Any], last: MutableSequence[Any]
) -> npt.NDArray[Any]:
    """Return, for each row of a batch, the value that its VM's row before had.

    Parameters
    ----------
    last
        Value of each VM's last row in the batches before; brought up to date.
    """
    order = np.arange(len(vm)) if (vm[1:] >= vm[:-1]).all() else np.argsort(vm, kind="stable")
    sorted_vm, sorted_values = vm[order], values[order]
    first_of_vm = np.ones(len(vm), dtype=bool)
    first_of_vm[1:] = sorted_vm[1:] != sorted_vm[:-1]
    before = np.empty_like(sorted_values)
    before[1:] = sorted_values[:-1]
    before[first_of_vm] = np.array(last, dtype=values.dtype)[sorted_vm[first_of_vm]]
    last_of_vm = np.append(first_of_vm[1:], True)[: len(vm)]
    for code, value in zip(sorted_vm[last_of_vm], sorted_values[last_of_vm], strict=True):
        last[code] = value.item()
    previous = np.empty_like(before)
    previous[order] = before
    return previous
