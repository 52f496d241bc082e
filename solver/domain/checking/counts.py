"""How broken a rule about a group of VMs is: its VMs counted in cells of hosts.

The cells are hosts, racks, zones or the parts a rule names. Moving one VM changes one or two
cells, so a count follows a plan from event to event without being taken anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from solver.domain.cluster import Cluster
from solver.domain.rules import (
    Affinity,
    Among,
    AntiAffinity,
    Dependency,
    Level,
    LicenceLimit,
    PerHostLimit,
    PlacementRule,
    Split,
    Spread,
)
from solver.domain.units import HostId, VmId

Occupancy = Mapping[VmId, tuple[HostId, ...]]
"""Hosts each VM holds at an instant: none, one, or both ends of a migration, the source first."""

CellOf = Mapping[HostId, str]
"""Cell of a host; hosts left out are in none."""


class Cells:
    """The cells that rules count in, made once for each way to divide the hosts."""

    def __init__(self, cluster: Cluster) -> None:
        self._hosts = cluster.hosts
        self._levels: dict[Level, CellOf] = {}
        self._parts: dict[tuple[tuple[HostId, ...], ...], CellOf] = {}
        self._same_parts: dict[int, CellOf] = {}

    def of_rule(self, rule: PlacementRule) -> CellOf:
        """Return the cells a rule counts in."""
        match rule:
            case Spread() | Dependency():
                return self._level(rule.level)
            case Among(parts=parts) if parts:
                # Rules often share the very object, and thousands of names take long to hash.
                if id(parts) not in self._same_parts:
                    self._same_parts[id(parts)] = self._part(parts)
                return self._same_parts[id(parts)]
            case Among():
                return self._level("zone")
            case PerHostLimit(host_ids=host_ids) if host_ids:
                return self._part(tuple((host_id,) for host_id in host_ids))
            case _:
                return self._level("host")

    def _level(self, level: Level) -> CellOf:
        if level not in self._levels:
            self._levels[level] = {host.id: host.domain(level) for host in self._hosts}
        return self._levels[level]

    def _part(self, parts: tuple[tuple[HostId, ...], ...]) -> CellOf:
        if parts not in self._parts:
            self._parts[parts] = {
                host_id: str(i) for i, part in enumerate(parts) for host_id in part
            }
        return self._parts[parts]


class GroupCount:
    """The VMs of one rule by cell, and how broken that makes the rule.

    A VM under way counts at both its ends, except where presence is what is asked for: there it
    counts at its source only, where it still runs.
    """

    def __init__(self, rule: PlacementRule, cell_of: CellOf, occupancy: Occupancy) -> None:
        self.rule = rule
        self.cell_of = cell_of
        self._other_ids: frozenset[VmId] = frozenset()
        # Whether its own VMs, and the others, count only where they still run.
        self._at_source = isinstance(rule, Spread), isinstance(rule, Dependency)
        self._members, self._placed = self._tally(rule.vm_ids, occupancy, self._at_source[0])
        self._others: dict[str, int] = {}
        if rule.other_side:
            self._other_ids = frozenset(rule.named_vm_ids[rule.other_side])
            self._others, _ = self._tally(self._other_ids, occupancy, self._at_source[1])
        self._sum = sum(map(self._of_cell, self._members))

    def _tally(
        self, vm_ids: Iterable[VmId], occupancy: Occupancy, at_source: bool
    ) -> tuple[dict[str, int], int]:
        """Return how many of the VMs each cell holds, and how many there are on any host."""
        cells: dict[str, int] = {}
        placed = 0
        for vm_id in vm_ids:
            held = occupancy[vm_id]
            for host_id in held[:1] if at_source else held:
                placed += 1
                cell = self.cell_of.get(host_id)
                if cell is not None:
                    cells[cell] = cells.get(cell, 0) + 1
        return cells, placed

    def move(self, vm_id: VmId, before: tuple[HostId, ...], after: tuple[HostId, ...]) -> None:
        """Take note that a VM of the rule holds other hosts than before, its source first."""
        touched = {self.cell_of.get(host_id) for host_id in (*before, *after)}
        self._sum -= sum(map(self._of_cell, touched))
        self._count(vm_id, before, -1)
        self._count(vm_id, after, 1)
        self._sum += sum(map(self._of_cell, touched))

    def _count(self, vm_id: VmId, host_ids: tuple[HostId, ...], change: int) -> None:
        other = vm_id in self._other_ids
        counted = host_ids[:1] if self._at_source[other] else host_ids
        cells = self._others if other else self._members
        for host_id in counted:
            cell = self.cell_of.get(host_id)
            if cell is not None:
                cells[cell] = cells.get(cell, 0) + change
        if not other:
            self._placed += change * len(counted)

    def _of_cell(self, cell: str | None) -> int:
        """Return what one cell adds to the sum; being in no cell adds nothing."""
        if cell is None:
            return 0
        members, others = self._members.get(cell, 0), self._others.get(cell, 0)
        match self.rule:
            case AntiAffinity():
                return max(0, members - 1)
            case PerHostLimit(max_vms=limit):
                return max(0, members - limit)
            case Split():
                return min(members, others)
            case Dependency():
                return int(members > 0 and not others)
            case _:
                return int(members > 0)

    def amount(self) -> int:
        """Return how broken the rule is; 0 when it is kept."""
        match self.rule:
            case Affinity() | Among():
                return self._placed - max(self._members.values(), default=0)
            case Spread(min_domains=wanted):
                return max(0, min(wanted, self._placed) - self._sum)
            case LicenceLimit(max_hosts=limit):
                return max(0, self._sum - limit)
            case _:
                return self._sum
