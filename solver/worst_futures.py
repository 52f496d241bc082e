"""Solves where only the worst futures count: those that are worst for the answer itself.

Which futures are worst depends on the placement, and the solver minimises an expectation. So it is
asked several times: at first for what is best in the futures that are worst if nothing is done,
then each time for the mean of the worst futures of all placements found before (fictitious play
[1]_ against an adversary who chooses the futures). Every such mean is one that the adversary may
choose, so that what is proven for it is a bound on the worst case, too. Every answer is judged by
the futures that are worst for it, and the best one counts.

References
----------
.. [1] Robinson (1951). An iterative method of solving a game. Annals of Mathematics 54(2).
   doi:10.2307/1969530
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from solver.domain.cluster import Cluster, Placement
from solver.domain.result import Result, SolveStatus
from solver.domain.scenario import PROBABILITY_PPM, ScenarioSet
from solver.domain.score import (
    HostContention,
    Score,
    counted_in,
    host_contention,
    host_positions,
    score_placement,
)
from solver.limit import Allowance
from solver.params import SolveParams
from solver.portfolio import KNOWN, NO_BOUND, Answer

ROUNDS: Final = 3
"""How often the solver is asked, each time with an equal share of what is left."""

LEAST_SHARE: Final = 0.1
"""Share of the limit below which it is not asked again."""

LEAST_S: Final = 0.001
"""A limit has to be positive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighing:
    """What one of several solves goes by; as it is, what the only one does.

    Parameters
    ----------
    counted_ppm
        By which scenarios count in contention, in parts per million; ``None`` for their own
        probabilities.
    known
        Placements that were found before.
    balancing
        Whether the gate is open; ``None`` to find out.
    staying
        Whether nothing is to be moved, only to be said why.
    failed
        Engines that ended in an error, by name; one set for all solves.
    """

    counted_ppm: tuple[int, ...] | None = None
    known: tuple[Placement, ...] = ()
    balancing: bool | None = None
    staying: bool = False
    failed: set[str] = field(default_factory=set)


def solve_worst(
    cluster: Cluster,
    scenarios: ScenarioSet,
    params: SolveParams,
    solve_weighing: Callable[[SolveParams, Weighing], Result],
    *,
    cancel: threading.Event | None,
    on_progress: Callable[[Answer], None],
) -> Result:
    """Return the best of several solves, judged by the futures that are worst for each.

    Never worse than doing nothing. Totals and contention of the result, before and after, are what
    :mod:`solver.domain.score` says. Its bound is one on every placement's total but for the
    rounding of prices, for which reason no answer is called optimal. Its explanations weigh futures
    as the solve did that found the plan: in those every move pays, and relief comes in time.

    Parameters
    ----------
    solve_weighing
        Solves within the limits it is given, scenarios counting as it is told.
    on_progress
        Told of the best answer after each solve.
    """
    scenarios = scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
    allowance = Allowance(params.limit_s, params.work_limit)
    begun = _judged(cluster, scenarios, params, cluster.placement)
    # The last answer has still to be judged when its time is over.
    allowance.hold_back(allowance.elapsed_s)
    best, bound = begun, NO_BOUND
    failures: dict[str, None] = {}
    weighing = Weighing(counted_ppm=begun.counted_ppm)
    counted = np.array(begun.counted_ppm, dtype=np.float64)
    for number in range(ROUNDS):
        found = solve_weighing(_share(params, allowance, number), weighing)
        if not found.balancing and not found.plan.steps and number == 0:
            # The gate stayed closed; what is told is about the start, and so is what counted.
            return found
        if found.engine == KNOWN and best.result is not None:
            found = replace(found, engine=best.result.engine)
        failures |= dict.fromkeys(found.failures)
        ended = _judged(cluster, scenarios, params, found.placement, found)
        if ended.score.total < best.score.total or (best.result is None and not found.plan.steps):
            best = ended
        if found.bound is not None:
            bound = max(bound, found.bound)
        # Prices are rounded future by future: a bound may be some units too high.
        bound = min(bound, best.score.total)
        on_progress(
            Answer(
                hosts=host_positions(cluster, best.placement),
                total=best.score.total,
                bound=bound,
                engine="none" if best.result is None else best.result.engine,
                failures=tuple(failures),
            )
        )
        over = allowance.left_s < LEAST_SHARE * params.limit_s
        if over or (cancel is not None and cancel.is_set()):
            break
        counted += (np.array(ended.counted_ppm) - counted) / (number + 2)
        weighing = replace(
            weighing,
            counted_ppm=whole_ppm(counted),
            balancing=found.balancing,
            known=(*weighing.known, found.placement),
        )
    result = best.result
    if result is None:
        staying = Weighing(counted_ppm=begun.counted_ppm, balancing=found.balancing, staying=True)
        result = solve_weighing(replace(params, limit_s=LEAST_S), staying)
    return replace(
        result,
        status=SolveStatus.FEASIBLE if result.plan.steps else SolveStatus.NO_BENEFICIAL_MOVE,
        before=begun.score,
        after=best.score,
        bound=bound,
        contention_before=begun.contention,
        contention_after=best.contention,
        failures=tuple(failures),
        runtime_s=allowance.elapsed_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """A placement, and what the judges say of it in the futures that are worst for it.

    ``result`` is what found it; ``None`` if it is the start.
    """

    placement: Placement
    counted_ppm: tuple[int, ...]
    score: Score
    contention: tuple[HostContention, ...]
    result: Result | None


def _judged(
    cluster: Cluster,
    scenarios: ScenarioSet,
    params: SolveParams,
    placement: Placement,
    result: Result | None = None,
) -> _Judged:
    weights = params.weights
    counted = counted_in(cluster, scenarios, weights, host_positions(cluster, placement))
    return _Judged(
        placement=placement,
        counted_ppm=counted,
        score=score_placement(
            cluster, scenarios, weights, placement, params.migration, counted_ppm=counted
        ),
        contention=host_contention(cluster, scenarios, weights, placement, counted_ppm=counted),
        result=result,
    )


def _share(params: SolveParams, allowance: Allowance, number: int) -> SolveParams:
    """Return how one of the solves goes about it; a limit of work is meant to end it by itself."""
    left_s, seed = max(allowance.left_s, LEAST_S), (params.seed + number) % 2**31
    if params.work_limit is None:
        return replace(params, limit_s=left_s / (ROUNDS - number), seed=seed)
    return replace(params, limit_s=left_s, work_limit=params.work_limit / ROUNDS, seed=seed)


def whole_ppm(parts: npt.NDArray[np.float64]) -> tuple[int, ...]:
    """Return parts that add up to about 1,000,000 as whole ones that do so exactly.

    >>> whole_ppm(np.array([333_333.3, 666_666.6, 0.0]))
    (333333, 666667, 0)
    """
    whole = np.floor(parts).astype(np.int64)
    whole[int(parts.argmax())] += PROBABILITY_PPM - int(whole.sum())
    return tuple(whole.tolist())
