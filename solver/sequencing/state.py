"""Who holds what where, kept up to date move by move.

This is the incremental counterpart of the instant checks in ``solver.domain.check``: capacity and
anti-affinity, a VM under way counting at both ends, each allowed to be as broken as it was at the
start and no more. It knows neither time nor order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from solver.domain.cluster import VM, Cluster, reserved_amounts
from solver.domain.rules import AntiAffinity
from solver.domain.score import UNLIMITED
from solver.domain.units import FIELDS, HostId, VmId


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A VM that shall change host, by positions of hosts in the cluster.

    Parameters
    ----------
    source, destination
        Positions of hosts; the source of a VM that is to be started is ``None``.
    urgency
        Larger goes first.
    unit
        Number of the affinity group it is moved with; unique to the VM when it is in none.
    """

    vm: VM
    source: int | None
    destination: int
    urgency: int
    unit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One step of a move: the whole of it, or one of the two legs of a parked VM."""

    move: Move
    source: int | None
    destination: int
    urgency: int
    parking: bool = False
    returning: bool = False
    """Whether the VM comes from its parking host."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """An order that was tried, and what it came to.

    Parameters
    ----------
    legs
        In an order in which each fits once those before it are done.
    parked
        Cost of parking, by VM parked on the way.
    stuck
        Why, by VM that does not reach its destination.
    lost_urgency
        Of those VMs together.
    """

    legs: list[Leg] = field(default_factory=list)
    parked: dict[VmId, float] = field(default_factory=dict)
    stuck: dict[VmId, str] = field(default_factory=dict)
    lost_urgency: int = 0

    def fail(self, move: Move, reason: str) -> None:
        """Note that a VM does not reach its destination."""
        self.stuck[move.vm.id] = reason
        self.lost_urgency += max(0, move.urgency)

    @property
    def rank(self) -> tuple[int, int, float]:
        """Better attempts rank lower: least urgency lost, fewest VMs lost, cheapest parking."""
        return self.lost_urgency, len(self.stuck), sum(self.parked.values())


class Occupancy:
    """Reservations of all hosts and the crowding of every hard anti-affinity rule.

    Parameters
    ----------
    cluster
        Its placement is the start: nothing may ever become more broken than it is there.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._position = {host.id: h for h, host in enumerate(cluster.hosts)}
        self._needs: dict[tuple[VmId, int], tuple[tuple[int, int], ...]] = {}
        self.load = [[0] * len(FIELDS) for _ in cluster.hosts]
        rules = [rule for rule in cluster.rules if rule.hard and isinstance(rule, AntiAffinity)]
        self._rule_ids = [rule.id for rule in rules]
        self._apart: dict[VmId, list[int]] = {}
        for i, rule in enumerate(rules):
            for vm_id in rule.vm_ids:
                self._apart.setdefault(vm_id, []).append(i)
        self._members = [rule.vm_ids for rule in rules]
        self._crowd: list[dict[int, int]] = [{} for _ in rules]
        self._excess = [0] * len(rules)
        for vm in cluster.vms:
            if vm.host_id is not None:
                self.enter(vm, self._position[vm.host_id])
        self._excess_limit = list(self._excess)
        self.allowed = [
            [UNLIMITED if c is None else max(c, at_start) for c, at_start in pairs]
            for pairs in (
                zip(host.usable(), load, strict=True)
                for host, load in zip(cluster.hosts, self.load, strict=True)
            )
        ]

    def copy(self) -> Occupancy:
        """Return an independent state that shares what never changes."""
        twin = object.__new__(Occupancy)
        twin._cluster = self._cluster
        twin._position = self._position
        twin._needs = self._needs
        twin._rule_ids = self._rule_ids
        twin._apart = self._apart
        twin._members = self._members
        twin._excess_limit = self._excess_limit
        twin.allowed = self.allowed
        twin.load = [list(row) for row in self.load]
        twin._crowd = [dict(counts) for counts in self._crowd]
        twin._excess = list(self._excess)
        return twin

    def position(self, host_id: HostId) -> int:
        """Return the position of a host in the cluster."""
        return self._position[host_id]

    def needs(self, vm: VM, host: int) -> tuple[tuple[int, int], ...]:
        """Return (resource, amount) of what ``vm`` reserves on a host, amounts above zero."""
        key = (vm.id, host)
        needs = self._needs.get(key)
        if needs is None:
            amounts = reserved_amounts(vm, self._cluster.hosts[host])
            needs = tuple((r, amount) for r, amount in enumerate(amounts) if amount)
            self._needs[key] = needs
        return needs

    def apart_from(self, vm: VM) -> Sequence[int]:
        """Return the numbers of the hard anti-affinity rules of a VM."""
        return self._apart.get(vm.id, ())

    def members(self, rule: int) -> Sequence[VmId]:
        """Return the VMs of a hard anti-affinity rule."""
        return self._members[rule]

    def has_room(self, vm: VM, host: int) -> bool:
        """Whether the VM's reservation fits on top of what the host holds."""
        load, allowed = self.load[host], self.allowed[host]
        for r, amount in self.needs(vm, host):  # noqa: SIM110  # Twice as fast, and the hottest line.
            if load[r] + amount > allowed[r]:
                return False
        return True

    def largest_room(self, hosts: Sequence[int]) -> tuple[int, ...]:
        """Return per resource the most that is free on any of the hosts."""
        rows = [
            [most - used for used, most in zip(self.load[h], self.allowed[h], strict=True)]
            for h in hosts
        ]
        return tuple(max(column) for column in zip(*rows, strict=True)) if rows else ()

    def keeps_apart(self, vm: VM, host: int) -> bool:
        """Whether no anti-affinity rule gets more crowded than it was at the start."""
        for i in self._apart.get(vm.id, ()):
            if self._crowd[i].get(host, 0) and self._excess[i] >= self._excess_limit[i]:
                return False
        return True

    def admits(self, vm: VM, host: int) -> bool:
        """Whether the VM may enter the host now."""
        return self.has_room(vm, host) and self.keeps_apart(vm, host)

    def enter(self, vm: VM, host: int) -> None:
        """Let the VM hold its reservation on the host as well."""
        load = self.load[host]
        for r, amount in self.needs(vm, host):
            load[r] += amount
        for i in self._apart.get(vm.id, ()):
            number = self._crowd[i].get(host, 0)
            self._crowd[i][host] = number + 1
            self._excess[i] += number > 0

    def leave(self, vm: VM, host: int) -> None:
        """Take the VM's reservation from the host."""
        load = self.load[host]
        for r, amount in self.needs(vm, host):
            load[r] -= amount
        for i in self._apart.get(vm.id, ()):
            number = self._crowd[i][host]
            self._crowd[i][host] = number - 1
            self._excess[i] -= number > 1

    def obstacles(self, vm: VM, host: int) -> Iterator[str]:
        """Yield what keeps the VM out of the host now, one clause each."""
        load, allowed = self.load[host], self.allowed[host]
        for r, amount in self.needs(vm, host):
            free = allowed[r] - load[r]
            if amount > free:
                yield f"it needs {amount} {FIELDS[r]} there and {max(0, free)} are free"
        for i in self._apart.get(vm.id, ()):
            if self._crowd[i].get(host, 0) and self._excess[i] >= self._excess_limit[i]:
                yield f"anti-affinity rule {self._rule_ids[i]!r} keeps it away from VMs there"
