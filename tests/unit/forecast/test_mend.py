"""Telemetry from the field: defects are mended or left out, and counted VM by VM."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecast.history import BinState, History, VmDefects
from forecast.tidy import read_history
from solver.domain.errors import InvalidInputError
from solver.domain.units import Resource
from tests.histories import START, tidy_table

NOW = START + timedelta(days=365)


def read(table: pa.Table, folder: Path, *, mend: bool = True, rows_a_batch: int = 4) -> History:
    """Write a table as Parquet in small row groups and read it back."""
    path = folder / "trace.parquet"
    pq.write_table(table, path, row_group_size=rows_a_batch)
    return read_history(path, now=NOW, mend=mend)


def with_values(changes: dict[tuple[str, int], Any]) -> pa.Table:
    """Return the standard table, two VMs of six rows each, with some values replaced."""
    table = tidy_table()
    for (column, row), value in changes.items():
        values = table[column].to_pylist()
        values[row] = value
        index = table.column_names.index(column)
        table = table.set_column(index, column, pa.array(values, table[column].type))
    return table


def stamp(row: int, **more: float) -> Any:
    """Return the time of a row of the first VM, moved by so much."""
    return START + timedelta(minutes=5 * row) + timedelta(**more)


@pytest.mark.parametrize("rows_a_batch", [1, 4, 100])
def test_clean_telemetry_is_read_the_same(tmp_path: Path, rows_a_batch: int) -> None:
    """Without defects mending changes nothing and finds nothing."""
    strict = read(tidy_table(), tmp_path, mend=False, rows_a_batch=rows_a_batch)
    mended = read(tidy_table(), tmp_path, rows_a_batch=rows_a_batch)
    np.testing.assert_array_equal(mended.readings, strict.readings)
    np.testing.assert_array_equal(mended.state, strict.state)
    assert mended.report == strict.report
    assert mended.report.by_vm == {}


@pytest.mark.parametrize("rows_a_batch", [1, 4, 100])
def test_of_several_rows_for_a_bin_the_last_counts(tmp_path: Path, rows_a_batch: int) -> None:
    """A row told twice, by a meter that was restarted, is not two readings."""
    table = with_values({("ts", 3): stamp(2), ("cpu_used", 3): 3.0})
    history = read(table, tmp_path, rows_a_batch=rows_a_batch)
    assert history.readings[Resource.CPU, 0, 2] == 3000
    assert history.state[0, 3] == BinState.MISSING
    assert history.report.by_vm == {"vm0": VmDefects(repeated=1, missing=1)}


@pytest.mark.parametrize("rows_a_batch", [1, 4, 100])
def test_rows_out_of_order_find_their_place(tmp_path: Path, rows_a_batch: int) -> None:
    """Late delivery is no loss."""
    clean = read(tidy_table(), tmp_path)
    order = [0, 2, 1, 3, 4, 5, 6, 7, 8, 9, 11, 10]
    history = read(tidy_table().take(order), tmp_path, rows_a_batch=rows_a_batch)
    np.testing.assert_array_equal(history.readings, clean.readings)
    expected = VmDefects(disordered=1)
    assert history.report.by_vm == {"vm0": expected, "vm1": expected}


def test_rows_between_two_bins_count_for_the_earlier(tmp_path: Path) -> None:
    """A clock that is two minutes off."""
    history = read(with_values({("ts", 4): stamp(4, minutes=2)}), tmp_path)
    assert (history.state == BinState.MEASURED).all()
    assert history.report.by_vm == {"vm0": VmDefects(off_grid=1)}


def test_rows_of_the_future_are_left_out(tmp_path: Path) -> None:
    """They neither stretch the grid nor count as readings."""
    history = read(with_values({("ts", 5): stamp(5, days=4000)}), tmp_path)
    assert history.num_bins == 6
    assert history.state[0, 5] == BinState.ABSENT
    assert history.report.by_vm == {"vm0": VmDefects(future=1)}


@pytest.mark.parametrize("column", ["cpu_used", "mem_active_mib", "net_rx_kbs"])
@pytest.mark.parametrize("value", [math.nan, -1.0, 1e15, math.inf])
def test_implausible_rows_are_missing(tmp_path: Path, column: str, value: float) -> None:
    """Not a number, negative as after a counter's reset, or absurd: nothing of the row is used."""
    history = read(with_values({(column, 1): value}), tmp_path)
    assert history.state[0].tolist() == [0, 3, 0, 0, 0, 0]
    assert np.isnan(history.readings[:, 0, 1]).all()
    assert history.report.by_vm == {"vm0": VmDefects(implausible=1, missing=1)}


