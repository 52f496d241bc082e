"""A VM whose readings lag behind is a VM of unknown demand, not one that is gone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecast.history import BinState
from service.commands.solve import _forecast
from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from tests.builders import NOW, make_cluster, make_host, make_vm
from tests.histories import make_history, tidy_table

NUM_BINS = 48


def cluster_and_trace(folder: Path, *, behind_bins: int) -> tuple[Cluster, Path]:
    """Return two VMs, the second of which was last read some bins before the first."""
    table = tidy_table(num_bins=NUM_BINS, start=NOW - timedelta(minutes=5 * NUM_BINS))
    rows = np.arange(table.num_rows)
    path = folder / "trace.parquet"
    pq.write_table(table.filter(pa.array(rows < table.num_rows - behind_bins)), path)
    vms = [make_vm(f"vm{i}", "h1") for i in range(2)]
    return make_cluster([make_host("h1"), make_host("h2")], vms), path


def test_one_row_behind_is_not_zero_demand(tmp_path: Path) -> None:
    """One VM's newest row was five minutes older than the others'.

    Behind its last row a VM counted as absent, the absent are forecast at zero, and a plan took
    its host for empty and filled it.
    """
    cluster, trace = cluster_and_trace(tmp_path, behind_bins=1)
    demand = _forecast(cluster, trace, None, 0, mend=False)
    position = demand.vm_ids.index(cluster.vms[1].id)
    assert (demand.demand[:, position, :2].mean(axis=0) > 0).all()


def test_a_vm_not_read_for_long_is_named(tmp_path: Path) -> None:
    """A VM whose newest reading is too old was planned on without a word."""
    cluster, trace = cluster_and_trace(tmp_path, behind_bins=7)
    newest = (NOW - timedelta(minutes=35)).isoformat()
    with pytest.raises(InvalidInputError) as caught:
        _forecast(cluster, trace, None, 0, mend=False)
    assert "'vm1'" in str(caught.value)
    assert newest in str(caught.value)


def test_the_cluster_says_what_exists() -> None:
    """Only the bins after a VM's last record, up to the present, turn from absent to missing."""
    history = make_history(num_vms=3, num_bins=10)
    state = history.state.copy()
    state[0, 6:] = BinState.ABSENT
    state[1, :2] = BinState.ABSENT
    state[2] = BinState.ABSENT
    known = make_history(history.readings.copy(), state=state).with_present(history.vm_ids, 8)
    absent, missing = int(BinState.ABSENT), int(BinState.MISSING)
    assert known.state[0].tolist() == [0] * 6 + [missing] * 3 + [absent]
    assert known.state[1].tolist() == [absent] * 2 + [0] * 8
    assert known.state[2].tolist() == [absent] * 8 + [missing, absent]
    assert known.last_read_bin(8).tolist() == [5, 8, -1]
