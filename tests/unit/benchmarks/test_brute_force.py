"""Small clusters against all placements: nothing wrong is found, and what is wrong would be."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import brute_force
from benchmarks.brute_force import ENGINES, Claim, Finding, examine, judge, judge_plan, main
from benchmarks.instances.small import Small, small
from benchmarks.instances.small_judge import best_total
from solver.compiler.compile import compile_problem
from solver.domain.cluster import HostState
from solver.domain.result import Result
from solver.domain.rules import RULES
from solver.problem import Problem
from solver.search.state import State
from solver.solve import solve

WORTH_MOVING = 4
"""Number of a cluster whose best placement is not the start."""


def test_the_first_clusters_are_as_they_must_be() -> None:
    """Every engine, all placements, every plan."""
    for number in range(12):
        assert not examine(number).faults


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 500, 100))
def test_hundreds_of_clusters_are_as_they_must_be(first: int) -> None:
    """The same for five of the hundred rows that the benchmark has."""
    row = brute_force.measure(first)
    assert not row["messages"]
    assert row["compared"] == row["equal"] >= 95
    assert row["brute_forced"] >= 75
    assert row["plans_with_moves"] >= 30


def test_a_number_is_enough_to_see_the_same_cluster_again() -> None:
    """Same number, same cluster, demand and weights; another number, others."""
    first, again, other = small(7), small(7), small(8)
    assert first.cluster == again.cluster
    assert first.weights == again.weights
    assert (first.scenarios.demand == again.scenarios.demand).all()
    assert first.cluster != other.cluster


def test_everything_that_may_be_broken_occurs() -> None:
    """Every rule, hard and soft, every state, and clusters of which all placements are tried."""
    instances = [small(number) for number in range(300)]
    rules = [rule for instance in instances for rule in instance.cluster.rules]
    assert {(type(rule), rule.hard) for rule in rules} == {
        (kind, hard) for kind in RULES for hard in (True, False)
    }
    states = {host.state for instance in instances for host in instance.cluster.hosts}
    assert states == set(HostState)
    few = [i for i in instances if i.num_placements <= brute_force.MOST_PLACEMENTS]
    assert 200 < len(few) < 300


@pytest.fixture(scope="module")
def solved() -> tuple[Small, Problem, dict[str, Claim], int]:
    """A cluster with something to move, what the engines say of it, and the best total."""
    instance = small(WORTH_MOVING)
    problem = compile_problem(instance.cluster, instance.scenarios, instance.weights)
    claims = {name: engine(problem) for name, engine in ENGINES.items()}
    best = best_total(instance.cluster, instance.scenarios, instance.weights)
    return instance, problem, claims, best


def faults(
    solved: tuple[Small, Problem, dict[str, Claim], int], engine: str, claim: Claim
) -> set[str]:
    """Return what is found wrong if one engine says something else."""
    instance, problem, claims, best = solved
    finding = Finding(number=WORTH_MOVING, best=best)
    judge(instance, problem, claims | {engine: claim}, finding)
    return set(finding.faults)


def test_wrong_claims_are_found(solved: tuple[Small, Problem, dict[str, Claim], int]) -> None:
    """A total one unit off, a bound one too high, a worse answer, and one that is not allowed."""
    _, problem, claims, best = solved
    greedy, right = claims["greedy"], claims["portfolio"]
    assert faults(solved, "portfolio", right) == set()
    assert faults(solved, "greedy", replace(greedy, total=greedy.total + 1)) == {"scorer"}
    assert faults(solved, "parts", replace(right, total=best - 1)) == {"scorer", "bounds"}
    assert faults(solved, "proof", replace(right, bound=best + 1)) == {"bounds"}
    nothing = Claim(hosts=problem.start, total=State(problem, problem.start).total)
    assert faults(solved, "portfolio", nothing) == {"equal"}
    assert faults(solved, "portfolio", replace(right, failures=("engine cpsat failed",))) == {
        "engines"
    }
    crowded = np.zeros_like(problem.start)
    assert "plans" in faults(solved, "exchange", Claim(hosts=crowded, total=0))


def test_a_plan_that_breaks_something_on_the_way_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More bandwidth than there is, and another end than the placement."""
    instance = small(WORTH_MOVING)

    def too_fast(*arguments: Any) -> Result:
        result = solve(*arguments)
        steps = [replace(step, bandwidth_mib_per_s=10**6) for step in result.plan.steps]
        return replace(result, plan=replace(result.plan, steps=tuple(steps)))

    def elsewhere(*arguments: Any) -> Result:
        result = solve(*arguments)
        return replace(result, placement=instance.cluster.placement)

    for wrong in (too_fast, elsewhere):
        monkeypatch.setattr(brute_force, "solve", wrong)
        finding = Finding(number=WORTH_MOVING)
        judge_plan(instance, finding)
        assert finding.steps > 0
        assert "plans" in finding.faults


def test_rows_are_made_once_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two rows of two clusters, then one more; a fault ends with code 1 and its number."""
    out = tmp_path / "rows.json"
    monkeypatch.setattr(brute_force, "CLUSTERS_PER_ROW", 2)

    def call(clusters: int) -> int:
        arguments = ["--json", str(out), "--clusters", str(clusters), "--processes", "1"]
        monkeypatch.setattr(sys, "argv", ["brute_force", *arguments])
        return main()

    assert call(4) == 0
    first = json.loads(out.read_text(encoding="utf-8"))
    assert call(6) == 0
    rows = json.loads(out.read_text(encoding="utf-8"))
    assert [row["first"] for row in rows] == [0, 2, 4]
    assert rows[:2] == first
    assert "clusters                   6\n" in capsys.readouterr().out
    rows[1]["faults"]["scorer"] = [3]
    out.write_text(json.dumps(rows), encoding="utf-8")
    assert call(6) == 1
    assert "wrong totals               1: 3\n" in capsys.readouterr().out
