"""Fitting the estimator to measured migrations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from executor.calibration import MIN_MOVES, calibrate
from executor.clock import ManualClock
from executor.drivers.base import MigrationState
from executor.drivers.simulated import SimulatedDriver
from executor.report import MeasuredMove
from solver.domain.migration import DEFAULT_MIGRATION, MigrationParameters
from solver.domain.units import HostId
from tests.builders import NOW, make_cluster, make_host, make_vm
from tests.executor_builders import make_workload

TRUTH = MigrationParameters(setup_s=2.0, wire_efficiency=0.6, handover_s=0.15)


def measure(physics: MigrationParameters, number: int = 24) -> list[MeasuredMove]:
    """Return migrations of many sizes, measured one by one in a simulated cluster."""
    rng = np.random.default_rng(7)
    vms = [
        make_vm(
            f"v{i}", memory_gib=float(rng.integers(1, 33)), dirty_mib_per_s=int(rng.integers(300))
        )
        for i in range(number)
    ]
    cluster = make_cluster([make_host("h1", memory_gib=None), make_host("h2")], vms)
    cluster = replace(cluster, hosts=(cluster.hosts[0], make_host("h2", memory_gib=None)))
    clock = ManualClock(NOW)
    driver = SimulatedDriver(cluster, make_workload(vms), clock, physics=physics)
    moves = []
    for vm in vms:
        bandwidth = int(rng.choice([250, 500, 1000]))
        handle = driver.start_migration(vm.id, HostId("h2"), bandwidth_mib_per_s=bandwidth)
        clock.advance(3600)
        progress = driver.poll(handle)
        assert progress.state is MigrationState.COMPLETED
        assert progress.duration_ms is not None
        assert progress.downtime_ms is not None
        moves.append(
            MeasuredMove(
                footprint_mib=vm.memory_footprint_mib,
                dirty_mib_per_s=vm.dirty_mib_per_s,
                bandwidth_mib_per_s=bandwidth,
                duration_ms=progress.duration_ms,
                transferred_mib=progress.transferred_mib,
                downtime_ms=progress.downtime_ms,
            )
        )
    return moves


def test_the_true_parameters_are_found() -> None:
    """From measurements alone the estimator learns the network it runs on."""
    fit = calibrate(measure(TRUTH), DEFAULT_MIGRATION)
    assert fit.parameters.wire_efficiency == pytest.approx(0.6, rel=0.03)
    assert fit.parameters.setup_s == pytest.approx(2.0, rel=0.1)
    assert fit.parameters.handover_s == pytest.approx(0.15, abs=0.03)
    assert fit.error_before is not None
    assert fit.error_after is not None
    assert fit.error_after < 0.02 < 0.2 < fit.error_before


def test_memory_that_is_mostly_zeros_is_known_by_what_was_sent() -> None:
    """Guests of which a third is sent take a third of the time; the estimator learns it."""
    truth = replace(TRUTH, sent_fraction=0.35)
    fit = calibrate(measure(truth), DEFAULT_MIGRATION)
    assert fit.parameters.sent_fraction == pytest.approx(0.35, rel=0.1)
    assert fit.parameters.wire_efficiency == pytest.approx(0.6, rel=0.05)
    assert fit.error_after is not None
    assert fit.error_after < 0.05


def test_a_few_disturbed_moves_do_not_count() -> None:
    """A fifth of the moves lasting five times as long changes next to nothing."""
    moves = measure(TRUTH)
    moves[::5] = [replace(move, duration_ms=move.duration_ms * 5) for move in moves[::5]]
    fit = calibrate(moves, DEFAULT_MIGRATION)
    assert fit.parameters.wire_efficiency == pytest.approx(0.6, rel=0.1)


def test_what_is_right_already_stays() -> None:
    """A fit is never worse than what was given."""
    fit = calibrate(measure(DEFAULT_MIGRATION), DEFAULT_MIGRATION)
    assert fit.error_after is not None
    assert fit.error_before is not None
    assert fit.error_after <= fit.error_before < 0.03


def test_few_moves_teach_nothing() -> None:
    """Below the least number, and without any, the parameters are the given ones."""
    few = calibrate(measure(TRUTH, MIN_MOVES - 1), DEFAULT_MIGRATION)
    assert few.parameters == DEFAULT_MIGRATION
    assert few.num_moves == MIN_MOVES - 1
    none = calibrate([], DEFAULT_MIGRATION)
    assert none.parameters == DEFAULT_MIGRATION
    assert none.error_after is None
