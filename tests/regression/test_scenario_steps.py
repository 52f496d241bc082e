"""A scenario document must not decide how much memory reading it takes."""

from __future__ import annotations

import pytest

from solver.domain.errors import InvalidInputError
from solver.instances import scenarios_from_document


@pytest.mark.parametrize("named", [True, False])
def test_a_number_of_steps_that_nothing_backs_is_refused(named: bool) -> None:
    """Two hundred bytes that claim two billion steps allocated sixty GiB before any check."""
    document = {
        "foreswap": "scenarios",
        "version": 1,
        "start_at": "2026-03-02T12:00:00Z",
        "step_seconds": 900,
        "num_steps": 2_000_000_000,
        "probability_ppm": [1_000_000],
        "demand": {"a": {"cpu_millicores": [[1, 2]]} if named else {}},
    }
    with pytest.raises(InvalidInputError, match=r"expected (1 scenarios of|at most 10000 steps)"):
        scenarios_from_document(document)
