"""The latest days of telemetry, brought up to date bin by bin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from forecast.history import BinState, History
from service.runtime.window import BIN, Window, on_grid
from service.store.base import Store
from service.store.sql import open_store
from solver.domain.units import NUM_RESOURCES, HostId
from tests.builders import NOW
from tests.histories import make_history

END_AT = on_grid(NOW)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = open_store(f"sqlite:///{tmp_path / 'foreswap.db'}", now=lambda: NOW)
    yield opened
    opened.close()


def keep(store: Store, num_vms: int, num_bins: int, *, end_at: datetime = END_AT) -> None:
    """Keep readings of so many VMs in the last bins."""
    numbers = np.arange(num_vms * num_bins, dtype=np.float32).reshape(num_vms, num_bins)
    history = make_history(np.stack([numbers] * NUM_RESOURCES))
    store.telemetry.put_history("c1", replace(history, start_at=end_at - num_bins * BIN))


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


MINUTE = timedelta(minutes=1)
H1, H2, H3 = HostId("h1"), HostId("h2"), HostId("h3")


def taken_in(window: Window) -> list[int]:
    """Return how many bins of each VM are known."""
    assert window.history is not None
    return (window.history.state == BinState.MEASURED).sum(axis=1).tolist()


def test_a_day_that_comes_late_is_taken_in(store: Store) -> None:
    """A host was cut off for thirty hours, and then delivers them, some at one look and the rest at
    the next: what came later than an hour was not seen before a restart. Minutes lie off the grid.
    """
    back_at = END_AT - 5 * BIN
    now_at = back_at - MINUTE
    keep(store, 1, 12 * 40)
    window = Window(store.telemetry, "c1")
    window.read_until(back_at, last_seen={H1: now_at, H2: back_at - timedelta(hours=30, minutes=3)})
    assert len(taken_in(window)) == 1
    half = {H1: now_at + BIN, H2: back_at - timedelta(hours=15)}
    window.read_until(back_at + BIN, last_seen=half)
    # The minutes are all there, but not yet rolled up.
    window.read_until(back_at + 2 * BIN, last_seen={H1: now_at + 2 * BIN, H2: now_at + 2 * BIN})
    assert len(taken_in(window)) == 1
    keep(store, 2, 12 * 30, end_at=back_at)
    window.read_until(back_at + 3 * BIN, last_seen={H1: now_at + 3 * BIN, H2: now_at + 3 * BIN})
    assert taken_in(window)[1] == 12 * 30


def test_a_host_that_delivers_for_the_first_time_may_have_much_to_tell(store: Store) -> None:
    """Its monitor had filled its outbox before it was let in."""
    keep(store, 1, 12 * 40)
    window = Window(store.telemetry, "c1")
    window.read_until(END_AT - BIN, last_seen={H1: END_AT - BIN})
    keep(store, 2, 12 * 30)
    window.read_until(END_AT, last_seen={H1: END_AT, H3: END_AT - MINUTE})
    assert taken_in(window)[1] == 12 * 30


def test_a_host_that_stays_behind_has_nothing_read_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose clock is five days behind would have five days read at every look, for ever."""
    keep(store, 1, 12 * 40)
    window = Window(store.telemetry, "c1")
    asked: list[timedelta] = []
    history = store.telemetry.history

    def told(cluster_id: str, start_at: datetime, end_at: datetime) -> History:
        asked.append(end_at - start_at)
        return history(cluster_id, start_at, end_at)

    monkeypatch.setattr(store.telemetry, "history", told)
    for bins_ago in range(5, -1, -1):
        end_at = END_AT - bins_ago * BIN
        behind = {H1: end_at - MINUTE, H2: end_at - timedelta(days=5)}
        window.read_until(end_at, last_seen=behind)
    assert max(asked[1:]) <= timedelta(hours=1) + 2 * BIN
