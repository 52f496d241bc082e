"""Merging columns keeps what is priced and lowers how often."""

from __future__ import annotations

import numpy as np

from solver.cpsat.columns import merge_columns
from solver.problem import Columns


def columns() -> Columns:
    """Return six columns of two resources over three VMs and two hosts."""
    return Columns(
        demand=np.array([[1, 1, 9, 9, 5, 5], [2, 2, 8, 8, 5, 6], [3, 3, 7, 7, 5, 7]]),
        threshold=np.array([[10, 10, 10, 10, 20, 20], [11, 11, 11, 11, 21, 21]]),
        prices=np.array([[1, 3, 1, 1, 2, 2], [1, 1, 1, 1, 1, 1]]),
    )


def test_alike_columns_become_their_mean_and_prices_add_up() -> None:
    """Two kinds of the first resource stay two; the second resource is kept whole."""
    merged = merge_columns(columns(), np.arange(3), most=2)
    assert merged.demand.T.tolist() == [[9, 8, 7], [1, 2, 3], [5, 5, 5], [5, 6, 7]]
    assert merged.prices.sum(axis=1).tolist() == columns().prices.sum(axis=1).tolist()
    assert merged.threshold[0].tolist() == [10, 10, 20, 20]


def test_enough_room_leaves_everything_as_it_is() -> None:
    """No column is touched when as many may stand."""
    merged = merge_columns(columns(), np.arange(3), most=4)
    assert merged.demand.tolist() == columns().demand.tolist()
    assert merged.prices.tolist() == columns().prices.tolist()


def test_one_column_is_the_priced_mean() -> None:
    """Weighted by price, rounded to whole units."""
    merged = merge_columns(columns(), np.arange(3), most=1)
    assert merged.demand[0].tolist() == [round((1 * 2 + 1 * 4 + 9 * 2 + 9 * 2) / 10), 5]
