"""Classes of VMs: one clear example each."""

from __future__ import annotations

import numpy as np
import pytest

from forecast.classes import CLASSES, classify
from solver.domain.errors import InvalidInputError
from tests.histories import DAY, make_history


def test_one_of_each() -> None:
    """Idle, low, bursty, diurnal, saturated, and one too young to tell."""
    history = make_history(num_vms=6, num_bins=6 * DAY)
    rng = np.random.default_rng(0)
    cpu = np.empty((6, 6 * DAY), np.float32)
    hours = np.arange(6 * DAY) / 12
    cpu[0] = 0.02 * rng.random(6 * DAY)
    cpu[1] = 0.08 * rng.random(6 * DAY)
    cpu[2] = np.where(rng.random(6 * DAY) < 0.02, 0.9, 0.02)
    cpu[3] = 0.4 + 0.3 * np.sin(2 * np.pi * hours / 24) + 0.02 * rng.standard_normal(6 * DAY)
    cpu[4] = np.where(rng.random(6 * DAY) < 0.2, 1.0, 0.5)
    cpu[5] = 0.02
    readings, state = history.readings.copy(), history.state.copy()
    readings[0] = 4000 * cpu
    state[5, : 5 * DAY + 200] = 255
    readings[:, state == 255] = np.nan
    young = make_history(readings, state=state)
    classes = classify(young, until_bin=6 * DAY)
    assert [CLASSES[code] for code in classes.codes] == [
        "idle",
        "low",
        "bursty",
        "diurnal",
        "saturated",
        "bursty",
    ]
    assert classes.busy.tolist() == [False, False, True, True, True, False]
    assert classes.known.tolist() == [True] * 5 + [False]


def test_later_readings_do_not_count() -> None:
    """Classes are fixed by what comes before the bin."""
    history = make_history(num_vms=2, num_bins=4 * DAY)
    readings = history.readings.copy()
    readings[0, :, 3 * DAY :] = 4000
    before = classify(history, until_bin=3 * DAY)
    after = classify(make_history(readings), until_bin=3 * DAY)
    assert before.codes.tolist() == after.codes.tolist()


def test_bin_outside() -> None:
    """A bin outside the history is refused."""
    with pytest.raises(InvalidInputError, match="expected a bin"):
        classify(make_history(num_bins=10), until_bin=11)
