"""The search state against the judge, to the last unit, on generated clusters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.instances.small_judge import allowed_by_the_judge
from solver.compiler.compile import compile_problem
from solver.domain.cluster import Cluster
from solver.domain.scenario import ScenarioSet
from solver.domain.score import (
    expected_demand,
    host_contention,
    host_loads,
    score_placement,
)
from solver.domain.stranded import stranding
from solver.domain.weights import Weights
from solver.problem import NOWHERE, IntArray
from solver.search.annealing import improve
from solver.search.effort import WORK_AT_ONCE
from solver.search.greedy import greedy
from solver.search.relief import relieve
from solver.search.state import FORBIDDEN, State
from tests.strategies import problems, weights


def burden_of(
    cluster: Cluster, scenarios: ScenarioSet, prices: Weights, hosts: IntArray
) -> list[int]:
    """Return the contention of each host and, which is none, what it strands."""
    placement = {
        vm.id: None if h == NOWHERE else cluster.hosts[h].id
        for vm, h in zip(cluster.vms, hosts.tolist(), strict=True)
    }
    contention = host_contention(cluster, scenarios, prices, placement)
    found = stranding(cluster, scenarios, prices, expected_demand(scenarios))
    stranded = found.cost(host_loads(found.demand, hosts, len(cluster.hosts)))
    return [host.total + int(cost) for host, cost in zip(contention, stranded, strict=True)]


@given(problems(), weights(), st.integers(0, 2**16))
def test_total_and_every_relocation_equal_the_score(
    problem_data: tuple[Cluster, ScenarioSet], prices: Weights, seed: int
) -> None:
    """After any allowed walk, the total and each delta are the judge's, and so is each refusal."""
    cluster, scenarios = problem_data
    problem = compile_problem(cluster, scenarios, prices)
    state = State(problem, problem.start)
    rng = np.random.default_rng(seed)
    for _ in range(4):
        placement = problem.placement(state.hosts)
        score = score_placement(cluster, scenarios, prices, placement)
        assert state.total == score.total
        assert state.scores.tolist() == burden_of(cluster, scenarios, prices, state.hosts)
        if not cluster.vms:
            return
        v = int(rng.integers(len(cluster.vms)))
        (row,) = state.relocations(np.array([v]))
        for h, host in enumerate(cluster.hosts):
            if h == state.hosts[v]:
                assert row[h] == 0
                continue
            there = placement | {cluster.vms[v].id: host.id}
            assert (row[h] < FORBIDDEN) == allowed_by_the_judge(cluster, there)
            if row[h] < FORBIDDEN:
                moved = score_placement(cluster, scenarios, prices, there)
                assert row[h] == moved.total - score.total
        for w in np.flatnonzero(state.hosts != state.hosts[v]).tolist():
            if NOWHERE not in (state.hosts[v], state.hosts[w]):
                together = [(v, int(state.hosts[w])), (w, int(state.hosts[v]))]
                assert state.exchange(v, w) == state.what_if(together)
        choices = np.flatnonzero(row < FORBIDDEN)
        if choices.size:
            state.apply(v, int(rng.choice(choices)))


@pytest.mark.parametrize("annealing", [improve, relieve])
@given(problem_data=problems(), prices=weights(), seed=st.integers(0, 2**16))
def test_annealing_is_exact_and_allowed_under_all_rules(
    annealing: Callable[..., IntArray],
    problem_data: tuple[Cluster, ScenarioSet],
    prices: Weights,
    seed: int,
) -> None:
    """Exchanges and chains under every rule: what is told is the judge's, at every improvement."""
    cluster, scenarios = problem_data
    problem = compile_problem(cluster, scenarios, prices)

    def judge(hosts: IntArray, total: int) -> None:
        placement = problem.placement(hosts)
        assert total == score_placement(cluster, scenarios, prices, placement).total
        assert allowed_by_the_judge(cluster, placement)

    hosts = annealing(
        problem,
        problem.start,
        limit_s=60.0,
        work_limit=WORK_AT_ONCE,
        seed=seed,
        hottest=1.0,
        on_better=judge,
    )
    assert State(problem, hosts).total <= State(problem, problem.start).total


@given(problems(), weights())
def test_greedy_is_allowed_and_never_worse(
    problem_data: tuple[Cluster, ScenarioSet], prices: Weights
) -> None:
    """Greedy keeps what the checker wants kept, and saves or leaves everything alone."""
    cluster, scenarios = problem_data
    problem = compile_problem(cluster, scenarios, prices)
    hosts = greedy(problem, problem.start)
    placement = problem.placement(hosts)
    assert allowed_by_the_judge(cluster, placement)
    before = score_placement(cluster, scenarios, prices, cluster.placement).total
    after = score_placement(cluster, scenarios, prices, placement).total
    assert after < before or (hosts == problem.start).all()
    assert State(problem, hosts).total == after
    assert ((hosts != NOWHERE) | (problem.start == NOWHERE)).all()
