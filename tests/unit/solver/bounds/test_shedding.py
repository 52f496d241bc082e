"""Bounds of single hosts: exact where single VMs decide, valid however little time there is."""

from __future__ import annotations

import itertools
import math
from typing import Final

import numpy as np
import pytest

from benchmarks.instances.synthetic import synthetic
from solver.bounds.relaxed import relaxed_bound
from solver.bounds.shedding import Cover, shedding_bound
from solver.compiler.compile import compile_problem
from solver.domain.cluster import Cluster
from solver.domain.scenario import ScenarioSet
from solver.domain.score import score_placement
from solver.domain.units import HostId, VmId
from solver.domain.weights import Weights
from solver.limit import Allowance
from solver.problem import Problem
from solver.search.state import State
from tests.builders import make_cluster, make_host, make_scenarios, make_vm

CONTENTION_ONLY: Final = Weights(imbalance=0.0, stranded=0.0)


def crowded() -> tuple[Cluster, ScenarioSet, Problem]:
    """Return a host of 10 cores whose VMs want 12, four each, beside an empty one."""
    cluster = make_cluster(
        [make_host("h1", cores=10), make_host("h2", cores=10)],
        [make_vm("a"), make_vm("b", memory_gib=8), make_vm("c", memory_gib=16)],
    )
    scenarios = make_scenarios(cluster, {"a": 4.0, "b": 4.0, "c": 4.0})
    return cluster, scenarios, compile_problem(cluster, scenarios, CONTENTION_ONLY)


def test_the_cheapest_vm_that_is_enough_is_the_bound() -> None:
    """One VM has to go; half of it would do for the relaxation, were it not for what is lacked."""
    cluster, scenarios, problem = crowded()
    assert relaxed_bound(problem) == 0
    moved = cluster.placement | {VmId("a"): HostId("h2")}
    best = score_placement(cluster, scenarios, CONTENTION_ONLY, moved)
    assert best.contention == 0
    disruption = best.total - sum(cost.total for cost in best.move_costs.values())
    assert shedding_bound(problem, State(problem, problem.start).burden) == best.total - disruption


def test_a_vm_that_has_to_stay_covers_nothing() -> None:
    """Where nobody may leave, the bound is what the host is short of."""
    cluster = make_cluster(
        [make_host("h1", cores=10), make_host("h2", cores=10)],
        [make_vm("a", not_migratable_reason="passthrough")],
    )
    scenarios = make_scenarios(cluster, {"a": 14.0})
    problem = compile_problem(cluster, scenarios, CONTENTION_ONLY)
    stays = score_placement(cluster, scenarios, CONTENTION_ONLY, cluster.placement)
    assert shedding_bound(problem, State(problem, problem.start).burden) == stays.total > 0


@pytest.mark.parametrize("seed", range(20))
def test_no_choice_costs_less(seed: int) -> None:
    """All choices of eight VMs in five columns, by brute force; any prices hold."""
    rng = np.random.default_rng(seed)
    needs = rng.integers(0, 50, (5, 8))
    lack = np.maximum(1, needs.sum(axis=1) - rng.integers(40, 150, 5))
    cover = Cover(
        stay=rng.integers(0, 20, 8),
        leave=rng.integers(0, 2_000, 8),
        lack=lack,
        price=rng.integers(1, 100, 5),
        covered=np.minimum(needs, lack[:, None]),
    )
    choices = np.array(np.meshgrid(*[[0, 1]] * 8)).reshape(8, -1)
    short = np.maximum(0, lack[:, None] - needs @ choices)
    best = (cover.stay @ (1 - choices) + cover.leave @ choices + cover.price @ short).min()
    prices = cover.prices()
    assert prices is not None
    assert cover.unloaded <= cover.bound(prices) <= best
    assert cover.bound(prices) > 0.5 * best
    assert cover.bound(np.zeros_like(cover.price)) == cover.unloaded
    # Other prices prove less, but nothing that is not so.
    for share in rng.random((100, len(cover.price))):
        assert cover.bound((share * cover.price).astype(np.int64)) <= best


class Hosts:
    """Lets so many hosts be looked at, and counts them."""

    def __init__(self, most: int) -> None:
        self.asked = 0
        self._most = most

    def enough(self) -> bool:
        """Whether no more are to be looked at."""
        self.asked += 1
        return self.asked > self._most


def test_hosts_left_out_for_lack_of_time_count_for_nothing() -> None:
    """The bound grows host by host, the dearest first; work is counted, and ends it."""
    made = synthetic(num_hosts=16, num_vms=200, fill=0.8, seed=2)
    problem = compile_problem(made.cluster, made.futures(), Weights())
    burden = State(problem, problem.start).burden
    whole, work = shedding_bound(problem, burden), Allowance(math.inf)
    bounds = [shedding_bound(problem, burden, cancel=Hosts(most).enough) for most in range(5)]
    assert bounds[0] == 0
    assert all(other > one for one, other in itertools.pairwise(bounds))
    assert bounds[-1] < whole == shedding_bound(problem, burden, allowance=work)
    order = np.argsort(-burden)
    dearest = np.where(np.isin(np.arange(16), order[:1]), burden, 0)
    assert shedding_bound(problem, dearest) == bounds[1]
    assert work.spent > 0
    assert shedding_bound(problem, burden, allowance=Allowance(math.inf, 0.0)) == bounds[0]
    half = shedding_bound(problem, burden, allowance=Allowance(math.inf, work.spent / 2))
    assert bounds[1] <= half < whole
