"""What a destination lacks is known before libvirt is asked."""

from __future__ import annotations

import pytest

from executor.kvm import preflight
from executor.kvm.config import MigrationConfig
from executor.kvm.domain_xml import Domain, read_domain
from executor.kvm.host_xml import HostFacts, read_host
from tests.hypervisors import make_domain_xml, make_host_record

NFS = (("vms", "netfs", "/srv/vms"),)
FILE = "<disk type='file'><source file='{path}'/><target dev='vda'/></disk>"


def lacking(domain: Domain, host: HostFacts, migration: MigrationConfig | None = None) -> set[str]:
    """Return what the host lacks for a domain that runs on one with an NFS pool."""
    here = read_host(make_host_record(pools=NFS))
    wanted = preflight.requirements(domain, here, migration or MigrationConfig())
    return set(wanted - preflight.provided(wanted, host))


@pytest.mark.parametrize(
    ("domain", "missing"),
    [
        (make_domain_xml(machine="pc-i440fx-2.1"), {"machine:kvm/x86_64/pc-i440fx-2.1"}),
        (
            make_domain_xml(
                devices="<interface type='network'><source network='dmz'/></interface>"
            ),
            {"network:dmz"},
        ),
        (
            make_domain_xml(devices="<interface type='bridge'><source bridge='br7'/></interface>"),
            {"bridge:br7"},
        ),
        (make_domain_xml(devices=FILE.format(path="/srv/vms/a.qcow2")), {"storage:vms"}),
        (
            make_domain_xml(
                memory_mib=8192,
                more="<numatune><memory mode='strict' nodeset='1'/></numatune>",
            ),
            {"numa:1/8192MiB"},
        ),
        (
            make_domain_xml(more="<cputune><vcpupin vcpu='0' cpuset='63'/></cputune>"),
            {"pinned-to:63"},
        ),
        (
            make_domain_xml(
                more="<memoryBacking><hugepages><page size='2048'/></hugepages></memoryBacking>"
            ),
            {"hugepages:2048KiB/2048MiB"},
        ),
        (make_domain_xml(), set()),
    ],
)
def test_what_a_host_lacks_is_named(domain: str, missing: set[str]) -> None:
    """Each by the name that solver and operator read."""
    host = read_host(make_host_record(interfaces=("br0",)))
    assert lacking(read_domain(domain), host) == missing


def test_a_host_that_has_it_all_lacks_nothing() -> None:
    """The same domain fits where pool, bridge and pages are."""
    xml = make_domain_xml(
        devices=FILE.format(path="/srv/vms/a.qcow2")
        + "<interface type='bridge'><source bridge='br7'/></interface>",
        more="<memoryBacking><hugepages><page size='2048'/></hugepages></memoryBacking>",
    )
    record = make_host_record(pools=NFS, interfaces=("br7",), free_pages={2048: 1024})
    assert not lacking(read_domain(xml), read_host(record))


def test_a_host_that_tells_no_interfaces_may_have_any() -> None:
    """libvirt itself refuses where the bridge is not."""
    xml = make_domain_xml(devices="<interface type='bridge'><source bridge='br7'/></interface>")
    assert not lacking(read_domain(xml), read_host(make_host_record(interfaces=None)))


def test_a_disk_on_storage_of_its_host_ties_the_vm() -> None:
    """Unless the operator says that the folder is the same everywhere."""
    domain = read_domain(make_domain_xml(devices=FILE.format(path="/var/lib/a.qcow2")))
    host = read_host(make_host_record())
    assert preflight.local_disks(domain, host, MigrationConfig()) == ("vda",)
    assert not preflight.local_disks(domain, host, MigrationConfig(shared_paths=("/var/lib",)))


def test_a_folder_that_only_begins_alike_is_another() -> None:
    """``/srv/vms2`` is not in ``/srv/vms``."""
    domain = read_domain(make_domain_xml(devices=FILE.format(path="/srv/vms2/a.qcow2")))
    shared = MigrationConfig(shared_paths=("/srv/vms",))
    assert preflight.local_disks(domain, read_host(make_host_record()), shared) == ("vda",)


@pytest.mark.parametrize("kind", ["nvme", "vhostuser"])
def test_disks_that_are_things_of_the_host_are_local_and_nobody_vouches_for_them(kind: str) -> None:
    """Such a guest would go on with another host's device, were libvirt told not to doubt."""
    devices = (
        "<disk type='file'><driver cache='none'/><source file='/srv/a'/><target dev='vda'/></disk>"
        f"<disk type='{kind}'><source type='pci' namespace='1'><address bus='1'/></source>"
        "<target dev='vdb'/></disk>"
    )
    domain = read_domain(make_domain_xml(devices=devices))
    host, shared = read_host(make_host_record()), MigrationConfig(shared_paths=("/srv",))
    assert preflight.local_disks(domain, host, shared) == ("vdb",)
    assert not preflight.vouched_for(domain, host, shared)


def test_huge_pages_without_a_size_are_of_the_usual_one() -> None:
    """``<hugepages/>`` is the usual form, and no host without free ones takes the guest."""
    more = "<memoryBacking><hugepages/></memoryBacking>"
    domain = read_domain(make_domain_xml(more=more))
    poor = read_host(make_host_record(free_pages={2048: 1023}))
    rich = read_host(make_host_record(free_pages={2048: 1024}))
    assert lacking(domain, poor) == {"hugepages:2048KiB/2048MiB"}
    assert not lacking(domain, rich)


def test_a_guest_that_is_shown_its_hosts_processor_needs_the_same_one() -> None:
    """Models may be called the same and differ in a feature, which no comparison tells."""
    domain = read_domain(make_domain_xml(cpu="<cpu mode='host-passthrough'/>"))
    assert not lacking(domain, read_host(make_host_record()))
    (name,) = lacking(domain, read_host(make_host_record(model="Xeon")))
    assert name.startswith("host-processor:EPYC/")


def test_snapshots_and_devices_are_told_together() -> None:
    """An operator sees everything that has to go first."""
    domain = read_domain(make_domain_xml(devices="<hostdev type='usb'/><hostdev type='usb'/>"))
    assert preflight.ties(domain, 2) == "passed-through usb device, 2 snapshots kept by libvirt"


def test_kinds_of_processors_have_names_that_last() -> None:
    """The same guest processor has the same name in every process."""
    cpu = "<cpu mode='custom'><model>qemu64</model></cpu>"
    first = preflight.processor(read_domain(make_domain_xml(cpu=cpu)))
    assert first == preflight.processor(read_domain(make_domain_xml("other", cpu=cpu)))
    assert first.startswith("processor:qemu64/")
    assert preflight.processor(read_domain(make_domain_xml())) == ""


@pytest.mark.parametrize(
    ("cache", "folder", "expected"),
    [("none", "/srv", True), ("writeback", "/srv", False), ("none", "/other", False)],
)
def test_operators_vouch_for_disks_that_are_not_cached(
    cache: str, folder: str, expected: bool
) -> None:
    """Writes that the source holds back are not seen by the destination, whatever they share."""
    source = "<source file='/srv/a'/><target dev='a'/>"
    disk = f"<disk type='file'><driver cache='{cache}'/>{source}</disk>"
    domain = read_domain(make_domain_xml(devices=disk))
    shared = MigrationConfig(shared_paths=(folder,))
    assert preflight.vouched_for(domain, read_host(make_host_record()), shared) == expected
