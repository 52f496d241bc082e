"""Who holds what where, kept up to date move by move.

This is the incremental counterpart of the instant checks in ``solver.domain.check``: capacities,
numbers of VMs and the rules that bind at every instant (``counts``), each allowed to be as broken
as it was at the start and no more. It knows neither time nor order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from solver.domain.cluster import VM, Cluster, Overcommit, Placement, reserved_amounts
from solver.domain.rules import PlacementRule
from solver.domain.score import UNLIMITED
from solver.domain.units import FIELDS, HostId, VmId
from solver.sequencing.counts import Cells, Count, binds_instants, count_of, roles

SLOTS: Final = (*FIELDS, "VMs")
"""What is counted per host: the resources, and the number of VMs."""

NUM_SLOTS: Final = len(SLOTS)


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


class Occupancy:
    """What every host holds, and how broken every rule is that binds at each instant.

    Hosts and rules are looked at when first asked for: on a large cluster most of them take no
    part in a plan.

    Parameters
    ----------
    cluster
        Its placement is the start: nothing may ever become more broken than it is there.
    moving
        VMs that may ever move; rules of no others are kept.
    """

    def __init__(self, cluster: Cluster, moving: Collection[VmId]) -> None:
        cells = Cells(cluster)
        self._start = _Start(cluster, cells.position)
        self._loads: dict[int, list[int]] = {}
        self._counts: list[Count] = []
        self._roles: dict[VmId, list[tuple[int, int]]] = {}
        self._own: set[int] = set()
        self._refused: dict[int, dict[VmId, None]] = {}
        start = {vm.id: vm.host_id for vm in cluster.vms}
        for rule in cluster.rules:
            if rule.hard and binds_instants(rule):
                self._keep_rule(rule, cells, start, moving)

    def _keep_rule(
        self, rule: PlacementRule, cells: Cells, start: Placement, moving: Collection[VmId]
    ) -> None:
        """Count a rule from now on, if any VM of it may move."""
        who = list(roles(rule))
        if not any(vm_id in moving for vm_id, _ in who):
            return
        count = count_of(rule, cells)
        for vm_id, role in who:
            host_id = start[vm_id]
            if host_id is not None:
                count.put(role, cells.position[host_id])
            if vm_id in moving:
                self._roles.setdefault(vm_id, []).append((len(self._counts), role))
        count.limit = count.amount
        self._counts.append(count)

    def copy(self) -> Occupancy:
        """Return an independent state that shares what never changes, and what has not yet."""
        twin = object.__new__(Occupancy)
        twin._start = self._start
        twin._loads = {host: list(load) for host, load in self._loads.items()}
        twin._counts = list(self._counts)
        twin._roles = self._roles
        twin._own = set()
        twin._refused = {}
        self._own.clear()
        return twin

    def load(self, host: int) -> list[int]:
        """Return what a host holds, by slot; not to be changed."""
        load = self._loads.get(host)
        return self._start.load(host) if load is None else load

    def allowed(self, host: int) -> list[int]:
        """Return the most that a host may hold, by slot; not to be changed."""
        return self._start.allowed(host)

    def needs(self, vm: VM, host: int) -> tuple[tuple[int, int], ...]:
        """Return (slot, amount) of what ``vm`` takes on a host, amounts above zero."""
        return self._start.needs(vm, host)

    def rules_of(self, vm: VM) -> Sequence[tuple[int, int]]:
        """Return numbers of the rules that count a VM, with its role in each."""
        return self._roles.get(vm.id, ())

    def count(self, rule: int) -> Count:
        """Return the count of a rule; not to be changed."""
        return self._counts[rule]

    def wide_rules(self, vm: VM) -> list[int]:
        """Return the rules of a VM in which a move of one VM may let in another on any host.

        In the other rules leaving a host helps on that host only.
        """
        return [i for i, _ in self._roles.get(vm.id, ()) if not self._counts[i].local]

    def released(self, vm: VM) -> Iterator[VmId]:
        """Yield whom the rules of a VM that has moved refused before: they may be let in now.

        Those that wait to enter the host it left are not meant.
        """
        for i in self.wide_rules(vm):
            yield from self._refused.pop(i, {})

    def has_room(self, vm: VM, host: int) -> bool:
        """Whether the VM's reservation fits on top of what the host holds."""
        load, allowed = self.load(host), self._start.allowed(host)
        for r, amount in self._start.needs(vm, host):  # noqa: SIM110  # Twice as fast, and hot.
            if load[r] + amount > allowed[r]:
                return False
        return True

    def admits(self, vm: VM, source: int | None, host: int) -> bool:
        """Whether the VM may set out for a host now, and may leave its source whenever it ends."""
        if not self.has_room(vm, host):
            return False
        for i, role in self._roles.get(vm.id, ()):
            if not self._counts[i].admits(role, source, host):
                self._refused.setdefault(i, {})[vm.id] = None
                return False
        return True

    def begin(self, vm: VM, source: int | None, host: int) -> None:
        """Let the VM set out: it holds both hosts. A start has no source, and no end."""
        self._take_room(vm, host, 1)
        for i, role in self._roles.get(vm.id, ()):
            self._count(i).begin(role, source, host)

    def end(self, vm: VM, source: int, host: int) -> None:
        """Let the VM arrive: its source is free of it."""
        self._take_room(vm, source, -1)
        for i, role in self._roles.get(vm.id, ()):
            self._count(i).end(role, source, host)

    def put(self, vm: VM, host: int) -> None:
        """Let the VM be at rest on a host, unasked."""
        self._take_room(vm, host, 1)
        for i, role in self._roles.get(vm.id, ()):
            self._count(i).put(role, host)

    def take(self, vm: VM, host: int) -> None:
        """Take a VM at rest from a host, unasked."""
        self._take_room(vm, host, -1)
        for i, role in self._roles.get(vm.id, ()):
            self._count(i).take(role, host)

    def obstacles(self, vm: VM, source: int | None, host: int) -> Iterator[str]:
        """Yield what keeps the VM out of the host now, one clause each."""
        load, allowed = self.load(host), self.allowed(host)
        for r, amount in self.needs(vm, host):
            free = allowed[r] - load[r]
            if amount > free:
                yield f"it needs {amount} {SLOTS[r]} there and {max(0, free)} are free"
        for i, role in self._roles.get(vm.id, ()):
            if not self._counts[i].admits(role, source, host):
                rule = self._counts[i].rule
                yield (
                    f"rule {rule.id!r} ({rule.kind}) would not hold while it is under way, as it "
                    f"has to (continuous)"
                )

    def _take_room(self, vm: VM, host: int, sign: int) -> None:
        load = self._loads.get(host)
        if load is None:
            load = self._loads[host] = list(self._start.load(host))
        for r, amount in self._start.needs(vm, host):
            load[r] += sign * amount

    def _count(self, i: int) -> Count:
        """Return a count to be changed, which no copy of the state shares."""
        if i not in self._own:
            self._own.add(i)
            self._counts[i] = self._counts[i].copy()
        return self._counts[i]


