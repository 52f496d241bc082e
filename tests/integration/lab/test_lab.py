"""The lab itself: guests tick and migrate, faults are what they claim to be, and leave no trace."""

from __future__ import annotations

import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
import pytest

from tests.integration.lab.guests import domain_xml
from tests.integration.lab.hosts import Lab
from tests.integration.lab.machines import wait_until
from tests.integration.lab.soundness import assert_sound, unsoundness
from tests.integration.lab.ticks import miscounted

if TYPE_CHECKING:
    from tests.integration.lab.host import LabHost

LIVE = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
)


def migrate(
    name: str, source: LabHost, destination: LabHost, *, uri: str = "", flags: int = LIVE
) -> float:
    """Migrate a guest and return how many seconds that took."""
    parameters = {libvirt.VIR_MIGRATE_PARAM_URI: uri or destination.migration_uri}
    begun_s = time.monotonic()
    source.domain(name).migrate3(destination.connection, parameters, flags)
    return time.monotonic() - begun_s


def test_guest_ticks_on_through_a_live_migration(lab: Lab) -> None:
    """A guest counts on by one on its way to another host, and runs there alone."""
    source, destination, *_ = lab.hosts
    guest = lab.start_guest("vm1", source, dirty_mib=8, dirty_mib_per_s=4)
    guest.wait_ticking(num_ticks=3)
    begun_s = time.monotonic()
    migrate("vm1", source, destination)
    guest.wait_ticking(num_ticks=3)
    assert lab.placement() == {"vm1": destination.name}
    assert guest.largest_gap_s(begun_s) < 5.0
    assert_sound(lab, {"vm1": destination.name})
    assert unsoundness(lab, {"vm1": source.name}) == ["vm1 should run on host1"]


def test_a_second_copy_is_found(lab: Lab) -> None:
    """A guest that runs on two hosts is unsound, and stays so when one copy has ended."""
    first, second, *_ = lab.hosts
    guest = lab.start_guest("vm1", first)
    guest.wait_ticking(num_ticks=3)
    copy = second.connection.defineXML(domain_xml(guest.spec, image=lab.image, log=guest.log))
    copy.create()
    wait_until(lambda: miscounted(guest.ticks()) != [], 60.0, "both copies tick")
    assert unsoundness(lab) == ["vm1 has QEMU processes on ['host1', 'host2'], must be one"]
    copy.destroy()
    assert unsoundness(lab, {"vm1": "host1"}) == []
    with pytest.raises(AssertionError, match=r"vm1: \['tick 1 at"):
        assert_sound(lab, {"vm1": "host1"})


def last_tick_on(image: Path, raw: Path) -> int:
    """Return the number of the tick that a guest last wrote to its disk."""
    subprocess.run(["qemu-img", "convert", "-O", "raw", image, raw], check=True)
    (number,) = struct.unpack_from("<Q", raw.read_bytes()[:8])
    return int(number)


def test_guest_keeps_its_shared_disk(lab: Lab, tmp_path: Path) -> None:
    """A guest writes on to the disk that both hosts see."""
    source, destination, *_ = lab.hosts
    disk = lab.make_disk("vm1")
    guest = lab.start_guest("vm1", source, disk=disk)
    guest.wait_ticking()
    migrate("vm1", source, destination, flags=LIVE | libvirt.VIR_MIGRATE_UNSAFE)
    guest.wait_ticking(num_ticks=3)
    last = guest.ticks()[-1].number
    destination.domain("vm1").destroy()
    assert last_tick_on(disk, tmp_path / "raw") >= last


def test_guest_takes_its_own_disk_along(lab: Lab, tmp_path: Path) -> None:
    """A disk that one host alone sees is copied to the other, which then has the later ticks."""
    source, destination, *_ = lab.hosts
    disk = source.make_disk("vm1")
    guest = lab.start_guest("vm1", source, disk=disk)
    guest.wait_ticking(num_ticks=3)
    destination.make_disk("vm1")
    migrate("vm1", source, destination, flags=LIVE | libvirt.VIR_MIGRATE_NON_SHARED_DISK)
    guest.wait_ticking(num_ticks=3)
    last = guest.ticks()[-1].number
    destination.domain("vm1").destroy()
    here, there = (host.folder / "lib" / "images" / disk.name for host in (source, destination))
    assert last_tick_on(there, tmp_path / "there") >= last > last_tick_on(here, tmp_path / "here")


def test_guest_answers_the_power_button(lab: Lab) -> None:
    """A guest that is asked to shut down does, and stays defined."""
    host = lab.hosts[0]
    guest = lab.start_guest("vm1", host)
    guest.wait_ticking()
    host.domain("vm1").shutdown()
    # Its process ends a moment before libvirt has noticed.
    off = {"vm1": libvirt.VIR_DOMAIN_SHUTOFF}
    wait_until(lambda: host.domain_states() == off, 20.0, "vm1 is off")
    assert guest.said("power off")
    assert not host.qemu_processes()
    assert unsoundness(lab) == ["vm1 has QEMU processes on [], must be one"]


