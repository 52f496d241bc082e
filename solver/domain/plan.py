"""Plans: timed steps that lead from one placement to another.

The same ``Plan`` is what the solver returns, the API shows, the store keeps and the executor runs.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from solver.domain.cluster import Placement
from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId, VmId


class StepKind(enum.Enum):
    """What a step does."""

    MIGRATE = "migrate"
    START = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveCost:
    """The four terms of one move, in whole cost units."""

    utilisation: int = 0
    transfer: int = 0
    downtime: int = 0
    latency: int = 0

    @property
    def total(self) -> int:
        """Sum of the four terms."""
        return self.utilisation + self.transfer + self.downtime + self.latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One timed action on one VM.

    Parameters
    ----------
    source_id
        Host it leaves; ``None`` for a start.
    start_ms, end_ms
        Planned, in milliseconds from the start of the plan. The VM holds its reservation on the
        destination from ``start_ms`` on and on the source until ``end_ms``.
    bandwidth_mib_per_s
        Link share the duration was computed with; 0 for a start.
    parking
        Whether the destination is only a stop on the way, to break a cycle.
    cost
        Terms of the move's cost; of a parked VM on its first step.
    reason
        One sentence for the operator.
    """

    kind: StepKind
    vm_id: VmId
    source_id: HostId | None
    destination_id: HostId
    start_ms: int
    end_ms: int
    bandwidth_mib_per_s: int = 0
    transferred_mib: int = 0
    downtime_ms: int = 0
    parking: bool = False
    cost: MoveCost = field(default_factory=MoveCost)
    reason: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.start_ms < self.end_ms:
            raise InvalidInputError(
                f"step of VM {self.vm_id!r}: expected 0 <= start < end, "
                f"got {self.start_ms}..{self.end_ms} ms"
            )
        if (self.kind is StepKind.START) != (self.source_id is None):
            raise InvalidInputError(
                f"step of VM {self.vm_id!r}: a {self.kind.value} from {self.source_id!r}; "
                "a migration has a source, a start has none"
            )
        if self.source_id == self.destination_id:
            raise InvalidInputError(
                f"step of VM {self.vm_id!r}: source and destination are both "
                f"{self.destination_id!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps in the order of their start.

    Parameters
    ----------
    made_at
        When the plan was made (aware UTC); steps count from here.
    steps
        Sorted by ``start_ms``; empty when nothing is worth moving.
    """

    made_at: datetime
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        starts = [step.start_ms for step in self.steps]
        if starts != sorted(starts):
            raise InvalidInputError(f"expected steps in the order of their start, got {starts}")

    @property
    def makespan_ms(self) -> int:
        """When the last step ends."""
        return max((step.end_ms for step in self.steps), default=0)

    def placement_after(self, before: Placement) -> dict[VmId, HostId | None]:
        """Return the placement the plan leads to from ``before``."""
        after = dict(before)
        for step in self.steps:
            after[step.vm_id] = step.destination_id
        return after

    def with_reasons(self, reasons: Mapping[VmId, str]) -> Plan:
        """Return the plan with a sentence for the operator put before what its steps say."""
        return replace(
            self,
            steps=tuple(
                replace(
                    step, reason="; ".join(filter(None, (reasons.get(step.vm_id), step.reason)))
                )
                for step in self.steps
            ),
        )
