"""Hosts, VMs and the network between hosts: one immutable snapshot of a cluster.

Everything is checked on construction, so that a ``Cluster`` in hand is always well formed. Whether
its *placement* keeps the rules is another question, answered by ``solver.domain.check``: real
clusters start with broken rules and over-committed hosts, and must be accepted as they are.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from solver.domain.contradiction import find_contradiction
from solver.domain.errors import InvalidInputError
from solver.domain.rules import NO_BUDGET, Level, MoveBudget, PlacementRule
from solver.domain.units import Amounts, HostId, Limits, VmId, require_amount

DEFAULT_PRIORITY: Final = 5
MIN_PRIORITY: Final = 1
MAX_PRIORITY: Final = 10

Placement = Mapping[VmId, HostId | None]
"""Where every VM is or shall be; ``None`` for a VM that runs nowhere."""


class HostState(enum.Enum):
    """What may happen on a host."""

    UP = "up"
    MAINTENANCE = "maintenance"
    """To be emptied, and to stay empty."""
    UNREACHABLE = "unreachable"
    """Frozen: its VMs and their load stay, nothing goes there; never taken for empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overcommit:
    """How much may be *allocated* per unit of capacity.

    ``cpu`` is vCPUs per core, ``None`` for no limit; ``memory`` is allocated per physical MiB.
    The memory actually resident always has to fit, whatever the ratio.
    """

    cpu: float | None = None
    memory: float = 1.0

    def __post_init__(self) -> None:
        for name, ratio in (("cpu", self.cpu), ("memory", self.memory)):
            if ratio is not None and not (math.isfinite(ratio) and 1.0 <= ratio <= 1000.0):
                raise InvalidInputError(
                    f"expected a ratio of 1..1000, got {ratio}", path=f"overcommit.{name}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A hypervisor.

    Parameters
    ----------
    capacity
        What the machine has.
    reserve
        What is kept from VMs: hypervisor, page cache, head room for N+1.
    overcommit
        Allocation allowed per unit of capacity.
    zone, rack
        Failure domain and network neighbourhood; empty when not known.
    migration_bandwidth_mib_per_s
        What the host's own link carries of migrations, in and out together.
    max_vms
        Most VMs it may hold, one under way counting at both ends; ``None`` for no limit.
    provides
        What VMs may require of it, as free names (``cpu:avx512``, ``storage:pool1``). The name in
        ``cpu_model`` only informs.
    """

    id: HostId
    capacity: Limits
    reserve: Amounts = field(default_factory=Amounts)
    overcommit: Overcommit = field(default_factory=Overcommit)
    zone: str = ""
    rack: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    cpu_model: str = ""
    state: HostState = HostState.UP
    migration_bandwidth_mib_per_s: int = 1_000
    max_vms: int | None = None
    provides: tuple[str, ...] = ()
    _usable: tuple[int | None, int | None, int | None, int | None] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        require_id(self.id, "host")
        if self.max_vms is not None:
            require_amount(self.max_vms, "max_vms")
        require_names(self.provides, f"host {self.id!r}", "provides")
        require_amount(self.migration_bandwidth_mib_per_s, "migration_bandwidth_mib_per_s")
        if self.migration_bandwidth_mib_per_s < 1:
            raise InvalidInputError(
                f"host {self.id!r}: expected at least 1, got 0",
                path="migration_bandwidth_mib_per_s",
            )
        # Worked out once, because judging a large cluster asks a quarter of a million times.
        left = tuple(map(_left, self.capacity.as_tuple(), self.reserve.as_tuple()))
        object.__setattr__(self, "_usable", left)

    def domain(self, level: Level) -> str:
        """Name of the failure domain it is in; an unnamed zone or rack is one like any other."""
        return {"host": self.id, "rack": self.rack, "zone": self.zone}[level]

    def usable(self) -> tuple[int | None, int | None, int | None, int | None]:
        """Capacity after the reserve, per resource; ``None`` is unlimited.

        A reserve larger than the capacity leaves zero, not less.
        """
        return self._usable


def _left(capacity: int | None, reserve: int) -> int | None:
    return None if capacity is None else max(0, capacity - reserve)


@dataclass(frozen=True, slots=True, kw_only=True)
class VM:
    """A virtual machine.

    Parameters
    ----------
    allocation
        What it was promised: vCPUs (in millicores) and memory size.
    host_id
        Where it runs; ``None`` when it runs nowhere and is to be started.
    memory_footprint_mib
        Memory resident on its host: what a migration has to copy. Defaults to the allocation; may
        exceed it a little, by what the hypervisor itself needs for the VM.
    dirty_mib_per_s
        Rate at which it rewrites its memory.
    priority
        Soft priority 1-10, 10 highest: it decides who suffers and who is moved, and guarantees
        nothing.
    group
        Application group; empty for none.
    app_type
        Category of what it runs (``web``, ``database``); empty when not known.
    not_migratable_reason
        Why it cannot be migrated (passthrough device, local disk); empty when it can.
    not_before_at
        Cool-down: not to be moved before this instant (aware UTC), except to repair a rule.
    requires
        What its host has to provide, as free names (``cpu:avx512``, ``network:dmz``).
    """

    id: VmId
    allocation: Amounts
    host_id: HostId | None = None
    memory_footprint_mib: int = -1
    dirty_mib_per_s: int = 0
    priority: int = DEFAULT_PRIORITY
    group: str = ""
    app_type: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    not_migratable_reason: str = ""
    not_before_at: datetime | None = None
    requires: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_id(self.id, "VM")
        require_names(self.requires, f"VM {self.id!r}", "requires")
        if self.memory_footprint_mib == -1:
            object.__setattr__(self, "memory_footprint_mib", self.allocation.memory_mib)
        require_amount(self.memory_footprint_mib, "memory_footprint_mib")
        require_amount(self.dirty_mib_per_s, "dirty_mib_per_s")
        if isinstance(self.priority, bool) or not isinstance(self.priority, int):
            raise InvalidInputError(
                f"VM {self.id!r}: expected a whole number, got {self.priority!r}", path="priority"
            )
        if not MIN_PRIORITY <= self.priority <= MAX_PRIORITY:
            raise InvalidInputError(
                f"VM {self.id!r}: expected {MIN_PRIORITY}..{MAX_PRIORITY}, got {self.priority}",
                path="priority",
            )
        require_utc(self.not_before_at, f"VM {self.id!r}", "not_before_at")

    @property
    def migratable(self) -> bool:
        """Whether nothing about the VM itself forbids a live migration."""
        return not self.not_migratable_reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The way between two hosts.

    ``latency_us`` is one round trip in microseconds, ``bandwidth_mib_per_s`` what one migration
    can get at most, ``distance`` a number of zone borders crossed (0 inside a zone), each charged
    explicitly by the migration cost.
    """

    latency_us: int = 200
    bandwidth_mib_per_s: int = 1_000
    distance: int = 0

    def __post_init__(self) -> None:
        require_amount(self.latency_us, "latency_us")
        require_amount(self.bandwidth_mib_per_s, "bandwidth_mib_per_s")
        require_amount(self.distance, "distance")
        if self.bandwidth_mib_per_s < 1:
            raise InvalidInputError("expected at least 1, got 0", path="bandwidth_mib_per_s")

    def narrowest_mib_per_s(self, one: Host, other: Host) -> int:
        """Return what one migration over it can get at most, the links of both ends included."""
        return min(
            self.bandwidth_mib_per_s,
            one.migration_bandwidth_mib_per_s,
            other.migration_bandwidth_mib_per_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Links between hosts, the most specific first: host pair, zone pair, same zone, other zone.

    Keys of ``hosts`` and ``zones`` are unordered pairs, written in sorted order.
    """

    same_zone: Link = field(default_factory=Link)
    other_zone: Link = field(default_factory=lambda: Link(latency_us=1_000, distance=1))
    zones: Mapping[tuple[str, str], Link] = field(default_factory=dict)
    hosts: Mapping[tuple[HostId, HostId], Link] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, pairs in (("zones", self.zones), ("hosts", self.hosts)):
            for a, b in pairs:
                if a > b:
                    raise InvalidInputError(
                        f"expected the pair in sorted order, got ({a!r}, {b!r})",
                        path=f"network.{name}",
                    )

    def link(self, a: Host, b: Host) -> Link:
        """Return the link between two different hosts; order does not matter."""
        by_host = self.hosts.get((min(a.id, b.id), max(a.id, b.id)))
        if by_host is not None:
            return by_host
        by_zone = self.zones.get((min(a.zone, b.zone), max(a.zone, b.zone)))
        if by_zone is not None:
            return by_zone
        return self.same_zone if a.zone == b.zone else self.other_zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One snapshot of hosts, VMs, network and rules.

    Parameters
    ----------
    observed_at
        When the snapshot was taken (aware UTC).
    budget
        How many moves one plan may make.

    Raises
    ------
    InvalidInputError
        If there is no host, an id stands twice, a VM or rule names an unknown host or VM, or hard
        pins and bans leave some VM no host.
    """

    observed_at: datetime
    hosts: tuple[Host, ...]
    vms: tuple[VM, ...]
    network: Network = field(default_factory=Network)
    rules: tuple[PlacementRule, ...] = ()
    budget: MoveBudget = NO_BUDGET

    def __post_init__(self) -> None:
        require_utc(self.observed_at, "cluster", "observed_at")
        if not self.hosts:
            raise InvalidInputError("expected at least one host, got none", path="hosts")
        require_unique((host.id for host in self.hosts), "hosts")
        require_unique((vm.id for vm in self.vms), "vms")
        require_unique((rule.id for rule in self.rules), "rules")
        host_ids = {host.id for host in self.hosts}
        vm_ids = {vm.id for vm in self.vms}
        for i, vm in enumerate(self.vms):
            if vm.host_id is not None and vm.host_id not in host_ids:
                raise InvalidInputError(
                    f"VM {vm.id!r} names unknown host {vm.host_id!r}", path=f"vms[{i}].host_id"
                )
        known: set[int] = set()
        for i, rule in enumerate(self.rules):
            require_known(rule, "VM", rule.named_vm_ids, vm_ids, f"rules[{i}]")
            # Rules often share the very object, and thousands of names take long to look up.
            named = {at: ids for at, ids in rule.named_host_ids.items() if id(ids) not in known}
            require_known(rule, "host", named, host_ids, f"rules[{i}]")
            known.update(map(id, named.values()))
        for a, b in self.network.hosts:
            for host_id in (a, b):
                if host_id not in host_ids:
                    raise InvalidInputError(
                        f"a link names unknown host {host_id!r}", path="network.hosts"
                    )
        contradiction = find_contradiction(self.rules, tuple(host.id for host in self.hosts))
        if contradiction is not None:
            raise InvalidInputError(contradiction, path="rules")

    @property
    def placement(self) -> dict[VmId, HostId | None]:
        """Where every VM is now."""
        return {vm.id: vm.host_id for vm in self.vms}

    def with_placement(self, placement: Placement) -> Cluster:
        """Return the snapshot with its VMs elsewhere."""
        return replace(self, vms=tuple(replace(vm, host_id=placement[vm.id]) for vm in self.vms))


def reserved_amounts(vm: VM, host: Host) -> tuple[int, int, int, int]:
    """Return what must be there for ``vm`` on ``host``, per resource.

    Memory is the allocation over the over-commit ratio, at least what is resident. CPU is the
    allocation over its ratio, nothing when the ratio is unlimited. Disk and network are never
    promised.
    """
    cpu = 0
    if host.overcommit.cpu is not None:
        cpu = math.ceil(vm.allocation.cpu_millicores / host.overcommit.cpu)
    promised_mib = math.ceil(vm.allocation.memory_mib / host.overcommit.memory)
    return cpu, max(promised_mib, vm.memory_footprint_mib), 0, 0


def require_id(value: str, kind: str) -> None:
    """Raise ``InvalidInputError`` unless ``value`` is a non-empty printable string."""
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 255:
        raise InvalidInputError(
            f"expected a printable {kind} id of 1..255 characters, got {value!r}", path="id"
        )


def require_unique(ids: Iterable[str], path: str) -> None:
    """Raise ``InvalidInputError`` naming the first id that stands more than once."""
    for value, count in Counter(ids).items():
        if count > 1:
            raise InvalidInputError(f"id {value!r} stands {count} times, expected once", path=path)


def require_known(
    rule: PlacementRule,
    what: str,
    named: Mapping[str, tuple[str, ...]],
    known: set[HostId] | set[VmId],
    path: str,
) -> None:
    """Raise ``InvalidInputError`` for the first thing that a field of the rule names in vain."""
    for name, ids in named.items():
        if not known.issuperset(ids):
            value = next(value for value in ids if value not in known)
            raise InvalidInputError(
                f"rule {rule.id!r} names unknown {what} {value!r}", path=f"{path}.{name}"
            )


def require_names(names: tuple[str, ...], what: str, path: str) -> None:
    """Raise ``InvalidInputError`` unless the names are printable, not empty and each once."""
    if not all(isinstance(name, str) and name and name.isprintable() for name in names) or len(
        set(names)
    ) != len(names):
        raise InvalidInputError(
            f"{what}: expected printable names, each once, got {list(names)}", path=path
        )


def require_utc(instant: datetime | None, what: str, path: str) -> None:
    """Raise ``InvalidInputError`` unless ``instant`` is absent or aware UTC."""
    if instant is not None and instant.utcoffset() != timedelta(0):
        raise InvalidInputError(f"{what}: expected aware UTC, got {instant!r}", path=path)
