"""How much of each bin a series was seen, from what Prometheus can tell cheaply.

Prometheus' ``rate`` stands for the whole of a bin where samples reach both its edges. Where a
series begins or ends inside it, a VM having come, gone or moved, the rate covers a part only, up to
half an interval beyond the samples. That part is known from two more queries: how many samples a
bin has, and how old the newest one is at its edges. A scrape that failed inside a bin costs
nothing.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

NEIGHBOUR_BINS: Final = 12
"""Bins before and after that tell how many samples are usual; an interval may be changed."""
FRESH_INTERVALS: Final = 1.1
"""How old a sample may be to stand for the edge of a bin still; as Prometheus has it."""

Doubles = npt.NDArray[np.float64]


def usual_samples(counts: Doubles) -> Doubles:
    """Return how many samples a bin usually has around each bin.

    The mean of those counts nearby that are next to their median: bins that were seen in part do
    not count, and where scrapes fall alternately seven and eight times into a bin it is 7.5.

    Parameters
    ----------
    counts
        Samples of each host and bin, shape ``(num_hosts, num_bins)``; 0 or NaN where none.

    Returns
    -------
    Doubles
        The same shape; NaN where nothing is near.
    """
    width = 2 * NEIGHBOUR_BINS + 1
    known = np.where(counts > 0, counts, np.nan)
    padded = np.pad(known, ((0, 0), (NEIGHBOUR_BINS,) * 2), constant_values=np.nan)
    near = np.sort(np.lib.stride_tricks.sliding_window_view(padded, width, axis=1), axis=2)
    num_known = (~np.isnan(near)).sum(axis=2)
    # Sorting puts NaN last. The upper one of two in the middle: a series is not seen too often.
    median = np.take_along_axis(near, (num_known // 2)[:, :, None] % width, axis=2)
    beside = np.abs(near - median) <= 1.0
    total = np.where(beside, near, 0.0).sum(axis=2)
    return np.where(num_known > 0, total / np.maximum(1, beside.sum(axis=2)), np.nan)


def covered_seconds(
    counts: Doubles, ages_s: Doubles, usual: Doubles, *, step_seconds: int
) -> Doubles:
    """Return how long each series was seen in each bin.

    Parameters
    ----------
    counts
        Samples in each bin, shape ``(num_series, num_bins)``; 0 or NaN where none.
    ages_s
        Age of the newest sample at each edge of a bin, shape ``(num_series, num_bins + 1)``; NaN
        where the series was not there.
    usual
        Samples of a whole bin, shape of ``counts``.

    Returns
    -------
    Doubles
        Shape of ``counts``, from 0 to ``step_seconds``; 0 for bins with less than two samples, of
        which no rate is known.
    """
    interval = step_seconds / np.maximum(usual, 1.0)
    start, end = ages_s[:, :-1], ages_s[:, 1:]
    fresh_start = start <= FRESH_INTERVALS * interval
    fresh_end = end <= FRESH_INTERVALS * interval
    before = np.where(fresh_start, np.maximum(0.0, interval - start), interval / 2)
    after = np.where(fresh_end, end, interval / 2)
    part = np.clip(before + (counts - 1) * interval + after, 0.0, step_seconds)
    covered = np.where(fresh_start & fresh_end, float(step_seconds), part)
    return np.where(counts >= 2, covered, 0.0)
