"""Predicted durations come true, once the estimator has seen a few moves of these hosts."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest

from executor.calibration import calibrate
from executor.clock import SystemClock
from executor.engine import Executor
from executor.journal import FileJournal
from executor.kvm.driver import KvmDriver
from executor.report import MeasuredMove
from executor.states import MoveState
from solver.domain.migration import DEFAULT_MIGRATION, estimate
from solver.domain.units import VmId
from tests.integration.lab.carrying import PARAMS, go, make_config, make_plan

if TYPE_CHECKING:
    from tests.integration.lab.hosts import Lab

NUM_CALIBRATING = 10
RATES_MIB_PER_S = (10, 20, 40)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_predictions_are_within_a_third_after_ten_moves(lab: Lab, tmp_path: Path) -> None:
    """Guests of several sizes go to and fro at several rates, one at a time."""
    there, back, *_ = lab.hosts
    lab.start_guests({"small": there, "mid": there}, memory_mib=80)
    lab.start_guests({"full": there}, memory_mib=120, dirty_mib=48)
    driver = KvmDriver(make_config(lab))
    moves: list[MeasuredMove] = []
    with FileJournal(tmp_path / "journal") as journal:
        executor = Executor(driver, SystemClock(), journal, PARAMS)
        for number in range(NUM_CALIBRATING + 8):
            name = ("small", "full", "mid")[number % 3]
            at = {vm.id: vm.host_id for vm in driver.snapshot().vms}[VmId(name)]
            source, destination = (there, back) if at == there.name else (back, there)
            rate = RATES_MIB_PER_S[number // 3 % len(RATES_MIB_PER_S)]
            plan = make_plan(go(name, source, destination, mib_per_s=rate))
            (outcome,) = executor.run_until_done(plan).outcomes
            assert outcome.state is MoveState.DONE, outcome
            assert outcome.measured is not None
            moves.append(outcome.measured)
    driver.close()
    fit = calibrate(moves[:NUM_CALIBRATING], DEFAULT_MIGRATION)
    errors = []
    for move in moves[NUM_CALIBRATING:]:
        course = estimate(
            move.footprint_mib, move.dirty_mib_per_s, move.bandwidth_mib_per_s, fit.parameters
        )
        errors.append(abs(int(course.duration_ms) - move.duration_ms) / move.duration_ms)
    assert median(errors) <= 0.3, (errors, fit, moves)
