"""What is to be seen at one instant of the demonstration, as plain data.

Made by ``show``, drawn by ``view``; neither knows the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from executor.states import MoveState


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Demand for one resource as a fraction of a host's usable capacity.

    ``p50`` and ``p95`` are quantiles of its highest step within the next hour.
    """

    now: float
    p50: float = 0.0
    p95: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFrame:
    """One host.

    Parameters
    ----------
    score_host_s
        Contention score by the latest forecast, in host-seconds.
    overload
        Probability that some resource is short within the next hour, 0 to 1.
    incoming, outgoing
        Migrations under way.
    """

    id: str
    num_vms: int
    cpu: Usage
    memory: Usage
    score_host_s: float
    overload: float
    incoming: int = 0
    outgoing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveFrame:
    """One move of the present plan."""

    vm_id: str
    priority: int
    source_id: str
    destination_id: str
    state: MoveState
    fraction: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suffered:
    """What the VMs of one cluster went short of so far.

    Host-seconds, weighted by priority and resource (``weighted``) and not (``plain``).
    """

    weighted_host_s: float = 0.0
    plain_host_s: float = 0.0
    overloaded_host_intervals: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Expected shortfall of the next hour, in weighted host-seconds, on paths the solver never saw.

    ``with_plan`` counts relief from the end of each move on.
    """

    without_plan: float = 0.0
    with_plan: float = 0.0
    num_paths: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What the moves so far took."""

    migrations: int = 0
    failed_migrations: int = 0
    gib_moved: float = 0.0
    downtime_s: float = 0.0
    violations: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Everything at one instant.

    Parameters
    ----------
    phase
        What is going on, in a few words.
    notes
        What has happened since the frame before, one sentence each.
    hold_s
        Wall-clock seconds this frame stays, where somebody watches.
    """

    now: datetime
    cycle: int
    num_cycles: int
    phase: str
    hosts: tuple[HostFrame, ...]
    moves: tuple[MoveFrame, ...] = ()
    expected: Expected = field(default_factory=Expected)
    ours: Suffered = field(default_factory=Suffered)
    control: Suffered = field(default_factory=Suffered)
    effort: Effort = field(default_factory=Effort)
    planning_s: float = 0.0
    engine: str = ""
    notes: tuple[str, ...] = ()
    hold_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the demonstration came to.

    Parameters
    ----------
    expected
        Of the first plan.
    planning_s
        Median wall-clock seconds of a plan, forecast included.
    interrupted
        Whether it was ended before its time.
    """

    started_at: datetime
    ended_at: datetime
    cycles: int
    plans_with_moves: int
    expected: Expected
    ours: Suffered
    control: Suffered
    effort: Effort
    planning_s: float
    interrupted: bool = False
