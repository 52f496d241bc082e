"""Input that used to end in a traceback, or to be believed, is refused with one precise error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecast.tidy import read_history
from service.cli import run
from service.options import instant, positive_seconds
from solver.domain.errors import InvalidInputError
from tests.histories import tidy_table

ROWS = 12


def broken_text() -> Any:
    """Return text columns whose bytes are no UTF-8, as a careless writer leaves them."""
    whole = pa.array([b"a\xff\xfe"] * ROWS, pa.binary())
    return pa.Array.from_buffers(pa.string(), ROWS, whole.buffers())


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"state": ["0"] * ROWS}, "column 'state' is of type string; expected 0, 1, 2 or 3"),
        ({"state": [0.0] * 11 + [float("nan")]}, "row 12, VM 'vm1', .*'state'.*got nan"),
        ({"state": [0.0] * 11 + [0.5]}, "row 12, VM 'vm1', .*'state'.*got 0.5"),
        ({"vm": [["a"]] * ROWS}, "column 'vm' is of type list.*expected text"),
        ({"app_type": [["a"]] * ROWS}, "column 'app_type' is of type list.*expected text"),
        ({"vm": broken_text()}, "column 'vm' is not UTF-8 text"),
        ({"app_type": broken_text()}, "column 'app_type' is not UTF-8 text"),
        ({"ts": [2**62] * ROWS}, f"row 1: the time stamp is {2**62} s since 1970"),
        ({"ts": [-(2**62)] * ROWS}, f"row 1: the time stamp is -{2**62} s since 1970"),
        ({"ts": [-(10**12)] * ROWS}, "expected a time of the years 1970 to 2199"),
        ({"ts": [1376313946000] * ROWS}, "whole numbers count seconds"),
    ],
)
def test_odd_columns(tmp_path: Path, columns: dict[str, Any], expected: str) -> None:
    """Columns of a wrong type or with impossible values were tracebacks, or were taken as read.

    A state of NaN or 0.5 became 0, measured; a stamp of 2^62 seconds overflowed into another year.
    """
    path = tmp_path / "trace.parquet"
    pq.write_table(tidy_table(**columns), path)
    with pytest.raises(InvalidInputError, match=expected):
        read_history(path)


def test_a_column_twice(tmp_path: Path) -> None:
    """Of two columns with one name either could be meant; one was picked without a word."""
    table = tidy_table()
    twice = pa.Table.from_arrays(
        [*table.columns, table["cpu_used"]], names=[*table.column_names, "cpu_used"]
    )
    pq.write_table(twice, tmp_path / "trace.parquet")
    (tmp_path / "trace.csv").write_text(
        "vm,ts,cpu_cores,cpu_used,cpu_used\na,2026-02-02T00:00:00Z,4,1,2\n"
    )
    for name in ("trace.parquet", "trace.csv"):
        with pytest.raises(InvalidInputError, match="column 'cpu_used' appears 2 times"):
            read_history(tmp_path / name)


@pytest.mark.parametrize("text", ["9999-12-31T23:30", "1969-12-31", "2200-01-01", "0001-01-01"])
def test_instants_of_another_age(text: str) -> None:
    """An instant at the end of the calendar overflowed as soon as something was added to it."""
    with pytest.raises(InvalidInputError, match=f"--until: .*1970 to 2199, got '{text}'"):
        instant(text, "--until")


def test_durations_of_ages() -> None:
    """An interval of 99999999 hours overflowed; a week is the most that makes sense."""
    assert positive_seconds("168h", "--interval") == 7 * 86_400
    for text in ("99999999h", "169h"):
        with pytest.raises(InvalidInputError, match=f"--interval: .*at most 168h, got '{text}'"):
            positive_seconds(text, "--interval")


def test_a_seed_beyond_the_generators(capsys: pytest.CaptureFixture[str]) -> None:
    """A seed of more than 32 bits went down as a traceback in the trained forecaster."""
    assert run(["solve", "none.json", "--seed", str(2**32)]) == 2
    assert "4294967295" in capsys.readouterr().err