def test_sizes_that_change_are_counted(tmp_path: Path) -> None:
    """A VM that doubles its vCPUs keeps its readings and has the larger size."""
    changes: dict[tuple[str, int], Any] = {("cpu_cores", row): 8.0 for row in (3, 4, 5)}
    history = read(with_values(changes | {("cpu_cores", 8): 0.0}), tmp_path)
    assert history.vcpus.tolist() == [8, 4]
    assert history.report.by_vm == {"vm0": VmDefects(resized=1), "vm1": VmDefects(zero_cores=1)}


def test_nothing_but_the_future_is_an_error(tmp_path: Path) -> None:
    """There is nothing to go on with."""
    changes = {("ts", row): stamp(row % 6, days=4000) for row in range(12)}
    with pytest.raises(InvalidInputError, match="every row is in the future"):
        read(with_values(changes), tmp_path)


def test_without_mending_the_first_defect_ends_the_reading(tmp_path: Path) -> None:
    """Whoever asks for sound telemetry gets an error that names the defect."""
    with pytest.raises(InvalidInputError, match="got -1"):
        read(with_values({("cpu_used", 1): -1.0}), tmp_path, mend=False)


@pytest.mark.parametrize("rows_a_batch", [1, 4, 100])
def test_a_clock_that_was_reset_does_not_stretch_the_grid(
    tmp_path: Path, rows_a_batch: int
) -> None:
    """One row of 1970 among good ones asked for millions of bins."""
    table = with_values({("ts", 0): datetime(1970, 1, 1, tzinfo=UTC)})
    history = read(table, tmp_path, rows_a_batch=rows_a_batch)
    assert history.num_bins == 6
    assert history.report.by_vm["vm0"].astray == 1


@pytest.mark.parametrize("seconds", [-1, 2**62])
def test_stamps_of_no_time_at_all(tmp_path: Path, seconds: int) -> None:
    """Whole numbers that are no seconds since 1970 are left out like any other wrong time."""
    table = tidy_table()
    stamps = [int(at.timestamp()) for at in table["ts"].to_pylist()]
    stamps[5] = seconds
    history = read(table.set_column(1, "ts", pa.array(stamps, pa.int64())), tmp_path)
    assert history.num_bins == 6
    defects = history.report.by_vm["vm0"]
    assert defects.astray + defects.future == 1


def test_a_vm_of_which_nothing_is_left_is_reported(tmp_path: Path) -> None:
    """It is not in the history, but what was wrong with it is told."""
    changes = {("ts", row): stamp(row, days=4000) for row in range(6)}
    history = read(with_values(changes), tmp_path)
    assert history.vm_ids == ("vm1",)
    assert history.report.by_vm == {"vm0": VmDefects(future=6)}


@pytest.mark.parametrize("rows_a_batch", [1, 4, 100])
def test_one_defect_does_not_hide_another(tmp_path: Path, rows_a_batch: int) -> None:
    """A null in a measured row was overlooked when a NaN stood in the same batch."""
    table = with_values({("cpu_used", 1): None, ("cpu_used", 2): math.nan})
    state = pa.array([0] * table.num_rows, pa.int8())
    if "state" in table.column_names:
        table = table.drop_columns(["state"])
    history = read(table.append_column("state", state), tmp_path, rows_a_batch=rows_a_batch)
    assert history.state[0].tolist() == [0, 3, 3, 0, 0, 0]
    assert history.report.by_vm == {"vm0": VmDefects(implausible=2, missing=2)}
