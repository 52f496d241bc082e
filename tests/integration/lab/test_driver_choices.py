"""Every way of moving a VM that can be chosen moves one, on real hosts."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from executor.drivers.base import MigrationProgress, MigrationState
from executor.kvm.config import KvmConfig, Mode
from executor.kvm.driver import KvmDriver
from solver.domain.errors import PermanentError
from solver.domain.units import HostId, VmId
from tests.integration.lab.carrying import make_config
from tests.integration.lab.soundness import assert_sound

if TYPE_CHECKING:
    from tests.integration.lab.hosts import Lab, LabHost

GUEST = VmId("vm1")
DEADLINE_S = 90.0


def move(config: KvmConfig, destination: LabHost) -> MigrationProgress:
    """Move the guest and return how that ended."""
    driver = KvmDriver(config)
    try:
        driver.snapshot()
        handle = driver.start_migration(GUEST, HostId(destination.name), bandwidth_mib_per_s=200)
        deadline_s = time.monotonic() + DEADLINE_S
        while (progress := driver.poll(handle)).state in (
            MigrationState.RUNNING,
            MigrationState.UNKNOWN,
        ):
            assert time.monotonic() < deadline_s, progress
            time.sleep(0.1)
        return progress
    finally:
        driver.close()


def over_tls(config: KvmConfig, lab: Lab) -> KvmConfig:
    """Return the configuration with daemons that reach one another by certificates."""
    hosts = zip(config.hosts, lab.hosts, strict=True)
    return replace(
        config, hosts=tuple(replace(known, peer_uri=host.tls_uri) for known, host in hosts)
    )


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"mode": Mode.CLIENT_MANAGED},
        {"compressed": True},
        {"parallel_connections": 2},
        {"max_downtime_ms": 50, "auto_converge": False},
        {"post_copy": True},
        {"persist": False},
    ],
    ids=lambda choices: "-".join(choices) or "plain",
)
def test_each_choice_moves_a_guest(lab: Lab, choices: dict[str, Any]) -> None:
    """It ends at the destination, alone, ticking, and measured."""
    source, destination, *_ = lab.hosts
    lab.start_guest(GUEST, source).wait_ticking()
    progress = move(make_config(lab, **choices), destination)
    assert progress.state is MigrationState.COMPLETED, progress
    assert progress.transferred_mib > 0
    assert progress.duration_ms is not None
    assert progress.downtime_ms is not None
    assert_sound(lab, {GUEST: destination.name})


@pytest.mark.parametrize("choices", [{"tls": True}, {"tunnelled": True}], ids=["tls", "tunnelled"])
def test_guests_move_encrypted(lab: Lab, choices: dict[str, Any]) -> None:
    """QEMU's own TLS, or the daemons' connection, both by certificates."""
    source, destination, *_ = lab.hosts
    lab.start_guest(GUEST, source).wait_ticking()
    progress = move(over_tls(make_config(lab, **choices), lab), destination)
    assert progress.state is MigrationState.COMPLETED, progress
    assert_sound(lab, {GUEST: destination.name})


def test_a_disk_on_shared_storage_stays_where_it_is(lab: Lab) -> None:
    """The operator says that the folder is the same on every host."""
    source, destination, *_ = lab.hosts
    disk = lab.make_disk(GUEST)
    lab.start_guest(GUEST, source, disk=disk).wait_ticking()
    config = make_config(lab, shared_paths=(str(disk.parent),))
    assert move(config, destination).state is MigrationState.COMPLETED
    assert_sound(lab, {GUEST: destination.name})


def test_a_disk_of_one_host_is_copied_or_ties_its_guest(lab: Lab) -> None:
    """Without the choice to copy it the move is refused, with it the disk goes along."""
    source, destination, *_ = lab.hosts
    destination.make_disk(GUEST)
    lab.start_guest(GUEST, source, disk=source.make_disk(GUEST)).wait_ticking()
    with pytest.raises(PermanentError, match="disk vda on storage of its host alone"):
        move(make_config(lab), destination)
    progress = move(make_config(lab, copy_storage=True), destination)
    assert progress.state is MigrationState.COMPLETED, progress
    assert_sound(lab, {GUEST: destination.name})
