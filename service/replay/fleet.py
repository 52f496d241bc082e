"""Hosts, soft priorities and a start for the VMs of a trace that tells none of them.

The trace has no host mapping, so hosts are synthesised, all alike, and VMs start on random hosts
that have room: every policy from the same start, for the same seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from solver.domain.cluster import DEFAULT_PRIORITY, VM, Host, reserved_amounts
from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId, Limits, Resource, VmId

PRIORITY_SHARES: Final = {2: 0.10, 3: 0.15, DEFAULT_PRIORITY: 0.50, 7: 0.15, 9: 0.10}
"""Most operators leave the default; some VMs are marked down, some up, symmetrically."""


def make_hosts(
    number: int,
    *,
    cores: int,
    memory_gib: int,
    disk_io_mib_per_s: int | None = None,
    net_io_mib_per_s: int | None = None,
) -> tuple[Host, ...]:
    """Return identical hosts ``host01`` … in one zone.

    Raises
    ------
    InvalidInputError
        If a number is not positive.
    """
    for name, value in (("hosts", number), ("cores", cores), ("memory_gib", memory_gib)):
        if value < 1:
            raise InvalidInputError(f"expected at least 1, got {value}", path=name)
    width = max(2, len(str(number)))
    capacity = Limits(
        cpu_millicores=cores * 1000,
        memory_mib=memory_gib * 1024,
        disk_io_kib_per_s=None if disk_io_mib_per_s is None else disk_io_mib_per_s * 1024,
        net_io_kib_per_s=None if net_io_mib_per_s is None else net_io_mib_per_s * 1024,
    )
    return tuple(
        Host(id=HostId(f"host{i + 1:0{width}d}"), capacity=capacity) for i in range(number)
    )


def assign_priorities(vm_ids: Sequence[VmId], seed: int) -> dict[VmId, int]:
    """Return a soft priority per VM, drawn with ``PRIORITY_SHARES`` from the seed."""
    rng = np.random.default_rng([seed, 1])
    levels = np.array(list(PRIORITY_SHARES))
    drawn = rng.choice(levels, size=len(vm_ids), p=list(PRIORITY_SHARES.values()))
    return {vm_id: int(p) for vm_id, p in zip(vm_ids, drawn, strict=True)}


def random_start(hosts: Sequence[Host], vms: Sequence[VM], seed: int) -> dict[VmId, HostId]:
    """Return a random placement that breaks no capacity.

    The largest VMs choose first, each among the hosts that have room, so that a start exists
    wherever first-fit-decreasing finds one.

    Raises
    ------
    InvalidInputError
        If a VM fits nowhere: the hosts are too few or too small for the trace.
    """
    rng = np.random.default_rng([seed, 2])
    free = [
        None if host.usable()[Resource.MEMORY] is None else host.usable()[Resource.MEMORY]
        for host in hosts
    ]
    placement: dict[VmId, HostId] = {}
    for vm in sorted(vms, key=lambda vm: (-vm.allocation.memory_mib, vm.id)):
        needed = [reserved_amounts(vm, host)[Resource.MEMORY] for host in hosts]
        room = [h for h, left in enumerate(free) if left is None or left >= needed[h]]
        if not room:
            raise InvalidInputError(
                f"VM {vm.id!r} reserves {max(needed)} MiB and no host has that much left; "
                f"expected more or larger hosts than {len(hosts)} of "
                f"{hosts[0].usable()[Resource.MEMORY]} MiB"
            )
        chosen = int(rng.choice(room))
        left = free[chosen]
        if left is not None:
            free[chosen] = left - needed[chosen]
        placement[vm.id] = hosts[chosen].id
    return placement
