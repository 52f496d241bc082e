"""The lab itself: guests tick, migrate and survive faults."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import libvirt

if TYPE_CHECKING:
    from tests.integration.lab.hosts import Lab

LIVE = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
)


def test_guest_ticks_on_through_a_live_migration(lab: Lab) -> None:
    """A guest counts on by one on its way to another host, and runs there alone."""
    source, destination, *_ = lab.hosts
    guest = lab.start_guest("vm1", source, dirty_mib=8, dirty_mib_per_s=4)
    guest.wait_ticking(num_ticks=3)
    begun_s = time.monotonic()
    source.domain("vm1").migrate3(
        destination.connection, {libvirt.VIR_MIGRATE_PARAM_URI: destination.migration_uri}, LIVE
    )
    guest.wait_ticking(num_ticks=3)
    assert lab.placement() == {"vm1": destination.name}
    assert guest.largest_gap_s(begun_s) < 5.0
