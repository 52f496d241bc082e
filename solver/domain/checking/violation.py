"""One broken rule or capacity, how broken it is, and whether it is worse than before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from solver.domain.units import HostId, VmId

SEVERITY_ONE: Final = 1_000_000
"""Severity of one VM in the wrong place, or of one reference host of excess, in ppm."""

SEVERITY_BROKEN: Final = 10_000
"""Least severity of a capacity that is exceeded at all: the last MiB is worth repairing too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken rule or capacity.

    Parameters
    ----------
    key
        Identity, by which before and after are compared: kind, then rule, host or VM.
    amount
        How broken, as a whole number in the kind's own unit; positive.
    severity_ppm
        How broken in the common measure of the objective's repair term; 0 for soft rules.
    message
        One sentence with the value seen and the value expected.
    penalty_host_s
        Price per unit of ``amount`` of a soft rule; ``None`` for what is hard.
    vm_ids, host_ids
        The objects concerned.
    """

    key: tuple[str, ...]
    amount: int
    severity_ppm: int
    message: str
    penalty_host_s: float | None = None
    vm_ids: tuple[VmId, ...] = ()
    host_ids: tuple[HostId, ...] = ()

    @property
    def hard(self) -> bool:
        """Whether a hard rule, a capacity or a state of a host is broken."""
        return self.penalty_host_s is None


def new_or_worse(before: Iterable[Violation], after: Iterable[Violation]) -> tuple[Violation, ...]:
    """Return the hard violations of ``after`` that ``before`` lacks or has to a lesser amount."""
    amounts = {violation.key: violation.amount for violation in before}
    return tuple(
        violation
        for violation in after
        if violation.hard and violation.amount > amounts.get(violation.key, 0)
    )


def capacity_severity_ppm(excess: int, reference: int) -> int:
    """Return the severity of exceeding a capacity by ``excess`` (0 when it is not exceeded)."""
    if excess <= 0:
        return 0
    return SEVERITY_BROKEN + excess * SEVERITY_ONE // reference
