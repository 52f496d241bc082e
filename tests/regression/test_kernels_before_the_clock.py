"""Everything that is compiled or loaded is so before the clock of a solve runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

SCRIPT = """
import sys
from numba.core.dispatcher import Dispatcher
from benchmarks.instances.small import small
from benchmarks.instances.synthetic import synthetic
from solver.search.warm import warm_up
from solver.params import SolveParams
from solver.solve import solve

def signatures():
    return {
        f"{name}.{kernel.__name__}": len(kernel.signatures)
        for name, module in list(sys.modules.items()) if name.startswith("solver.")
        for kernel in vars(module).values() if isinstance(kernel, Dispatcher)
    }

warm_up()
before = signatures()
assert len(before) > 10 and sum(before.values()) > 10, before
for ruled in (0.0, 0.5):
    instance = synthetic(num_hosts=8, num_vms=80, ruled_fraction=ruled)
    solve(instance.cluster, instance.futures(), SolveParams(limit_s=60.0, work_limit=0.5))
for number in range(8):
    one = small(number)
    params = SolveParams(limit_s=60.0, work_limit=0.1, weights=one.weights)
    solve(one.cluster, one.scenarios, params)
after = signatures()
print(*(name for name, number in after.items() if number > before.get(name, 0)))
"""


# On a new checkout, all kernels are compiled here first.
@pytest.mark.timeout(600)
def test_no_kernel_is_compiled_within_a_solve() -> None:
    """Filling a state took read-only arrays when kernels were warmed up, and others afterwards.

    For these it was compiled anew within the first solve of every installation, which took a second
    or more of its limit.
    """
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == ""


LOADED = """
import sys
from benchmarks.instances.synthetic import synthetic
from solver.params import SolveParams
from solver.solve import solve

made = synthetic(num_hosts=1_001, num_vms=4_000, fill=0.9)
for engine in ("greedy", "portfolio"):
    params = SolveParams(engine=engine, limit_s=60.0, work_limit=0.1)
    assert len(solve(made.cluster, made.futures(1), params).plan.steps) > 100
    print(engine, "ortools" in sys.modules, "solver.cpsat.neighbourhoods" in sys.modules)
"""


@pytest.mark.timeout(600)
def test_greedy_does_not_wait_for_other_engines() -> None:
    """Loading CP-SAT took two of the ten seconds that the first plan for 5,000 hosts may take."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["greedy False False", "portfolio True True"]
