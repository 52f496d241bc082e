"""Placement rules as plain data.

A rule stands in three places: as data here, as an independent check in ``solver.domain.check``,
and as an encoding in every engine. A rule is hard unless it carries a penalty, in host-seconds,
charged once per unit of violation (as ``check`` counts them).

Capacity, the number of VMs a host takes, compatibility, maintenance and "not migratable" are facts
of hosts and VMs (``solver.domain.cluster``), not rules.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Literal, Self, get_args

from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId, VmId

Level = Literal["host", "rack", "zone"]
"""What counts as one failure domain."""

LEVELS: Final[tuple[Level, ...]] = get_args(Level)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRule:
    """What every rule has: an id, its VMs, and a penalty when it is soft."""

    kind: ClassVar[str] = ""
    min_vms: ClassVar[int] = 1
    other_side: ClassVar[str] = ""
    """Field of the VMs that the rule sets its own VMs against; empty for none."""

    id: str
    vm_ids: tuple[VmId, ...]
    penalty_host_s: float | None = None

    def __post_init__(self) -> None:
        if not self.id:
            raise InvalidInputError("expected a rule id, got an empty string", path="rules.id")
        if len(set(self.vm_ids)) < self.min_vms or len(set(self.vm_ids)) != len(self.vm_ids):
            raise self.refused(
                "vm_ids",
                f"expected at least {self.min_vms} different VMs, each once, "
                f"got {list(self.vm_ids)}",
            )
        if self.other_side:
            self._require_other_side(getattr(self, self.other_side))
        penalty = self.penalty_host_s
        if penalty is not None and not (math.isfinite(penalty) and 0 < penalty <= 1e6):
            raise self.refused(
                "penalty_host_s", f"expected a penalty in (0, 1e6] host-seconds, got {penalty}"
            )

    def _require_other_side(self, others: tuple[VmId, ...]) -> None:
        if not others or len(set(others)) != len(others):
            raise self.refused(
                self.other_side, f"expected at least 1 VM, each once, got {list(others)}"
            )
        both = sorted(set(others) & set(self.vm_ids))
        if both:
            raise self.refused(
                self.other_side, f"expected no VM of vm_ids, got {both} on both sides"
            )

    @property
    def hard(self) -> bool:
        """Whether the rule must hold rather than being priced."""
        return self.penalty_host_s is None

    @property
    def binds_under_way(self) -> bool:
        """Whether it binds at every instant of a plan, not only placements at rest."""
        return True

    @property
    def named_vm_ids(self) -> dict[str, tuple[VmId, ...]]:
        """VMs the rule names, by field."""
        named = {"vm_ids": self.vm_ids}
        if self.other_side:
            named[self.other_side] = getattr(self, self.other_side)
        return named

    @property
    def named_host_ids(self) -> dict[str, tuple[HostId, ...]]:
        """Hosts the rule names, by field."""
        return {}

    def restricted_to(self, vm_ids: Container[VmId]) -> Self | None:
        """Return the rule about those VMs only, or ``None`` when they leave nothing to ask."""
        left: dict[str, Any] = {
            field: tuple(vm_id for vm_id in named if vm_id in vm_ids)
            for field, named in self.named_vm_ids.items()
        }
        if len(left["vm_ids"]) < self.min_vms or not all(left.values()):
            return None
        return replace(self, **left)

    def refused(self, field: str, message: str) -> InvalidInputError:
        """Return the error of a wrong field."""
        return InvalidInputError(f"rule {self.id!r}: {message}", path=f"rules.{field}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRule(PlacementRule):
    """A rule between VMs and named hosts."""

    host_ids: tuple[HostId, ...]

    def __post_init__(self) -> None:
        PlacementRule.__post_init__(self)
        if not self.host_ids or len(set(self.host_ids)) != len(self.host_ids):
            raise self.refused(
                "host_ids", f"expected at least one host, each once, got {list(self.host_ids)}"
            )

    @property
    def named_host_ids(self) -> dict[str, tuple[HostId, ...]]:
        """Hosts the rule names, by field."""
        return {"host_ids": self.host_ids}


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

    @property
    def binds_under_way(self) -> bool:
        """It does not."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRule(PlacementRule):
    """A rule about how VMs stand to one another, at every instant unless told otherwise.

    Parameters
    ----------
    continuous
        Whether it also binds while VMs are under way, each then counting at both ends (where
        presence is asked for, only at its source, where it still runs). Otherwise it binds
        placements at rest: the start and the end of a plan.
    """

    continuous: bool = True

    @property
    def binds_under_way(self) -> bool:
        """Whether it binds at every instant of a plan, not only placements at rest."""
        return self.continuous


