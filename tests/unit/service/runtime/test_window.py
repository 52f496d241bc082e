"""The latest days of telemetry, brought up to date bin by bin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from service.runtime.window import BIN, Window, on_grid
from service.store.base import Store
from service.store.sql import open_store
from solver.domain.units import NUM_RESOURCES
from tests.builders import NOW
from tests.histories import make_history

END_AT = on_grid(NOW)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = open_store(f"sqlite:///{tmp_path / 'foreswap.db'}", now=lambda: NOW)
    yield opened
    opened.close()


def keep(store: Store, num_vms: int, num_bins: int) -> None:
    """Keep readings of so many VMs in the last bins."""
    numbers = np.arange(num_vms * num_bins, dtype=np.float32).reshape(num_vms, num_bins)
    history = make_history(np.stack([numbers] * NUM_RESOURCES))
    store.telemetry.put_history("c1", replace(history, start_at=END_AT - num_bins * BIN))


def test_there_may_be_nothing(store: Store) -> None:
    """Before the first reading there is no history."""
    window = Window(store.telemetry, "c1")
    window.read_until(END_AT)
    assert window.history is None


def test_it_begins_with_the_first_reading(store: Store) -> None:
    """What lies before it is not held: eight days of a large cluster are half a gibibyte."""
    keep(store, 3, 20)
    window = Window(store.telemetry, "c1")
    window.read_until(END_AT - 2 * BIN)
    assert window.history is not None
    assert (window.history.start_at, window.history.num_bins) == (END_AT - 20 * BIN, 18)
    assert window.history.readings.base is None
    window.read_until(END_AT)
    assert (window.history.start_at, window.history.num_bins) == (END_AT - 20 * BIN, 20)
    np.testing.assert_array_equal(window.history.readings[0, 1], np.arange(20, 40))


def test_what_is_too_old_is_let_go(store: Store) -> None:
    """The window is as long as it is wanted, and no longer."""
    keep(store, 2, 30)
    window = Window(store.telemetry, "c1", span=timedelta(hours=1))
    for bins_ago in (12, 5, 0):
        window.read_until(END_AT - bins_ago * BIN)
        assert window.history is not None
        assert (window.history.num_bins, window.history.end_at) == (12, END_AT - bins_ago * BIN)
    assert window.history is not None
    np.testing.assert_array_equal(window.history.readings[0, 0], np.arange(18, 30))
