"""Who is where in a simulated cluster: hosts, VMs, their life, and what they reserve.

Plain facts and the snapshot made from them; time, migrations and faults are ``world``'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import numpy as np
import numpy.typing as npt

from executor.simulation.workload import Life
from solver.domain.cluster import VM, Cluster, Host, HostState, reserved_amounts
from solver.domain.rules import PlacementRule
from solver.domain.units import HostId, Resource, VmId

NOWHERE = -1
POWERED_OFF = "powered off"


class Inventory:
    """The hosts and VMs of a cluster, by position.

    Parameters
    ----------
    cluster
        Every host, and every VM that will ever exist; rules may name any of them.

    Attributes
    ----------
    host_of
        Position of each VM's host or ``NOWHERE``, shape ``(num_vms,)``. A VM that is powered off
        keeps its host and what it reserves there, so that it finds room when it comes back.
    life
        :class:`~executor.simulation.workload.Life` of each VM.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.hosts = cluster.hosts
        self.vms = cluster.vms
        self.host_idx = {host.id: h for h, host in enumerate(cluster.hosts)}
        self.vm_idx = {vm.id: v for v, vm in enumerate(cluster.vms)}
        self.host_of: npt.NDArray[np.int64] = np.full(len(cluster.vms), NOWHERE, dtype=np.int64)
        self.life: npt.NDArray[np.int8] = np.zeros(len(cluster.vms), dtype=np.int8)
        self.unreachable: set[int] = set()
        self._footprint = np.array([vm.memory_footprint_mib for vm in cluster.vms], dtype=np.int64)
        self._live: dict[int, VM] = {}
        self._rules: tuple[PlacementRule, ...] = ()
        self._rules_for = b""

    def place(self, v: int, h: int) -> None:
        """Put a VM on a host, or ``NOWHERE``."""
        self.host_of[v] = h
        self._live.pop(v, None)

    def set_life(self, v: int, life: Life) -> None:
        """Change whether a VM exists and runs; one that is gone holds no host."""
        self.life[v] = life
        if life is Life.ABSENT:
            self.host_of[v] = NOWHERE
        self._live.pop(v, None)

    def set_footprints(self, footprint_mib: npt.NDArray[np.int64]) -> None:
        """Tell the resident memory of every VM, -1 where unknown; capped at its allocation."""
        for v in np.flatnonzero((footprint_mib >= 0) & (footprint_mib != self._footprint)):
            allocated = self.vms[v].allocation.memory_mib
            wanted = int(footprint_mib[v])
            self._footprint[v] = min(wanted, allocated) if allocated else wanted
            self._live.pop(int(v), None)

    def runs(self, v: int) -> bool:
        """Whether a VM runs on some host."""
        return bool(self.life[v] == Life.RUNNING and self.host_of[v] != NOWHERE)

    def footprint_mib(self, v: int) -> int:
        """Return the resident memory of a VM."""
        return int(self._footprint[v])

    def live_vm(self, v: int) -> VM:
        """Return a VM as it is now."""
        vm = self._live.get(v)
        if vm is None:
            spec = self.vms[v]
            h = int(self.host_of[v])
            stopped = self.life[v] == Life.STOPPED
            vm = replace(
                spec,
                host_id=None if h == NOWHERE else self.hosts[h].id,
                memory_footprint_mib=int(self._footprint[v]),
                not_migratable_reason=POWERED_OFF if stopped else spec.not_migratable_reason,
            )
            self._live[v] = vm
        return vm

    def live_host(self, h: int) -> Host:
        """Return a host as it is now."""
        host = self.hosts[h]
        return replace(host, state=HostState.UNREACHABLE) if h in self.unreachable else host

    def memory_left_mib(self, h: int, incoming: Iterable[int]) -> int | None:
        """Return unreserved memory on a host, VMs on their way to it counted; ``None`` if no limit.

        May be negative: real hosts start over-committed.
        """
        host = self.hosts[h]
        usable = host.usable()[Resource.MEMORY]
        if usable is None:
            return None
        guests = [*np.flatnonzero(self.host_of == h).tolist(), *incoming]
        used = sum(reserved_amounts(self.live_vm(v), host)[Resource.MEMORY] for v in guests)
        return usable - used

    def has_room(self, v: int, h: int, incoming: Iterable[int]) -> bool:
        """Whether a VM's memory fits on a host now."""
        left = self.memory_left_mib(h, incoming)
        needed = reserved_amounts(self.live_vm(v), self.hosts[h])[Resource.MEMORY]
        return left is None or needed <= left

    def snapshot(self, observed_at: datetime) -> Cluster:
        """Return the cluster as it is; VMs that are absent, or off without a host, are left out."""
        present = (self.life == Life.RUNNING) | (
            (self.life == Life.STOPPED) & (self.host_of != NOWHERE)
        )
        return replace(
            self.cluster,
            observed_at=observed_at,
            hosts=tuple(self.live_host(h) for h in range(len(self.hosts))),
            vms=tuple(self.live_vm(int(v)) for v in np.flatnonzero(present)),
            rules=self._rules_about(present),
        )

    def _rules_about(self, present: npt.NDArray[np.bool_]) -> tuple[PlacementRule, ...]:
        """Return the rules without the VMs that are not there."""
        key = present.tobytes()
        if key != self._rules_for:
            known: set[VmId] = {self.vms[v].id for v in np.flatnonzero(present)}
            left = (rule.restricted_to(known) for rule in self.cluster.rules)
            self._rules = tuple(rule for rule in left if rule is not None)
            self._rules_for = key
        return self._rules

    def host_ids(self, positions: Iterable[int]) -> tuple[HostId, ...]:
        """Return the ids of hosts by position."""
        return tuple(self.hosts[h].id for h in positions)