@dataclass(frozen=True, slots=True, kw_only=True)
class AntiAffinity(GroupRule):
    """No two of the VMs share a host."""

    kind: ClassVar[str] = "anti_affinity"
    min_vms: ClassVar[int] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Among(GroupRule):
    """All the VMs run in one of several parts of the cluster, whichever it is.

    Parameters
    ----------
    parts
        Groups of hosts that share no host; empty when every zone is a part. A VM on a host of no
        part is away from the others, even where there are no others.
    """

    kind: ClassVar[str] = "among"

    parts: tuple[tuple[HostId, ...], ...] = ()

    def __post_init__(self) -> None:
        PlacementRule.__post_init__(self)
        if not all(self.parts) or len(set().union(*self.parts)) != sum(map(len, self.parts)):
            raise self.refused(
                "parts",
                "expected parts of at least one host each that share no host, "
                f"got {[list(part) for part in self.parts]}",
            )

    @property
    def named_host_ids(self) -> dict[str, tuple[HostId, ...]]:
        """Hosts the rule names, by field."""
        return {f"parts[{i}]": part for i, part in enumerate(self.parts)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread(GroupRule):
    """The VMs run in at least so many different domains (as many as there are VMs, if fewer)."""

    kind: ClassVar[str] = "spread"
    min_vms: ClassVar[int] = 2

    min_domains: int
    level: Level = "zone"

    def __post_init__(self) -> None:
        PlacementRule.__post_init__(self)
        _require_count(self, "min_domains", 2)
        _require_level(self, self.level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency(GroupRule):
    """Every domain that holds one of the VMs holds one of those they depend on as well."""

    kind: ClassVar[str] = "dependency"
    other_side: ClassVar[str] = "on_vm_ids"

    on_vm_ids: tuple[VmId, ...]
    level: Level = "zone"

    def __post_init__(self) -> None:
        PlacementRule.__post_init__(self)
        _require_level(self, self.level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split(GroupRule):
    """No host holds both one of the VMs and one of the others."""

    kind: ClassVar[str] = "split"
    other_side: ClassVar[str] = "other_vm_ids"

    other_vm_ids: tuple[VmId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PerHostLimit(GroupRule):
    """At most so many of the VMs run on any one of the hosts.

    Parameters
    ----------
    host_ids
        Hosts it is about; empty for all.
    """

    kind: ClassVar[str] = "per_host_limit"

    max_vms: int
    host_ids: tuple[HostId, ...] = ()

    def __post_init__(self) -> None:
        PlacementRule.__post_init__(self)
        _require_count(self, "max_vms", 0)
        if len(set(self.host_ids)) != len(self.host_ids):
            raise self.refused("host_ids", f"expected hosts, each once, got {list(self.host_ids)}")

    @property
    def named_host_ids(self) -> dict[str, tuple[HostId, ...]]:
        """Hosts the rule names, by field."""
        return {"host_ids": self.host_ids}


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceLimit(GroupRule):
    """The VMs occupy at most so many hosts, each of which needs a licence."""

    kind: ClassVar[str] = "licence_limit"

    max_hosts: int

    def __post_init__(self) -> None:
        PlacementRule.__post_init__(self)
        _require_count(self, "max_hosts", 1)


def _require_count(rule: PlacementRule, field: str, least: int) -> None:
    value = getattr(rule, field)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise rule.refused(field, f"expected a whole number of at least {least}, got {value!r}")


def _require_level(rule: PlacementRule, level: str) -> None:
    if level not in LEVELS:
        raise rule.refused("level", f"expected one of {', '.join(LEVELS)}, got {level!r}")


RULES: Final[tuple[type[PlacementRule], ...]] = (
    Pin,
    Ban,
    Affinity,
    AntiAffinity,
    Among,
    Spread,
    Dependency,
    Split,
    PerHostLimit,
    LicenceLimit,
)
"""The catalogue."""


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
