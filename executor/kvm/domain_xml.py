"""What a domain's XML says that matters to moving it.

Format: https://libvirt.org/formatdomain.html. Elements that do not matter are not read; elements
that are missing leave the defaults that libvirt documents.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_BYTES: Final[Mapping[str, int]] = {
    unit: base**power
    for base, units in (
        (1024, (("b", "bytes"), ("k", "kib"), ("m", "mib"), ("g", "gib"), ("t", "tib"))),
        (1000, ((), ("kb",), ("mb",), ("gb",), ("tb",))),
    )
    for power, names in enumerate(units)
    for unit in names
}
"""Sizes of libvirt's units; see its page on the domain format."""

OWNERS: Final[Mapping[str, str]] = {
    "http://openstack.org/xmlns/libvirt/nova": "OpenStack Nova",
    "http://ovirt.org/vm": "oVirt",
    "http://kubevirt.io": "KubeVirt",
}
"""Managers that leave a mark in a domain's metadata, by the start of its XML namespace.

Those that leave none (Pacemaker, CloudStack) are told by an operator's own mark; see
``executor.kvm.config``.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One disk of a domain.

    Parameters
    ----------
    kind
        Of its source: ``file``, ``block``, ``dir``, ``network``, ``volume``, ``nvme``…; empty for
        an empty drive.
    source
        Path, pool or network name.
    cached
        Whether the host may hold writes back that another host then does not see.
    """

    target: str
    kind: str
    source: str
    read_only: bool
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A domain as its XML describes it.

    Parameters
    ----------
    memory_mib
        Largest it may have.
    cpu_xml
        Its ``<cpu>``; empty for the hypervisor's default.
    networks, bridges
        Virtual networks and host bridges that its interfaces need.
    fixed
        What ties it to its host, in words: passed-through devices, host folders.
    hugepage_kib
        Sizes of the huge pages it needs; 0 for the host's default size.
    numa_nodes
        NUMA cells that its memory must come from; empty for any.
    pinned_cpus
        Processors that its vCPUs must run on; empty for any.
    owner
        The manager that its metadata names; empty if none is known.
    """

    name: str
    uuid: str
    memory_mib: int
    vcpus: int
    virttype: str
    arch: str
    machine: str
    emulator: str
    cpu_xml: str
    networks: tuple[str, ...]
    bridges: tuple[str, ...]
    disks: tuple[Disk, ...]
    fixed: tuple[str, ...]
    hugepage_kib: tuple[int, ...]
    numa_nodes: tuple[int, ...]
    pinned_cpus: tuple[int, ...]
    owner: str


UNREADABLE: Final = Domain(
    name="",
    uuid="",
    memory_mib=0,
    vcpus=0,
    virttype="",
    arch="",
    machine="",
    emulator="",
    cpu_xml="",
    networks=(),
    bridges=(),
    disks=(),
    fixed=("a description that cannot be read",),
    hugepage_kib=(),
    numa_nodes=(),
    pinned_cpus=(),
    owner="",
)
"""Stands for a domain whose XML makes no sense to us."""


def read_domain(xml: str, owners: Mapping[str, str] = OWNERS) -> Domain:
    """Return what a domain's XML says.

    Parameters
    ----------
    owners
        Other managers by the start of the XML namespace of their metadata.
    """
    root = ET.fromstring(xml)
    kind = root.find("os/type")
    cpu = root.find("cpu")
    interfaces = root.findall("devices/interface")
    return Domain(
        name=root.findtext("name", ""),
        uuid=root.findtext("uuid", ""),
        memory_mib=_memory_mib(root),
        vcpus=int(root.findtext("vcpu", "1")),
        virttype=root.get("type", ""),
        arch="" if kind is None else kind.get("arch", ""),
        machine="" if kind is None else kind.get("machine", ""),
        emulator=root.findtext("devices/emulator", ""),
        cpu_xml="" if cpu is None else ET.tostring(cpu, encoding="unicode").strip(),
        networks=_sources(interfaces, "network"),
        bridges=_sources(interfaces, "bridge"),
        disks=tuple(_disk(disk) for disk in root.findall("devices/disk")),
        fixed=tuple(_fixed(root)),
        hugepage_kib=_hugepages(root),
        numa_nodes=_numa_nodes(root),
        pinned_cpus=_pinned(root),
        owner=_owner(root, owners),
    )


def _memory_mib(root: ET.Element) -> int:
    memory = root.find("memory")
    if memory is None or not memory.text:
        return 0
    return -(-_bytes(memory.text, memory) // 2**20)


def _bytes(number: str, element: ET.Element) -> int:
    return int(number) * _BYTES[element.get("unit", "KiB").lower()]


def _sources(interfaces: list[ET.Element], kind: str) -> tuple[str, ...]:
    names = {
        source.get(kind, "")
        for interface in interfaces
        if interface.get("type") == kind and (source := interface.find("source")) is not None
    }
    return tuple(sorted(names - {""}))


def _disk(disk: ET.Element) -> Disk:
    source = disk.find("source")
    target = disk.find("target")
    kind = disk.get("type", "")
    keys = ("file", "dev", "dir", "pool", "name")
    names = [] if source is None else [source.get(key, "") for key in keys]
    # A source of another kind (a PCI address, a socket) is a thing of the host; without any the
    # drive is empty.
    name = next(filter(None, names), "" if source is None or _is_empty(source) else kind)
    return Disk(
        target="" if target is None else target.get("dev", ""),
        kind=kind if name else "",
        source=name,
        read_only=disk.find("readonly") is not None,
        cached=_cached(disk),
    )


def _is_empty(source: ET.Element) -> bool:
    """Whether a source only says what to do without one (``startupPolicy``)."""
    return not len(source) and not set(source.keys()) - {"startupPolicy"}


def _cached(disk: ET.Element) -> bool:
    driver = disk.find("driver")
    mode = "default" if driver is None else driver.get("cache", "default")
    return mode not in ("none", "directsync") and disk.find("readonly") is None


def _fixed(root: ET.Element) -> Iterator[str]:
    for device in root.findall("devices/hostdev"):
        yield f"passed-through {device.get('type', '')} device"
    for interface in root.findall("devices/interface"):
        if interface.get("type") in ("hostdev", "direct"):
            yield f"network interface of type {interface.get('type')!r}"
    for folder in root.findall("devices/filesystem"):
        target = folder.find("target")
        yield f"folder {'' if target is None else target.get('dir', '')!r} of its host"
    if root.find("devices/shmem") is not None:
        yield "memory shared with others"
    if root.find("launchSecurity") is not None:
        yield "encrypted memory"


def _hugepages(root: ET.Element) -> tuple[int, ...]:
    backing = root.find("memoryBacking/hugepages")
    if backing is None:
        return ()
    pages = backing.findall("page")
    if not pages:
        return (0,)
    return tuple(sorted({_bytes(page.get("size", "0"), page) // 1024 for page in pages}))


def _numa_nodes(root: ET.Element) -> tuple[int, ...]:
    tune = root.find("numatune/memory")
    if tune is None or tune.get("mode", "strict") not in ("strict", "restrictive"):
        return ()
    return number_set(tune.get("nodeset", ""))


def _pinned(root: ET.Element) -> tuple[int, ...]:
    sets = [pin.get("cpuset", "") for pin in root.findall("cputune/vcpupin")]
    vcpu = root.find("vcpu")
    if vcpu is not None and vcpu.get("cpuset"):
        sets.append(vcpu.get("cpuset", ""))
    return tuple(sorted({number for text in sets for number in number_set(text)}))


def _owner(root: ET.Element, owners: Mapping[str, str]) -> str:
    metadata = root.find("metadata")
    if metadata is None:
        return ""
    for element in metadata.iter():
        for namespace, owner in owners.items():
            if element.tag.startswith("{" + namespace):
                return owner
    return ""


def number_set(text: str) -> tuple[int, ...]:
    """Return the numbers of a set such as ``0-3,^2,8``.

    >>> number_set("0-3,^2,8")
    (0, 1, 3, 8)
    """
    wanted: set[int] = set()
    unwanted: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        low, _, high = part.removeprefix("^").partition("-")
        numbers = range(int(low), int(high or low) + 1)
        (unwanted if part.startswith("^") else wanted).update(numbers)
    return tuple(sorted(wanted - unwanted))
