"""What a domain's XML says about moving it."""

from __future__ import annotations

import pytest

from executor.kvm.domain_xml import Disk, number_set, read_domain
from tests.hypervisors import make_domain_xml


def test_a_plain_domain_is_tied_to_nothing() -> None:
    """Size, machine type and kind of virtualisation are read; nothing else is required."""
    domain = read_domain(make_domain_xml())
    assert (domain.name, domain.memory_mib, domain.vcpus) == ("web1", 2048, 2)
    assert (domain.virttype, domain.arch, domain.machine) == ("kvm", "x86_64", "pc-q35-7.2")
    assert (domain.fixed, domain.disks, domain.networks, domain.owner) == ((), (), (), "")


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("<memory>1048576</memory>", 1024),
        ("<memory unit='GiB'>2</memory>", 2048),
        ("<memory unit='bytes'>1048577</memory>", 2),
        ("<memory unit='GB'>1</memory>", 954),
    ],
)
def test_memory_is_read_in_every_unit(text: str, mib: int) -> None:
    """Units are libvirt's; parts of a MiB count as one."""
    xml = f"<domain type='kvm'><name>a</name><uuid>u</uuid>{text}</domain>"
    assert read_domain(xml).memory_mib == mib


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ("<hostdev mode='subsystem' type='pci'/>", "passed-through pci device"),
        ("<interface type='direct'/>", "network interface of type 'direct'"),
        ("<filesystem type='mount'><target dir='data'/></filesystem>", "folder 'data' of its host"),
        ("<shmem name='s'/>", "memory shared with others"),
    ],
)
def test_what_ties_a_domain_to_its_host_is_told_in_words(devices: str, words: str) -> None:
    """An operator reads why a VM cannot be moved."""
    assert read_domain(make_domain_xml(devices=devices)).fixed == (words,)


def test_disks_are_read_with_where_they_stand() -> None:
    """Files, volumes, network disks and empty drives."""
    devices = """
    <disk type='file'><driver cache='none'/><source file='/srv/a.qcow2'/><target dev='vda'/></disk>
    <disk type='volume'><source pool='fast' volume='b'/><target dev='vdb'/></disk>
    <disk type='network'><source protocol='rbd' name='pool/c'/><target dev='vdc'/><readonly/></disk>
    <disk type='file' device='cdrom'><target dev='sda'/></disk>"""
    assert read_domain(make_domain_xml(devices=devices)).disks == (
        Disk(target="vda", kind="file", source="/srv/a.qcow2", read_only=False),
        Disk(target="vdb", kind="volume", source="fast", read_only=False, cached=True),
        Disk(target="vdc", kind="network", source="pool/c", read_only=True),
        Disk(target="sda", kind="", source="", read_only=False, cached=True),
    )


def test_memory_of_a_kind_or_place_is_read() -> None:
    """Huge pages, strict NUMA cells and pinned processors have to be there at the destination."""
    more = """<memoryBacking><hugepages><page size='2' unit='M'/></hugepages></memoryBacking>
    <numatune><memory mode='strict' nodeset='0-1'/></numatune>
    <cputune><vcpupin vcpu='0' cpuset='2'/><vcpupin vcpu='1' cpuset='3-4,^4'/></cputune>"""
    domain = read_domain(make_domain_xml(more=more))
    assert domain.hugepage_kib == (2048,)
    assert domain.numa_nodes == (0, 1)
    assert domain.pinned_cpus == (2, 3)


def test_memory_that_only_prefers_a_cell_may_go_anywhere() -> None:
    """``preferred`` is a wish."""
    more = "<numatune><memory mode='preferred' nodeset='1'/></numatune>"
    assert read_domain(make_domain_xml(more=more)).numa_nodes == ()


@pytest.mark.parametrize(
    ("namespace", "owner"),
    [
        ("http://openstack.org/xmlns/libvirt/nova/1.1", "OpenStack Nova"),
        ("http://ovirt.org/vm/1.0", "oVirt"),
        ("http://libosinfo.org/xmlns/libvirt/domain/1.0", ""),
    ],
)
def test_another_manager_is_known_by_its_mark(namespace: str, owner: str) -> None:
    """Two managers that move one VM fight; notes of virt-manager are no manager's."""
    more = f"<metadata><x:instance xmlns:x='{namespace}'/></metadata>"
    assert read_domain(make_domain_xml(more=more)).owner == owner


def test_an_operator_may_name_marks_of_their_own() -> None:
    """Pacemaker and others leave none by themselves."""
    more = "<metadata><x:by xmlns:x='urn:example:ha'/></metadata>"
    assert read_domain(make_domain_xml(more=more), {"urn:example:ha": "Pacemaker"}).owner == (
        "Pacemaker"
    )


def test_sets_of_numbers_leave_out_what_is_taken_back() -> None:
    """Ranges, single numbers and exceptions."""
    assert number_set("0-3,^2,8") == (0, 1, 3, 8)
    assert number_set("") == ()
