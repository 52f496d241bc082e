"""A replay that begins within a gap keeps what the VM wanted before the gap."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from executor.simulation.workload import TraceWorkload
from solver.domain.errors import InvalidInputError
from solver.domain.units import NUM_RESOURCES, VmId
from tests.builders import NOW

STATE = np.array(
    [
        # measured, then missing past the window's start
        [0, 0, 3, 3, 0],
        # off before the gap: what it wanted before that is still the last that is known
        [0, 2, 3, 3, 2],
        # nothing was ever known
        [255, 255, 3, 3, 0],
    ]
)


def trace(first_bin: int) -> TraceWorkload:
    """Return a workload of CPU readings that count up, from ``first_bin`` on."""
    readings = np.full((NUM_RESOURCES, *STATE.shape), np.nan)
    readings[0] = np.where(STATE <= 1, 100.0 * (1 + np.arange(5)), np.nan)
    granted = np.where(STATE <= 1, 10.0 + np.arange(5), np.nan)
    return TraceWorkload(
        vm_ids=tuple(VmId(f"v{i}") for i in range(len(STATE))),
        start_at=NOW,
        readings=readings,
        state=STATE,
        granted_mib=granted,
        first_bin=first_bin,
    )


def test_demand_before_the_window_is_held_into_it() -> None:
    """A workload cut out of a history forgot it, and VMs in a gap wanted nothing until it ended.

    Handed the whole history and the bin it begins at, it knows what they wanted last.
    """
    workload = trace(first_bin=3)
    assert workload.start_at == NOW + timedelta(seconds=900)
    assert workload.num_bins == 2
    assert workload.demand_at(0)[:, 0].tolist() == [200, 100, 0]
    assert workload.demand_at(1)[:, 0].tolist() == [500, 0, 500]
    footprints = workload.footprint_at(0)
    assert footprints is not None
    assert footprints.tolist() == [11, 10, -1]


def test_a_later_first_bin_changes_nothing_but_where_it_begins() -> None:
    """Every bin is as in the workload of the whole history."""
    whole = trace(first_bin=0)
    for first_bin in range(5):
        late = trace(first_bin)
        assert late.num_bins == 5 - first_bin
        for t in range(late.num_bins):
            assert (late.demand_at(t) == whole.demand_at(first_bin + t)).all()
            assert (late.life_at(t) == whole.life_at(first_bin + t)).all()
            seen, expected = late.footprint_at(t), whole.footprint_at(first_bin + t)
            assert seen is not None
            assert expected is not None
            assert (seen == expected).all()


@pytest.mark.parametrize("first_bin", [-1, 5])
def test_the_first_bin_is_one_of_the_history(first_bin: int) -> None:
    """Nothing can be replayed from outside."""
    with pytest.raises(InvalidInputError, match=r"first_bin: expected 0\.\.4"):
        trace(first_bin)
