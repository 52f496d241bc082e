"""What a host tells of itself, as far as it matters to what can run there.

Formats: https://libvirt.org/formatcaps.html and https://libvirt.org/formatstorage.html.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from executor.kvm.api import HostRecord


NETWORK_POOLS: Final = frozenset({"netfs", "rbd", "iscsi", "iscsi-direct", "gluster", "sheepdog"})
"""Types of storage pools whose content other hosts can reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumaCell:
    """One NUMA cell."""

    id: int
    memory_mib: int
    cpus: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A storage pool that is active.

    Parameters
    ----------
    path
        Where its volumes stand on the host; empty if they have no path.
    shared
        Whether what is in it can be reached from other hosts that have a pool of this name.
    """

    name: str
    kind: str
    path: str
    shared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What a host is and has.

    Parameters
    ----------
    threads_per_core
        2 or more with simultaneous multithreading: a logical processor is less than a core.
    cpu_fingerprint
        The same for hosts with the same processor, as libvirt describes it.
    machines
        Machine types, by architecture and kind of virtualisation (``kvm``, ``qemu``).
    pools, networks, interfaces
        What is active; ``interfaces`` is ``None`` where the host does not tell.
    free_pages
        Free pages by size in KiB.
    """

    memory_mib: int
    num_cpus: int
    threads_per_core: int
    cpu_model: str
    cpu_fingerprint: str
    cells: tuple[NumaCell, ...]
    machines: Mapping[tuple[str, str], frozenset[str]]
    pools: Mapping[str, Pool]
    networks: frozenset[str]
    interfaces: frozenset[str] | None
    free_pages: Mapping[int, int]


def read_host(record: HostRecord) -> HostFacts:
    """Return a host's facts."""
    root = ET.fromstring(record.capabilities_xml)
    topology = root.find("host/cpu/topology")
    threads = 1 if topology is None else int(topology.get("threads", "1"))
    return HostFacts(
        memory_mib=record.memory_mib,
        num_cpus=record.num_cpus,
        threads_per_core=threads,
        cpu_model=root.findtext("host/cpu/model", ""),
        cpu_fingerprint=_fingerprint(root.find("host/cpu")),
        cells=tuple(_cell(cell) for cell in root.findall("host/topology/cells/cell")),
        machines=_machines(root),
        pools={
            name: pool
            for name, xml, active in record.pools
            if active and (pool := _pool(name, xml)) is not None
        },
        networks=frozenset(name for name, active in record.networks if active),
        interfaces=None if record.interfaces is None else frozenset(record.interfaces),
        free_pages=record.free_pages,
    )


def _fingerprint(cpu: ET.Element | None) -> str:
    if cpu is None:
        return ""
    told = [cpu.findtext("arch", ""), cpu.findtext("model", ""), cpu.findtext("vendor", "")]
    signature = cpu.find("signature")
    told += [] if signature is None else sorted(signature.attrib.values())
    features = sorted(feature.get("name", "") for feature in cpu.findall("feature"))
    return f"{told[1] or told[0]}/{zlib.crc32(repr((told, features)).encode()):08x}"


def _cell(cell: ET.Element) -> NumaCell:
    return NumaCell(
        id=int(cell.get("id", "0")),
        memory_mib=int(cell.findtext("memory", "0")) // 1024,
        cpus=tuple(int(cpu.get("id", "0")) for cpu in cell.findall("cpus/cpu")),
    )


def _machines(root: ET.Element) -> dict[tuple[str, str], frozenset[str]]:
    """Return machine types; a domain type without a list of its own has the architecture's."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for arch in root.findall("guest/arch"):
        common = _names(arch)
        for kind in arch.findall("domain"):
            own = _names(kind)
            found[arch.get("name", ""), kind.get("type", "")] = own or common
    return found


def _names(element: ET.Element) -> frozenset[str]:
    machines = element.findall("machine")
    return frozenset((m.text or "") for m in machines) | {m.get("canonical", "") for m in machines}


def _pool(name: str, xml: str) -> Pool | None:
    root = ET.fromstring(xml)
    kind = root.get("type", "")
    path = root.findtext("target/path", "")
    return Pool(name=name, kind=kind, path=path, shared=kind in NETWORK_POOLS)
