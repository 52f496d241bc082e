"""A state of the search is freed once nobody holds it."""

from __future__ import annotations

import weakref

import numpy as np

from solver.compiler.compile import compile_problem
from solver.domain.weights import Weights
from solver.search.greedy import descend
from solver.search.state import State
from tests.builders import make_cluster, make_host, make_scenarios, make_vm


def test_kernels_keep_no_reference_to_what_they_were_called_with() -> None:
    """Kernels compiled without reference counts took one reference a call and gave none back.

    Each state of a cluster of 5,000 hosts kept its 100 MB for good.
    """
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")], [make_vm("v1"), make_vm("v2"), make_vm("v3")]
    )
    scenarios = make_scenarios(cluster, {"v1": 6.0, "v2": 6.0, "v3": 1.0})
    problem = compile_problem(cluster, scenarios, Weights())
    state = State(problem, problem.start)
    state.apply(0, 1)
    state.relocations(np.arange(3))
    state.exchange(0, 1)
    descend(state)
    kept = weakref.ref(state.live.burden)
    del state
    assert kept() is None
