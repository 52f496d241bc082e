"""The grid: times, windows, sizes, and what a history refuses to be."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from forecast.history import History
from solver.domain.errors import InvalidInputError
from solver.domain.units import Resource
from tests.histories import START, make_history


@pytest.fixture(scope="module")
def history() -> History:
    """A hundred bins of four VMs."""
    return make_history(num_vms=4, num_bins=100)


def test_times_and_bins(history: History) -> None:
    """A bin contains its start and not its end; other zones are understood."""
    assert history.time_of(3) == START + timedelta(minutes=15)
    assert history.bin_at(START + timedelta(minutes=15)) == 3
    assert history.bin_at(START + timedelta(minutes=14, seconds=59)) == 2
    assert history.bin_at(START - timedelta(seconds=1)) == -1
    west = timezone(timedelta(hours=-5))
    assert history.bin_at((START + timedelta(minutes=15)).astimezone(west)) == 3
    with pytest.raises(InvalidInputError, match="with its zone"):
        history.bin_at(datetime(2026, 2, 2))  # the point of the test


def test_windows_are_views(history: History) -> None:
    """A window shares its readings with the whole and knows its own begin."""
    part = history.window(10, 20)
    assert np.shares_memory(part.readings, history.readings)
    assert part.num_bins == 10
    assert part.start_at == history.time_of(10)
    assert history.until(20).num_bins == 20
    with pytest.raises(InvalidInputError, match="window"):
        history.window(10, 101)


def test_select_and_positions(history: History) -> None:
    """VMs can be chosen in any order."""
    assert history.select([3, 1]).vm_ids == ("vm3", "vm1")
    assert history.positions(["vm2", "vm0"]).tolist() == [2, 0]
    with pytest.raises(InvalidInputError, match="'ghost' has no history"):
        history.positions(["ghost"])


def test_arrays_cannot_be_changed(history: History) -> None:
    """Readings are read-only, in windows, too."""
    with pytest.raises(ValueError, match="read-only"):
        history.until(5).readings[0, 0, 0] = 1.0


def test_latest_looks_back_an_hour(history: History) -> None:
    """The newest known reading stands in for missing ones, but not for ever."""
    readings = history.readings.copy()
    readings[0, 0, 60:] = np.nan
    gappy = replace(history, readings=readings)
    assert gappy.latest(70)[0, 0] == readings[0, 0, 59]
    assert np.isnan(gappy.latest(80)[0, 0])


def test_activity_goes_where_readings_go(history: History) -> None:
    """A window and a choice of VMs take their part of every series."""
    series = np.arange(400, dtype=np.float32).reshape(4, 100)
    with_series = replace(history, activity={"sessions": series})
    assert with_series.window(10, 12).activity["sessions"][1].tolist() == [110.0, 111.0]
    assert with_series.select([2, 0]).activity["sessions"][:, 0].tolist() == [200.0, 0.0]


def test_limits(history: History) -> None:
    """CPU may exceed the vCPUs by a tenth, memory not the size; disk and network have none."""
    limits = history.limits()
    assert limits[Resource.CPU, 0] == pytest.approx(4400)
    assert limits[Resource.MEMORY, 0] == 16384
    assert np.isinf(limits[Resource.NET_IO]).all()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"vm_ids": ("a", "a", "b", "c")}, "more than once"),
        ({"vcpus": np.ones(3, np.int64)}, r"vcpus: expected int64 of shape \(4,\)"),
        ({"readings": np.zeros((4, 4, 100))}, "readings: expected float32"),
        ({"state": np.zeros((4, 100))}, "state: expected uint8"),
        ({"app_types": ()}, "app_types: expected 4"),
        ({"activity": {"s": np.zeros((4, 9), np.float32)}}, r"activity.s: .*shape \(4, 100\)"),
        ({"start_at": datetime(2026, 2, 2)}, "start_at: expected aware UTC"),
    ],
)
def test_malformed(history: History, change: dict[str, object], expected: str) -> None:
    """What disagrees is named with what was expected."""
    with pytest.raises(InvalidInputError, match=expected):
        replace(history, **change)  # type: ignore[arg-type]  # wrong on purpose
