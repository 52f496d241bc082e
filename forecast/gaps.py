"""What stands in for readings that are missing: the newest one before them, for a while."""

from __future__ import annotations

from typing import Final

import numpy as np

from forecast.history import Floats

FILL_BINS: Final = 12
"""A reading may stand in for missing later ones for this long: an hour."""


def held(rows: Floats, *, at_most_bins: int | None = None) -> Floats:
    """Return rows with each missing reading replaced by the newest one before it.

    Parameters
    ----------
    rows
        Time along the last axis.
    at_most_bins
        How long a reading stands in for others; for ever if ``None``.

    Returns
    -------
    Floats
        NaN before the first reading, and where the newest is too old.
    """
    known = ~np.isnan(rows)
    if known.all():
        return rows
    bins = np.arange(rows.shape[-1], dtype=np.int32)
    newest_at = np.maximum.accumulate(np.where(known, bins, np.int32(-1)), axis=-1)
    filled = np.take_along_axis(rows, np.maximum(newest_at, 0), axis=-1)
    if at_most_bins is not None:
        filled[bins - newest_at > at_most_bins] = np.nan
    return filled


def newest(rows: Floats) -> Floats:
    """Return each row's newest reading, NaN if there is none; time along the second axis."""
    backwards = rows[:, ::-1]
    where = np.argmax(~np.isnan(backwards), axis=1)
    return np.asarray(np.take_along_axis(backwards, where[:, None], axis=1)[:, 0])
