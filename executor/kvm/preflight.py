"""Whether a destination would take a VM, and why not; asked before libvirt is.

What is found out here becomes part of the snapshot, as names that VMs require and hosts provide,
so that the solver never proposes the impossible; and it is asked again before a move starts.
Checks are of what libvirt would refuse, or would accept to the guest's harm.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Final

from executor.kvm.config import MigrationConfig
from executor.kvm.domain_xml import Disk, Domain
from executor.kvm.host_xml import HostFacts, Pool

_REACHABLE: Final = frozenset({"network", "nvme", "vhostuser"})
"""Kinds of disks that stand outside any host."""


def processor(domain: Domain) -> str:
    """Return a name for the kind of processor a domain needs; empty if any will do.

    Hosts provide it once libvirt has compared the two.
    """
    if not domain.cpu_xml:
        return ""
    parts = (domain.cpu_xml, domain.arch, domain.machine, domain.virttype, domain.emulator)
    model = re.search(r"<model[^>]*>([^<]+)<", domain.cpu_xml) or re.search(
        r'mode=["\']([^"\']+)', domain.cpu_xml
    )
    kind = domain.virttype if model is None else model[1]
    return f"processor:{kind}/{zlib.crc32(repr(parts).encode()):08x}"


def ties(domain: Domain, num_snapshots: int) -> str:
    """Return what forbids a live migration of the domain to anywhere; empty if nothing does."""
    found = list(domain.fixed)
    if num_snapshots:
        found.append(f"{num_snapshots} snapshots kept by libvirt")
    return ", ".join(dict.fromkeys(found))


def requirements(
    domain: Domain, pools: tuple[Pool, ...], migration: MigrationConfig
) -> frozenset[str]:
    """Return the names that a host must provide for the domain to run there.

    Parameters
    ----------
    pools
        Of the host it runs on: they tell where its disks stand.
    """
    names = {f"machine:{domain.machine}", *(f"network:{name}" for name in domain.networks)}
    names |= {processor(domain)} - {""}
    names |= {f"bridge:{name}" for name in domain.bridges}
    names |= {f"hugepages:{size}KiB" for size in domain.hugepage_kib if size}
    names |= {f"numa:{node}" for node in domain.numa_nodes}
    names |= {f"pinned-to:{number}" for number in domain.pinned_cpus}
    for disk in domain.disks:
        names |= set(_disk_requirement(disk, pools, migration))
    return frozenset(names)


def local_disks(domain: Domain, pools: tuple[Pool, ...], migration: MigrationConfig) -> str:
    """Return the disks that no other host can reach, in words; empty if there are none."""
    if migration.copy_storage:
        return ""
    local = [d.target for d in domain.disks if not _reachable(d, pools, migration)]
    return f"disk {', '.join(local)} on storage of its host alone" if local else ""


def vouched_for(domain: Domain, migration: MigrationConfig) -> bool:
    """Return whether the operator vouches for disks that libvirt takes for one host's own.

    Only where nothing of them is cached: a host that holds writes back would lose them.
    """
    disks = [disk for disk in domain.disks if _on_shared_path(disk, migration)]
    return bool(disks) and not any(disk.cached for disk in disks)


def provisions(domain: Domain, host: HostFacts) -> frozenset[str]:
    """Return which of the names the domain may require the host provides."""
    machines = host.machines.get((domain.arch, domain.virttype), frozenset())
    names = {f"machine:{name}" for name in machines if name == domain.machine}
    names |= {f"network:{name}" for name in host.networks}
    if host.interfaces is None:
        # Not told: libvirt itself will refuse where there is none.
        names |= {f"bridge:{name}" for name in domain.bridges}
    else:
        names |= {f"bridge:{name}" for name in host.interfaces}
    names |= {f"storage:{pool.name}" for pool in host.pools.values() if pool.shared}
    names |= {
        f"hugepages:{size}KiB" for size in domain.hugepage_kib if _pages_fit(domain, host, size)
    }
    names |= {f"numa:{cell.id}" for cell in host.cells if cell.memory_mib >= domain.memory_mib}
    names |= {f"pinned-to:{cpu}" for cell in host.cells for cpu in cell.cpus}
    return frozenset(names)


def _pages_fit(domain: Domain, host: HostFacts, size_kib: int) -> bool:
    return host.free_pages.get(size_kib, 0) * size_kib >= domain.memory_mib * 1024


def _disk_requirement(
    disk: Disk, pools: tuple[Pool, ...], migration: MigrationConfig
) -> Iterator[str]:
    pool = _pool_of(disk, pools)
    if pool is not None and pool.shared and not _on_shared_path(disk, migration):
        yield f"storage:{pool.name}"


def _reachable(disk: Disk, pools: tuple[Pool, ...], migration: MigrationConfig) -> bool:
    if not disk.source or disk.kind in _REACHABLE or _on_shared_path(disk, migration):
        return True
    pool = _pool_of(disk, pools)
    return pool is not None and pool.shared


def _on_shared_path(disk: Disk, migration: MigrationConfig) -> bool:
    return any(_under(disk.source, folder) for folder in migration.shared_paths)


def _pool_of(disk: Disk, pools: tuple[Pool, ...]) -> Pool | None:
    """Return the pool that holds a disk, by name or by where it stands."""
    for pool in pools:
        named = disk.kind == "volume" and pool.name == disk.source
        if named or (pool.path and _under(disk.source, pool.path)):
            return pool
    return None


def _under(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
