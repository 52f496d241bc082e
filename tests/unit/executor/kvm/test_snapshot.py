"""The snapshot tells what was seen, and what no plan may ask for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from executor.kvm.api import Fault, HypervisorError, RunState
from executor.kvm.config import HostConfig, KvmConfig, MigrationConfig, VmPolicy
from executor.kvm.driver import KvmDriver
from solver.domain.check import check_placement
from solver.domain.cluster import HostState
from solver.domain.errors import PermanentError, TemporaryError
from solver.domain.rules import AntiAffinity
from solver.domain.units import HostId, VmId
from tests.builders import NOW
from tests.hypervisors import Hypervisor, Hypervisors, make_host_record, make_record

H1, H2 = HostId("h1"), HostId("h2")
WEB, DB = VmId("web"), VmId("db")
U1, U2, U3 = (f"{digit}" * 8 + "-0000-0000-0000-000000000000" for digit in "123")
QEMU64 = "<cpu mode='custom'><model>qemu64</model></cpu>"
NOVA = "<metadata><n:instance xmlns:n='http://openstack.org/xmlns/libvirt/nova/1.1'/></metadata>"
LOCAL_DISK = "<disk type='file'><source file='/var/a.qcow2'/><target dev='vda'/></disk>"


def drive(h1: Hypervisor, h2: Hypervisor, **settings: Any) -> KvmDriver:
    """Return a driver of two hosts."""
    hosts = tuple(
        HostConfig(id=HostId(name), uri=f"qemu+ssh://{name}/system", peer_uri=f"qemu+tls://{name}/")
        for name in ("h1", "h2")
    )
    config = KvmConfig(hosts=hosts, timeout_s=5.0, **settings)
    return KvmDriver(config, open_connection=Hypervisors(h1=h1, h2=h2))


def test_vms_have_sizes_places_and_what_the_operator_says() -> None:
    """Sizes are the hypervisor's, priorities the operator's."""
    h1, h2 = Hypervisor(), Hypervisor()
    told = {
        "balloon.rss": 1024 * 700,
        "dirtyrate.calc_status": 2,
        "dirtyrate.megabytes_per_second": 9,
    }
    h1.hold(make_record("web", uuid=U1, stats=told))
    driver = drive(h1, h2, vms={WEB: VmPolicy(priority=9, group="shop")})
    cluster = driver.snapshot()
    (vm,) = cluster.vms
    assert (vm.id, vm.host_id, vm.priority, vm.group) == (WEB, H1, 9, "shop")
    assert (vm.allocation.cpu_millicores, vm.allocation.memory_mib) == (2000, 2048)
    assert (vm.memory_footprint_mib, vm.dirty_mib_per_s) == (700, 9)
    assert vm.labels["uuid"] == U1
    assert [host.capacity.memory_mib for host in cluster.hosts] == [16384, 16384]
    # 1 GiB and 5 %: the host itself, and what QEMU needs beside its guests.
    assert [host.reserve.memory_mib for host in cluster.hosts] == [1843, 1843]


@pytest.mark.parametrize(
    ("stats", "expected_mib"),
    [({"balloon.rss": 9_000_000}, 2048), ({"balloon.current": 1024 * 512}, 512), ({}, 2048)],
)
def test_the_footprint_is_known_with_and_without_balloon(
    stats: dict[str, int], expected_mib: int
) -> None:
    """What QEMU needs for itself is not sent; without a balloon the whole size is."""
    h1 = Hypervisor()
    h1.hold(make_record("web", uuid=U1, stats=stats))
    assert drive(h1, Hypervisor()).snapshot().vms[0].memory_footprint_mib == expected_mib


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (make_record("web", uuid=U1, state=RunState.OFF), "powered off"),
        (make_record("web", uuid=U1, state=RunState.PAUSED), "paused"),
        (make_record("web", uuid=U1, more=NOVA), "managed by OpenStack Nova"),
        (make_record("web", uuid=U1, num_snapshots=1), "1 snapshots kept by libvirt"),
        (make_record("web", uuid=U1, devices=LOCAL_DISK), "disk vda on storage of its host alone"),
    ],
)
def test_a_vm_that_cannot_be_moved_says_why_and_is_not_moved(record: Any, reason: str) -> None:
    """The snapshot, and the driver when it is asked all the same."""
    h1 = Hypervisor()
    h1.hold(record)
    driver = drive(h1, Hypervisor())
    assert driver.snapshot().vms[0].not_migratable_reason == reason
    with pytest.raises(PermanentError, match=reason):
        driver.start_migration(WEB, H2, bandwidth_mib_per_s=100)


def test_domains_of_other_managers_are_moved_only_when_the_operator_says_so() -> None:
    """By default they are left alone."""
    h1 = Hypervisor()
    h1.hold(make_record("web", uuid=U1, more=NOVA))
    assert drive(h1, Hypervisor(), move_foreign=True).snapshot().vms[0].migratable


def test_a_host_that_does_not_answer_is_frozen_as_it_was_seen() -> None:
    """Its VMs stay where they were; the others are seen as they are."""
    h1, h2 = Hypervisor(), Hypervisor()
    h1.hold(make_record("web", uuid=U1))
    driver = drive(h1, h2)
    driver.snapshot()
    h1.down = True
    h2.hold(make_record("db", uuid=U2))
    cluster = driver.snapshot()
    assert [host.state for host in cluster.hosts] == [HostState.UNREACHABLE, HostState.UP]
    assert cluster.placement == {WEB: H1, DB: H2}
    assert cluster.hosts[0].capacity.memory_mib == 16384


def test_without_any_host_there_is_no_snapshot() -> None:
    """Nothing is known of the present."""
    driver = drive(Hypervisor(down=True), Hypervisor(down=True))
    with pytest.raises(TemporaryError, match="no host can be reached; host 'h1'"):
        driver.snapshot()


def test_a_host_that_cannot_run_a_processor_is_no_destination() -> None:
    """libvirt compares; the solver's judge sees the difference, and the driver refuses."""
    h1, h2 = Hypervisor(), Hypervisor(refused_processors=("qemu64",))
    h1.hold(make_record("web", uuid=U1, cpu=QEMU64))
    driver = drive(h1, h2)
    cluster = driver.snapshot()
    assert not check_placement(cluster, {WEB: H1})
    (violation,) = check_placement(cluster, {WEB: H2})
    assert "processor:qemu64/" in violation.message
    with pytest.raises(PermanentError, match="lacks processor:qemu64/"):
        driver.start_migration(WEB, H2, bandwidth_mib_per_s=100)