class _Start:
    """What the hosts of a cluster hold and may hold before anything moves."""

    def __init__(self, cluster: Cluster, position: Mapping[HostId, int]) -> None:
        self._hosts = cluster.hosts
        self._guests: dict[HostId, list[VM]] = {}
        for vm in cluster.vms:
            if vm.host_id is not None:
                self._guests.setdefault(vm.host_id, []).append(vm)
        self._kind_of: dict[Overcommit, int] = {}
        self._kinds = [
            self._kind_of.setdefault(host.overcommit, len(self._kind_of)) for host in cluster.hosts
        ]
        self._counts_vms = any(host.max_vms is not None for host in cluster.hosts)
        self._loads: dict[int, list[int]] = {}
        self._allowed: dict[int, list[int]] = {}
        self._needs: dict[tuple[VmId, int], tuple[tuple[int, int], ...]] = {}

    def needs(self, vm: VM, host: int) -> tuple[tuple[int, int], ...]:
        """Return (slot, amount) of what ``vm`` takes on a host, amounts above zero."""
        key = vm.id, self._kinds[host]
        needs = self._needs.get(key)
        if needs is None:
            amounts = (*reserved_amounts(vm, self._hosts[host]), int(self._counts_vms))
            needs = tuple((r, amount) for r, amount in enumerate(amounts) if amount)
            self._needs[key] = needs
        return needs

    def load(self, host: int) -> list[int]:
        """Return what a host holds, by slot."""
        load = self._loads.get(host)
        if load is None:
            load = self._loads[host] = [0] * NUM_SLOTS
            for vm in self._guests.get(self._hosts[host].id, ()):
                for r, amount in self.needs(vm, host):
                    load[r] += amount
        return load

    def allowed(self, host: int) -> list[int]:
        """Return the most that a host may hold, by slot."""
        allowed = self._allowed.get(host)
        if allowed is None:
            limits = (*self._hosts[host].usable(), self._hosts[host].max_vms)
            allowed = self._allowed[host] = [
                UNLIMITED if limit is None else max(limit, held)
                for limit, held in zip(limits, self.load(host), strict=True)
            ]
        return allowed
