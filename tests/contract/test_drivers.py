"""Every driver keeps every promise of ``executor.drivers.base.Driver``.

A driver joins by a ``Lab``: it makes the small cluster the tests speak of, lets time pass, and
breaks things on demand. The lab has two hosts, ``h1`` and ``h2``; on ``h1`` the VMs ``v1`` and
``v2`` and the immovable ``stuck`` of one size, and ``big``, which fits on ``h2`` only while
nothing else is there. Where VMs can be started, ``cold`` has no host, fits on ``h1`` once ``v1``
has left, never on ``h2``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import pytest

from executor.clock import ManualClock
from executor.drivers.base import (
    Driver,
    MigrationHandle,
    MigrationProgress,
    MigrationState,
    MigrationUnderWay,
)
from executor.drivers.simulated import SimulatedDriver
from executor.simulation.faults import Fate, Incident, IncidentKind, ScriptedFaults
from solver.domain.cluster import HostState
from solver.domain.errors import (
    ExecutionError,
    InvalidInputError,
    PermanentError,
    StaleClusterError,
    TemporaryError,
)
from solver.domain.units import HostId, VmId
from tests.builders import NOW, make_cluster, make_host, make_vm
from tests.executor_builders import make_workload

H1, H2 = HostId("h1"), HostId("h2")
V1, V2, BIG, STUCK, COLD = (VmId(name) for name in ("v1", "v2", "big", "stuck", "cold"))
FIRST_FAILS, UNREACHABLE_AFTER_S = VmId("v2"), 1800.0


class Lab(Protocol):
    """A small real or simulated cluster.

    Attributes
    ----------
    sent_mib
        What a migration of ``v1`` sends at least.
    fast_mib_per_s, slow_mib_per_s
        A rate that nothing limits; one at which ``v1`` takes 20 s or longer.
    """

    driver: Driver
    sent_mib: int
    fast_mib_per_s: int
    slow_mib_per_s: int

    def wait(self, seconds: float) -> None:
        """Let time pass."""

    def lose_source(self) -> None:
        """Bring the cluster to a time when ``h1`` does not answer."""

    def narrow_link(self) -> None:
        """Let the link of ``h1`` carry so little that the rest of ``v1`` takes seconds."""


class SimulatedLab:
    """The lab in memory; the first migration of ``v2`` fails half-way."""

    sent_mib = 4096
    fast_mib_per_s = 1000
    slow_mib_per_s = 100

    def __init__(self) -> None:
        cluster = make_cluster(
            [make_host("h1", memory_gib=50), make_host("h2", memory_gib=20)],
            [
                make_vm("v1", dirty_mib_per_s=50),
                make_vm("v2"),
                make_vm("big", memory_gib=18),
                make_vm("stuck", not_migratable_reason="passthrough device"),
                make_vm("cold", None, memory_gib=21),
            ],
        )
        outage = Incident(
            at=NOW + timedelta(seconds=UNREACHABLE_AFTER_S),
            kind=IncidentKind.HOST_UNREACHABLE,
            host_id=H1,
            duration_s=100,
        )
        faults = ScriptedFaults(fates={V2: [Fate(fails_at_fraction=0.5)]}, happening=[outage])
        self.clock = ManualClock(NOW)
        self.driver: Driver = SimulatedDriver(
            cluster, make_workload(cluster.vms), self.clock, faults=faults
        )

    def wait(self, seconds: float) -> None:
        """Turn the clock."""
        self.clock.advance(seconds)

    def narrow_link(self) -> None:
        """Leave it: a simulated post-copy keeps to the bandwidth that was granted."""

    def lose_source(self) -> None:
        """Turn the clock to the outage."""
        self.clock.advance_to(NOW + timedelta(seconds=UNREACHABLE_AFTER_S))


@pytest.fixture(params=["simulated", "kvm"])
def lab(request: pytest.FixtureRequest) -> Lab:
    """The lab of each driver."""
    if request.param == "simulated":
        return SimulatedLab()
    kvm_lab: Lab = request.getfixturevalue("kvm_lab")
    return kvm_lab


def require_starts(lab: Lab) -> None:
    """Skip what a driver that starts no VMs cannot do."""
    if not lab.driver.capabilities().can_start_vms:
        pytest.skip("this driver starts no VMs")


def finish(lab: Lab, handle: MigrationHandle) -> MigrationProgress:
    """Wait for a migration's end."""
    for _ in range(600):
        progress = lab.driver.poll(handle)
        if progress.state is not MigrationState.RUNNING:
            return progress
        lab.wait(1)
    raise AssertionError(f"migration {handle} did not end")


