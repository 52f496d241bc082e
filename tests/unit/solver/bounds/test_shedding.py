"""Bounds of single hosts: exact where single VMs decide, valid however little time there is."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest

from benchmarks.instances.synthetic import synthetic
from solver.bounds.relaxed import relaxed_bound
from solver.bounds.shedding import Cover, cover_of, shedding_bound
from solver.compiler.compile import compile_problem
from solver.domain.cluster import Cluster
from solver.domain.scenario import ScenarioSet
from solver.domain.score import score_placement
from solver.domain.units import HostId, VmId
from solver.domain.weights import Weights
from solver.problem import Problem
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
    assert shedding_bound(problem) == best.total - disruption


def test_a_vm_that_has_to_stay_covers_nothing() -> None:
    """Where nobody may leave, the bound is what the host is short of."""
    cluster = make_cluster(
        [make_host("h1", cores=10), make_host("h2", cores=10)],
        [make_vm("a", not_migratable_reason="passthrough")],
    )
    scenarios = make_scenarios(cluster, {"a": 14.0})
    problem = compile_problem(cluster, scenarios, CONTENTION_ONLY)
    stays = score_placement(cluster, scenarios, CONTENTION_ONLY, cluster.placement)
    assert shedding_bound(problem) == stays.total > 0


def test_any_prices_prove_something() -> None:
    """Prices that are too high or too low only prove less."""
    _, _, problem = crowded()
    cover = cover_of(problem, 0, np.ones(problem.future.demand.shape[1], dtype=np.bool_))
    prices = cover.prices()
    assert prices is not None
    best = cover.bound(prices)
    rng = np.random.default_rng(0)
    for share in rng.random((200, len(cover.price))):
        assert cover.bound((share * cover.price).astype(np.int64)) <= best + len(cover.price)
    assert cover.bound(np.zeros_like(cover.price)) == cover.unloaded == 0


@pytest.mark.parametrize("seed", range(20))
def test_no_choice_costs_less(seed: int) -> None:
    """All choices of eight VMs in five columns, by brute force."""
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
    costs = cover.stay @ (1 - choices) + cover.leave @ choices + cover.price @ short
    prices = cover.prices()
    assert prices is not None
    assert cover.unloaded <= cover.bound(prices) <= costs.min()
    assert cover.bound(prices) > 0.5 * costs.min()


def bound_of(problem: Problem, most_hosts: int) -> tuple[int, list[float]]:
    """Return the bound once so many hosts were looked at, and the work told of each."""
    spent: list[float] = []
    bound = shedding_bound(problem, over=lambda: len(spent) >= most_hosts, spend=spent.append)
    return bound, spent


def test_hosts_left_out_for_lack_of_time_count_for_nothing() -> None:
    """The bound grows host by host, and work is told of; the worst host comes first."""
    made = synthetic(num_hosts=16, num_vms=200, fill=0.8, seed=2)
    problem = compile_problem(made.cluster, made.futures(), Weights())
    bounds = []
    for most in range(5):
        bound, spent = bound_of(problem, most)
        assert len(spent) == most
        assert all(work > 0 for work in spent)
        bounds.append(bound)
    assert bounds == sorted(bounds)
    assert bounds[0] == 0
    assert bounds[-1] <= shedding_bound(problem)
