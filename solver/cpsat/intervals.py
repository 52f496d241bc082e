"""Jobs in time: when each starts and how fast it goes, so that the weighted sum of ends is least.

A small scheduling model in numbers only; what a job is, and why something is held, is the business
of ``solver.sequencing``. It stands beside the joint model because CP-SAT is imported here alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from ortools.sat.python import cp_model

MAX_WEIGHT: Final = 10_000
"""Weights are scaled to this, so that objectives stay far inside 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of doing a job: how long it takes, and what it takes of the rates meanwhile."""

    duration: int
    rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to do once, in one of several ways, without interruption.

    Parameters
    ----------
    weight
        Of its end in the objective; not negative.
    start, way
        A known answer to begin from; the way as a position in ``ways``.
    """

    ways: tuple[Way, ...]
    weight: int
    start: int
    way: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """An amount held from the start of a job (or always) to the end of a job (or for ever)."""

    amount: int
    since: int | None
    until: int | None


@dataclass(slots=True, kw_only=True)
class Limits:
    """What binds the jobs, given as positions, besides their own durations.

    Parameters
    ----------
    parallel
        Pairs of a number and the jobs of which at most so many run at once.
    rates
        Pairs of a rate and the jobs that share it while they run.
    room
        Pairs of an amount and the holdings that never exceed it together.
    follows
        Pairs of jobs of which the second starts when the first has ended or later.
    in_order
        Sequences of events, a job and whether its end is meant, that keep their order.
    """

    parallel: list[tuple[int, list[int]]] = field(default_factory=list)
    rates: list[tuple[int, list[int]]] = field(default_factory=list)
    room: list[tuple[int, list[Holding]]] = field(default_factory=list)
    follows: list[tuple[int, int]] = field(default_factory=list)
    in_order: list[list[tuple[int, bool]]] = field(default_factory=list)


def schedule_jobs(
    jobs: Sequence[Job],
    limits: Limits,
    *,
    horizon: int,
    work_limit: float,
    limit_s: float = math.inf,
) -> list[tuple[int, int]] | None:
    """Return start and way of each job, for the least weighted sum of ends, then makespan.

    Deterministic, as long as it is the work that ends the search: one worker and one seed.

    Parameters
    ----------
    horizon
        No job ends later.
    work_limit
        Deterministic seconds.
    limit_s
        Wall seconds, for those who cannot wait for the whole of the work.

    Returns
    -------
    list of (start, way), or ``None``
        ``None`` where nothing was found within the limit.
    """
    model = _Model(jobs, limits, horizon)
    solver = cp_model.CpSolver()
    solver.parameters.catch_sigint_signal = False
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = work_limit
    solver.parameters.max_time_in_seconds = limit_s
    status = solver.solve(model.model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    return [
        (solver.value(start), next(w for w, chosen in enumerate(ways) if solver.value(chosen)))
        for start, ways in zip(model.starts, model.ways, strict=True)
    ]


class _Model:
    """The variables and constraints."""

    def __init__(self, jobs: Sequence[Job], limits: Limits, horizon: int) -> None:
        self.model = model = cp_model.CpModel()
        self._horizon = horizon
        self.starts: list[cp_model.IntVar] = []
        self.ways: list[list[cp_model.IntVar]] = []
        self._ends: list[cp_model.IntVar] = []
        self._running: list[cp_model.IntervalVar] = []
        self._optional: list[list[cp_model.IntervalVar]] = []
        for i, job in enumerate(jobs):
            self._add_job(i, job)
        for number, some in limits.parallel:
            if len(some) > number:
                model.add_cumulative([self._running[i] for i in some], [1] * len(some), number)
        for rate, some in limits.rates:
            intervals = [interval for i in some for interval in self._optional[i]]
            model.add_cumulative(intervals, [w.rate for i in some for w in jobs[i].ways], rate)
        for amount, holdings in limits.room:
            intervals = [self._held(holding) for holding in holdings]
            model.add_cumulative(intervals, [holding.amount for holding in holdings], amount)
        for first, second in limits.follows:
            model.add(self.starts[second] >= self._ends[first])
        for events in limits.in_order:
            self._keep_order(events)
        self._minimise(jobs)

    def _add_job(self, i: int, job: Job) -> None:
        model = self.model
        start = model.new_int_var(0, self._horizon, f"start{i}")
        end = model.new_int_var(0, self._horizon, f"end{i}")
        lengths = cp_model.Domain.from_values([way.duration for way in job.ways])
        length = model.new_int_var_from_domain(lengths, f"length{i}")
        self._running.append(model.new_interval_var(start, length, end, f"running{i}"))
        chosen = [model.new_bool_var(f"way{i}_{w}") for w in range(len(job.ways))]
        model.add_exactly_one(chosen)
        self._optional.append(
            [
                model.new_optional_fixed_size_interval_var(start, way.duration, on, f"by{i}_{w}")
                for w, (way, on) in enumerate(zip(job.ways, chosen, strict=True))
            ]
        )
        model.add(
            length == sum(way.duration * on for way, on in zip(job.ways, chosen, strict=True))
        )
        model.add_hint(start, job.start)
        model.add_hint(end, job.start + job.ways[job.way].duration)
        for w, on in enumerate(chosen):
            model.add_hint(on, w == job.way)
        self.starts.append(start)
        self._ends.append(end)
        self.ways.append(chosen)

    def _held(self, holding: Holding) -> cp_model.IntervalVar:
        start = 0 if holding.since is None else self.starts[holding.since]
        end = self._horizon if holding.until is None else self._ends[holding.until]
        size = self.model.new_int_var(0, self._horizon, "")
        return self.model.new_interval_var(start, size, end, "")

    def _keep_order(self, events: Sequence[tuple[int, bool]]) -> None:
        """Keep events in order; at one instant ends come before starts."""
        for (i, i_ends), (j, j_ends) in pairwise(events):
            first = self._ends[i] if i_ends else self.starts[i]
            second = self._ends[j] if j_ends else self.starts[j]
            self.model.add(second >= first + (not i_ends and j_ends))

    def _minimise(self, jobs: Sequence[Job]) -> None:
        heaviest = max(job.weight for job in jobs)
        last = self.model.new_int_var(0, self._horizon, "last")
        self.model.add_max_equality(last, self._ends)
        if heaviest == 0:
            self.model.minimize(len(jobs) * last + sum(self._ends))
            return
        weights = [-(-job.weight * MAX_WEIGHT // heaviest) for job in jobs]
        self.model.minimize(
            last + sum(w * end for w, end in zip(weights, self._ends, strict=True) if w)
        )