def test_guests_survive_their_daemon(lab: Lab) -> None:
    """Guests tick while libvirtd is dead, and a new one finds them running."""
    host = lab.hosts[0]
    guest = lab.start_guest("vm1", host)
    guest.wait_ticking()
    host.kill_daemon()
    guest.wait_ticking(num_ticks=5)
    assert any("host1 does not answer" in wrong for wrong in unsoundness(lab))
    host.start_daemon()
    assert_sound(lab, {"vm1": host.name})


def test_power_loss_ends_guests_and_keeps_definitions(lab: Lab) -> None:
    """A host that lost power comes back knowing its guests, and runs none."""
    host = lab.hosts[0]
    lab.start_guest("vm1", host)
    host.lose_power()
    assert lab.placement() == {}
    host.power_on()
    assert host.domain_states() == {"vm1": libvirt.VIR_DOMAIN_SHUTOFF}
    assert host.reaches(lab.hosts[1])


def test_frozen_host_stands_still(lab: Lab) -> None:
    """The guests of a frozen host stop ticking, and go on with it."""
    host = lab.hosts[0]
    guest = lab.start_guest("vm1", host)
    guest.wait_ticking(num_ticks=3)
    host.freeze()
    frozen_s = time.monotonic()
    with pytest.raises(TimeoutError, match="10 ticks of vm1"):
        guest.wait_ticking(num_ticks=10, timeout_s=2.0)
    host.thaw()
    assert guest.largest_gap_s(frozen_s) > 1.5
    assert_sound(lab, {"vm1": host.name})


def test_link_is_cut_and_restored(lab: Lab) -> None:
    """A host whose link is cut reaches no other and is reached by none, until it is restored."""
    first, second, third, _ = lab.hosts
    assert first.reaches(second)
    second.cut_link()
    assert not first.reaches(second)
    assert not second.reaches(first)
    assert first.reaches(third)
    second.restore_link()
    wait_until(lambda: first.reaches(second), 10.0, "the link is back")


def test_slow_link_slows_migrations(lab: Lab) -> None:
    """A migration takes as long as its link needs for the guest's memory."""
    source, destination, *_ = lab.hosts
    lab.start_guest("vm1", source, memory_mib=96, dirty_mib=16).wait_ticking()
    source.slow_link(40)
    assert migrate("vm1", source, destination) > 16 * 8 / 40
    assert_sound(lab, {"vm1": destination.name})


def test_far_host_is_reached_late(lab: Lab) -> None:
    """A migration through a relay arrives, after the relay's latency."""
    source, destination, *_ = lab.hosts
    lab.start_guest("vm1", source).wait_ticking()
    uri = destination.put_far_away(500)
    assert migrate("vm1", source, destination, uri=uri) > 1.0
    assert_sound(lab, {"vm1": destination.name})


def test_guest_stays_where_the_destination_has_no_memory(lab: Lab) -> None:
    """QEMU at the destination cannot have the guest's memory; later it can."""
    source, destination, *_ = lab.hosts
    lab.start_guest("vm1", source).wait_ticking()
    destination.exhaust_memory()
    with pytest.raises(libvirt.libvirtError, match="Cannot allocate memory"):
        migrate("vm1", source, destination)
    assert_sound(lab, {"vm1": source.name})
    destination.restore_memory()
    migrate("vm1", source, destination)
    assert_sound(lab, {"vm1": destination.name})


def test_hosts_migrate_among_themselves_over_tls(lab: Lab) -> None:
    """A host reaches another's libvirtd by its certificate and sends it a guest, encrypted."""
    source, destination, *_ = lab.hosts
    lab.start_guest("vm1", source).wait_ticking()
    assert source.machine.run("virsh", "-c", destination.tls_uri, "hostname").strip() == "host2"
    flags = LIVE | libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_TLS
    source.domain("vm1").migrateToURI3(destination.tls_uri, {}, flags)
    assert_sound(lab, {"vm1": destination.name})


def test_faults_are_gone_for_the_next_test(lab: Lab) -> None:
    """A reset lab has no guests, links, daemons that answer, and memory."""
    first, second, third, fourth = lab.hosts
    lab.start_guest("vm1", first)
    first.kill_daemon()
    second.cut_link()
    second.exhaust_memory()
    third.freeze()
    fourth.lose_power()
    lab.reset()
    assert all(first.reaches(host) and not host.domain_states() for host in lab.hosts)
    assert lab.placement() == {}
    lab.start_guest("vm1", second).wait_ticking()
    assert_sound(lab)


def test_labs_do_not_meet(lab: Lab) -> None:
    """A second lab runs beside the first, with the same names and addresses."""
    lab.start_guest("vm1", lab.hosts[0])
    with Lab(num_hosts=1) as other:
        assert other.hosts[0].address == lab.hosts[0].address
        assert other.hosts[0].domain_states() == {}
        assert other.placement() == {}
    assert lab.placement() == {"vm1": "host1"}
