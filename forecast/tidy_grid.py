"""Second pass over a tidy file: values are checked and put into their place on the grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from forecast.history import (
    CPU_CLIP,
    STEP_SECONDS,
    BinState,
    Floats,
    History,
    HistoryReport,
    VmDefects,
)
from forecast.table_files import names_of
from forecast.tidy_columns import BY_RESOURCE, LIMITS, MAX_ACTIVITY, is_activity, stamp
from forecast.tidy_keys import Keys, previous_of_vm
from solver.domain.errors import InvalidInputError
from solver.domain.units import NUM_RESOURCES, Resource


@dataclass(slots=True, kw_only=True, eq=False)
class Grid:
    """The arrays while they are being filled."""

    keys: Keys
    has_state: bool
    readings: Floats
    granted: Floats
    state: npt.NDArray[np.uint8]
    cores: npt.NDArray[np.float64]
    size: npt.NDArray[np.float64]
    app_types: list[str | None]
    activity: dict[str, Floats]
    has_memory: bool
    mend: bool
    defects: dict[str, npt.NDArray[np.int64]]
    _last_cores: list[float]

    @classmethod
    def empty(cls, keys: Keys, columns: Sequence[str], *, mend: bool = False) -> Grid:
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
            activity={
                name: np.full(shape, np.nan, dtype=np.float32)
                for name in columns
                if is_activity(name)
            },
            has_memory="mem_active_mib" in columns or "mem_granted_mib" in columns,
            mend=mend,
            defects={
                name: np.zeros(shape[0], dtype=np.int64)
                for name in ("implausible", "zero_cores", "resized")
            },
            _last_cores=[0.0] * shape[0],
        )

    def place(self, path: Path, batch: pa.RecordBatch, first_row: int) -> None:
        """Check one batch of values and put it into its place."""
        rows = slice(first_row, first_row + batch.num_rows)
        wanted = np.flatnonzero(self.keys.vm[rows] >= 0)
        if not len(wanted):
            return
        vm, bins = self.keys.vm[rows][wanted], self.keys.bins[rows][wanted]
        where = _Where(
            path=path,
            keys=self.keys,
            first_row=first_row,
            rows=wanted,
            vm=vm,
            bin=bins,
            mend=self.mend,
            bad=np.zeros(len(wanted), dtype=bool),
        )
        state = self._states(where, batch)
        values = {
            name: where.checked(batch, name, state, self.has_state)
            for name in batch.schema.names
            if name in LIMITS
        }
        state[where.bad] = BinState.MISSING
        no_cores = values["cpu_cores"] == 0
        self._count("implausible", vm[where.bad])
        self._count("zero_cores", vm[no_cores & (state != BinState.OFF)])
        self._count("resized", self._resized(vm, values["cpu_cores"]))
        state[no_cores] = BinState.OFF
        if not self.has_state:
            state[np.isnan(values["cpu_used"])] = BinState.MISSING
        self.state[vm, bins] = state
        self._place_values(vm, bins, values)
        np.maximum.at(self.cores, vm, np.nan_to_num(values["cpu_cores"]))
        if "mem_mib" in values:
            np.maximum.at(self.size, vm, np.nan_to_num(values["mem_mib"]))
        for name, series in self.activity.items():
            series[vm, bins] = where.checked_activity(batch, name)
        if "app_type" in batch.schema.names:
            names = names_of(path, batch.column("app_type"), "app_type")
            self._place_app_types(vm, names, wanted)

    def _count(self, name: str, vm: npt.NDArray[np.int32]) -> None:
        self.defects[name] += np.bincount(vm, minlength=len(self.cores))

    def _resized(self, vm: npt.NDArray[np.int32], cores: Floats) -> npt.NDArray[np.int32]:
        """Return the VM of each row with another number of cores than the VM's row before."""
        sized = np.nan_to_num(cores) > 0
        vm, cores = vm[sized], cores[sized]
        before = previous_of_vm(vm, cores, self._last_cores)
        changed: npt.NDArray[np.int32] = vm[(before > 0) & (before != cores)]
        return changed

    def _states(self, where: _Where, batch: pa.RecordBatch) -> npt.NDArray[np.uint8]:
        if not self.has_state:
            return np.zeros(len(where.rows), dtype=np.uint8)
        column = batch.column("state")
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise InvalidInputError(
                f"{where.path}: column 'state' is of type {column.type}; expected 0, 1, 2 or 3"
            )
        # Wide enough for every integer that is not refused anyway; null becomes NaN.
        numbers = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        raw = np.asarray(numbers)[where.rows]
        wrong = ~np.isin(raw, (0, 1, 2, 3))
        if wrong.any():
            if where.mend:
                where.bad[wrong] = True
                return np.where(wrong, float(BinState.MISSING), raw).astype(np.uint8)
            i = int(np.argmax(wrong))
            seen = column[int(where.rows[i])].as_py()
            raise InvalidInputError(
                f"{where.name(i)}, column 'state': expected 0, 1, 2 or 3, got "
                f"{'null' if seen is None else seen}"
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
        clipped_cpu = _clip(self.readings[Resource.CPU], 1000.0 * CPU_CLIP * vcpus)
        clipped_memory = _clip(self.readings[Resource.MEMORY], np.where(size > 0, size, np.inf))
        self.defects |= self.keys.defects
        self.defects["missing"] = missing.sum(axis=1)
        self.defects["clipped"] = clipped_cpu + clipped_memory
        report = HistoryReport(
            rows=int((self.keys.vm >= 0).sum()),
            measured=int((self.state == BinState.MEASURED).sum()),
            interpolated=int((self.state == BinState.INTERPOLATED).sum()),
            off=int(off.sum()),
            missing=int(missing.sum()),
            clipped_cpu=int(clipped_cpu.sum()),
            clipped_memory=int(clipped_memory.sum()),
            zero_core_rows=int(self.defects["zero_cores"].sum()),
            unknown_memory_size=unknown,
            by_vm=self._by_vm(),
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
            activity=self.activity,
            report=report,
        )

    def _by_vm(self) -> dict[str, VmDefects]:
        table = np.stack(list(self.defects.values()), axis=1)
        lost = {name: VmDefects(**counts) for name, counts in self.keys.lost.items()}
        return lost | {
            str(self.keys.vm_ids[i]): VmDefects(
                **dict(zip(self.defects, table[i].tolist(), strict=True))
            )
            for i in np.flatnonzero(table.any(axis=1))
        }

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


def _clip(readings: Floats, limit: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
    """Clip each VM's readings to its limit in place; return how many of each were beyond it."""
    bound = limit.astype(np.float32)[:, None]
    count: npt.NDArray[np.int64] = (readings > bound).sum(axis=1)
    np.minimum(readings, bound, out=readings)
    return count


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Where:
    """Names the wanted rows of one batch, and checks their values.

    With ``mend`` a wrong value does not end the reading: it becomes unknown, and its row ``bad``.
    """

    path: Path
    keys: Keys
    first_row: int
    rows: npt.NDArray[np.intp]
    vm: npt.NDArray[np.int32]
    bin: npt.NDArray[np.int32]
    mend: bool
    bad: npt.NDArray[np.bool_]

    def name(self, i: int) -> str:
        at = stamp(self.keys.first_s + int(self.bin[i]) * STEP_SECONDS)
        return (
            f"{self.path}: row {self.first_row + int(self.rows[i]) + 1}, "
            f"VM {self.keys.vm_ids[self.vm[i]]!r}, {at}"
        )

    def checked(
        self, batch: pa.RecordBatch, column: str, state: npt.NDArray[np.uint8], has_state: bool
    ) -> Floats:
        """Return a column's wanted values, NaN for null; raise for the first bad one."""
        raw = batch.column(column)
        values = self._numbers(raw, column)
        unknown = np.isnan(values)
        if unknown.any():
            self._check_nulls(raw, column, unknown, state, has_state)
        limit = LIMITS[column]
        # NaN compares false, so that nulls pass here; they were judged above.
        self._check_range(values, column, limit)
        return np.asarray(values, dtype=np.float32)

    def checked_activity(self, batch: pa.RecordBatch, column: str) -> Floats:
        """Return a column's wanted values, NaN for what is not known; raise for the first bad one.

        Whoever counts users may fail when the meters of the VM do not, so nulls are no defect.
        """
        values = self._numbers(batch.column(column), column)
        self._check_range(values, column, MAX_ACTIVITY)
        return np.asarray(values, dtype=np.float32)

    def _numbers(self, raw: Any, column: str) -> npt.NDArray[np.float64]:
        try:
            return np.asarray(raw.cast(pa.float64()).to_numpy(zero_copy_only=False)[self.rows])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InvalidInputError(
                f"{self.path}: column {column!r} is of type {raw.type}; expected numbers"
            ) from error

    def _check_range(self, values: npt.NDArray[np.float64], column: str, limit: float) -> None:
        wrong = (values < 0) | (values > limit)
        if wrong.any():
            if self.mend:
                self.bad[wrong] = True
                values[wrong] = np.nan
                return
            i = int(np.argmax(wrong))
            raise InvalidInputError(
                f"{self.name(i)}, column {column!r}: expected 0..{limit:g}, got {values[i]:g}"
            )

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
        if self.mend:
            self.bad[not_a_number] = True
        elif not_a_number.any():
            i = int(np.argmax(not_a_number))
            raise InvalidInputError(
                f"{self.name(i)}, column {column!r}: expected a number, got NaN"
            )
        # A VM's size may be unknown, a reading of a row that claims to be measured may not.
        if column == "mem_mib" or not has_state:
            return
        stray = null & (state < BinState.OFF)
        if stray.any():
            if self.mend:
                self.bad[stray] = True
                return
            i = int(np.argmax(stray))
            raise InvalidInputError(
                f"{self.name(i)}, column {column!r}: null in a row of state {state[i]}; expected "
                f"a number, or state {int(BinState.MISSING)} for a missing reading"
            )
