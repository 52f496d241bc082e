"""A history without a file is what importing and reading a file gives."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from forecast.import_grid import Series, Tally, tidy_writer
from forecast.series_history import history_of
from forecast.tidy import read_history
from solver.domain.errors import InvalidInputError

NAMES = ("cpu_cores", "cpu_used", "mem_granted_mib", "net_rx_kbs")


def series(vm: str, first_bin: int, num_bins: int, *, step_seconds: int = 300) -> Series:
    """Return readings with a short gap, a long gap, a time without power, and one clipped."""
    seconds = (first_bin + np.arange(num_bins)) * step_seconds
    values = {name: np.linspace(1.0, 2.0, num_bins) for name in NAMES}
    values["cpu_cores"] = np.full(num_bins, 2.0)
    values["cpu_used"][5:7] = np.nan
    values["net_rx_kbs"][10:15] = np.nan
    values["cpu_cores"][18:20] = 0.0
    values["cpu_used"][25] = 9.0
    return Series(vm=vm, seconds=seconds.astype(np.int64), values=values)


def test_as_if_it_had_been_a_file(tmp_path: Path) -> None:
    """Grid, states, sizes, readings and report are the same, to the last bit."""
    parts = [series("a", 5_900_000, 40), series("b", 5_900_010, 50)]
    with tidy_writer(tmp_path / "file.parquet", NAMES) as write:
        tally = Tally()
        for part in parts:
            tally.add(write, part)
    expected = read_history(tmp_path / "file.parquet")
    found = history_of(parts, source="here")
    assert found.vm_ids == expected.vm_ids
    assert (found.start_at, found.end_at) == (expected.start_at, expected.end_at)
    for name in ("readings", "state", "granted_mib", "vcpus", "memory_size_mib"):
        expected_values = getattr(expected, name)
        assert np.array_equal(getattr(found, name), expected_values, equal_nan=True), name
    assert asdict(found.report) == asdict(expected.report)


def test_bins_of_another_length() -> None:
    """The grid is the caller's."""
    history = history_of([series("a", 1000, 40, step_seconds=10)], source="here", step_seconds=10)
    assert history.num_bins == 40
    assert history.start_at.timestamp() == 10_000
    assert history.end_at.timestamp() == 10_400


def test_values_beyond_their_limits_are_refused() -> None:
    """The message has source, VM, time, column, value and limit."""
    wrong = series("a", 5_900_000, 40)
    wrong.values["mem_granted_mib"][3] = 1e9
    with pytest.raises(InvalidInputError, match=r"here: row 4, VM 'a', .*'mem_granted_mib'"):
        history_of([wrong], source="here")


def test_no_readings() -> None:
    """A history has at least one reading."""
    with pytest.raises(InvalidInputError, match="here: no readings"):
        history_of([], source="here")
