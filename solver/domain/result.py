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
    relieved
        What of it its source is relieved of: contention and use above the knees.
    cost
        What it costs.
    repairs
        What was broken at the start and had the VM take part; empty for nothing.
    alternative_id, alternative_loss
        The next best destination and how much worse the total would be with it; ``None`` when
        there is no other.
    alternative_load, alternative_move
        How much of that loss is load on hosts, and how much a dearer move; the rest is rules and
        the VMs of one group that move.
    sentence
        The same, for the operator.
    """

    vm_id: VmId
    source_id: HostId | None
    destination_id: HostId
    saved: int
    relieved: int
    cost: int
    repairs: str
    alternative_id: HostId | None
    alternative_loss: int | None
    alternative_load: int | None
    alternative_move: int | None
    sentence: str


class Hindrance(enum.StrEnum):
    """What keeps a VM from a place."""

    UNREACHABLE = "unreachable"
    """Its host cannot be reached."""
    NOT_MIGRATABLE = "not_migratable"
    COOLING_DOWN = "cooling_down"
    """It moved lately, and takes part in nothing broken."""
    HOST_CLOSED = "host_closed"
    """The place is in maintenance or cannot be reached."""
    RULE = "rule"
    COMPATIBILITY = "compatibility"
    """The place does not provide what the VM requires."""
    ROOM = "room"
    """What is reserved leaves too little of a resource, or the host takes no more VMs."""
    BUDGET = "budget"
    """The numbers of moves allowed are used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """What closes places to VMs that would help by moving there.

    Parameters
    ----------
    name
        The rule's id, the resource, what is required, the state of the place, or the reason for
        which a VM cannot be migrated; empty where there is nothing to add.
    vm_ids
        The VMs, each with the same obstacles.
    num_hosts, of_hosts
        How many of the places that would help it closes.
    """

    hindrance: Hindrance
    name: str
    vm_ids: tuple[VmId, ...]
    num_hosts: int
    of_hosts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleMove:
    """The best move of one VM that would help and is allowed, in cost units.

    It was not made: it costs more than it saves, or the search ended before it.
    """

    vm_id: VmId
    destination_id: HostId
    saved: int
    cost: int


class Unmet(enum.StrEnum):
    """What stays as it is."""

    CUT_OFF = "cut_off"
    """A VM that no safe order brings to where it should be."""
    HOT_HOST = "hot_host"
    BROKEN = "broken"
    """A hard rule, a capacity or another fact that binds."""
    WISH = "wish"
    """A soft rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What stays as it is, and why.

    Parameters
    ----------
    subject
        The host, the VM, or the key of the violation.
    obstacles, best
        What blocks the VMs that could help, and the best single move that nothing blocks.
    contradiction
        Why no placement at all could do better; empty where none is known.
    """

    unmet: Unmet
    subject: str
    sentence: str
    obstacles: tuple[Obstacle, ...] = ()
    best: SingleMove | None = None
    contradiction: str = ""


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
    refusals
        Hosts left hot, rules left broken and moves cut off, each with what blocks it.
    remaining
        Hard violations that are still there after the plan.
    failures
        A sentence for each engine that ended in an error; the answer is what others found.
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
    failures: tuple[str, ...] = ()

    @property
    def gap(self) -> float | None:
        """Return ``(total − bound) / total``; 0 when proven optimal, ``None`` without a bound."""
        if self.bound is None:
            return None
        if self.after.total == 0:
            return 0.0
        return (self.after.total - self.bound) / self.after.total
