"""What a solve returns: always an answer, with its status, its bound and its reasons."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from solver.domain.check import Violation
from solver.domain.plan import Plan
from solver.domain.score import HostContention, Score
from solver.domain.units import HostId, VmId


class SolveStatus(enum.Enum):
    """How good the answer is known to be."""

    OPTIMAL = "optimal"
    """Proven: no placement has a lower cost."""
    FEASIBLE = "feasible"
    """The best found within the limit."""
    NO_BENEFICIAL_MOVE = "no_beneficial_move"
    """Nothing found is worth its cost; the plan is empty."""
    BELOW_THRESHOLD = "below_threshold"
    """No host is contended and nothing is broken: nothing was solved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveExplanation:
    """Why one VM moves.

    Parameters
    ----------
    saved
        What the move saves of the objective, its own cost not deducted, in cost units, all other
        moves of the answer being made.
    cost
        What it costs.
    alternative_id, alternative_loss
        The next best destination and how much worse the total would be with it; ``None`` when
        there is no other.
    sentence
        The same, for the operator.
    """

    vm_id: VmId
    source_id: HostId | None
    destination_id: HostId
    saved: int
    cost: int
    alternative_id: HostId | None
    alternative_loss: int | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What stays as it is, and why: a host left hot, a rule left broken, a move cut off."""

    subject: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The answer of one solve.

    Parameters
    ----------
    plan
        Timed steps; empty when nothing is worth moving.
    placement
        Where every VM is once the plan is done.
    before, after
        Objective of doing nothing and of the answer.
    bound
        Proven lower bound on the total of any placement, in cost units; ``None`` if none is known.
    engine
        The engine whose answer won.
    contention_before, contention_after
        Per host, in the cluster's order.
    balancing
        Whether contention opened the gate, rather than a repair alone; the next solve's
        ``was_acting``.
    remaining
        Hard violations that are still there after the plan.
    """

    status: SolveStatus
    plan: Plan
    placement: dict[VmId, HostId | None]
    before: Score
    after: Score
    bound: int | None
    engine: str
    runtime_s: float
    contention_before: tuple[HostContention, ...]
    contention_after: tuple[HostContention, ...]
    balancing: bool = False
    explanations: tuple[MoveExplanation, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    remaining: tuple[Violation, ...] = field(default=())

    @property
    def gap(self) -> float | None:
        """Return ``(total − bound) / total``; 0 when proven optimal, ``None`` without a bound."""
        if self.bound is None:
            return None
        if self.after.total == 0:
            return 0.0
        return (self.after.total - self.bound) / self.after.total
