"""Greedy, exchange, prune and bound on clusters small enough to be read."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from solver.compiler.compile import compile_problem
from solver.domain.cluster import Cluster
from solver.domain.rules import Affinity, MoveBudget
from solver.domain.scenario import ScenarioSet
from solver.domain.units import HostId, VmId
from solver.domain.weights import Weights
from solver.problem import Problem
from solver.search.exchange import improve_by_exchange
from solver.search.greedy import greedy
from solver.search.prune import prune
from solver.search.state import FORBIDDEN, State
from tests.builders import make_cluster, make_host, make_scenarios, make_vm

WEIGHTS = Weights()


def compiled(cluster: Cluster, demand: dict[str, float]) -> Problem:
    """Return the problem of a constant CPU demand."""
    return compile_problem(cluster, make_scenarios(cluster, demand), WEIGHTS)


def test_greedy_takes_the_worst_host_first_and_stops_at_the_threshold() -> None:
    """With the threshold between the two, only the hotter host gives VMs away."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2"), make_host("h3")],
        [make_vm(f"a{i}", "h1") for i in range(3)] + [make_vm(f"b{i}", "h2") for i in range(2)],
    )
    problem = compiled(cluster, {"a0": 5, "a1": 5, "a2": 5, "b0": 5, "b1": 5.5})
    scores = State(problem, problem.start).scores
    assert scores[0] > scores[1] > 0
    assert greedy(problem, problem.start, threshold=int(scores[1])).tolist() == [2, 0, 0, 1, 1]
    assert greedy(problem, problem.start).tolist() != [2, 0, 0, 1, 1]


def test_greedy_asked_too_late_changes_nothing() -> None:
    """Out of time before the first move: the start is the answer."""
    cluster = make_cluster([make_host("h1"), make_host("h2")], [make_vm("a"), make_vm("b")])
    problem = compiled(cluster, {"a": 9, "b": 9})
    assert greedy(problem, problem.start, out_of_time=lambda: True).tolist() == [0, 0]


def test_affine_vms_leave_together() -> None:
    """What hard affinity ties moves as one, and nothing when together it fits nowhere."""
    rule = Affinity(id="pair", vm_ids=(VmId("a"), VmId("b")))
    hosts = [make_host("h1"), make_host("h2", memory_gib=6)]
    vms = [make_vm("a", memory_gib=4), make_vm("b", memory_gib=2), make_vm("c", cores=8)]
    demand = {"a": 2.0, "b": 2.0, "c": 9.0}
    problem = compiled(make_cluster(hosts, vms, rules=(rule,)), demand)
    assert greedy(problem, problem.start).tolist() in ([1, 1, 0], [0, 0, 1])
    vms[2] = make_vm("c", not_migratable_reason="passthrough")
    problem = compiled(make_cluster(hosts, vms, rules=(rule,)), demand)
    assert greedy(problem, problem.start).tolist() == [1, 1, 0]
    hosts[1] = make_host("h2", memory_gib=5)
    problem = compiled(make_cluster(hosts, vms, rules=(rule,)), demand)
    assert greedy(problem, problem.start).tolist() == [0, 0, 0]


def full_hosts() -> Problem:
    """Return two hosts with full memory, one of which is short of CPU."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [make_vm(f"v{i}", f"h{i // 2 + 1}", memory_gib=50) for i in range(4)],
    )
    return compiled(cluster, {"v0": 8, "v1": 4, "v2": 1, "v3": 2})


def test_exchange_does_what_single_moves_cannot() -> None:
    """Greedy is stuck, two VMs change places, the work is counted."""
    problem = full_hosts()
    state = State(problem, greedy(problem, problem.start))
    assert (state.hosts == problem.start).all()
    spent: list[float] = []
    improve_by_exchange(state, out_of_time=lambda: False, spend=spent.append)
    assert state.burden.sum() < State(problem, problem.start).burden.sum() / 100
    assert sorted(state.hosts.tolist()) == [0, 0, 1, 1]
    assert sum(spent) > 0


def test_an_interrupted_exchange_keeps_what_was_found() -> None:
    """Asked before each VM; the best partner found until then is taken, the host done or not."""
    problem = full_hosts()
    totals = []
    for most in range(40):
        state = State(problem, problem.start)
        answers = itertools.chain(itertools.repeat(False, most), itertools.repeat(True))
        improve_by_exchange(state, out_of_time=answers.__next__, spend=lambda work: None)
        totals.append(state.total)
        assert state.total == State(problem, state.hosts).total
    assert totals == sorted(totals, reverse=True)
    assert totals[0] == State(problem, problem.start).total
    assert totals[-1] < totals[0] / 10


def test_exchanges_are_exact() -> None:
    """Each is what really changes."""
    problem = full_hosts()
    state = State(problem, problem.start)
    for a, b in ((0, 2), (0, 3), (1, 2), (1, 3)):
        assert state.exchange(a, b) == state.what_if([(a, 1), (b, 0)])
    assert state.what_if([(0, 1)]) == FORBIDDEN
    assert state.total == State(problem, problem.start).total


def test_prune_takes_back_what_does_not_pay() -> None:
    """A pointless move goes home, a useful one stays, tied VMs go home together."""
    rule = Affinity(id="pair", vm_ids=(VmId("c"), VmId("d")))
    cluster = make_cluster(
        [make_host("h1"), make_host("h2"), make_host("h3")],
        [make_vm("a"), make_vm("b"), make_vm("c", "h2"), make_vm("d", "h2")],
        rules=(rule,),
    )
    problem = compiled(cluster, {"a": 8, "b": 8})
    for hosts, left in (([0, 2, 2, 2], [0, 2, 1, 1]), ([0, 1, 1, 1], [0, 1, 1, 1])):
        state = State(problem, np.array(hosts))
        prune(state)
        assert state.hosts.tolist() == left


def test_a_full_budget_forbids_and_going_home_is_free() -> None:
    """With one move made of one allowed, others must stay; the one made may be taken back."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [make_vm("a"), make_vm("b")],
        budget=MoveBudget(max_moves=1, max_moves_per_host=1),
    )
    problem = compiled(cluster, {})
    state = State(problem, np.array([1, 0]))
    assert state.relocations(np.array([1]))[0].tolist() == [0, FORBIDDEN]
    assert state.relocations(np.array([0]))[0, 0] < 0


def scenario_free(cluster: Cluster) -> ScenarioSet:
    """Return no demand at all."""
    return make_scenarios(cluster, {})


def test_unlimited_hosts_carry_no_cost() -> None:
    """With nothing limited nothing is priced but the moves."""
    hosts = [make_host("h1", cores=None, memory_gib=None)]
    cluster = make_cluster([*hosts, replace(hosts[0], id=HostId("h2"))], [make_vm("a")])
    problem = compile_problem(cluster, scenario_free(cluster), WEIGHTS)
    assert problem.capacity.shape == (2, 0)
    assert greedy(problem, problem.start).tolist() == [0]
    assert State(problem, problem.start).total == 0
