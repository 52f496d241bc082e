"""Replaying recorded readings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from executor.simulation.workload import Life, TraceWorkload
from solver.domain.errors import InvalidInputError
from solver.domain.units import NUM_RESOURCES, VmId
from tests.builders import NOW


def trace(state: list[list[int]], cpu: list[list[float]], **more: Any) -> TraceWorkload:
    """Return a trace with CPU readings alone."""
    readings = np.full((NUM_RESOURCES, *np.shape(state)), np.nan)
    readings[0] = cpu
    ids = tuple(VmId(f"v{i}") for i in range(len(state)))
    return TraceWorkload(vm_ids=ids, start_at=NOW, readings=readings, state=state, **more)


def test_vms_appear_stop_freeze_and_vanish() -> None:
    """Life and demand follow the states: missing holds the last reading, off wants nothing."""
    nan = float("nan")
    workload = trace([[255, 0, 3, 2, 3, 1, 255]], [[nan, 10.0, nan, 0.0, nan, 40.0, nan]])
    lives = [Life(int(workload.life_at(t)[0])) for t in range(7)]
    running, stopped, absent = Life.RUNNING, Life.STOPPED, Life.ABSENT
    assert lives == [absent, running, running, stopped, running, running, absent]
    assert [workload.demand_at(t)[0, 0] for t in range(7)] == [0, 10, 10, 0, 10, 40, 0]
    assert workload.demand_at(1)[0].tolist() == [10, 0, 0, 0]


def test_the_last_bin_goes_on() -> None:
    """Moves under way at the end may still come home."""
    workload = trace([[0, 0]], [[1.0, 2.0]])
    assert workload.num_bins == 2
    assert workload.demand_at(99)[0, 0] == 2.0
    with pytest.raises(InvalidInputError, match="bin 0 or later"):
        workload.demand_at(-1)


def test_granted_memory_is_the_footprint() -> None:
    """It is held over gaps, and unknown until it was first told."""
    workload = trace([[0, 0, 3]], [[1.0] * 3], granted_mib=[[np.nan, 100.4, np.nan]])
    footprints = [workload.footprint_at(t) for t in range(3)]
    assert [None if f is None else int(f[0]) for f in footprints] == [-1, 101, 101]
    assert trace([[0]], [[1.0]]).footprint_at(0) is None


@pytest.mark.parametrize(
    ("state", "cpu", "message"),
    [
        ([[7]], [[1.0]], "expected 0, 1, 2, 3 or 255, got 7"),
        ([[0]], [[-1.0]], "0 or more"),
        ([[0]], [[np.inf]], "finite"),
    ],
)
def test_bad_traces_are_refused(
    state: list[list[int]], cpu: list[list[float]], message: str
) -> None:
    """Unknown states and impossible readings."""
    with pytest.raises(InvalidInputError, match=message):
        trace(state, cpu)


def test_shapes_must_agree() -> None:
    """The error names the array, the shape seen and the one expected."""
    ids = (VmId("v1"),)
    with pytest.raises(InvalidInputError, match=r"readings: expected shape \(4, 1, 2\)"):
        TraceWorkload(
            vm_ids=ids, start_at=NOW, readings=np.zeros((4, 1, 3)), state=np.zeros((1, 2))
        )
    with pytest.raises(InvalidInputError, match="state"):
        TraceWorkload(
            vm_ids=ids, start_at=NOW, readings=np.zeros((4, 1, 3)), state=np.zeros((2, 3))
        )
    with pytest.raises(InvalidInputError, match="granted_mib"):
        trace([[0]], [[1.0]], granted_mib=[[1.0, 2.0]])
