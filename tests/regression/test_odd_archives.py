"""Archives as people have them: encrypted, with blank lines, in monthly folders, misdated."""

from __future__ import annotations

import zipfile
from datetime import timedelta
from pathlib import Path

import pytest

from forecast.importers import import_bitbrains, import_long_csv, import_telemetry
from forecast.tidy import read_history
from solver.domain.errors import InvalidInputError
from solver.domain.units import Resource
from tests.histories import START

HEADER = (
    "Timestamp [ms];CPU cores;CPU capacity provisioned [MHZ];CPU usage [MHZ];CPU usage [%];"
    "Memory capacity provisioned [KB];Memory usage [KB];Disk read throughput [KB/s];"
    "Disk write throughput [KB/s];Network received throughput [KB/s];"
    "Network transmitted throughput [KB/s]"
)
BEGIN = 1376314800


def reading(seconds: object, used_mhz: object = 1000) -> str:
    """Return one reading of a 2-core VM that runs at 2000 MHz."""
    return f"{seconds};2;4000;{used_mhz};25;1048576;524288;1;2;3;4"


def write(path: Path, *lines: str) -> Path:
    """Write one VM's file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def test_monthly_folders_are_one_vm(tmp_path: Path) -> None:
    """The archive's second part has a folder per month with the same names; it was refused."""
    root = tmp_path / "rnd"
    for month, first in (("2013-9", 4), ("2013-7", 0), ("2013-8", 2)):
        for vm in ("1", "2"):
            lines = [reading(BEGIN + 300 * i, 1000 * (i % 3)) for i in (first, first + 1)]
            write(root / month / f"{vm}.csv", *lines)
    write(root / "2013-9" / "2.csv")  # a month without a reading
    assert import_telemetry(root, tmp_path / "out.parquet").vms == 2
    history = read_history(tmp_path / "out.parquet")
    assert history.vm_ids == ("1", "2")
    assert history.readings[Resource.CPU, 0].tolist() == [0, 500, 1000, 0, 500, 1000]
    assert history.readings[Resource.CPU, 1, :4].tolist() == [0, 500, 1000, 0]


def test_files_of_one_name_that_overlap(tmp_path: Path) -> None:
    """Two VMs of one name in different folders are not mixed into one."""
    for part in ("fastStorage", "rnd"):
        write(tmp_path / part / "1.csv", reading(BEGIN), reading(BEGIN + 300))
    with pytest.raises(InvalidInputError, match=r"rnd/1\.csv|fastStorage/1\.csv"):
        import_bitbrains(tmp_path, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_an_encrypted_zip(tmp_path: Path) -> None:
    """A zip with a password ended in a traceback."""
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("1.csv", HEADER + "\n")
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag in the member's own header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    path.write_bytes(data)
    with pytest.raises(InvalidInputError, match=r"1\.csv is encrypted"):
        import_telemetry(path, tmp_path / "out.parquet")


@pytest.mark.parametrize("stamp", ["1e18", "-1e30", "nan", "inf", "7000000000", "-1"])
def test_stamps_of_another_age(tmp_path: Path, stamp: str) -> None:
    """Readings of the future and absurd stamps were accepted; cast to integers, some wrapped."""
    source = write(tmp_path / "a" / "1.csv", reading(BEGIN), "", reading(stamp))
    with pytest.raises(InvalidInputError, match=rf"1\.csv, line 4, .*got '{stamp}'"):
        import_telemetry(source.parent, tmp_path / "out.parquet")


@pytest.mark.parametrize("stamp", ["2026-02-02T00:10:00Z", "99999999999999999", "0001-01-01"])
def test_long_stamps_of_another_age(tmp_path: Path, stamp: str) -> None:
    """A long CSV's stamps were believed, too; the line named is the file's, blank ones counted."""
    source = tmp_path / "long.csv"
    source.write_text(f"vm,ts,metric,value\n\na,2026-02-02,cpu_cores,2\n\na,{stamp},cpu_used,1\n")
    with pytest.raises(InvalidInputError, match=rf"long\.csv, line 5: .*got '{stamp}'"):
        import_long_csv(source, tmp_path / "out.parquet", now=START + timedelta(minutes=5))


def test_the_file_s_own_line_and_value(tmp_path: Path) -> None:
    """Blank lines shifted the line reported, and the value reported was a converted one."""
    lines = [reading(BEGIN), "", "  ", reading(BEGIN + 300, "-7.5")]
    source = write(tmp_path / "a" / "1.csv", *lines)
    with pytest.raises(InvalidInputError, match=r"line 5, column 'cpu usage \[mhz\]'.*'-7\.5'"):
        import_telemetry(source.parent, tmp_path / "out.parquet")
