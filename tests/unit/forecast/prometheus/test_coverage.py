"""How much of a bin was seen, and how many samples it usually has."""

from __future__ import annotations

import numpy as np
import pytest

from forecast.prometheus.coverage import covered_seconds, usual_samples
from tests.fake_prometheus import rate

BIN = 300


def covered(times: list[float], *, interval: float, gone: bool = False) -> float:
    """Return the seconds covered of a bin from 0 to 300 by samples from before it to its end."""
    inside = [at for at in times if 0 < at <= BIN]
    ages = [[-max((at for at in times if at <= 0), default=np.nan), BIN - max(times)]]
    if gone:
        ages[0][1] = np.nan
    seconds = covered_seconds(
        np.array([[float(len(inside))]]),
        np.array(ages),
        np.array([[BIN / interval]]),
        step_seconds=BIN,
    )
    return float(seconds[0, 0])


@pytest.mark.parametrize("interval", [10.0, 15.0, 60.0, 100.0])
@pytest.mark.parametrize("offset", [0.01, 0.3, 0.99])
@pytest.mark.parametrize(
    ("first", "last"), [(-1, 10**6), (-1, 4), (1, 10**6), (0, 2), (-1, 2), (-1, -1)]
)
def test_a_rate_covers_what_is_said(interval: float, offset: float, first: int, last: int) -> None:
    """What Prometheus says a counter gained, it gains in the time that is said to be covered.

    To the moment, if the series was there before the bin; when one began can be told to half an
    interval only.
    """
    grid = [interval * (k + offset) for k in range(-1, int(BIN / interval) + 1)]
    grid = [at for at in grid if at <= BIN]
    times = grid[first + 1 : last + 2 if last > 0 else len(grid) + last + 1]
    seconds = covered(times, interval=interval, gone=times[-1] != grid[-1])
    inside = [(at, 1000.0 + 2.0 * at) for at in times if 0 < at <= BIN]
    gained = rate(inside, 0.0, float(BIN))
    if gained is None:
        assert seconds == 0.0
        return
    slack = 1e-6 if first < 0 else 0.6 * interval
    assert gained * BIN / 2.0 == pytest.approx(seconds, abs=slack)


def test_a_scrape_that_failed_inside_costs_nothing() -> None:
    """With samples at both edges the whole bin is covered."""
    times = [15.0 * k - 3.0 for k in range(21) if k not in (4, 5, 11)]
    assert covered(times, interval=15.0) == BIN


def test_one_sample_covers_nothing() -> None:
    """There is no rate of it."""
    assert covered([150.0], interval=15.0) == 0.0


def test_usual_samples() -> None:
    """Seven and eight by turns are seven and a half; what was seen in part does not count."""
    counts = np.array([[7.0, 8.0] * 20, [20.0] * 20 + [3.0, 0.0] + [20.0] * 18])
    usual = usual_samples(counts)
    assert usual[0] == pytest.approx([7.5] * 40, abs=0.05)
    assert usual[1].tolist() == [20.0] * 40


def test_another_interval_is_learnt_within_an_hour() -> None:
    """Where scrapes are made rarer, bins are known to be whole again after an hour."""
    counts = np.array([[20.0] * 50 + [5.0] * 50])
    usual = usual_samples(counts)[0]
    assert usual[:38].tolist() == [20.0] * 38
    assert usual[62:].tolist() == [5.0] * 38


def test_nothing_known() -> None:
    """Without any sample near nothing is usual."""
    assert np.isnan(usual_samples(np.zeros((1, 5)))).all()
