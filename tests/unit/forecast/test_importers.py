"""Converting foreign telemetry: the grid, the gaps, and errors that name file and line."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from forecast.importers import import_telemetry
from forecast.tidy import read_history
from solver.domain.errors import InvalidInputError
from solver.domain.units import Resource

HEADER = (
    "Timestamp [ms];\tCPU cores;\tCPU capacity provisioned [MHZ];\tCPU usage [MHZ];\t"
    "CPU usage [%];\tMemory capacity provisioned [KB];\tMemory usage [KB];\t"
    "Disk read throughput [KB/s];\tDisk write throughput [KB/s];\t"
    "Network received throughput [KB/s];\tNetwork transmitted throughput [KB/s]"
)
BEGIN = 1376314846  # as the archive begins: 46 seconds past a bin


def line(seconds: float, *, cores: int = 4, used_mhz: float = 2926.0) -> str:
    """Return one reading of a 4-core, 64-GiB VM that runs at 2926 MHz."""
    numbers = [seconds, cores, cores * 2926.0, used_mhz, 25.0, 67108864.0, 6160384.0, 1, 2, 3, 4]
    return ";\t".join(str(number) for number in numbers)


def write_archive(folder: Path, **files: Sequence[str]) -> Path:
    """Write one CSV per VM below ``fastStorage/2013-8``."""
    inner = folder / "archive" / "2013-8"
    inner.mkdir(parents=True)
    for name, lines in files.items():
        (inner / f"{name}.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    return folder / "archive"


def test_archive(tmp_path: Path) -> None:
    """Readings land on their nearest bin with units converted."""
    source = write_archive(tmp_path, vm1=[line(BEGIN + 300 * i) for i in range(5)])
    report = import_telemetry(source, tmp_path / "out.parquet")
    assert (report.vms, report.readings, report.missing) == (1, 5, 0)
    history = read_history(tmp_path / "out.parquet")
    assert history.vm_ids == ("vm1",)
    assert history.readings[Resource.CPU, 0].tolist() == pytest.approx([1000.0] * 5)
    assert history.readings[Resource.MEMORY, 0, 0] == 6016
    assert history.memory_size_mib.tolist() == [65536]
    assert history.readings[Resource.DISK_IO, 0, 0] == 3
    assert history.start_at.isoformat() == "2013-08-12T13:40:00+00:00"


def test_milliseconds_and_zip(tmp_path: Path) -> None:
    """Real milliseconds are told by their size; a zip is as good as a folder."""
    seconds = write_archive(tmp_path / "a", vm1=[line(BEGIN), line(BEGIN + 300)])
    millis = write_archive(tmp_path / "b", vm1=[line(BEGIN * 1000), line((BEGIN + 300) * 1000)])
    packed = tmp_path / "archive.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in millis.rglob("*.csv"):
            archive.write(path, path.relative_to(millis))
    import_telemetry(seconds, tmp_path / "a.parquet")
    import_telemetry(packed, tmp_path / "b.parquet")
    assert pq.read_table(tmp_path / "a.parquet").equals(pq.read_table(tmp_path / "b.parquet"))


def test_gaps_and_off(tmp_path: Path) -> None:
    """Three missing bins are filled and marked, four are not; no cores means off."""
    steps = [0, 1, 5, 10, 11]
    lines = [line(BEGIN + 300 * i, used_mhz=2926.0 * i / 5) for i in steps]
    lines.append(line(BEGIN + 300 * 12, cores=0, used_mhz=0))
    source = write_archive(tmp_path, vm1=lines)
    report = import_telemetry(source, tmp_path / "out.parquet")
    assert (report.interpolated, report.missing, report.off) == (3, 4, 1)
    history = read_history(tmp_path / "out.parquet")
    assert history.state[0].tolist() == [0, 0, 1, 1, 1, 0, 3, 3, 3, 3, 0, 0, 2]
    cpu = history.readings[Resource.CPU, 0]
    assert cpu[2:5].tolist() == pytest.approx([400, 600, 800])
    assert np.isnan(cpu[6:10]).all()
    assert cpu[12] == 0


def test_two_readings_in_one_bin(tmp_path: Path) -> None:
    """The later of two readings that fall into one bin wins, and is counted."""
    lines = [line(BEGIN, used_mhz=0), line(BEGIN + 20), line(BEGIN + 300)]
    source = write_archive(tmp_path, vm1=lines)
    assert import_telemetry(source, tmp_path / "out.parquet").merged == 1
    cpu = read_history(tmp_path / "out.parquet").readings[Resource.CPU, 0]
    assert cpu[0] == pytest.approx(1000.0)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([line(BEGIN), "1;2;3"], r"vm1\.csv, line 3: expected 11 values, got 3"),
        ([line(BEGIN), line(BEGIN).replace("4", "four", 1)], r"vm1\.csv, line 3.*number"),
        ([line(BEGIN), line(BEGIN - 900)], r"vm1\.csv, line 3: time stamp 1376313946.*above"),
        ([line(BEGIN, used_mhz=-5)], r"vm1\.csv, line 2.*usage \[mhz\].*got '-5'"),
        ([line(BEGIN, used_mhz=1e15)], r"vm1\.csv, line 2.*makes cpu_used at most 4096"),
        ([line(BEGIN, used_mhz=float("nan"))], r"vm1\.csv, line 2.*usage \[mhz\].*'nan'"),
    ],
)
def test_bad_lines(tmp_path: Path, lines: list[str], expected: str) -> None:
    """The first bad line is named with its file, and nothing is left behind."""
    source = write_archive(tmp_path, vm0=[line(BEGIN)], vm1=lines)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InvalidInputError, match=expected):
        import_telemetry(source, out / "out.parquet")
    assert list(out.iterdir()) == []


def test_an_existing_file_survives_a_failure(tmp_path: Path) -> None:
    """A failing import does not touch what was there before."""
    target = tmp_path / "out.parquet"
    target.write_bytes(b"precious")
    with pytest.raises(InvalidInputError):
        import_telemetry(write_archive(tmp_path, vm1=["x"]), target)
    assert target.read_bytes() == b"precious"


def test_wrong_header(tmp_path: Path) -> None:
    """A CSV of another layout inside the archive is refused at its first line."""
    source = write_archive(tmp_path)
    (source / "2013-8" / "x.csv").write_text("a;b\n1;2\n")
    with pytest.raises(InvalidInputError, match=r"x\.csv, line 1: expected the header"):
        import_telemetry(source, tmp_path / "out.parquet")


def test_empty_folder(tmp_path: Path) -> None:
    """A folder without CSV files is an error."""
    with pytest.raises(InvalidInputError, match=r"holds no \.csv file"):
        import_telemetry(write_archive(tmp_path), tmp_path / "out.parquet")


def test_no_such_source(tmp_path: Path) -> None:
    """A source that is not there is bad input."""
    with pytest.raises(InvalidInputError, match="no such file"):
        import_telemetry(tmp_path / "nothing", tmp_path / "out.parquet")


LONG = """vm,ts,metric,value
a,2026-02-02T00:00:10Z,cpu_cores,2
a,2026-02-02T00:00:10Z,cpu_used,0.5
b,1769990400,cpu_cores,4
b,1769990400,cpu_used,3
a,2026-02-02T00:05:10Z,cpu_used,0.7
a,2026-02-02T00:10:10+00:00,cpu_used,0.9
"""


def test_long_csv(tmp_path: Path) -> None:
    """A long CSV with rows in any order becomes one row per bin; sizes hold until told anew."""
    source = tmp_path / "long.csv"
    source.write_text(LONG)
    report = import_telemetry(source, tmp_path / "out.parquet")
    assert (report.vms, report.missing) == (2, 0)
    history = read_history(tmp_path / "out.parquet")
    assert history.vm_ids == ("a", "b")
    assert history.readings[Resource.CPU, 0].tolist() == pytest.approx([500, 700, 900])
    assert history.vcpus.tolist() == [2, 4]
    assert not history.has(Resource.MEMORY)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("a,2026-02-02T00:05:00Z,cpu_heat,3", r"long\.csv, line 8: unknown metric 'cpu_heat'"),
        ("a,2026-02-02T00:05:00Z,cpu_used,-3", r"long\.csv, line 8: cpu_used of VM 'a'.*-3"),
        ("a,2026-02-02T00:05:00Z,cpu_used,", r"long\.csv, line 8.*nan"),
        ("a,noon,cpu_used,1", r"long\.csv, line 8: time stamp 'noon'"),
        (",2026-02-02T00:05:00Z,cpu_used,1", r"long\.csv, line 8: 'vm' is empty"),
        ("a,2026-02-02T00:05:00Z,mem_active_mib,1", r"VM 'b' has no reading of 'mem_active_mib'"),
    ],
)
def test_bad_long_rows(tmp_path: Path, row: str, expected: str) -> None:
    """Bad rows of a long CSV are named with their line."""
    source = tmp_path / "long.csv"
    source.write_text(LONG + row + "\n")
    with pytest.raises(InvalidInputError, match=expected):
        import_telemetry(source, tmp_path / "out.parquet")


def test_long_csv_without_a_column(tmp_path: Path) -> None:
    """A long CSV that lacks a column says which."""
    source = tmp_path / "long.csv"
    source.write_text("vm,ts,value\na,1,2\n")
    with pytest.raises(InvalidInputError, match="'metric' is missing"):
        import_telemetry(source, tmp_path / "out.parquet")
