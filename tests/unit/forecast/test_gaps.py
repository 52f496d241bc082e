"""Missing readings: what stands in for them, and for how long."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_array_equal

from forecast.gaps import held, newest

NAN = np.nan
ROWS = np.array([[NAN, 1.0, NAN, NAN, NAN, 2.0], [NAN] * 6, [3.0, 4.0, 5.0, 6.0, 7.0, NAN]], "f4")


def test_the_newest_reading_is_held() -> None:
    """For ever, or for as long as is said; before the first there is none."""
    assert_array_equal(held(ROWS), [[NAN, 1, 1, 1, 1, 2], [NAN] * 6, [3, 4, 5, 6, 7, 7]])
    limited = held(ROWS, at_most_bins=2)
    assert_array_equal(limited, [[NAN, 1, 1, 1, NAN, 2], [NAN] * 6, [3, 4, 5, 6, 7, 7]])
    assert_array_equal(held(ROWS[0]), [NAN, 1, 1, 1, 1, 2])


def test_the_rows_themselves_stay() -> None:
    """Gaps are filled in a copy."""
    before = ROWS.copy()
    held(ROWS, at_most_bins=1)
    assert_array_equal(ROWS, before)


def test_the_newest_of_each_row() -> None:
    """However long ago; NaN of a row without readings."""
    assert_array_equal(newest(ROWS), [2.0, NAN, 7.0])
