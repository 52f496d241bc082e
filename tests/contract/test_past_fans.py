"""Fans of the past day in every store: one an hour, bounded, found again by VM and by host."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import pytest

from service.runtime.past_fans import HOURS_KEPT, NUM_BLOCKS, PastFan, past_fans, to_keep
from service.store.sql import SqlStore, open_store
from tests.builders import NOW
from tests.fans import make_fans

HOUR = timedelta(hours=1)


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:
    """An empty store of each kind."""
    store = open_store(store_url)
    yield store
    store.close()


def keep(store: SqlStore, at: datetime, level: float) -> set[str]:
    """Forecast at an instant; return the names of the blobs that were kept of it."""
    fans = make_fans(at, {f"v{i}": level + i for i in range(40)}, {"h1": 10 * level})
    blobs = to_keep(store, "c1", at, fans)
    with store.begin() as tx:
        for name, data in blobs.items():
            tx.blobs.put("c1", name, at, data)
    return set(blobs)


def found(store: SqlStore, until: datetime, **who: str) -> list[PastFan]:
    """Return what is kept of the day before an instant."""
    with store.begin(read_only=True) as tx:
        return past_fans(tx, "c1", until, **who)


def median(fan: PastFan) -> float:
    """Return the median of the first horizon."""
    return float(fan.values["cpu_millicores"][0, 1])


def test_one_an_hour_is_kept_the_first(store: SqlStore) -> None:
    """A second forecast of an hour is not kept, the first of the next hour is."""
    assert len(keep(store, NOW, 1.0)) == NUM_BLOCKS + 1
    assert keep(store, NOW + timedelta(minutes=55), 2.0) == set()
    assert len(keep(store, NOW + HOUR, 3.0)) == NUM_BLOCKS + 1
    fans = found(store, NOW + HOUR, vm_id="v7")
    assert [fan.at for fan in fans] == [NOW, NOW + HOUR]
    assert [median(fan) for fan in fans] == [8.0, 10.0]
    assert set(fans[0].values) == {"cpu_millicores", "memory_mib"}


def test_the_band_is_kept_with_the_median(store: SqlStore) -> None:
    """Of each horizon p5, p50 and p95, rising."""
    keep(store, NOW, 100.0)
    (fan,) = found(store, NOW, host_id="h1")
    assert median(fan) == 1000.0
    assert (np.diff(fan.values["memory_mib"], axis=1) > 0).all()


def test_what_is_kept_is_bounded(store: SqlStore) -> None:
    """After more than a day each hour stands in the place of the same hour of the day before."""
    names: set[str] = set()
    for hours in range(HOURS_KEPT + 3):
        names |= keep(store, NOW + hours * HOUR, float(hours))
    assert len(names) == HOURS_KEPT * (NUM_BLOCKS + 1)
    last = NOW + (HOURS_KEPT + 2) * HOUR
    fans = found(store, last, vm_id="v0")
    assert [fan.at for fan in fans] == [last - h * HOUR for h in reversed(range(HOURS_KEPT))]
    assert [median(fan) for fan in fans] == [float(h) for h in range(3, HOURS_KEPT + 3)]


def test_what_is_of_another_day_is_not_told(store: SqlStore) -> None:
    """After a day without forecasts nothing is shown as if it were of the last one."""
    keep(store, NOW, 1.0)
    assert found(store, NOW + HOURS_KEPT * HOUR, vm_id="v0") == []
    assert found(store, NOW - HOUR, vm_id="v0") == []


def test_strangers_have_none(store: SqlStore) -> None:
    """A VM or a host that was not there is in no fan; other clusters have their own."""
    keep(store, NOW, 1.0)
    assert found(store, NOW, vm_id="stranger") == []
    assert found(store, NOW, host_id="v0") == []
    with store.begin(read_only=True) as tx:
        assert past_fans(tx, "c2", NOW, vm_id="v0") == []
