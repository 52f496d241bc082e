"""Series cut by migrations are joined again: a VM used what it would have used had it stayed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from forecast.history import BinState
from forecast.import_prometheus import PrometheusHistory, read_prometheus
from forecast.prometheus.client import Access
from forecast.prometheus.settings import preset
from solver.domain.units import Resource
from tests.exporters import FakeVm, Stay, scrape
from tests.fake_prometheus import FakePrometheus

NUM_BINS = 8
BIN = 300.0
START = datetime(2026, 3, 1, tzinfo=UTC)
START_S = START.timestamp()

loads = st.lists(
    st.floats(min_value=0.0, max_value=4.0), min_size=NUM_BINS + 2, max_size=NUM_BINS + 2
)
moves = st.lists(
    st.integers(min_value=1, max_value=10 * NUM_BINS - 2), min_size=0, max_size=5, unique=True
).map(lambda tenths: [tenth / 10 + 0.03 for tenth in sorted(tenths)])


def used(load: list[float], at: float) -> float:
    """Return the CPU time used up to an instant, with a load for each bin from -1 on."""
    edges = START_S + BIN * np.arange(-1, len(load))
    total = np.concatenate([[0.0], np.cumsum(np.array(load) * BIN)])
    return float(np.interp(at, edges, total))


def stays(cuts: list[float], arriving_s: float) -> list[Stay]:
    """Return a stay from each move to the next, on two hosts in turn."""
    edges = [START_S - 10 * BIN, *(START_S + BIN * cut for cut in cuts), START_S + 20 * BIN]
    # Nobody arrives before the last move is over.
    return [
        Stay(host=f"h{i % 2}", start=a, end=b, arriving_s=min(arriving_s, a - before) if i else 0.0)
        for i, (before, (a, b)) in enumerate(zip([0.0, *edges], pairwise(edges), strict=False))
    ]


def read(load: list[float], where: list[Stay], interval: float, offset: float) -> PrometheusHistory:
    """Return what is read of a VM that was in these places."""
    vm = FakeVm(uuid="u", name="web", stays=where, used=lambda at: used(load, at))
    # Others on both hosts tell how often they are scraped.
    forever = [
        FakeVm(uuid=h, name=h, stays=[Stay(host=h, start=0, end=1e11)], used=lambda at: 0.1 * at)
        for h in ("h0", "h1")
    ]
    with FakePrometheus() as fake:
        scrape(
            fake,
            [vm, *forever],
            start=START_S - BIN,
            end=START_S + (NUM_BINS + 1) * BIN,
            interval=interval,
            offsets={"h0": offset * interval, "h1": (1 - offset) * interval / 2},
        )
        settings = replace(preset(), access=Access(url=fake.url, attempts=1))
        until_at = START + timedelta(seconds=NUM_BINS * BIN)
        return read_prometheus(settings, from_at=START, until_at=until_at)


def cores(found: PrometheusHistory) -> npt.NDArray[np.float64]:
    """Return the readings of the VM, NaN where not measured."""
    row = found.history.positions(["web"])[0]
    values = found.history.readings[Resource.CPU, row] / 1000.0
    measured = found.history.state[row] == BinState.MEASURED
    return np.where(measured, values, np.nan).astype(np.float64)


@given(
    load=loads,
    cuts=moves,
    interval=st.sampled_from([15.0, 30.0, 60.0]),
    offset=st.floats(min_value=0.01, max_value=0.99),
    arriving_s=st.sampled_from([0.0, 20.0, 200.0, 900.0]),
)
def test_moves_neither_lose_nor_double(
    load: list[float], cuts: list[float], interval: float, offset: float, arriving_s: float
) -> None:
    """Bins without a move read as if there were none; the others lose a few scrapes at most.

    What a scrape did not see is at most an interval at each end of a piece, at the highest load
    around, and as much again where the load changes within what Prometheus extrapolates over.
    """
    where = stays(cuts, arriving_s)
    found = cores(read(load, where, interval, offset))
    stayed = cores(read(load, stays([], 0.0), interval, offset))
    truth = np.array(load[1:-1])
    most = np.max([load[:-2], load[1:-1], load[2:]], axis=0)
    num_moves = np.bincount(np.array(cuts, dtype=int), minlength=NUM_BINS)
    assert np.allclose(stayed, truth, atol=0.01 + 2.0 * most.max() * interval / BIN)
    off_by = np.abs(found - truth)
    allowed = 0.01 + most * interval / BIN * (2.0 + 2.0 * num_moves)
    assert not (off_by > allowed).any(), (found, truth, allowed)
    # A bin is missing only where moves left no two scrapes on one host for half of it.
    assert (num_moves[np.isnan(found)] >= 2).all()


@given(
    load=st.floats(min_value=0.5, max_value=4.0),
    cuts=moves,
    offset=st.floats(min_value=0.01, max_value=0.99),
)
def test_the_increase_is_the_same(load: float, cuts: list[float], offset: float) -> None:
    """A VM that always uses the same has the same increase over all, however often it moved."""
    found = cores(read([load] * (NUM_BINS + 2), stays(cuts, 0.0), 15.0, offset))
    whole = found[~np.isnan(found)]
    assert np.isclose(whole.sum(), load * len(whole), rtol=0.01 + 0.01 * len(cuts))
