"""Which engine runs, on what, for how long: an anytime answer that greedy never beats.

Greedy first, in milliseconds. Then local search by exchanges. Then CP-SAT: the whole problem at
once where it is small enough to be proven, else a few hosts at a time with all their VMs (large-
neighbourhood search), until the allowance is used up or nothing has helped for long. Every answer
is compared by its total, so no engine can make things worse than greedy or than doing nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from solver.cpsat.columns import merge_columns
from solver.cpsat.model import optimise
from solver.cpsat.objective import count_shortfall_terms
from solver.cpsat.variables import Scope
from solver.limit import Allowance
from solver.problem import NOWHERE, Problem
from solver.search.bound import relaxed_bound
from solver.search.exchange import improve_by_exchange
from solver.search.greedy import descend, greedy
from solver.search.neighbourhood import interest, linked_hosts
from solver.search.prune import prune
from solver.search.state import State

IntArray = npt.NDArray[np.int64]

WHOLE_TERMS: Final = 100_000
"""Largest joint model that is tried at once, in terms of its shortfall constraints."""

MOST_CHOICES: Final = 3_000
"""Most pairs of VM and destination for which those terms are even counted."""

SECONDS_PER_TERM: Final = 5e-6
"""What building a model takes, to decide whether to begin."""

SECONDS_PER_WORK: Final = 3.0
"""Processor seconds of one of CP-SAT's deterministic seconds on such a model."""

ROUND_OVERHEAD: Final = 0.08
"""Deterministic seconds charged for building and judging one neighbourhood."""

