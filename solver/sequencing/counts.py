"""How broken each group rule is, kept up to date as VMs come and go.

Every group rule counts VMs in cells: hosts, racks, zones, or parts that the rule names. A count
answers in about constant time whether a VM may set out for a host, given how broken the rule was
at the start. At an instant a VM under way counts at both ends; where presence is what is asked for
(spread, what others depend on) it counts only at its source. There the *end* of a move can break
the rule, so a move is admitted only if the rule holds whichever of the moves under way end first.

Which rules bind when, and what a host can hold, is the business of ``state``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from copy import copy

from solver.domain.cluster import Cluster
from solver.domain.rules import (
    Affinity,
    Among,
    AntiAffinity,
    Dependency,
    GroupRule,
    Level,
    LicenceLimit,
    PerHostLimit,
    PlacementRule,
    Split,
    Spread,
)
from solver.domain.units import HostId, VmId

NO_CELL = -1
MEMBER, OTHER = 0, 1
"""Roles of a VM in a rule; ``OTHER`` is what a dependency or a split is about besides members."""


class Cells:
    """Hosts of a cluster as positions, and the cells that rules put them into."""

    def __init__(self, cluster: Cluster) -> None:
        self._hosts = cluster.hosts
        self.position: dict[HostId, int] = {host.id: h for h, host in enumerate(cluster.hosts)}
        self._levels: dict[Level, Mapping[int, int] | None] = {"host": None}
        self._parts: dict[int, Mapping[int, int]] = {}

    def level(self, level: Level) -> Mapping[int, int] | None:
        """Return the cell of each host at a level; ``None`` where each host is its own cell."""
        if level not in self._levels:
            names: dict[str, int] = {}
            self._levels[level] = {
                h: names.setdefault(host.domain(level), len(names))
                for h, host in enumerate(self._hosts)
            }
        return self._levels[level]

    def parts(self, parts: tuple[tuple[HostId, ...], ...]) -> Mapping[int, int] | None:
        """Return the number of the part that holds each host; without parts, of its zone.

        The parts have to be those of a rule of the cluster, and so outlive this.
        """
        if not parts:
            return self.level("zone")
        # By identity: rules share the very object, and thousands of names take long to hash.
        if id(parts) not in self._parts:
            self._parts[id(parts)] = {
                self.position[host_id]: p for p, part in enumerate(parts) for host_id in part
            }
        return self._parts[id(parts)]

    def named(self, host_ids: tuple[HostId, ...]) -> Mapping[int, int] | None:
        """Return named hosts as their own cells, all others being in none; no names: all."""
        if not host_ids:
            return None
        return {h: h for h in (self.position[host_id] for host_id in host_ids)}


def roles(rule: PlacementRule) -> Iterator[tuple[VmId, int]]:
    """Yield the VMs that a rule counts, with their roles."""
    for role, vm_ids in zip((MEMBER, OTHER), rule.named_vm_ids.values(), strict=False):
        for vm_id in vm_ids:
            yield vm_id, role


def binds_instants(rule: PlacementRule) -> bool:
    """Whether a rule must hold while VMs are under way, and not only before and after."""
    return isinstance(rule, GroupRule) and rule.continuous


def count_of(rule: PlacementRule, cells: Cells) -> Count:
    """Return the empty count of a rule that is about how VMs stand to one another."""
    match rule:
        case Affinity():
            return Scatter(rule, None)
        case AntiAffinity():
            return Crowding(rule, None, bound=1)
        case Among():
            return Scatter(rule, cells.parts(rule.parts))
        case Spread():
            return Spreading(rule, cells.level(rule.level), bound=rule.min_domains)
        case Dependency():
            return Dependence(rule, cells.level(rule.level))
        case Split():
            return Mixing(rule, None)
        case PerHostLimit():
            return Crowding(rule, cells.named(rule.host_ids), bound=rule.max_vms)
        case LicenceLimit():
            return Footprint(rule, None, bound=rule.max_hosts)
        case _:
            raise AssertionError(f"rule {rule.id!r} ({rule.kind}) counts nothing")


class Count(ABC):
    """VMs of one rule, counted in its cells.

    Parameters
    ----------
    cells
        Cell of each host, hosts left out being in none; ``None`` where each host is a cell.
    bound
        What the rule allows of whatever it limits or asks for.

    Attributes
    ----------
    limit
        Largest amount that is allowed: that of the start.
    """

    def __init__(
        self, rule: PlacementRule, cells: Mapping[int, int] | None, *, bound: int = 0
    ) -> None:
        self.rule = rule
        self.limit = 0
        self._cells = cells
        self._bound = bound
        self._amount = 0
        self._number: dict[int, int] = {}

    @property
    def amount(self) -> int:
        """How broken the rule is, as ``check`` counts it; at worst, where moves are under way."""
        return self._amount

    @property
    def local(self) -> bool:
        """Whether a VM that leaves a host makes room in the rule on that host only."""
        return False

    def copy(self) -> Count:
        """Return an independent count."""
        twin = copy(self)
        twin._number = dict(self._number)
        return twin

    def begin(self, role: int, source: int | None, host: int) -> None:
        """Let a VM set out for a host; it stays where it is until ``end``."""
        del source
        self.put(role, host)

    def end(self, role: int, source: int, host: int) -> None:
        """Let a VM leave its source for good."""
        del host
        self.take(role, source)

    @abstractmethod
    def put(self, role: int, host: int) -> None:
        """Count a VM at rest on a host."""

    @abstractmethod
    def take(self, role: int, host: int) -> None:
        """Count a VM at rest on a host no more."""

    @abstractmethod
    def admits(self, role: int, source: int | None, host: int) -> bool:
        """Whether the rule gets no more broken than at the start if a VM sets out for a host."""

    def _cell(self, host: int) -> int:
        return host if self._cells is None else self._cells.get(host, NO_CELL)


class Crowding(Count):
    """VMs beyond a bound in a cell, summed over the cells."""

    @property
    def local(self) -> bool:
        """Whether a VM that leaves a host makes room in the rule on that host only."""
        return self.limit == 0

    def free(self, host: int) -> int | None:
        """Return how many more VMs the bound allows on a host; ``None`` where it does not bind."""
        cell = self._cell(host)
        return None if cell == NO_CELL else self._bound - self._number.get(cell, 0)

    def put(self, role: int, host: int) -> None:
        """Count a VM at rest on a host."""
        cell = self._cell(host)
        if cell != NO_CELL:
            number = self._number.get(cell, 0)
            self._number[cell] = number + 1
            self._amount += number >= self._bound

    def take(self, role: int, host: int) -> None:
        """Count a VM at rest on a host no more."""
        cell = self._cell(host)
        if cell != NO_CELL:
            number = self._number[cell]
            self._number[cell] = number - 1
            self._amount -= number > self._bound

    def admits(self, role: int, source: int | None, host: int) -> bool:
        """Whether there is room in the cell, or the rule was as broken at the start."""
        cell = host if self._cells is None else self._cells.get(host, NO_CELL)
        return (
            cell == NO_CELL or self._number.get(cell, 0) < self._bound or self._amount < self.limit
        )


class Scatter(Count):
    """VMs outside the cell that holds most of them."""

    def put(self, role: int, host: int) -> None:
        """Count a VM at rest on a host."""
        self._add(self._cell(host), 1)

    def take(self, role: int, host: int) -> None:
        """Count a VM at rest on a host no more."""
        self._add(self._cell(host), -1)

    @property
    def amount(self) -> int:
        """How many VMs are away from the most of them."""
        return self._amount - max(self._number.values(), default=0)

    def admits(self, role: int, source: int | None, host: int) -> bool:
        """Whether as few are away as at the start once the VM is at both ends."""
        self.put(role, host)
        admitted = self.amount <= self.limit
        self.take(role, host)
        return admitted

    def _add(self, cell: int, number: int) -> None:
        self._amount += number
        if cell != NO_CELL:
            self._number[cell] = self._number.get(cell, 0) + number


class Footprint(Count):
    """Cells with any VM, beyond a bound."""

    @property
    def amount(self) -> int:
        """How many cells more than the bound are occupied."""
        return max(0, self._amount - self._bound)

    def put(self, role: int, host: int) -> None:
        """Count a VM at rest on a host."""
        number = self._number.get(host, 0)
        self._number[host] = number + 1
        self._amount += number == 0

    def take(self, role: int, host: int) -> None:
        """Count a VM at rest on a host no more."""
        number = self._number[host]
        self._number[host] = number - 1
        self._amount -= number == 1

    def admits(self, role: int, source: int | None, host: int) -> bool:
        """Whether the host is occupied already, or may be as well."""
        return self._number.get(host, 0) > 0 or self._amount < self._bound + self.limit


class _TwoGroups(Count):
    """A count of members and of others."""

    def __init__(
        self, rule: PlacementRule, cells: Mapping[int, int] | None, *, bound: int = 0
    ) -> None:
        super().__init__(rule, cells, bound=bound)
        self._others: dict[int, int] = {}

    def copy(self) -> Count:
        """Return an independent count."""
        twin = super().copy()
        assert isinstance(twin, _TwoGroups)
        twin._others = dict(self._others)
        return twin


class Mixing(_TwoGroups):
    """Pairs of a member and an other that share a host, the smaller number of them."""

    @property
    def local(self) -> bool:
        """Whether a VM that leaves a host makes room in the rule on that host only."""
        return self.limit == 0

    def put(self, role: int, host: int) -> None:
        """Count a VM at rest on a host."""
        mine, theirs = self._sides(role)
        number = mine.get(host, 0)
        mine[host] = number + 1
        self._amount += number < theirs.get(host, 0)

    def take(self, role: int, host: int) -> None:
        """Count a VM at rest on a host no more."""
        mine, theirs = self._sides(role)
        number = mine[host]
        mine[host] = number - 1
        self._amount -= number <= theirs.get(host, 0)

    def admits(self, role: int, source: int | None, host: int) -> bool:
        """Whether no more of them share hosts than at the start."""
        mine, theirs = self._sides(role)
        return mine.get(host, 0) >= theirs.get(host, 0) or self._amount < self.limit

    def _sides(self, role: int) -> tuple[dict[int, int], dict[int, int]]:
        if role == MEMBER:
            return self._number, self._others
        return self._others, self._number


class _Presence(_TwoGroups):
    """Cells that are to hold a VM for certain, whichever of the moves under way end first.

    ``_others`` counts those that stay in a cell for certain. One on its way to another cell is in
    either, and counts by what is certain of it and of the others under way.
    """

    def __init__(
        self, rule: PlacementRule, cells: Mapping[int, int] | None, *, bound: int = 0
    ) -> None:
        super().__init__(rule, cells, bound=bound)
        self._ways: list[tuple[int, int]] = []

    def copy(self) -> Count:
        """Return an independent count."""
        twin = super().copy()
        assert isinstance(twin, _Presence)
        twin._ways = list(self._ways)
        return twin

    def begin(self, role: int, source: int | None, host: int) -> None:
        """Let a VM set out: what is asked to be present is in one cell or the other from now on."""
        if source is None or not self._is_asked_for(role):
            self.put(role, host)
            return
        way = self._cell(source), self._cell(host)
        if way[0] != way[1]:
            self._add(role, way[0], -1)
            self._ways.append(way)

    def end(self, role: int, source: int, host: int) -> None:
        """Let a VM leave its source for good."""
        if not self._is_asked_for(role):
            self.take(role, source)
            return
        way = self._cell(source), self._cell(host)
        if way[0] != way[1]:
            self._ways.remove(way)
            self._add(role, way[1], 1)

    def admits(self, role: int, source: int | None, host: int) -> bool:
        """Whether the rule gets no more broken than at the start, now and after every end."""
        self.begin(role, source, host)
        admitted = self.amount <= self.limit
        if source is None or not self._is_asked_for(role):
            self.take(role, host)
        elif self._cell(source) != self._cell(host):
            self._ways.pop()
            self._add(role, self._cell(source), 1)
        return admitted

    @abstractmethod
    def _is_asked_for(self, role: int) -> bool:
        """Whether the rule asks for the presence of such VMs."""

    @abstractmethod
    def _add(self, role: int, cell: int, number: int) -> None:
        """Add VMs that are in a cell for certain."""


class Spreading(_Presence):
    """Cells that are missing to a number of different ones."""

    def __init__(
        self, rule: PlacementRule, cells: Mapping[int, int] | None, *, bound: int = 0
    ) -> None:
        super().__init__(rule, cells, bound=bound)
        self._placed = 0
        self._occupied = 0

    @property
    def amount(self) -> int:
        """How many cells are missing, whichever of the moves under way end first."""
        ways = [way for way in self._ways if not any(self._others.get(cell, 0) for cell in way)]
        return max(0, min(self._bound, self._placed) - self._occupied - _disjoint(ways))

    def put(self, role: int, host: int) -> None:
        """Count a VM at rest on a host."""
        self._placed += 1
        self._add(role, self._cell(host), 1)

    def take(self, role: int, host: int) -> None:
        """Count a VM at rest on a host no more."""
        self._placed -= 1
        self._add(role, self._cell(host), -1)

    def _is_asked_for(self, role: int) -> bool:
        return True

    def _add(self, role: int, cell: int, number: int) -> None:
        before = self._others.get(cell, 0)
        self._others[cell] = before + number
        self._occupied += (before + number > 0) - (before > 0)


class Dependence(_Presence):
    """Cells with a member and without any of the others."""

    def __init__(
        self, rule: PlacementRule, cells: Mapping[int, int] | None, *, bound: int = 0
    ) -> None:
        super().__init__(rule, cells, bound=bound)
        self._lacking: set[int] = set()

    def copy(self) -> Count:
        """Return an independent count."""
        twin = super().copy()
        assert isinstance(twin, Dependence)
        twin._lacking = set(self._lacking)
        return twin

    @property
    def amount(self) -> int:
        """How many cells lack what they depend on, whichever of the moves end first."""
        ways = [way for way in self._ways if self._lacking.issuperset(way)]
        return len(self._lacking) - _disjoint(ways)

    def put(self, role: int, host: int) -> None:
        """Count a VM at rest on a host."""
        self._add(role, self._cell(host), 1)

    def take(self, role: int, host: int) -> None:
        """Count a VM at rest on a host no more."""
        self._add(role, self._cell(host), -1)

    def _is_asked_for(self, role: int) -> bool:
        return role == OTHER

    def _add(self, role: int, cell: int, number: int) -> None:
        side = self._number if role == MEMBER else self._others
        side[cell] = side.get(cell, 0) + number
        if self._number.get(cell, 0) > 0 and self._others.get(cell, 0) <= 0:
            self._lacking.add(cell)
        else:
            self._lacking.discard(cell)


def _disjoint(ways: list[tuple[int, int]]) -> int:
    """Return a number of ways that share no cell: each holds a cell of its own, come what may."""
    taken: set[int] = set()
    number = 0
    for way in ways:
        if taken.isdisjoint(way):
            taken.update(way)
            number += 1
    return number
