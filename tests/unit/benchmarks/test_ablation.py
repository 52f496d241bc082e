"""The ablation: each variant once, judged alike, and a part left out is really left out."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ablation import VARIANTS, WithoutCpsat, mean_of
from benchmarks.instances.synthetic import synthetic
from solver.bounds.shedding import shedding_bound
from solver.compiler.compile import compile_problem
from solver.domain.weights import Weights
from solver.limit import Allowance
from solver.params import Engine
from solver.portfolio import Answer
from solver.search.state import State


@pytest.mark.timeout(300)
def test_every_variant_has_a_row(tmp_path: Path) -> None:
    """The whole portfolio is compared with itself too, which saves nothing; nothing runs twice."""
    out = tmp_path / "ablation.json"
    command = [sys.executable, "-m", "benchmarks.ablation", "--json", str(out), "--sizes", "8/80"]
    command += ["--seconds", "0.5", "--seeds", "1"]
    subprocess.run(command, check=True, capture_output=True)
    text = out.read_text(encoding="utf-8")
    rows = {row["variant"]: row for row in json.loads(text)}
    assert set(rows) == {*VARIANTS, "greedy", "mean of the scenarios"}
    assert rows["portfolio"]["saved_by_portfolio"] == [0.0, 0.0]
    for variant in VARIANTS:
        assert rows[variant]["total_host_s"] <= rows["greedy"]["total_host_s"]
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert out.read_text(encoding="utf-8") == text
    assert "no CP-SAT" in again.stdout


def test_what_is_left_out_finds_nothing() -> None:
    """Without CP-SAT no answer is CP-SAT's, nor is the bound: hosts prove it by themselves."""
    made = synthetic(num_hosts=6, num_vms=48, fill=0.8)
    problem = compile_problem(made.cluster, made.futures(4), Weights())
    told: list[Answer] = []
    search = WithoutCpsat(
        problem, Engine.PORTFOLIO, Allowance(60.0, 0.3), 0, threading.Event(), told.append
    )
    answer = search.run(0)
    assert {one.engine for one in told} <= {"none", "greedy", "local search"}
    assert told[0].bound < answer.bound < answer.total
    assert answer.bound == shedding_bound(problem, State(problem, problem.start).burden)


def test_the_mean_keeps_the_weights() -> None:
    """A path of three quarters counts three times one of a quarter."""
    made = synthetic(num_hosts=2, num_vms=6).futures(2)
    weighted = type(made)(
        vm_ids=made.vm_ids,
        start_at=made.start_at,
        step_seconds=made.step_seconds,
        demand=made.demand,
        probability_ppm=(750_000, 250_000),
    )
    mean = mean_of(weighted)
    expected = 0.75 * made.demand[0] + 0.25 * made.demand[1]
    assert mean.probability_ppm == (1_000_000,)
    np.testing.assert_allclose(mean.demand[0], expected, atol=0.5)