STALE_PER_LEVEL: Final = 12
"""Neighbourhoods in a row that bring nothing, after which larger ones are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """How large neighbourhoods are.

    Parameters
    ----------
    sizes
        Hosts of a neighbourhood, one of these at random.
    columns
        Columns per resource in its model; fewer are faster, and less exact.
    work
        Deterministic seconds for one.
    """

    sizes: tuple[int, ...]
    columns: int
    work: float


LEVELS: Final = (
    # Eight columns are four times as fast as all 64, and find the same gains first.
    Level(sizes=(2, 2, 3), columns=8, work=0.05),
    Level(sizes=(2, 3), columns=24, work=0.1),
    Level(sizes=(3, 4), columns=12, work=0.2),
)
"""Tried in turn while nothing helps; from the first again once something has."""


class Engine(enum.Enum):
    """Engines that may be asked for by name."""

    PORTFOLIO = "portfolio"
    GREEDY = "greedy"
    CPSAT = "cpsat"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """A placement, its total, and what is known about better ones.

    Parameters
    ----------
    hosts
        Host position of every VM, shape ``(V,)``.
    bound
        Proven lower bound on the total of any allowed placement.
    engine
        Name of the engine that found it; ``none`` for doing nothing.
    """

    hosts: IntArray
    total: int
    bound: int
    engine: str

    @property
    def proven(self) -> bool:
        """Whether no placement is better."""
        return self.total <= self.bound


def run(
    problem: Problem, engine: Engine, allowance: Allowance, *, threshold: int, seed: int
) -> Answer:
    """Return the best placement found within the allowance.

    Never worse than doing nothing, nor than greedy.

    Parameters
    ----------
    engine
        ``GREEDY`` stops after greedy; ``CPSAT`` leaves out the local search.
    threshold
        Contention score, in cost units, up to which greedy leaves a host alone.
    seed
        Same seed and same work limit, same answer.
    """
    start = Answer(
        hosts=problem.start,
        total=State(problem, problem.start).total,
        bound=relaxed_bound(problem),
        engine="none",
    )
    if start.proven:
        return start
    quick = greedy(problem, problem.start, threshold=threshold, out_of_time=allowance.late)
    best = _better(problem, start, quick, "greedy")
    if engine is Engine.GREEDY or best.proven:
        return best
    if engine is Engine.PORTFOLIO:
        state = State(problem, best.hosts)
        improve_by_exchange(state, out_of_time=allowance.over, spend=allowance.spend)
        best = _better(problem, best, state.hosts, "exchange")
    best = _whole(problem, best, allowance, seed=seed)
    if not best.proven:
        best = _by_neighbourhoods(problem, best, allowance, seed=seed)
    return best


def _whole(problem: Problem, best: Answer, allowance: Allowance, *, seed: int) -> Answer:
    """Return the answer of the joint model over everything, where it is small enough."""
    scope = Scope.everything(problem, best.hosts)
    if not scope.vms.size:
        return replace(best, bound=best.total)
    if int(scope.destinations.sum()) > MOST_CHOICES or allowance.over():
        return best
    terms = count_shortfall_terms(problem, scope)
    building_s = terms * SECONDS_PER_TERM
    if terms > WHOLE_TERMS or building_s > allowance.left_s / 2:
        return best
    outcome = optimise(
        problem,
        scope,
        limit_s=(allowance.left_s - building_s) / 2,
        work_limit=allowance.left_work / (2 * SECONDS_PER_WORK),
        seed=seed,
    )
    allowance.spend(outcome.work * SECONDS_PER_WORK)
    if outcome.hosts is None:
        return best
    if outcome.gap is not None:
        total = State(problem, outcome.hosts).total
        best = replace(best, bound=max(best.bound, total - outcome.gap))
    return _better(problem, best, outcome.hosts, "cpsat")


def _by_neighbourhoods(
    problem: Problem, best: Answer, allowance: Allowance, *, seed: int
) -> Answer:
    """Return the answer after deciding a few hosts at a time anew, again and again."""
    rng = np.random.default_rng(seed)
    stale = 0
    state = State(problem, best.hosts)
    weights = interest(problem, state)
    while stale < STALE_PER_LEVEL * len(LEVELS) and not allowance.over():
        level = LEVELS[stale // STALE_PER_LEVEL]
        hosts = linked_hosts(state, weights, int(rng.choice(level.sizes)), rng)
        found = _neighbourhood(
            problem, state.hosts, hosts, level, allowance, seed=int(rng.integers(2**31))
        )
        stale += 1
        if found is None:
            continue
        candidate = State(problem, found)
        descend(candidate, out_of_time=allowance.late)
        better = _better(problem, best, candidate.hosts, "cpsat")
        if better.total < best.total:
            best, stale = better, 0
            state = State(problem, best.hosts)
            weights = interest(problem, state)
    return best


def _neighbourhood(
    problem: Problem,
    base: IntArray,
    hosts: IntArray,
    level: Level,
    allowance: Allowance,
    *,
    seed: int,
) -> IntArray | None:
    """Return a new placement in which the VMs of a few hosts may have changed places."""
    inside = np.zeros(problem.num_hosts, dtype=np.bool_)
    inside[hosts] = True
    asked = np.flatnonzero((base == NOWHERE) | np.isin(base, hosts))
    destinations = problem.allowed_hosts(asked) & inside
    free = destinations.sum(axis=1) > (base[asked] != NOWHERE)
    vms, destinations = asked[free], destinations[free]
    if not vms.size:
        return None
    scope = Scope(base=base, vms=vms, destinations=destinations)
    outcome = optimise(
        problem,
        scope,
        limit_s=allowance.left_s,
        work_limit=min(level.work, allowance.left_work),
        seed=seed,
        columns=merge_columns(problem.future, vms, level.columns),
    )
    allowance.spend(outcome.work + ROUND_OVERHEAD)
    if outcome.hosts is None or (outcome.hosts == base).all():
        return None
    return outcome.hosts


def _better(problem: Problem, best: Answer, hosts: IntArray, engine: str) -> Answer:
    """Return the better of an answer and a new placement, whose useless moves are taken back."""
    if (hosts == best.hosts).all():
        return best
    pruned = prune(problem, hosts)
    total = State(problem, pruned).total
    if total >= best.total:
        return best
    return Answer(hosts=pruned, total=total, bound=best.bound, engine=engine)