def test_each_kind_of_processor_is_compared_once_a_host() -> None:
    """Ten VMs alike are one question."""
    h1, h2 = Hypervisor(), Hypervisor()
    for number in range(10):
        uuid = f"{number:08d}-0000-0000-0000-000000000000"
        h1.hold(make_record(f"vm{number}", uuid=uuid, cpu=QEMU64))
    driver = drive(h1, h2)
    driver.snapshot()
    driver.snapshot()
    assert len(h1.compared) == len(h2.compared) == 1


def test_a_vm_keeps_its_name_when_another_of_that_name_appears() -> None:
    """Its rules and its priority must not go to the newcomer, nor to nobody."""
    h1, h2 = Hypervisor(), Hypervisor()
    h1.hold(make_record("web", uuid=U1), make_record("db", uuid=U3))
    rule = AntiAffinity(id="apart", vm_ids=(WEB, DB))
    driver = drive(h1, h2, rules=(rule,), vms={WEB: VmPolicy(priority=10)})
    driver.snapshot()
    h2.hold(make_record("web", uuid=U2, state=RunState.OFF))
    cluster = driver.snapshot()
    assert cluster.placement == {WEB: H1, DB: H1, VmId("web~22222222"): H2}
    assert cluster.rules == (rule,)
    assert next(vm for vm in cluster.vms if vm.id == WEB).priority == 10
    assert driver.locate(WEB) == (H1,)


