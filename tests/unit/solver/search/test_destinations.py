"""Where VMs go: exact among few hosts, and never blind to what is broken among many."""

from __future__ import annotations

import pytest

from benchmarks.instances.synthetic import synthetic
from solver.compiler.compile import compile_problem
from solver.domain.rules import Affinity
from solver.domain.units import VmId
from solver.domain.weights import Weights
from solver.search.destinations import PATIENCE
from solver.search.greedy import descend, greedy
from solver.search.state import State
from tests.builders import make_cluster, make_host, make_scenarios, make_vm


@pytest.mark.parametrize("ruled", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_no_move_that_pays_is_left_on_a_contended_host(ruled: float, seed: int) -> None:
    """What is passed at a glance is passed rightly: every pair of VM and host agrees."""
    instance = synthetic(num_hosts=24, num_vms=360, fill=0.85, ruled_fraction=ruled, seed=seed)
    problem = compile_problem(instance.cluster, instance.futures(4), Weights())
    state = State(problem, problem.start)
    descend(state)
    assert state.total < State(problem, problem.start).total
    contended = (state.scores > 0)[state.hosts].nonzero()[0]
    assert state.relocations(contended).min() >= 0


def test_a_broken_rule_is_mended_on_a_host_that_is_not_roomy() -> None:
    """Of hundreds of emptier hosts none keeps two VMs together that began apart."""
    hosts = [make_host(f"h{i}") for i in range(2 * PATIENCE)]
    vms = [make_vm("a", "h0"), make_vm("b", "h1"), make_vm("c", "h0"), make_vm("d", "h1")]
    rule = Affinity(id="pair", vm_ids=(VmId("a"), VmId("b")))
    cluster = make_cluster(hosts, vms, rules=(rule,))
    demand = {"a": 1.0, "b": 1.0, "c": 2.0, "d": 2.0}
    problem = compile_problem(cluster, make_scenarios(cluster, demand), Weights())
    found = greedy(problem, problem.start)
    assert found[0] == found[1]
