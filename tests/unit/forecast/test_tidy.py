"""Reading tidy files: what comes in, and how every defect is named."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from forecast.history import BinState, History
from forecast.tidy import read_history
from solver.domain.errors import InvalidInputError
from solver.domain.units import Resource
from tests.histories import START, tidy_table


def read(table: pa.Table, folder: Path, **arguments: Any) -> History:
    """Write a table as Parquet in small row groups and read it back."""
    path = folder / "trace.parquet"
    pq.write_table(table, path, row_group_size=4)
    return read_history(path, now=START + timedelta(days=365), **arguments)


def with_value(column: str, row: int, value: Any, **table: Any) -> pa.Table:
    """Return the standard table with one value replaced."""
    base = tidy_table(**table)
    values = base[column].to_pylist()
    values[row] = value
    index = base.column_names.index(column)
    return base.set_column(index, column, pa.array(values, base[column].type))


def test_units_and_shape(tmp_path: Path) -> None:
    """Cores become millicores, both directions of disk and network are added."""
    history = read(tidy_table(), tmp_path)
    assert history.vm_ids == ("vm0", "vm1")
    assert history.readings.shape == (4, 2, 6)
    assert history.readings[Resource.CPU, 0, 2] == pytest.approx(1200)
    assert history.readings[Resource.MEMORY, 0, 0] == 2048
    assert history.readings[Resource.DISK_IO, 1, 0] == 30
    assert history.readings[Resource.NET_IO, 1, 5] == 3
    assert (history.granted_mib == 8192).all()
    assert history.vcpus.tolist() == [4, 4]
    assert history.start_at == START
    assert history.end_at == START + timedelta(minutes=30)


def test_csv_reads_the_same(tmp_path: Path) -> None:
    """A CSV file, time stamps as text, gives the same history as Parquet."""
    table = tidy_table()
    stamps = [stamp.strftime("%Y-%m-%dT%H:%M:%SZ") for stamp in table["ts"].to_pylist()]
    path = tmp_path / "trace.csv"
    pa_csv.write_csv(table.set_column(1, "ts", pa.array(stamps)), path)
    from_csv = read_history(path, now=START + timedelta(days=365))
    np.testing.assert_array_equal(from_csv.readings, read(table, tmp_path).readings)


def test_cpu_alone_is_enough(tmp_path: Path) -> None:
    """A file with CPU only gives a history whose other resources were never read."""
    table = tidy_table().select(["vm", "ts", "cpu_cores", "cpu_used"])
    history = read(table, tmp_path)
    assert history.has(Resource.CPU)
    assert not history.has(Resource.MEMORY)


def test_resource_that_the_file_lacks(tmp_path: Path) -> None:
    """Asking for a resource the file has no column of names the columns."""
    table = tidy_table().select(["vm", "ts", "cpu_cores", "cpu_used"])
    with pytest.raises(InvalidInputError, match=r"memory_mib.*mem_active_mib"):
        read(table, tmp_path, resources=[Resource.MEMORY])


def test_states(tmp_path: Path) -> None:
    """Off is zero, missing is NaN, a gap in the rows is missing, outside is absent."""
    rows = 6
    values = [1.0, 1.0, 0.0, None, 1.0, 1.0]
    table = tidy_table(
        num_vms=1,
        state=[0, 1, 2, 3, 0, 0],
        cpu_used=values,
        mem_granted_mib=values,
        mem_active_mib=values,
        disk_read_kbs=values,
    )
    late = tidy_table(num_vms=1, num_bins=rows, vm=["late"] * rows).take([3, 5])
    history = read(pa.concat_tables([table, late]), tmp_path)
    assert history.state[0].tolist() == [0, 1, 2, 3, 0, 0]
    cpu = history.readings[Resource.CPU]
    assert cpu[0, 2] == 0
    assert np.isnan(cpu[0, 3])
    assert history.state[1].tolist() == [255, 255, 255, 0, 3, 0]
    assert np.isnan(cpu[1, :3]).all()
    assert history.report.missing == 2


def test_zero_cores_are_off(tmp_path: Path) -> None:
    """A row without cores is a VM that is off, whatever its state says, and is counted."""
    history = read(with_value("cpu_cores", 3, 0.0), tmp_path)
    assert history.state[0, 3] == BinState.OFF
    assert history.report.zero_core_rows == 1


def test_readings_above_the_size_are_clipped_and_counted(tmp_path: Path) -> None:
    """CPU is kept up to 10 % above the vCPUs, memory up to the size."""
    table = tidy_table(cpu_used=[4.2, 7.0] + [1.0] * 10, mem_active_mib=[99999.0] + [1.0] * 11)
    history = read(table, tmp_path)
    assert history.readings[Resource.CPU, 0, :2].tolist() == pytest.approx([4200, 4400])
    assert history.readings[Resource.MEMORY, 0, 0] == 16384
    assert (history.report.clipped_cpu, history.report.clipped_memory) == (1, 1)


def test_unknown_memory_size_falls_back_to_the_largest_grant(tmp_path: Path) -> None:
    """A VM without a size is as large as its largest grant, and is reported."""
    sizes = [None] * 6 + [16384.0] * 6
    grants = [100.5] * 5 + [4000.2] + [8192.0] * 6
    history = read(tidy_table(mem_mib=sizes, mem_granted_mib=grants), tmp_path)
    assert history.memory_size_mib.tolist() == [4001, 16384]
    assert history.report.unknown_memory_size == ("vm0",)


def test_selection(tmp_path: Path) -> None:
    """VMs and times can be chosen; the grid shrinks to what is left."""
    history = read(
        tidy_table(),
        tmp_path,
        vm_ids=["vm1"],
        from_at=START + timedelta(minutes=10),
        until_at=START + timedelta(minutes=20),
    )
    assert history.vm_ids == ("vm1",)
    assert history.num_bins == 2
    assert history.start_at == START + timedelta(minutes=10)


def test_unknown_vm(tmp_path: Path) -> None:
    """Asking for a VM that has no row is an error."""
    with pytest.raises(InvalidInputError, match="'ghost'"):
        read(tidy_table(), tmp_path, vm_ids=["ghost"])


def test_app_type(tmp_path: Path) -> None:
    """The application type is taken from the first row that has one."""
    kinds = [None, "web", None, None, None, None] + [None] * 6
    assert read(tidy_table(app_type=kinds), tmp_path).app_types == ("web", None)


def test_user_activity(tmp_path: Path) -> None:
    """Series are taken by their names, whatever they count; unknown readings are no defect."""
    sessions = [None if i == 3 else 100.0 * i for i in range(12)]
    table = tidy_table(user_activity=sessions, user_activity_requests=[1e9] * 12, visitors=[1] * 12)
    activity = read(table, tmp_path).activity
    assert list(activity) == ["user_activity", "user_activity_requests"]
    np.testing.assert_array_equal(activity["user_activity"][1], np.arange(6) * 100.0 + 600.0)
    assert np.flatnonzero(np.isnan(activity["user_activity"])).tolist() == [3]


def test_rows_ordered_by_time(tmp_path: Path) -> None:
    """Rows may be sorted by time instead of by VM, as long as each VM's time moves forward."""
    table = tidy_table()
    by_time = table.take([i + 6 * v for i in range(6) for v in range(2)])
    np.testing.assert_array_equal(read(by_time, tmp_path).readings, read(table, tmp_path).readings)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            -1.0,
            r"row 3, VM 'vm0', 2026-02-02T00:10:00Z.*'user_activity': expected 0\.\.1e\+15, got -1",
        ),
        (math.inf, r"'user_activity'.*got inf"),
        ("many", r"'user_activity' is of type string; expected numbers"),
    ],
)
def test_defects_of_activity_are_named(tmp_path: Path, value: Any, expected: str) -> None:
    """What cannot have been counted is refused like any other reading."""
    series = [value if i == 2 or isinstance(value, str) else 1.0 for i in range(12)]
    with pytest.raises(InvalidInputError, match=expected):
        read(tidy_table(user_activity=series), tmp_path)