def test_a_snapshot_shows_who_is_where(lab: Lab) -> None:
    """Hosts, VMs and their hosts, at the present instant."""
    cluster = lab.driver.snapshot()
    assert [host.id for host in cluster.hosts] == [H1, H2]
    cold = {COLD: None} if lab.driver.capabilities().can_start_vms else {}
    assert cluster.placement == {V1: H1, V2: H1, BIG: H1, STUCK: H1, **cold}


def test_capabilities_do_not_change(lab: Lab) -> None:
    """The executor may ask once and rely on the answer."""
    before = lab.driver.capabilities()
    finish(lab, lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=lab.fast_mib_per_s))
    assert lab.driver.capabilities() == before


def test_a_migration_ends_at_the_destination_and_nowhere_else(lab: Lab) -> None:
    """Completed means: one running copy, at the destination, and measured."""
    handle = lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=lab.fast_mib_per_s)
    progress = finish(lab, handle)
    assert progress.state is MigrationState.COMPLETED
    assert progress.fraction == 1.0
    assert progress.transferred_mib >= lab.sent_mib
    assert progress.remaining_mib == 0
    assert progress.duration_ms is not None
    assert progress.duration_ms > 0
    assert progress.downtime_ms is not None
    assert lab.driver.locate(V1) == (H2,)
    assert lab.driver.snapshot().placement[V1] == H2


def test_starting_returns_at_once_and_the_vm_stands_at_its_source(lab: Lab) -> None:
    """A VM under way is where it came from until it has arrived."""
    handle = lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=lab.slow_mib_per_s)
    lab.wait(10)
    progress = lab.driver.poll(handle)
    assert progress.state is MigrationState.RUNNING
    assert 0 < progress.fraction < 1
    assert progress.transferred_mib > 0
    assert progress.remaining_mib > 0
    assert lab.driver.snapshot().placement[V1] == H1
    assert lab.driver.locate(V1) == (H1,)


def test_the_granted_bandwidth_is_not_exceeded(lab: Lab) -> None:
    """After ten seconds ten seconds' worth is there, but for a burst of the first moment."""
    handle = lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=lab.slow_mib_per_s)
    lab.wait(10)
    assert lab.driver.poll(handle).transferred_mib <= 12 * lab.slow_mib_per_s


def test_both_ends_hold_the_memory_of_a_vm_under_way(lab: Lab) -> None:
    """What would fit on an empty host has no room while another VM is on its way there."""
    lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=lab.slow_mib_per_s)
    with pytest.raises(TemporaryError) as caught:
        lab.driver.start_migration(BIG, H2, bandwidth_mib_per_s=lab.slow_mib_per_s)
    assert caught.value.vm_id == BIG
    assert caught.value.delay_s > 0
    assert lab.driver.find_migration(BIG) is None


def test_a_failed_migration_leaves_the_vm_running_at_its_source(lab: Lab) -> None:
    """A failure half-way costs time and bytes, never the VM."""
    handle = lab.driver.start_migration(FIRST_FAILS, H2, bandwidth_mib_per_s=lab.slow_mib_per_s)
    progress = finish(lab, handle)
    assert progress.state is MigrationState.FAILED
    assert progress.temporary
    assert progress.reason
    assert lab.driver.locate(FIRST_FAILS) == (H1,)


def test_what_is_over_stays_as_it_was(lab: Lab) -> None:
    """Polling later gives the same answer."""
    handle = lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=lab.fast_mib_per_s)
    progress = finish(lab, handle)
    lab.wait(20)
    assert lab.driver.poll(handle) == progress


