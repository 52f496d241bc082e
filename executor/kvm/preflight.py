"""Whether a destination would take a VM, and why not; asked before libvirt is.

What is found out here becomes part of the snapshot, as names that VMs require and hosts provide,
so that the solver never proposes the impossible; and it is asked again before a move starts.
Checks are of what libvirt would refuse, or would accept to the guest's harm.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from executor.kvm.config import MigrationConfig
from executor.kvm.domain_xml import Disk, Domain
from executor.kvm.host_xml import HostFacts, Pool

_REACHABLE: Final = "network"
"""Kind of disks that stand outside any host; what else there is (NVMe, vhost-user) is a host's."""

_KINDS: Final = frozenset(
    {
        "machine",
        "processor",
        "host-processor",
        "network",
        "bridge",
        "storage",
        "hugepages",
        "numa",
        "pinned-to",
        "free-name",
    }
)

DEFAULT_HUGEPAGE_KIB: Final = 2048
"""What ``<hugepages/>`` without a size means on x86 and most others."""


def processor(domain: Domain) -> str:
    """Return a name for the kind of processor a domain needs; empty if any will do.

    Hosts provide it once libvirt has compared the two. A guest that is shown the processor of its
    host needs the very same one, which no comparison tells: see ``same_processor``.
    """
    if not domain.cpu_xml or _shows_host(domain):
        return ""
    parts = (domain.cpu_xml, domain.arch, domain.machine, domain.virttype, domain.emulator)
    model = re.search(r"<model[^>]*>([^<]+)<", domain.cpu_xml)
    mode = re.search(r'mode=["\']([^"\']+)', domain.cpu_xml)
    kind = model or mode
    name = domain.virttype if kind is None else kind[1]
    return f"processor:{name}/{zlib.crc32(repr(parts).encode()):08x}"


def same_processor(domain: Domain, host: HostFacts) -> str:
    """Return the name of its present host's processor if a domain is shown that, else nothing."""
    return f"host-processor:{host.cpu_fingerprint}" if _shows_host(domain) else ""


def _shows_host(domain: Domain) -> bool:
    return "host-passthrough" in domain.cpu_xml or "mode='maximum'" in domain.cpu_xml


def is_found_out(name: str) -> bool:
    """Return whether a name that VMs require is one of those made here, not an operator's."""
    return name.split(":", 1)[0] in _KINDS


def ties(domain: Domain, num_snapshots: int) -> str:
    """Return what forbids a live migration of the domain to anywhere; empty if nothing does."""
    found = list(domain.fixed)
    if num_snapshots:
        found.append(f"{num_snapshots} snapshots kept by libvirt")
    return ", ".join(dict.fromkeys(found))


def requirements(domain: Domain, host: HostFacts, migration: MigrationConfig) -> frozenset[str]:
    """Return the names that a host must provide for the domain to run there.

    What depends on how much of it there is has the amount in its name.

    Parameters
    ----------
    host
        On which it runs: it tells where its disks stand.
    """
    mib = domain.memory_mib
    names = {f"machine:{domain.virttype}/{domain.arch}/{domain.machine}"}
    names |= {processor(domain), same_processor(domain, host)} - {""}
    names |= {f"network:{name}" for name in domain.networks}
    names |= {f"bridge:{name}" for name in domain.bridges}
    names |= {
        f"hugepages:{size or DEFAULT_HUGEPAGE_KIB}KiB/{mib}MiB" for size in domain.hugepage_kib
    }
    names |= {f"numa:{node}/{mib}MiB" for node in domain.numa_nodes}
    names |= {f"pinned-to:{number}" for number in domain.pinned_cpus}
    for disk in domain.disks:
        names |= set(_disk_requirement(disk, _pools(host), migration))
    return frozenset(names)


def local_disks(domain: Domain, host: HostFacts, migration: MigrationConfig) -> tuple[str, ...]:
    """Return the targets of the disks that no other host can reach."""
    pools = _pools(host)
    return tuple(d.target for d in domain.disks if not _reachable(d, pools, migration))


def vouched_for(domain: Domain, host: HostFacts, migration: MigrationConfig) -> bool:
    """Return whether the operator vouches for disks that libvirt takes for one host's own.

    libvirt then doubts nothing about any disk. So all must be within reach, and none cached: a
    host that holds writes back would lose them.
    """
    written = [disk for disk in domain.disks if disk.source and not disk.read_only]
    pools = _pools(host)
    return (
        any(_on_shared_path(disk, migration) for disk in written)
        and all(_reachable(disk, pools, migration) for disk in written)
        and not any(disk.cached for disk in written)
    )


def provided(wanted: Iterable[str], host: HostFacts) -> set[str]:
    """Return which of the names that a domain may require a host is known to provide.

    Kinds of processors are not among them: libvirt has to compare those.
    """
    found_out = filter(is_found_out, wanted)
    return {name for name in found_out if _provides(host, *name.split(":", 1))}


def _provides(host: HostFacts, kind: str, name: str) -> bool:
    match kind:
        case "machine":
            virttype, arch, machine = name.split("/", 2)
            return machine in host.machines.get((arch, virttype), frozenset())
        case "network":
            return name in host.networks
        case "bridge":
            # Where hosts do not tell, libvirt itself refuses where there is none.
            return host.interfaces is None or name in host.interfaces
        case "storage":
            return name in host.pools and host.pools[name].shared
        case "host-processor":
            return name == host.cpu_fingerprint
        case "hugepages":
            size_kib, mib = (int(text) for text in re.findall(r"\d+", name))
            return host.free_pages.get(size_kib, 0) * size_kib >= mib * 1024
        case "numa":
            node, mib = (int(text) for text in re.findall(r"\d+", name))
            return any(cell.id == node and cell.memory_mib >= mib for cell in host.cells)
        case "pinned-to":
            return any(int(name) in cell.cpus for cell in host.cells)
    return False


def _pools(host: HostFacts) -> tuple[Pool, ...]:
    return tuple(host.pools.values())


def _disk_requirement(
    disk: Disk, pools: tuple[Pool, ...], migration: MigrationConfig
) -> Iterator[str]:
    pool = _pool_of(disk, pools)
    if pool is not None and pool.shared and not _on_shared_path(disk, migration):
        yield f"storage:{pool.name}"


def _reachable(disk: Disk, pools: tuple[Pool, ...], migration: MigrationConfig) -> bool:
    if not disk.source or disk.kind == _REACHABLE or _on_shared_path(disk, migration):
        return True
    pool = _pool_of(disk, pools)
    return pool is not None and pool.shared


def _on_shared_path(disk: Disk, migration: MigrationConfig) -> bool:
    stands = disk.kind in ("file", "dir")
    return stands and any(_under(disk.source, folder) for folder in migration.shared_paths)


def _pool_of(disk: Disk, pools: tuple[Pool, ...]) -> Pool | None:
    """Return the pool that holds a disk, by name or by where it stands."""
    for pool in pools:
        named = disk.kind == "volume" and pool.name == disk.source
        if named or (pool.path and _under(disk.source, pool.path)):
            return pool
    return None


def _under(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
