"""Which futures count: all of them, or those in which a placement fares worst.

By default contention is an expectation. ``Weights.tail_share`` below 1 averages it over the worst
futures alone: the conditional value at risk [1]_ of the whole cluster's cost, at the level
``1 - tail_share``. It is the largest expectation under any probabilities that are at most
``1 / tail_share`` times those of the scenarios [2]_; those that attain it are what this module
finds, and with them every figure is an ordinary expectation again.

References
----------
.. [1] Rockafellar, Uryasev (2000). Optimization of conditional value-at-risk. J. Risk 2(3).
   doi:10.21314/JOR.2000.038
.. [2] Artzner, Delbaen, Eber, Heath (1999). Coherent measures of risk. Mathematical Finance 9(3).
   doi:10.1111/1467-9965.00068
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from solver.domain.scenario import PROBABILITY_PPM


def worst_ppm(
    costs: npt.NDArray[np.int64] | npt.NDArray[np.float64],
    probability_ppm: Sequence[int],
    tail_share: float,
) -> tuple[int, ...]:
    """Return the probabilities under which the expected cost is the mean of the worst futures.

    Parameters
    ----------
    costs
        What each future costs, shape ``(num_scenarios,)``; equal ones count alike.
    probability_ppm
        Of the futures, in parts per million.
    tail_share
        Share of the probability that counts, above 0 and at most 1.

    Returns
    -------
    tuple of int
        Parts per million that add up to exactly 1,000,000; zero for futures that do not count.

    Examples
    --------
    >>> worst_ppm(np.array([5, 9, 1, 7]), (250_000,) * 4, 0.5)
    (0, 500000, 0, 500000)
    >>> worst_ppm(np.array([5, 9, 1, 5]), (250_000,) * 4, 0.5)
    (250000, 500000, 0, 250000)
    """
    mass = round(tail_share * PROBABILITY_PPM)
    left, parts = mass, [0] * len(probability_ppm)
    for cost in np.unique(costs)[::-1]:
        alike = np.flatnonzero(costs == cost).tolist()
        together = sum(probability_ppm[k] for k in alike)
        taken = min(left, together)
        for k in alike:
            parts[k] = probability_ppm[k] * taken * PROBABILITY_PPM // (together * mass)
        left -= taken
    parts[int(costs.argmax())] += PROBABILITY_PPM - sum(parts)
    return tuple(parts)