def test_cancelling_leaves_the_vm_at_its_source(lab: Lab) -> None:
    """A cancelled migration has failed, and its VM runs where it was."""
    handle = lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=lab.slow_mib_per_s)
    lab.wait(5)
    lab.driver.cancel(handle)
    assert finish(lab, handle).state is MigrationState.FAILED
    assert lab.driver.locate(V1) == (H1,)
    assert lab.driver.find_migration(V1) is None


def test_cancelling_what_is_over_changes_nothing(lab: Lab) -> None:
    """A cancellation that comes too late is no error."""
    handle = lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=lab.fast_mib_per_s)
    progress = finish(lab, handle)
    lab.driver.cancel(handle)
    assert lab.driver.poll(handle) == progress
    assert lab.driver.locate(V1) == (H2,)


def switched(lab: Lab) -> MigrationHandle:
    """Return a slow migration of ``v1`` that was switched to post-copy; skip where none can be."""
    if not lab.driver.capabilities().can_post_copy:
        pytest.skip("this driver does not begin migrations that can be switched")
    lab.narrow_link()
    handle = lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=lab.slow_mib_per_s)
    for _ in range(60):
        if lab.driver.poll(handle).transferred_mib > 0:
            break
        lab.wait(1)
    lab.driver.switch_to_post_copy(handle)
    for _ in range(60):
        if lab.driver.locate(V1) == (H2,):
            return handle
        lab.wait(0.1)
    raise AssertionError(f"{handle} was not switched")


def test_in_post_copy_a_vm_runs_at_the_destination_and_needs_its_source(lab: Lab) -> None:
    """It is still under way, and its memory is still held at the source."""
    handle = switched(lab)
    progress = lab.driver.poll(handle)
    assert progress.state is MigrationState.RUNNING
    assert progress.post_copy
    assert lab.driver.find_migration(V1) == MigrationUnderWay(handle=handle, destination_id=H2)
    assert lab.driver.snapshot().placement[V1] == H1
    assert finish(lab, handle).state is MigrationState.COMPLETED
    assert lab.driver.locate(V1) == (H2,)


def test_a_migration_in_post_copy_is_not_cancelled(lab: Lab) -> None:
    """Neither end has all of its memory: the driver refuses, and the migration goes on."""
    handle = switched(lab)
    with pytest.raises(PermanentError):
        lab.driver.cancel(handle)
    lab.driver.switch_to_post_copy(handle)
    assert finish(lab, handle).state is MigrationState.COMPLETED
    lab.driver.cancel(handle)
    lab.driver.switch_to_post_copy(handle)
    assert lab.driver.locate(V1) == (H2,)


def test_what_cannot_be_switched_goes_on_as_before(lab: Lab) -> None:
    """A driver that begins no such migrations says so at the switch."""
    with pytest.raises(StaleClusterError):
        lab.driver.switch_to_post_copy(MigrationHandle("ghost"))
    handle = lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=lab.fast_mib_per_s)
    if not lab.driver.capabilities().can_post_copy:
        with pytest.raises(PermanentError):
            lab.driver.switch_to_post_copy(handle)
    assert not lab.driver.poll(handle).post_copy
    assert finish(lab, handle).state is MigrationState.COMPLETED


def test_a_migration_under_way_can_be_found_again(lab: Lab) -> None:
    """A restarted executor finds what was begun and where it goes, and nothing once it is over."""
    assert lab.driver.find_migration(V1) is None
    handle = lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=lab.fast_mib_per_s)
    assert lab.driver.find_migration(V1) == MigrationUnderWay(handle=handle, destination_id=H2)
    finish(lab, handle)
    assert lab.driver.find_migration(V1) is None


def test_a_vm_is_not_migrated_twice_at_once(lab: Lab) -> None:
    """A second start is refused for now; the first goes on."""
    handle = lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=lab.fast_mib_per_s)
    with pytest.raises(TemporaryError):
        lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=lab.fast_mib_per_s)
    assert finish(lab, handle).state is MigrationState.COMPLETED