def test_of_several_domains_of_a_name_the_operator_says_which_is_meant() -> None:
    """Who does not is told, before a rule is dropped in silence."""
    h1, h2 = Hypervisor(), Hypervisor()
    h1.hold(make_record("web", uuid=U1))
    h2.hold(make_record("web", uuid=U2))
    with pytest.raises(PermanentError, match="several domains of this name"):
        drive(h1, h2, vms={WEB: VmPolicy(priority=9)}).snapshot()
    meant = {WEB: VmPolicy(priority=9, uuid=U2)}
    assert drive(h1, h2, vms=meant).snapshot().placement == {VmId("web~11111111"): H1, WEB: H2}


def test_a_vm_made_anew_under_its_name_has_it() -> None:
    """The dead do not keep names."""
    h1 = Hypervisor()
    h1.hold(make_record("web", uuid=U1))
    driver = drive(h1, Hypervisor())
    driver.snapshot()
    h1.held.clear()
    h1.hold(make_record("web", uuid=U2))
    assert driver.snapshot().placement == {WEB: H1}
    assert driver.locate(WEB) == (H1,)


def test_a_host_that_was_never_seen_is_not_empty() -> None:
    """A new process knows nothing of what a silent host holds, and says so."""
    driver = drive(Hypervisor(), Hypervisor(down=True))
    driver.snapshot()
    for ask in (
        lambda: driver.find_migration(DB),
        lambda: driver.locate(DB),
        lambda: driver.start_migration(DB, H1, bandwidth_mib_per_s=1),
    ):
        with pytest.raises(TemporaryError, match="h2"):
            ask()


def test_a_description_that_cannot_be_read_costs_nobody_else_the_snapshot() -> None:
    """Its VM stays where it is."""
    h1 = Hypervisor()
    broken = replace(make_record("web", uuid=U1), xml="<domain")
    h1.hold(broken, make_record("db", uuid=U2))
    cluster = drive(h1, Hypervisor()).snapshot()
    reasons = {vm.id: vm.not_migratable_reason for vm in cluster.vms}
    assert reasons == {DB: "", WEB: "a description that cannot be read"}


def test_an_operators_hold_and_cool_down_are_kept() -> None:
    """They are in the document that is handed back, and no plan moves the VM."""
    h1 = Hypervisor()
    h1.hold(make_record("web", uuid=U1), make_record("db", uuid=U2))
    later = NOW + timedelta(hours=1)
    policies = {
        WEB: VmPolicy(labels={"hold": "audit until Friday"}),
        DB: VmPolicy(not_before_at=later, requires=("gpu",)),
    }
    db, web = drive(h1, Hypervisor(), vms=policies).snapshot().vms
    assert web.not_migratable_reason == "held by the operator: audit until Friday"
    assert db.not_before_at == later
    assert "gpu" in db.requires


def test_what_a_hypervisor_refuses_comes_in_the_words_of_the_protocol() -> None:
    """An error of libvirt's own would end whoever carries out a plan."""
    h1 = Hypervisor()
    h1.hold(make_record("web", uuid=U1))
    driver = drive(h1, Hypervisor())
    driver.snapshot()
    h1.errs = HypervisorError("unable to read from monitor", fault=Fault.FAILED)
    with pytest.raises(TemporaryError, match="monitor"):
        driver.find_migration(WEB)
    with pytest.raises(TemporaryError, match="monitor"):
        driver.start_migration(WEB, H2, bandwidth_mib_per_s=1)


def test_a_name_that_is_taken_at_a_host_keeps_a_vm_away() -> None:
    """Two domains of one name are two VMs with names of their own, and stay apart."""
    h1, h2 = Hypervisor(), Hypervisor()
    h1.hold(make_record("web", uuid=U1))
    h2.hold(make_record("web", uuid=U2, state=RunState.OFF))
    cluster = drive(h1, h2).snapshot()
    first, second = VmId("web~11111111"), VmId("web~22222222")
    assert cluster.placement == {first: H1, second: H2}
    assert not check_placement(cluster, cluster.placement)
    assert check_placement(cluster, {first: H2, second: H2})


