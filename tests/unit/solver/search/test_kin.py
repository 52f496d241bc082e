"""Kin: the VMs that need about the same."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

import solver.search.kin as kin_module
from benchmarks.instances.synthetic import synthetic
from solver.compiler.compile import compile_problem
from solver.domain.weights import Weights
from solver.problem import Problem
from solver.search.kin import kin_of


@pytest.fixture
def problem() -> Problem:
    """A cluster of 80 VMs with many columns of demand."""
    made = synthetic(num_hosts=8, num_vms=80, fill=0.8, seed=1)
    return compile_problem(made.cluster, made.futures(), Weights())


def test_kin_are_nearer_than_others(problem: Problem) -> None:
    """Half of all VMs as kin: on average they differ less than the other half."""
    vms = np.arange(problem.num_vms)
    kin = kin_of(problem, vms)[:, : problem.num_vms // 2]
    needs = problem.future.demand * problem.future.prices.max(axis=0).astype(np.float64)
    apart = np.linalg.norm(needs[:, None] - needs[None], axis=2)
    near = np.take_along_axis(apart, kin, axis=1).mean()
    assert near < 0.7 * apart.mean()


def test_the_axes_of_hundreds_of_scenarios_take_a_blink() -> None:
    """Regression: all 4,096 axes of 256 scenarios took seven seconds of a limit of ten."""
    needs = np.random.default_rng(0).random((500, 4096)) * np.linspace(9, 1, 4096)
    begun_s = time.process_time()
    axes = kin_module._axes(needs)
    assert time.process_time() - begun_s < 2.0
    kept = np.square(axes).sum()
    centred = needs - needs.mean(axis=0)
    best = np.square(np.linalg.svd(centred, compute_uv=False)[: kin_module.MOST_AXES]).sum()
    assert kept > 0.8 * best


def test_kin_are_of_the_vms_asked_about(problem: Problem) -> None:
    """Positions in the problem, not in the list; a lone VM is its own kin."""
    vms = np.array([3, 20, 41, 77])
    kin = kin_of(problem, vms)
    assert kin.shape == (4, 3)
    assert np.isin(kin, vms).all()
    assert kin_of(problem, np.array([5])).tolist() == [[5]]


def test_as_many_other_vms_have_kin_of_their_own(problem: Problem) -> None:
    """What was found for some VMs is not given for others, which might name VMs that do not run."""
    some, others = np.arange(10), np.arange(40, 50)
    assert np.isin(kin_of(problem, some), some).all()
    assert np.isin(kin_of(problem, others), others).all()


def test_very_many_vms_have_fewer_kin_each(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory and time stay within bounds."""
    monkeypatch.setattr(kin_module, "MOST_KIN", 4 * problem.num_vms)
    assert kin_of(problem, np.arange(problem.num_vms)).shape == (problem.num_vms, 4)


def test_vms_that_need_nothing_or_all_the_same_have_kin(problem: Problem) -> None:
    """No columns, or none that differ: any VM will do."""
    count = problem.num_vms
    for columns in (0, 5):
        future = replace(
            problem.future,
            demand=np.ones((count, columns), dtype=np.int64),
            threshold=np.ones((problem.num_hosts, columns), dtype=np.int64),
            prices=np.ones((1, columns), dtype=np.int64),
        )
        kin = kin_of(replace(problem, future=future), np.arange(count))
        assert kin.shape == (count, count - 1)