@pytest.mark.parametrize(
    ("column", "row", "value", "expected"),
    [
        ("cpu_used", 7, -1.0, r"row 8, VM 'vm1', 2026-02-02T00:05:00Z.*cpu_used.*0\.\.4096.*-1"),
        ("cpu_used", 7, math.nan, r"row 8, VM 'vm1'.*cpu_used.*NaN"),
        ("cpu_used", 7, math.inf, r"cpu_used.*inf"),
        ("cpu_used", 7, 1e12, r"cpu_used.*0\.\.4096.*1e\+12"),
        ("cpu_used", 7, None, r"cpu_used.*null in a row of state 0"),
        ("mem_active_mib", 2, 1e30, r"VM 'vm0'.*mem_active_mib.*1e\+30"),
        ("net_rx_kbs", 2, -5.0, r"net_rx_kbs.*-5"),
        ("state", 2, 7, r"'state': expected 0, 1, 2 or 3, got 7"),
        ("state", 2, None, r"'state': expected 0, 1, 2 or 3, got null"),
        ("vm", 2, None, r"row 3: the VM is null"),
        ("ts", 2, None, r"row 3: the time stamp is null"),
        ("ts", 2, START + timedelta(minutes=11), r"00:11:00Z is off the grid"),
        ("ts", 2, START + timedelta(minutes=5), r"row 3, VM 'vm0': .*00:05:00Z appears twice"),
        ("ts", 2, START, r"row 3, VM 'vm0': .*00:00:00Z is out of order.*00:05:00Z"),
        ("ts", 11, datetime(2100, 1, 1, tzinfo=UTC), r"row 12, VM 'vm1': 2100.*in the future"),
    ],
)
def test_defects_are_named(
    tmp_path: Path, column: str, row: int, value: Any, expected: str
) -> None:
    """Every defect names the row, the VM, the column and the value, also across row groups."""
    with pytest.raises(InvalidInputError, match=expected):
        read(with_value(column, row, value), tmp_path)


