"""Put raw readings into a history without a file, by the rules that files are read by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from forecast.history import STEP_SECONDS, History
from forecast.import_grid import Series, on_grid
from forecast.tidy_grid import Grid
from forecast.tidy_keys import MAX_CELLS, Keys
from solver.domain.errors import InvalidInputError
from solver.domain.units import VmId


def history_of(
    series: Sequence[Series], *, source: str, step_seconds: int = STEP_SECONDS
) -> History:
    """Return the history of raw readings, as if they had been imported to a file and read.

    Parameters
    ----------
    series
        One for each VM, all with the same metrics, named as the columns of a tidy file.
    source
        Where they come from, for messages.

    Raises
    ------
    InvalidInputError
        If there is no reading, or a value is outside its limits.
    """
    grids = [on_grid(one, step_seconds=step_seconds) for one in series if len(one.seconds)]
    if not grids:
        raise InvalidInputError(f"{source}: no readings; expected at least one")
    first = min(one.first_bin for one in grids)
    num_bins = max(one.first_bin + len(one.state) for one in grids) - first
    if num_bins * len(grids) > MAX_CELLS:
        raise InvalidInputError(
            f"{source}: {len(grids)} VMs and {num_bins} bins; expected at most {MAX_CELLS:,} cells"
        )
    vms = range(len(grids))
    keys = Keys(
        vm_ids=tuple(VmId(one.vm) for one in grids),
        first_s=first * step_seconds,
        num_bins=num_bins,
        vm=np.concatenate([np.full(len(grids[i].state), i, dtype=np.int32) for i in vms]),
        bins=np.concatenate(
            [np.arange(len(one.state), dtype=np.int32) + (one.first_bin - first) for one in grids]
        ),
    )
    columns = list(grids[0].values)
    grid = Grid.empty(keys, [*columns, "state"])
    row = 0
    for one in grids:
        batch = pa.RecordBatch.from_arrays(
            [*(pa.array(one.values[name], from_pandas=True) for name in columns), one.state],
            names=[*columns, "state"],
        )
        grid.place(Path(source), batch, row)
        row += batch.num_rows
    return replace(grid.history(), step_seconds=step_seconds)
