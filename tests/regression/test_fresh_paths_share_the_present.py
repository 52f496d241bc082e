"""Fresh paths began at another present than the one that placements had been made for.

The generator drew the present's factors anew with every draw, and later steps from it: a placement
that was right for the present it knew was judged, once and for all paths, on another one, and the
first step of a path lay far from where the cluster was. Plans looked ten times dearer on fresh
paths, whichever engine had made them.
"""

from __future__ import annotations

import numpy as np

from benchmarks.instances.synthetic import synthetic
from solver.domain.units import Resource


def test_draws_begin_at_one_present() -> None:
    """However many paths and whichever draw, step 0 is the same; later ones are not."""
    made = synthetic(num_hosts=8, num_vms=80)
    seen, fresh = made.futures(4).demand, made.futures(64, draw=1).demand
    np.testing.assert_array_equal(seen[:1, ..., 0], fresh[:1, ..., 0])
    assert (fresh[..., 0] == fresh[:1, ..., 0]).all()
    assert (seen[..., 1:] != fresh[:4, ..., 1:]).any()


def test_paths_spread_from_where_the_cluster_is() -> None:
    """The logarithm of demand moves by one step's spread in the first step, and wider later."""
    demand = synthetic(num_hosts=8, num_vms=80).futures(256).demand[:, :, Resource.DISK_IO]
    level = np.log(demand / demand[:, :, :1])
    first, last = level[..., 1].std(axis=0), level[..., -1].std(axis=0)
    one_step = np.sqrt(0.05**2 + 0.12**2 + 0.15**2)
    assert abs(np.median(first) / one_step - 1) < 0.1
    assert np.median(last) > 1.8 * np.median(first)
