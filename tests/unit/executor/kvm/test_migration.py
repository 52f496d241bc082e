"""Settings become flags and parameters."""

from __future__ import annotations

import pytest

from executor.kvm.config import HostConfig, KvmConfig, MigrationConfig, Mode
from executor.kvm.migration import flag_names, parameters
from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId


def test_a_plain_migration_is_live_peer_to_peer_and_takes_the_definition_along() -> None:
    """What a VM is defined as is where it runs, and only there."""
    assert set(flag_names(MigrationConfig())) == {
        "live",
        "peer_to_peer",
        "persist_destination",
        "undefine_source",
        "auto_converge",
    }


def test_every_choice_has_its_flag() -> None:
    """All but tunnelling go together."""
    config = MigrationConfig(
        mode=Mode.CLIENT_MANAGED,
        tls=True,
        auto_converge=False,
        post_copy=True,
        compressed=True,
        parallel_connections=4,
        copy_storage=True,
        persist=False,
    )
    assert set(flag_names(config, copies_disks=True)) == {
        "live",
        "tls",
        "post_copy",
        "compressed",
        "parallel",
        "copy_storage",
    }
    assert parameters(config, address="fd00::1", bandwidth_mib_per_s=80, copied_disks=("vdb",)) == {
        "bandwidth": 80,
        "uri": "tcp://[fd00::1]",
        "parallel_connections": 4,
        "compression": "xbzrle",
        "copied_disks": ["vdb"],
    }


def test_without_an_address_libvirt_chooses() -> None:
    """And a tunnelled migration has no address of its own."""
    assert parameters(MigrationConfig(), address="", bandwidth_mib_per_s=80) == {"bandwidth": 80}
    tunnelled = MigrationConfig(tunnelled=True)
    assert "uri" not in parameters(tunnelled, address="10.0.0.1", bandwidth_mib_per_s=80)


@pytest.mark.parametrize(
    ("choices", "path"),
    [
        ({"tunnelled": True, "mode": Mode.CLIENT_MANAGED}, "migration.tunnelled"),
        ({"tunnelled": True, "parallel_connections": 2}, "migration.tunnelled"),
        ({"parallel_connections": 256}, "migration.parallel_connections"),
        ({"max_downtime_ms": 0}, "migration.max_downtime_ms"),
    ],
)
def test_choices_that_libvirt_would_refuse_are_refused_at_once(
    choices: dict[str, object], path: str
) -> None:
    """Before the first VM is to be moved."""
    with pytest.raises(InvalidInputError) as caught:
        MigrationConfig(**choices)  # type: ignore[arg-type]
    assert caught.value.path == path


def test_peer_to_peer_needs_to_know_how_daemons_reach_one_another() -> None:
    """The URI by which foreswap reaches a host is often of no use to another host."""
    host = HostConfig(id=HostId("h1"), uri="qemu:///system?socket=/run/a")
    with pytest.raises(InvalidInputError, match="peer-to-peer migration needs the URI"):
        KvmConfig(hosts=(host,))
    KvmConfig(hosts=(host,), migration=MigrationConfig(mode=Mode.CLIENT_MANAGED))