def test_a_vm_stands_at_its_source_while_it_is_under_way() -> None:
    """The copy that fills up at the destination is not the VM."""
    h1, h2 = Hypervisor(), Hypervisor()
    h1.hold(make_record("web", uuid=U1))
    h2.hold(make_record("web", uuid=U1, state=RunState.INCOMING))
    assert drive(h1, h2).snapshot().placement == {WEB: H1}
    # In post-copy it runs at the destination, and its memory is still at the source.
    h1.hold(make_record("web", uuid=U1, state=RunState.LEAVING))
    h2.hold(make_record("web", uuid=U1))
    driver = drive(h1, h2)
    assert driver.snapshot().placement == {WEB: H1}
    assert driver.locate(WEB) == (H2,)


def test_a_definition_left_behind_is_not_the_vm() -> None:
    """A VM that was moved without its definition is where it runs."""
    h1, h2 = Hypervisor(), Hypervisor()
    h1.hold(make_record("web", uuid=U1, state=RunState.OFF))
    h2.hold(make_record("web", uuid=U1))
    assert drive(h1, h2).snapshot().placement == {WEB: H2}


def test_a_vm_that_runs_twice_is_not_touched() -> None:
    """Two copies destroy a disk; moving one of them does not help."""
    h1, h2 = Hypervisor(), Hypervisor()
    h1.hold(make_record("web", uuid=U1))
    h2.hold(make_record("web", uuid=U1))
    driver = drive(h1, h2)
    (vm,) = driver.snapshot().vms
    assert vm.not_migratable_reason == "runs on 'h1' and on 'h2' at once"
    assert driver.locate(WEB) == (H1, H2)


def test_rules_about_vms_that_are_gone_are_left_out() -> None:
    """A rule that has nobody left to ask is no error."""
    h1 = Hypervisor()
    h1.hold(make_record("web", uuid=U1))
    rule = AntiAffinity(id="apart", vm_ids=(WEB, DB))
    assert drive(h1, Hypervisor(), rules=(rule,)).snapshot().rules == ()


def test_a_copy_left_paused_by_a_broken_migration_goes_on_if_it_is_the_only_one() -> None:
    """Nobody else may have one: a host that does not answer might."""
    h1, h2 = Hypervisor(), Hypervisor()
    h1.hold(make_record("web", uuid=U1, state=RunState.LEFT_PAUSED))
    driver = drive(h1, h2)
    driver.snapshot()
    h2.down = True
    with pytest.raises(TemporaryError):
        driver.find_migration(WEB)
    assert h1.resumed == []
    h2.down = False
    other = drive(h1, h2)
    assert other.find_migration(WEB) is None
    assert h1.resumed == [U1]
    assert other.locate(WEB) == (H1,)


def test_a_migration_is_not_over_while_what_was_received_is_still_there() -> None:
    """Once the next try was wasted on a destination that had not yet ended the copy of the last."""
    h1, h2 = Hypervisor(), Hypervisor()
    h1.hold(make_record("web", uuid=U1))
    h2.hold(make_record("web", uuid=U1, state=RunState.INCOMING))
    driver = drive(h1, h2)
    with pytest.raises(TemporaryError, match="'h2' still receives VM 'web', which no host sends"):
        driver.find_migration(WEB)
    del h2.held[U1]
    assert driver.find_migration(WEB) is None


def test_memory_that_is_promised_at_the_destination_is_counted() -> None:
    """A VM that does not fit beside what is there is refused for now."""
    h1, h2 = Hypervisor(), Hypervisor(facts=make_host_record())
    h1.hold(make_record("web", uuid=U1, memory_mib=10_000))
    h2.hold(make_record("db", uuid=U2, memory_mib=8_000))
    driver = drive(h1, h2)
    with pytest.raises(TemporaryError, match="'h2' has 6541 MiB left, VM 'web' needs 10000"):
        driver.start_migration(WEB, H2, bandwidth_mib_per_s=100)


def test_disks_may_be_copied() -> None:
    """Then storage of one host alone ties nobody."""
    h1 = Hypervisor()
    h1.hold(make_record("web", uuid=U1, devices=LOCAL_DISK))
    migration = MigrationConfig(copy_storage=True)
    assert drive(h1, Hypervisor(), migration=migration).snapshot().vms[0].migratable
