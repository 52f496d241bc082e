"""Placement rules as plain data.

A rule stands in three places: as data here, as an independent check in ``solver.domain.check``,
and as an encoding in every engine. A rule is hard unless it carries a penalty, in host-seconds,
charged once per unit of violation (as ``check`` counts them).

Capacity, maintenance and "not migratable" are facts of hosts and VMs (``solver.domain.cluster``),
not rules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final

from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId, VmId


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRule:
    """What every rule has: an id, its VMs, and a penalty when it is soft."""

    kind: ClassVar[str] = ""
    min_vms: ClassVar[int] = 1

    id: str
    vm_ids: tuple[VmId, ...]
    penalty_host_s: float | None = None

    def __post_init__(self) -> None:
        if not self.id:
            raise InvalidInputError("expected a rule id, got an empty string", path="rules.id")
        if len(set(self.vm_ids)) < self.min_vms or len(set(self.vm_ids)) != len(self.vm_ids):
            raise InvalidInputError(
                f"rule {self.id!r}: expected at least {self.min_vms} different VMs, each once, "
                f"got {list(self.vm_ids)}",
                path="rules.vm_ids",
            )
        penalty = self.penalty_host_s
        if penalty is not None and not (math.isfinite(penalty) and 0 < penalty <= 1e6):
            raise InvalidInputError(
                f"rule {self.id!r}: expected a penalty in (0, 1e6] host-seconds, got {penalty}",
                path="rules.penalty_host_s",
            )

    @property
    def hard(self) -> bool:
        """Whether the rule must hold rather than being priced."""
        return self.penalty_host_s is None

    @property
    def named_host_ids(self) -> tuple[HostId, ...]:
        """Hosts the rule names."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRule(PlacementRule):
    """A rule between VMs and named hosts."""

    host_ids: tuple[HostId, ...]

    def __post_init__(self) -> None:
        PlacementRule.__post_init__(self)
        if not self.host_ids or len(set(self.host_ids)) != len(self.host_ids):
            raise InvalidInputError(
                f"rule {self.id!r}: expected at least one host, each once, "
                f"got {list(self.host_ids)}",
                path="rules.host_ids",
            )

    @property
    def named_host_ids(self) -> tuple[HostId, ...]:
        """Hosts the rule names."""
        return self.host_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin(HostRule):
    """Each of the VMs runs on one of the hosts (with several hosts, a fence)."""

    kind: ClassVar[str] = "pin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban(HostRule):
    """None of the VMs runs on any of the hosts."""

    kind: ClassVar[str] = "ban"


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity(PlacementRule):
    """All the VMs run on one host.

    It binds the placement a plan ends in. While its members follow one another to a new host they
    are apart for a moment, as they must be.
    """

    kind: ClassVar[str] = "affinity"
    min_vms: ClassVar[int] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AntiAffinity(PlacementRule):
    """No two of the VMs share a host, at any instant: a VM under way counts at both ends."""

    kind: ClassVar[str] = "anti_affinity"
    min_vms: ClassVar[int] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Among(PlacementRule):
    parts: tuple[tuple[HostId, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread(PlacementRule):
    min_domains: int = 2
    level: str = "zone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency(PlacementRule):
    on_vm_ids: tuple[VmId, ...] = ()
    level: str = "zone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split(PlacementRule):
    other_vm_ids: tuple[VmId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PerHostLimit(PlacementRule):
    max_vms: int = 1
    host_ids: tuple[HostId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceLimit(PlacementRule):
    max_hosts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveBudget:
    """How many moves one plan may make and how many may run at once.

    ``max_moves`` counts VMs that end on another host, and moves made to repair or to empty a host
    as well; ``max_moves_per_host`` counts those that leave plus those that enter a host. Parking
    moves count by step. ``None`` means no limit. The ``max_parallel`` caps bind the schedule.
    """

    max_moves: int | None = None
    max_moves_per_host: int | None = None
    max_parallel: int = 8
    max_parallel_in_per_host: int = 2
    max_parallel_out_per_host: int = 2

    def __post_init__(self) -> None:
        for name in ("max_moves", "max_moves_per_host"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise InvalidInputError(f"expected 0 or more, got {value}", path=f"budget.{name}")
        for name in ("max_parallel", "max_parallel_in_per_host", "max_parallel_out_per_host"):
            if getattr(self, name) < 1:
                raise InvalidInputError(
                    f"expected at least 1, got {getattr(self, name)}", path=f"budget.{name}"
                )


NO_BUDGET: Final = MoveBudget()


def find_contradiction(
    rules: tuple[PlacementRule, ...], host_ids: tuple[HostId, ...]
) -> str | None:
    """Return one sentence about hard rules that no placement can keep, or ``None``.

    Finds VMs whose pins and bans leave no host, pairs that must share a host and must not, and
    affine VMs whose pins and bans leave no common host. What depends on how many hosts are up
    (more anti-affine VMs than hosts) is no contradiction: it shows as a violation that remains.
    """
    hard = [rule for rule in rules if rule.hard]
    allowed: dict[VmId, set[HostId]] = {}
    blamed: dict[VmId, list[str]] = {}
    for rule in hard:
        if isinstance(rule, HostRule):
            for vm_id in rule.vm_ids:
                left = allowed.setdefault(vm_id, set(host_ids))
                blamed.setdefault(vm_id, []).append(rule.id)
                if isinstance(rule, Pin):
                    left &= set(rule.host_ids)
                else:
                    left -= set(rule.host_ids)
                if not left:
                    return (
                        f"hard rules {', '.join(map(repr, blamed[vm_id]))} "
                        f"leave no host for VM {vm_id!r}"
                    )
    for names, together in _united(tuple(rule for rule in hard if isinstance(rule, Affinity))):
        common = set(host_ids)
        for vm_id in together:
            common &= allowed.get(vm_id, common)
        if not common:
            return (
                f"hard rules {names} want {sorted(together)} on one host, "
                "but their pins and bans leave no host in common"
            )
        for anti in (rule for rule in hard if isinstance(rule, AntiAffinity)):
            both = sorted(together & set(anti.vm_ids))
            if len(both) > 1:
                return f"hard rules {names} and {anti.id!r} want VMs {both} both together and apart"
    return None


def _united(affinities: tuple[Affinity, ...]) -> list[tuple[str, set[VmId]]]:
    """Return the sets of VMs that affinities tie together, with the names of the rules.

    Rules that share a VM bind all their VMs to one host.
    """
    sets: list[tuple[list[str], set[VmId]]] = []
    for rule in affinities:
        names, together = [rule.id], set(rule.vm_ids)
        apart = []
        for other_names, others in sets:
            if others & together:
                names, together = other_names + names, others | together
            else:
                apart.append((other_names, others))
        sets = [*apart, (names, together)]
    return [(", ".join(map(repr, names)), together) for names, together in sets]
