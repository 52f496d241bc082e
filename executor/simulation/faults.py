"""What goes wrong in a simulated cluster, decided in advance by a script or by a seed.

Faults are of two kinds: the *fate* of one attempt to migrate, asked for when it starts, and
*incidents* that happen at their time whatever the executor does.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Final, Protocol

import numpy as np

from solver.domain.cluster import require_utc
from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId, VmId


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of one attempt.

    Parameters
    ----------
    refused
        Refused at once, for a reason that passes.
    fails_at_fraction, failure_is_permanent
        Fails when this share of the memory has been sent, and whether for good.
    stalls_at_fraction, stall_s
        Stops sending there for so long.
    """

    refused: bool = False
    fails_at_fraction: float | None = None
    failure_is_permanent: bool = False
    stalls_at_fraction: float | None = None
    stall_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("fails_at_fraction", "stalls_at_fraction"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise InvalidInputError(f"expected 0 to below 1, got {value}", path=name)


GOOD_FATE = Fate()


class IncidentKind(enum.Enum):
    """What happens by itself."""

    HOST_UNREACHABLE = "host_unreachable"
    """Its management does not answer for ``duration_s``; VMs and migrations carry on."""
    HOST_DAEMON_DIES = "host_daemon_dies"
    """As above, and what it was sending or receiving fails, unless past the point of no return."""
    LINK_SLOWED = "link_slowed"
    """Its link carries only ``fraction`` of what it should for ``duration_s``; nobody is told."""
    VM_SHUT_DOWN = "vm_shut_down"
    VM_VANISHES = "vm_vanishes"
    VM_MOVED = "vm_moved"
    """Somebody else moved it to ``host_id``; does not happen where it has no room."""


OF_HOSTS: Final = frozenset(
    {IncidentKind.HOST_UNREACHABLE, IncidentKind.HOST_DAEMON_DIES, IncidentKind.LINK_SLOWED}
)
"""What happens to a host, whichever VMs are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One thing that happens at an instant (aware UTC)."""

    at: datetime
    kind: IncidentKind
    vm_id: VmId | None = None
    host_id: HostId | None = None
    duration_s: float = 0.0
    fraction: float = 0.0

    def __post_init__(self) -> None:
        require_utc(self.at, f"incident {self.kind.value}", "at")
        if self.kind not in OF_HOSTS and self.vm_id is None:
            raise InvalidInputError(f"incident {self.kind.value}: expected a VM, got none")
        if self.kind in OF_HOSTS | {IncidentKind.VM_MOVED} and self.host_id is None:
            raise InvalidInputError(f"incident {self.kind.value}: expected a host, got none")
        if not 0 <= self.fraction < 1:
            raise InvalidInputError(f"expected 0 to below 1, got {self.fraction}", path="fraction")
        if not (math.isfinite(self.duration_s) and self.duration_s >= 0):
            raise InvalidInputError(f"expected 0 or more, got {self.duration_s}", path="duration_s")


class FaultPlan(Protocol):
    """Where faults come from."""

    def fate(self, vm_id: VmId) -> Fate:
        """Return what becomes of the next attempt to migrate the VM."""

    def incidents(self) -> Sequence[Incident]:
        """Return what happens by itself, in order of time."""


@dataclass(slots=True, kw_only=True)
class ScriptedFaults:
    """Faults written down: the fates of a VM's first, second, … attempt, then good ones."""

    fates: Mapping[VmId, Sequence[Fate]] = field(default_factory=dict)
    happening: Sequence[Incident] = ()
    _attempts: dict[VmId, int] = field(default_factory=dict, init=False)

    def fate(self, vm_id: VmId) -> Fate:
        """Return the next fate written for the VM."""
        attempt = self._attempts.get(vm_id, 0)
        self._attempts[vm_id] = attempt + 1
        written = self.fates.get(vm_id, ())
        return written[attempt] if attempt < len(written) else GOOD_FATE

    def incidents(self) -> Sequence[Incident]:
        """Return the written incidents in order of time."""
        return sorted(self.happening, key=lambda incident: incident.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRates:
    """Probabilities per attempt, together at most 1, and numbers of incidents over the window."""

    refused: float = 0.05
    fails: float = 0.05
    fails_for_good: float = 0.01
    stalls: float = 0.02
    longest_stall_s: float = 300.0
    hosts_unreachable: int = 0
    host_daemons_dying: int = 0
    links_slowed: int = 0
    longest_outage_s: float = 120.0
    vms_shut_down: int = 0
    vms_vanished: int = 0
    vms_moved: int = 0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not (math.isfinite(value) and value >= 0):
                raise InvalidInputError(f"expected 0 or more, got {value}", path=item.name)
        together = self.refused + self.fails + self.fails_for_good + self.stalls
        if together > 1:
            raise InvalidInputError(
                f"expected probabilities of at most 1 together, got {together}", path="rates"
            )


class RandomFaults:
    """Faults drawn from a seeded generator.

    Parameters
    ----------
    start_at, window_s
        When incidents may happen.

    Attempts draw in the order they are made, so that a run repeats exactly for a seed.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        rates: FaultRates,
        *,
        vm_ids: Sequence[VmId],
        host_ids: Sequence[HostId],
        start_at: datetime,
        window_s: float,
    ) -> None:
        self._rng = rng
        self._rates = rates
        numbers = {
            IncidentKind.HOST_UNREACHABLE: rates.hosts_unreachable,
            IncidentKind.VM_SHUT_DOWN: rates.vms_shut_down,
            IncidentKind.VM_VANISHES: rates.vms_vanished,
            IncidentKind.VM_MOVED: rates.vms_moved,
            IncidentKind.HOST_DAEMON_DIES: rates.host_daemons_dying,
            IncidentKind.LINK_SLOWED: rates.links_slowed,
        }
        incidents = [
            Incident(
                at=start_at + timedelta(seconds=round(rng.uniform(0, window_s), 3)),
                kind=kind,
                vm_id=vm_ids[int(rng.integers(len(vm_ids)))],
                host_id=host_ids[int(rng.integers(len(host_ids)))],
                duration_s=round(rng.uniform(1.0, max(1.0, rates.longest_outage_s)), 3),
                # Half of the slowed links are cut.
                fraction=max(0.0, round(rng.uniform(-0.1, 0.1), 3))
                if kind is IncidentKind.LINK_SLOWED
                else 0.0,
            )
            for kind, number in numbers.items()
            for _ in range(number)
        ]
        self._incidents = sorted(incidents, key=lambda incident: incident.at)

    def fate(self, vm_id: VmId) -> Fate:
        """Draw what becomes of an attempt."""
        rates = self._rates
        drawn, where, how_long = self._rng.random(3)
        if drawn < rates.refused:
            return Fate(refused=True)
        drawn -= rates.refused
        if drawn < rates.fails + rates.fails_for_good:
            return Fate(
                fails_at_fraction=float(where), failure_is_permanent=bool(drawn >= rates.fails)
            )
        drawn -= rates.fails + rates.fails_for_good
        if drawn < rates.stalls:
            return Fate(
                stalls_at_fraction=float(where), stall_s=float(how_long) * rates.longest_stall_s
            )
        return GOOD_FATE

    def incidents(self) -> Sequence[Incident]:
        """Return the incidents drawn when the plan was made."""
        return self._incidents
