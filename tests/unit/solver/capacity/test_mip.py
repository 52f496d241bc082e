"""HiGHS as it is run here: bounded in time, interruptible, honest about what it proved."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pulp
import pytest

from solver.capacity.mip import MipStatus, solve_mip, whole_above, whole_below


def market_split(rows: int = 6, columns: int = 50) -> pulp.LpProblem:
    """Return a program that branch and bound does not settle in minutes."""
    rng = np.random.default_rng(0)
    program = pulp.LpProblem("split", pulp.LpMinimize)
    x = [program.add_variable(f"x{i}", 0, 1, cat=pulp.LpInteger) for i in range(columns)]
    slack = []
    for r in range(rows):
        weights = rng.integers(0, 100, columns).tolist()
        over, under = program.add_variable(f"o{r}", 0), program.add_variable(f"u{r}", 0)
        slack += [over, under]
        row = pulp.lpSum(w * v for w, v in zip(weights, x, strict=True))
        program += row + over - under == sum(weights) // 2
    program.setObjective(pulp.lpSum(slack))
    return program


def knapsack(limit: int) -> pulp.LpProblem:
    """Return three things of which two fit into 10."""
    program = pulp.LpProblem("knapsack", pulp.LpMaximize)
    x = [program.add_variable(f"x{i}", 0, 1, cat=pulp.LpInteger) for i in range(3)]
    program.setObjective(6 * x[0] + 5 * x[1] + 4 * x[2])
    program += 7 * x[0] + 5 * x[1] + 4 * x[2] <= limit
    program += x[0] + x[1] + x[2] >= 1
    return program


def test_an_optimum_is_proven_and_its_relaxation_is_above() -> None:
    """Maximising: the bound is from above."""
    exact = solve_mip(knapsack(10), limit_s=10.0)
    assert exact.status is MipStatus.OPTIMAL
    assert exact.value == pytest.approx(9.0)
    assert whole_above(exact.bound) == 9
    relaxed = solve_mip(knapsack(10), limit_s=10.0, relaxed=True)
    assert relaxed.bound == relaxed.value > 9.5


def test_what_cannot_be_is_a_result() -> None:
    """Infeasible is a status; there is no value."""
    outcome = solve_mip(knapsack(3), limit_s=10.0)
    assert outcome.status is MipStatus.INFEASIBLE
    assert not outcome.found
    assert np.isnan(outcome.value)


def test_the_limit_ends_a_long_search_with_a_bound() -> None:
    """The best found so far, and a bound not above it."""
    begun_s = time.monotonic()
    outcome = solve_mip(market_split(), limit_s=0.5)
    assert time.monotonic() - begun_s < 10.0
    assert outcome.status in (MipStatus.FEASIBLE, MipStatus.UNKNOWN)
    assert outcome.bound <= (outcome.value if outcome.found else np.inf)


def test_an_interrupt_ends_a_long_search() -> None:
    """Ctrl-C reaches Python while HiGHS works, and HiGHS stops."""
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    # Whatever other tests of this process have made of Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        begun_s = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            solve_mip(market_split(), limit_s=60.0)
        assert time.monotonic() - begun_s < 30.0
    finally:
        signal.signal(signal.SIGINT, before)


def test_bounds_are_rounded_to_the_safe_side() -> None:
    """What floating point lost is given back before rounding."""
    assert (whole_below(2.9999999), whole_below(3.0000001), whole_below(3.1)) == (3, 3, 4)
    assert (whole_above(2.9999999), whole_above(3.0000001), whole_above(2.9)) == (3, 3, 2)
