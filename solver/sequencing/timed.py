"""Legs with their times, and which of two schedules of the same legs is the better one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from solver.domain.cluster import Cluster
from solver.domain.migration import MigrationParameters, estimate
from solver.sequencing.state import Leg

START_MS: Final = 10_000
"""Nominal duration of a start: creating the domain and reaching its firmware.

Nobody waits on it but the plan's clock; starts use neither migration slots nor bandwidth.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedLeg:
    """A leg with its time, in milliseconds from the start of the plan, and its link share."""

    leg: Leg
    start_ms: int
    end_ms: int
    bandwidth_mib_per_s: int
    transferred_mib: int
    downtime_ms: int

    @classmethod
    def of_start(cls, leg: Leg, now_ms: int) -> TimedLeg:
        """Return a start that begins now."""
        return cls(
            leg=leg,
            start_ms=now_ms,
            end_ms=now_ms + START_MS,
            bandwidth_mib_per_s=0,
            transferred_mib=0,
            downtime_ms=0,
        )

    @classmethod
    def of_migration(
        cls, leg: Leg, now_ms: int, share_mib_per_s: int, parameters: MigrationParameters
    ) -> TimedLeg:
        """Return a migration that begins now with a link share."""
        vm = leg.move.vm
        duration_ms, transferred_mib, downtime_ms = _course(
            vm.memory_footprint_mib, vm.dirty_mib_per_s, share_mib_per_s, parameters
        )
        return cls(
            leg=leg,
            start_ms=now_ms,
            end_ms=now_ms + duration_ms,
            bandwidth_mib_per_s=share_mib_per_s,
            transferred_mib=transferred_mib,
            downtime_ms=downtime_ms,
        )


@lru_cache(maxsize=1 << 16)
def _course(
    footprint_mib: int, dirty_mib_per_s: int, share_mib_per_s: int, parameters: MigrationParameters
) -> tuple[int, int, int]:
    """Return duration, bytes and downtime of a migration; several schedules ask for the same."""
    course = estimate(footprint_mib, dirty_mib_per_s, share_mib_per_s, parameters)
    transferred_mib = int(course.transferred_mib)
    # Parameters fitted to measurements may promise more than the share can carry.
    duration_ms = max(1, int(course.duration_ms), transferred_mib * 1000 // share_mib_per_s)
    return duration_ms, transferred_mib, int(course.downtime_ms)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Merit:
    """How good a schedule is: the better one compares lower, by the first figure that differs.

    Parameters
    ----------
    weighted_end
        Sum over VMs of urgency times the milliseconds until they arrive. Urgency is what a move
        saves, so this is how much is suffered, in all, while the plan is waited for. VMs of an
        affinity group weigh as much as the most urgent of them.
    makespan_ms
        When the last leg ends.
    sum_end_ms
        Sum over legs of when they end.
    """

    weighted_end: int
    makespan_ms: int
    sum_end_ms: int


def merit(timed: Sequence[TimedLeg]) -> Merit:
    """Return how good a schedule is."""
    weight = weights([item.leg for item in timed])
    return Merit(
        weighted_end=sum(w * item.end_ms for w, item in zip(weight, timed, strict=True)),
        makespan_ms=max((item.end_ms for item in timed), default=0),
        sum_end_ms=sum(item.end_ms for item in timed),
    )


def narrowest_link(cluster: Cluster, a: int, b: int) -> int:
    """Return the most bandwidth that a migration between two hosts, by position, can have."""
    one, other = cluster.hosts[a], cluster.hosts[b]
    return cluster.network.link(one, other).narrowest_mib_per_s(one, other)


def weights(legs: Iterable[Leg]) -> list[int]:
    """Return what each leg's end weighs: the urgency of its group, or 0 if it only parks."""
    legs = list(legs)
    most: dict[int, int] = {}
    for leg in legs:
        most[leg.move.unit] = max(most.get(leg.move.unit, 0), leg.move.urgency)
    return [0 if leg.parking else most[leg.move.unit] for leg in legs]