def test_disorder_across_row_groups(tmp_path: Path) -> None:
    """A VM whose time steps back between two row groups is found."""
    table = tidy_table(num_vms=1).take([0, 1, 2, 4, 3, 5])
    with pytest.raises(InvalidInputError, match=r"row 5.*out of order"):
        read(table, tmp_path)


def test_one_stray_stamp_does_not_exhaust_memory(tmp_path: Path) -> None:
    """A single row decades away is refused before the grid is allocated."""
    count = 300
    table = tidy_table(num_vms=count, num_bins=1)
    stray = tidy_table(num_vms=1, num_bins=1, vm=["old"], start=datetime(1971, 1, 1, tzinfo=UTC))
    with pytest.raises(InvalidInputError, match="1971-01-01"):
        read(pa.concat_tables([stray, table]), tmp_path)


def test_missing_column(tmp_path: Path) -> None:
    """A missing column is named, with what was found instead."""
    with pytest.raises(InvalidInputError, match=r"'cpu_used' is missing.*found vm, ts"):
        read(tidy_table().drop_columns(["cpu_used"]), tmp_path)


def test_truncated_parquet(tmp_path: Path) -> None:
    """Half a Parquet file is told from a file of another kind."""
    whole = tmp_path / "whole.parquet"
    pq.write_table(tidy_table(), whole)
    half = tmp_path / "half.parquet"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(InvalidInputError, match="truncated Parquet file"):
        read_history(half)


def test_damaged_page(tmp_path: Path) -> None:
    """A Parquet file with a whole footer but a broken page is refused, not half read."""
    path = tmp_path / "trace.parquet"
    pq.write_table(tidy_table(num_bins=600), path, compression="zstd")
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
    path.write_bytes(data)
    with pytest.raises(InvalidInputError, match="damaged Parquet file"):
        read_history(path, now=START + timedelta(days=365))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("trace.parquet", b"", "empty"),
        ("trace.parquet", b"\x89PNG\r\n\x1a\n\0\0\0\r", "binary file"),
        ("trace.parquet", b"vm,ts,cpu_cores,cpu_used\n", "text file"),
        ("trace.csv", b"\x1f\x8b\x08\x00", "gzip file"),
        ("trace.csv", b"hello\n", "comma-separated"),
        ("trace.csv", b"vm,ts,cpu_cores,cpu_used\n", "no rows"),
        (
            "trace.csv",
            b"vm,ts,cpu_cores,cpu_used\na,2026-02-02T00:00:00Z,4,x\n",
            "cpu_used.*Row #2.*'x'|'x'",
        ),
        ("trace.csv", b"vm,ts,cpu_cores,cpu_used\na,yesterday,4,1\n", "cannot be read"),
    ],
)
def test_other_kinds(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    """Files of another kind are refused by what they contain."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=expected):
        read_history(path)


def test_no_such_file(tmp_path: Path) -> None:
    """A file that is not there is bad input."""
    with pytest.raises(InvalidInputError, match="no such file"):
        read_history(tmp_path / "nothing.parquet")


def test_real_trace(shared_data: Path) -> None:
    """Two days of the real trace read with the states its description gives."""
    history = read_history(
        shared_data / "vm_traces" / "bitbrains_faststorage_dev.parquet",
        resources=[Resource.CPU, Resource.MEMORY],
        from_at=datetime(2013, 9, 3, tzinfo=UTC),
        until_at=datetime(2013, 9, 5, tzinfo=UTC),
    )
    assert history.num_bins == 576
    assert 700 <= history.num_vms <= 876
    measured = history.state <= BinState.INTERPOLATED
    assert not np.isnan(history.readings[Resource.CPU][measured]).any()
    assert (history.readings[Resource.CPU][history.state == BinState.OFF] == 0).all()