@pytest.mark.parametrize(
    ("vm_id", "destination_id", "error"),
    [
        (VmId("ghost"), H2, StaleClusterError),
        (V1, HostId("ghost"), StaleClusterError),
        (V1, H1, StaleClusterError),
        (COLD, H2, StaleClusterError),
        (STUCK, H2, PermanentError),
    ],
)
def test_refusals_change_nothing(
    lab: Lab, vm_id: VmId, destination_id: HostId, error: type[ExecutionError]
) -> None:
    """What cannot be begun raises its branch of the tree and leaves the cluster as it was."""
    if vm_id == COLD:
        require_starts(lab)
    before = lab.driver.snapshot().placement
    with pytest.raises(error) as caught:
        lab.driver.start_migration(vm_id, destination_id, bandwidth_mib_per_s=lab.fast_mib_per_s)
    assert caught.value.vm_id == vm_id
    assert lab.driver.find_migration(vm_id) is None
    assert lab.driver.snapshot().placement == before


def test_bandwidth_must_be_positive(lab: Lab) -> None:
    """Nothing can be sent at nothing."""
    with pytest.raises(InvalidInputError, match="bandwidth_mib_per_s"):
        lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=0)


def test_a_vm_is_started_where_it_was_asked_for(lab: Lab) -> None:
    """On return it runs there, and a second start is out of date."""
    require_starts(lab)
    finish(lab, lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=lab.fast_mib_per_s))
    lab.driver.start_vm(COLD, H1)
    assert lab.driver.locate(COLD) == (H1,)
    with pytest.raises(StaleClusterError, match="is on 'h1'"):
        lab.driver.start_vm(COLD, H1)


def test_a_start_without_room_is_refused_for_now(lab: Lab) -> None:
    """The VM stays without a host."""
    require_starts(lab)
    with pytest.raises(TemporaryError, match="MiB left"):
        lab.driver.start_vm(COLD, H2)
    assert lab.driver.locate(COLD) == ()


def test_a_vm_that_has_a_host_is_not_started_again(lab: Lab) -> None:
    """Two copies of a VM destroy its disk."""
    with pytest.raises(StaleClusterError, match="is on 'h1'"):
        lab.driver.start_vm(V1, H2)
    assert lab.driver.locate(V1) == (H1,)


def test_unknown_handles_are_unknown(lab: Lab) -> None:
    """Polling never raises; cancelling what was never heard of is out of date."""
    ghost = MigrationHandle("ghost")
    assert lab.driver.poll(ghost).state is MigrationState.UNKNOWN
    with pytest.raises(StaleClusterError):
        lab.driver.cancel(ghost)


def test_locating_among_some_hosts_asks_only_them(lab: Lab) -> None:
    """The answer is about the hosts named; a host that does not exist is an error."""
    assert lab.driver.locate(V1, (H2,)) == ()
    assert lab.driver.locate(V1, (H1, H2)) == (H1,)
    assert lab.driver.locate(VmId("ghost")) == ()
    with pytest.raises(StaleClusterError):
        lab.driver.locate(V1, (HostId("ghost"),))


def test_a_silent_host_proves_nothing(lab: Lab) -> None:
    """Out of reach, a host is frozen in the snapshot, and nobody guesses what it holds."""
    handle = lab.driver.start_migration(V1, H2, bandwidth_mib_per_s=lab.slow_mib_per_s)
    lab.lose_source()
    cluster = lab.driver.snapshot()
    assert cluster.hosts[0].state is HostState.UNREACHABLE
    assert cluster.placement[V2] == H1
    assert lab.driver.poll(handle).state is MigrationState.UNKNOWN
    with pytest.raises(TemporaryError):
        lab.driver.locate(V2)
    assert lab.driver.locate(V2, (H2,)) == ()
    with pytest.raises(TemporaryError):
        lab.driver.find_migration(V2)
    with pytest.raises(TemporaryError):
        lab.driver.cancel(handle)
    if lab.driver.capabilities().can_post_copy:
        with pytest.raises(TemporaryError):
            lab.driver.switch_to_post_copy(handle)
    with pytest.raises(TemporaryError):
        lab.driver.start_migration(V2, H2, bandwidth_mib_per_s=lab.fast_mib_per_s)
