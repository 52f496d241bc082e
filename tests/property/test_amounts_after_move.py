"""What a move would do to a rule, against counting the rule anew."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from solver.compiler.compile import compile_problem
from solver.domain.scenario import ScenarioSet
from solver.domain.weights import Weights
from solver.explain.after_move import amounts_after_move
from solver.problem import NOWHERE
from tests.strategies import clusters, scenarios_of


@given(st.data())
def test_every_rule_and_host_as_counted_anew(data: st.DataObject) -> None:
    """For all kinds of rules, on both sides of them, VMs that run nowhere included."""
    cluster = data.draw(clusters(max_rules=6, whole=True))
    scenarios: ScenarioSet = data.draw(scenarios_of(cluster))
    problem = compile_problem(cluster, scenarios, Weights())
    where = st.integers(NOWHERE, problem.num_hosts - 1)
    hosts = np.array(
        data.draw(st.lists(where, min_size=problem.num_vms, max_size=problem.num_vms)),
        dtype=np.int64,
    )
    for rule in problem.group_rules:
        for v in (*rule.vms.tolist(), *rule.others.tolist()):
            counted = []
            for h in range(problem.num_hosts):
                there = hosts.copy()
                there[v] = h
                counted.append(rule.amount(there))
            assert amounts_after_move(rule, hosts, v).tolist() == counted
