"""What to demonstrate: size, seed, length and pace."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from solver.domain.errors import InvalidInputError

START_AT: Final = datetime(2026, 3, 3, 8, 0, tzinfo=UTC)
"""A Tuesday at eight: the load of the day is about to come."""

INTERVAL_MINUTES: Final = 15
PAST_DAYS: Final = 10
"""What the forecaster may learn from: the least that has a weekend and both its sides."""

MAX_HOURS: Final = 24
"""Longest show; the load is made up for all of it, so that its length changes nothing else."""
MAX_HOSTS: Final = 200
MAX_VMS: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """One demonstration.

    Parameters
    ----------
    num_hosts, num_vms
        Size of the simulated cluster.
    seed
        Decides load, start, priorities, training and search.
    hours
        Simulated time to be shown.
    speed
        How many times faster than life; slower while VMs move.
    once
        One cycle, and what the hour after it brought.
    """

    num_hosts: int = 24
    num_vms: int = 400
    seed: int = 0
    hours: float = 3.0
    speed: float = 400.0
    once: bool = False

    def __post_init__(self) -> None:
        for option, value, lowest, highest in (
            ("--hosts", self.num_hosts, 2, MAX_HOSTS),
            ("--vms", self.num_vms, 10, MAX_VMS),
            ("--hours", self.hours, 0.25, MAX_HOURS),
            ("--speed", self.speed, 1.0, 100_000.0),
        ):
            if not lowest <= value <= highest:
                raise InvalidInputError(f"expected {lowest}..{highest}, got {value}", path=option)

    @property
    def num_cycles(self) -> int:
        """Number of plans that are made."""
        return 1 if self.once else max(1, round(self.hours * 60 / INTERVAL_MINUTES))
