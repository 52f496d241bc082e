"""The clock of a cluster never goes back, and is the same for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from service.present import clock_of, present, set_pace
from service.store.base import Store
from service.store.sql import open_store
from tests.builders import NOW

MINUTE = timedelta(minutes=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


def test_a_cluster_lives_in_real_time_unless_told_otherwise(store: Store) -> None:
    """Nothing is kept for one that does."""
    with store.begin() as tx:
        assert set_pace(tx, "c1", 1.0, NOW) is None
        assert clock_of(tx, "c1") is None
        assert present(tx, "c1", NOW) == NOW


def test_a_fast_clock_is_the_same_for_everybody(store: Store) -> None:
    """Whoever opens the cluster later goes on with the clock of the first."""
    with store.begin() as tx:
        clock = set_pace(tx, "c1", 10.0, NOW)
        assert set_pace(tx, "c1", 10.0, NOW + MINUTE) == clock
    with store.begin(read_only=True) as tx:
        assert present(tx, "c1", NOW + MINUTE) == NOW + 10 * MINUTE
        assert present(tx, "c2", NOW + MINUTE) == NOW + MINUTE
    assert clock is not None
    assert clock.real(NOW + 10 * MINUTE) == NOW + MINUTE


def test_a_clock_that_is_slowed_down_goes_on_from_where_it_is(store: Store) -> None:
    """It stays ahead of real time, where it would once have jumped back."""
    with store.begin() as tx:
        set_pace(tx, "c1", 10.0, NOW)
        set_pace(tx, "c1", 1.0, NOW + MINUTE)
        assert present(tx, "c1", NOW + MINUTE) == NOW + 10 * MINUTE
        assert present(tx, "c1", NOW + 2 * MINUTE) == NOW + 11 * MINUTE
