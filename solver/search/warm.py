"""Compile the kernels of this room before a clock runs.

Once a version and machine it takes up to a minute; after that, they are read from disk in a
fraction of one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import numpy as np

from solver.compiler.compile import compile_problem
from solver.domain.cluster import VM, Cluster, Host
from solver.domain.scenario import ScenarioSet, equal_probabilities
from solver.domain.units import NUM_RESOURCES, Amounts, HostId, Limits, VmId
from solver.domain.weights import Weights
from solver.search.annealing import improve
from solver.search.exchange import improve_by_exchange
from solver.search.greedy import greedy
from solver.search.relief import relieve
from solver.search.state import State


@cache
def warm_up() -> None:
    """Run every kernel once, on two hosts."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    hosts = [
        Host(id=HostId(name), capacity=Limits(cpu_millicores=1000, memory_mib=4096))
        for name in ("a", "b")
    ]
    vms = [
        VM(
            id=VmId(str(v)),
            host_id=hosts[v // 2].id,
            allocation=Amounts(cpu_millicores=1000, memory_mib=1024),
        )
        for v in range(4)
    ]
    cluster = Cluster(observed_at=now, hosts=tuple(hosts), vms=tuple(vms))
    demand = np.zeros((1, len(vms), NUM_RESOURCES, 1), dtype=np.int64)
    demand[0, :2, 0] = 900
    scenarios = ScenarioSet(
        vm_ids=tuple(vm.id for vm in vms),
        start_at=now,
        step_seconds=900,
        demand=demand,
        probability_ppm=equal_probabilities(1),
    )
    problem = compile_problem(cluster, scenarios, Weights())
    greedy(problem, problem.start)
    state = State(problem, problem.start)
    state.relocations(problem.start[:1] * 0)
    state.exchange(0, 2)
    state.apply(0, 1)
    improve_by_exchange(state, out_of_time=lambda: False, spend=lambda work: None)
    improve(problem, problem.start, limit_s=60.0, work_limit=1e-3)
    relieve(problem, problem.start, limit_s=60.0, work_limit=1e-3)
