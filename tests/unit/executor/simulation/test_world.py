"""The simulated cluster: physics, life, faults."""

from __future__ import annotations

import time
from datetime import timedelta

import numpy as np
import pytest

from executor.clock import ManualClock
from executor.drivers.base import MigrationProgress, MigrationState
from executor.drivers.simulated import SimulatedDriver
from executor.simulation.faults import (
    Fate,
    FaultRates,
    Incident,
    IncidentKind,
    RandomFaults,
    ScriptedFaults,
)
from executor.simulation.inventory import POWERED_OFF
from executor.simulation.workload import TraceWorkload
from solver.domain.cluster import HostState
from solver.domain.errors import InvalidInputError, PermanentError, TemporaryError
from solver.domain.migration import DEFAULT_MIGRATION, estimate
from solver.domain.rules import AntiAffinity, Ban
from solver.domain.units import NUM_RESOURCES, HostId, Resource, VmId
from tests.builders import NOW, make_cluster, make_host, make_vm
from tests.executor_builders import make_workload, simulate

V1, V2, V3 = (VmId(name) for name in ("v1", "v2", "v3"))
H1, H2, H3 = (HostId(name) for name in ("h1", "h2", "h3"))
HOSTS = [make_host(name) for name in ("h1", "h2", "h3")]


def finished(
    driver: SimulatedDriver, clock: ManualClock, vm: VmId, mib_per_s: int
) -> MigrationProgress:
    """Migrate one VM to h2 alone and return how it went."""
    handle = driver.start_migration(vm, H2, bandwidth_mib_per_s=mib_per_s)
    clock.advance(10_000)
    return driver.poll(handle)


@pytest.mark.parametrize("gib", [0.0625, 1, 8, 64])
@pytest.mark.parametrize("dirty", [0, 50, 400, 5000])
@pytest.mark.parametrize("mib_per_s", [100, 1000])
def test_alone_a_migration_takes_what_the_estimator_says(
    gib: float, dirty: int, mib_per_s: int
) -> None:
    """Duration and bytes within 2 %, downtime within the round trips of the handover."""
    vm = make_vm("v1", memory_gib=gib, dirty_mib_per_s=dirty)
    driver, clock = simulate(make_cluster(HOSTS, [vm]))
    progress = finished(driver, clock, V1, mib_per_s)
    predicted = estimate(vm.memory_footprint_mib, dirty, mib_per_s)
    assert progress.state is MigrationState.COMPLETED
    assert progress.duration_ms == pytest.approx(int(predicted.duration_ms), rel=0.02, abs=10)
    assert progress.transferred_mib == pytest.approx(int(predicted.transferred_mib), rel=0.02)
    assert progress.downtime_ms == pytest.approx(int(predicted.downtime_ms), rel=0.02, abs=10)


def test_two_on_one_link_share_it() -> None:
    """Together they send what the link carries, and each takes twice as long as alone."""
    driver, clock = simulate(make_cluster(HOSTS, [make_vm("v1"), make_vm("v2")]))
    one = driver.start_migration(V1, H2, bandwidth_mib_per_s=1000)
    two = driver.start_migration(V2, H3, bandwidth_mib_per_s=1000)
    clock.advance(5)
    assert driver.wire_rates() == pytest.approx({H1: 1000, H2: 500, H3: 500})
    clock.advance(60)
    sending_s = 4096 / (500 * DEFAULT_MIGRATION.wire_efficiency)
    for handle in (one, two):
        assert driver.poll(handle).duration_ms == pytest.approx(1000 * (sending_s + 0.5), abs=60)
    assert driver.wire_rates() == {H1: 0, H2: 0, H3: 0}


def test_the_second_speeds_up_when_the_first_has_gone() -> None:
    """Rates are shared anew at every start and end: no byte of the link is lost."""
    vms = [make_vm("v1", memory_gib=4), make_vm("v2", memory_gib=8)]
    driver, clock = simulate(make_cluster(HOSTS, vms))
    driver.start_migration(V1, H2, bandwidth_mib_per_s=1000)
    two = driver.start_migration(V2, H3, bandwidth_mib_per_s=1000)
    clock.advance(100)
    everything_s = 12 * 1024 / (1000 * DEFAULT_MIGRATION.wire_efficiency)
    assert driver.poll(two).duration_ms == pytest.approx(1000 * (everything_s + 0.5), abs=60)


def test_migrating_costs_cpu_at_both_ends_while_it_lasts() -> None:
    """One core at the source, half a core at the destination, and nothing afterwards."""
    driver, clock = simulate(make_cluster(HOSTS, [make_vm("v1")]), make_workload([make_vm("v1")]))
    driver.start_migration(V1, H2, bandwidth_mib_per_s=1000)
    assert driver.host_load()[:, Resource.CPU].tolist() == [500, 0, 0]
    clock.advance(2)
    assert driver.host_load()[:, Resource.CPU].tolist() == [1500, 500, 0]
    clock.advance(60)
    assert driver.host_load()[:, Resource.CPU].tolist() == [0, 500, 0]


def test_the_cost_of_migrating_is_suffered() -> None:
    """On a full host it becomes shortfall for exactly as long as pages are sent."""
    vm, other = make_vm("v1"), make_vm("v2")
    workload = make_workload([vm, other], cores={"v1": [0.0] * 12, "v2": [10.0] * 12})
    driver, clock = simulate(make_cluster(HOSTS, [vm, other]), workload)
    driver.start_migration(V1, H2, bandwidth_mib_per_s=1000)
    clock.advance(60)
    sending_s = 4096 / 900
    assert driver.account().total_shortfall_host_s == pytest.approx(0.1 * sending_s, rel=1e-6)


def test_downtime_bytes_and_moves_are_counted() -> None:
    """The account agrees with what the migrations report."""
    driver, clock = simulate(make_cluster(HOSTS, [make_vm("v1", dirty_mib_per_s=100)]))
    progress = finished(driver, clock, V1, 1000)
    account = driver.account()
    assert account.migrations == 1
    assert account.gib_moved * 1024 == pytest.approx(progress.transferred_mib, abs=1)
    assert progress.downtime_ms is not None
    assert account.downtime_s == pytest.approx(progress.downtime_ms / 1000, abs=1e-3)


def test_how_time_is_cut_changes_nothing() -> None:
    """A day in one go and second by second give the same account: there is no tick error."""
    vms = [make_vm(f"v{i}", dirty_mib_per_s=60) for i in range(4)]
    rng = np.random.default_rng(1)
    cores = {str(vm.id): [float(c) for c in rng.uniform(0, 5, 12)] for vm in vms}
    reports = []
    for cut_s in (3600.0, 0.7):
        driver, clock = simulate(make_cluster(HOSTS, vms), make_workload(vms, cores=cores))
        for i, vm in enumerate(vms):
            driver.start_migration(vm.id, (H2, H3)[i % 2], bandwidth_mib_per_s=700)
        while clock.now() < NOW + timedelta(seconds=3600):
            clock.sleep_until(
                min(NOW + timedelta(seconds=3600), clock.now() + timedelta(seconds=cut_s))
            )
            driver.host_load()
        reports.append(driver.account())
    one, other = reports
    assert one.total_weighted_shortfall_host_s == pytest.approx(
        other.total_weighted_shortfall_host_s, rel=1e-9
    )
    assert one.gib_moved == pytest.approx(other.gib_moved, rel=1e-9)
    assert one.downtime_s == pytest.approx(other.downtime_s, rel=1e-6)
    assert one.overloaded_host_intervals == other.overloaded_host_intervals


def test_the_guest_stands_still_only_for_the_handover() -> None:
    """While it does it is paused and runs nowhere; afterwards it runs at the destination."""
    driver, clock = simulate(make_cluster(HOSTS, [make_vm("v1", dirty_mib_per_s=500)]))
    driver.start_migration(V1, H2, bandwidth_mib_per_s=1000)
    seen = set()
    for _ in range(2000):
        clock.advance(0.01)
        seen.add((driver.paused(), driver.locate(V1)))
    assert seen == {((), (H1,)), ((V1,), ()), ((), (H2,))}


def test_in_post_copy_each_page_is_sent_once_and_the_guest_computes_at_the_destination() -> None:
    """Memory is held at both ends, CPU is used at the new one, and downtime is the handover's."""
    vm = make_vm("v1", dirty_mib_per_s=5000)
    driver, clock = simulate(make_cluster(HOSTS, [vm]))
    handle = driver.start_migration(V1, H2, bandwidth_mib_per_s=100)
    with pytest.raises(TemporaryError, match="nothing of VM 'v1'"):
        driver.switch_to_post_copy(handle)
    clock.advance(10.5)
    before = driver.poll(handle)
    driver.switch_to_post_copy(handle)
    assert driver.paused() == (V1,)
    assert driver.locate(V1) == ()
    clock.advance(5)
    assert driver.paused() == ()
    assert driver.locate(V1) == (H2,)
    migrating = DEFAULT_MIGRATION.source_millicores, DEFAULT_MIGRATION.destination_millicores
    assert driver.host_load()[:2, Resource.CPU].tolist() == [migrating[0], 500 + migrating[1]]
    assert driver.host_load()[0, Resource.MEMORY] == driver.host_load()[1, Resource.MEMORY]
    clock.advance(1000)
    after = driver.poll(handle)
    assert after.state is MigrationState.COMPLETED
    assert after.transferred_mib == pytest.approx(
        before.transferred_mib + before.remaining_mib, abs=1
    )
    assert after.downtime_ms == pytest.approx(1000 * DEFAULT_MIGRATION.handover_s, abs=10)
    assert after.iterations == 1


def test_a_vm_shut_down_in_post_copy_is_defined_at_its_source() -> None:
    """The migration has not got to where it would be kept at the destination."""
    incident = Incident(at=NOW + timedelta(seconds=15), kind=IncidentKind.VM_SHUT_DOWN, vm_id=V1)
    cluster = make_cluster(HOSTS, [make_vm("v1", dirty_mib_per_s=5000)])
    driver, clock = simulate(cluster, faults=ScriptedFaults(happening=[incident]))
    handle = driver.start_migration(V1, H2, bandwidth_mib_per_s=100)
    clock.advance(10)
    driver.switch_to_post_copy(handle)
    clock.advance(10)
    assert driver.poll(handle).state is MigrationState.FAILED
    assert driver.snapshot().placement == {V1: H1}
    assert driver.locate(V1) == ()


def test_a_stopped_vm_keeps_its_host_and_its_room() -> None:
    """It wants nothing, cannot be migrated, and comes back where it was."""
    vms = [make_vm("v1", memory_gib=80), make_vm("v2", "h2", memory_gib=30)]
    workload = make_workload(vms, state=[[0, 2, 0], [0, 0, 0]], num_bins=3)
    driver, clock = simulate(make_cluster(HOSTS, vms), workload)
    clock.advance(300)
    vm = driver.snapshot().vms[0]
    assert (vm.host_id, vm.not_migratable_reason) == (H1, POWERED_OFF)
    assert driver.host_load()[0].tolist() == [0] * NUM_RESOURCES
    assert driver.locate(V1) == ()
    with pytest.raises(PermanentError, match=POWERED_OFF):
        driver.start_migration(V1, H2, bandwidth_mib_per_s=1000)
    with pytest.raises(TemporaryError, match="MiB left"):
        driver.start_migration(V2, H1, bandwidth_mib_per_s=1000)
    clock.advance(300)
    assert driver.locate(V1) == (H1,)


def test_arrivals_go_to_their_host_else_to_the_emptiest_that_keeps_the_rules() -> None:
    """And wait, counted, while there is no room at all."""
    vms = [
        make_vm("v1", "h1", memory_gib=60),
        make_vm("v2", "h1", memory_gib=30),
        make_vm("v3", "h1", memory_gib=30),
        make_vm("v4", "h1", memory_gib=101),
    ]
    cluster = make_cluster(
        HOSTS,
        vms,
        rules=(
            AntiAffinity(id="apart", vm_ids=(V2, V3)),
            Ban(id="off", vm_ids=(V3,), host_ids=(H2,)),
        ),
    )
    state = [[0] * 3, [255, 0, 0], [255, 0, 0], [255, 255, 0]]
    driver, clock = simulate(cluster, make_workload(vms, state=state, num_bins=3))
    assert {rule.id for rule in driver.snapshot().rules} == set()
    clock.advance(300)
    assert driver.snapshot().placement == {V1: H1, V2: H1, V3: H3}
    clock.advance(600)
    account = driver.account()
    assert driver.snapshot().placement[VmId("v4")] is None
    assert account.arrivals_unplaced == 1
    assert account.unplaced_vm_s == pytest.approx(300)
    assert account.violations == ()


def test_a_vm_that_vanishes_under_way_ends_its_migration() -> None:
    """Its trace ends while it is being copied."""
    vms = [make_vm("v1", memory_gib=64)]
    workload = make_workload(vms, state=[[0, 255]], num_bins=2)
    driver, clock = simulate(make_cluster(HOSTS, vms), workload)
    handle = driver.start_migration(V1, H2, bandwidth_mib_per_s=100)
    clock.advance(301)
    progress = driver.poll(handle)
    assert progress.state is MigrationState.FAILED
    assert not progress.temporary
    assert driver.snapshot().vms == ()
    assert driver.account().failed_migrations == 1


def test_the_account_judges_moves_that_break_rules() -> None:
    """The hypervisor does as it is told; the judge, who knows the rules, notes what it broke."""
    cluster = make_cluster(
        HOSTS,
        [make_vm("v1"), make_vm("v2", "h2")],
        rules=(AntiAffinity(id="apart", vm_ids=(V1, V2)),),
    )
    driver, _ = simulate(cluster)
    driver.start_migration(V1, H2, bandwidth_mib_per_s=1000)
    (violation,) = driver.account().violations
    assert violation.key == ("anti_affinity", "apart")


def test_incidents_strike_at_their_time() -> None:
    """A host silent for a while, a VM moved by others, one deleted."""
    faults = ScriptedFaults(
        happening=[
            Incident(
                at=NOW + timedelta(seconds=10),
                kind=IncidentKind.HOST_UNREACHABLE,
                host_id=H1,
                duration_s=5,
            ),
            Incident(
                at=NOW + timedelta(seconds=20), kind=IncidentKind.VM_MOVED, vm_id=V1, host_id=H3
            ),
            Incident(at=NOW + timedelta(seconds=30), kind=IncidentKind.VM_VANISHES, vm_id=V2),
        ]
    )
    cluster = make_cluster(HOSTS, [make_vm("v1"), make_vm("v2")])
    driver, clock = simulate(cluster, faults=faults)
    clock.advance(10)
    assert driver.snapshot().hosts[0].state is HostState.UNREACHABLE
    clock.advance(5)
    assert driver.snapshot().hosts[0].state is HostState.UP
    clock.advance(15)
    assert driver.snapshot().placement == {V1: H3}
    clock.advance(3600)
    assert driver.snapshot().placement == {V1: H3}


def test_what_a_dying_daemon_sends_or_receives_fails() -> None:
    """Its VMs carry on, and nobody can ask it; what does not concern it goes on."""
    dies = Incident(
        at=NOW + timedelta(seconds=5),
        kind=IncidentKind.HOST_DAEMON_DIES,
        host_id=H2,
        duration_s=30,
    )
    vms = [make_vm("v1"), make_vm("v2", "h2"), make_vm("v3")]
    driver, clock = simulate(make_cluster(HOSTS, vms), faults=ScriptedFaults(happening=[dies]))
    to_it = driver.start_migration(V1, H2, bandwidth_mib_per_s=100)
    from_it = driver.start_migration(V2, H3, bandwidth_mib_per_s=100)
    past_it = driver.start_migration(V3, H3, bandwidth_mib_per_s=100)
    clock.advance(10)
    assert driver.snapshot().hosts[1].state is HostState.UNREACHABLE
    assert driver.poll(to_it).state is MigrationState.FAILED
    assert driver.poll(to_it).temporary
    clock.advance(30)
    assert driver.poll(from_it).state is MigrationState.FAILED
    assert driver.poll(past_it).state is MigrationState.RUNNING
    assert [driver.locate(vm) for vm in (V1, V2, V3)] == [(H1,), (H2,), (H1,)]


@pytest.mark.parametrize("fraction", [0.0, 0.1])
def test_a_slowed_link_carries_less_for_a_while(fraction: float) -> None:
    """Cut, it carries nothing; afterwards everything is as before."""
    slowed = Incident(
        at=NOW + timedelta(seconds=2),
        kind=IncidentKind.LINK_SLOWED,
        host_id=H2,
        duration_s=20,
        fraction=fraction,
    )
    cluster = make_cluster(HOSTS, [make_vm("v1", memory_gib=16)])
    driver, clock = simulate(cluster, faults=ScriptedFaults(happening=[slowed]))
    handle = driver.start_migration(V1, H2, bandwidth_mib_per_s=1000)
    clock.advance(5)
    assert driver.wire_rates()[H2] == pytest.approx(1000 * fraction)
    clock.advance(20)
    assert driver.wire_rates()[H2] == pytest.approx(1000)
    clock.advance(100)
    assert driver.poll(handle).state is MigrationState.COMPLETED


def test_random_faults_repeat_for_a_seed() -> None:
    """Fates and incidents, in the order they are asked for."""

    def draw(seed: int) -> list[object]:
        faults = RandomFaults(
            np.random.default_rng(seed),
            FaultRates(refused=0.3, fails=0.3, stalls=0.2, hosts_unreachable=2, vms_moved=2),
            vm_ids=[V1, V2],
            host_ids=[H1, H2],
            start_at=NOW,
            window_s=100,
        )
        return [*faults.incidents(), *(faults.fate(V1) for _ in range(50))]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    fates = [fate for fate in draw(1) if isinstance(fate, Fate)]
    assert any(fate.refused for fate in fates)
    assert any(fate.stalls_at_fraction is not None for fate in fates)


def test_bad_faults_are_refused() -> None:
    """Probabilities above 1, incidents without their object."""
    with pytest.raises(InvalidInputError, match="at most 1"):
        FaultRates(refused=0.9, fails=0.9)
    with pytest.raises(InvalidInputError, match="expected a VM"):
        Incident(at=NOW, kind=IncidentKind.VM_VANISHES)
    with pytest.raises(InvalidInputError, match="expected a host"):
        Incident(at=NOW, kind=IncidentKind.HOST_UNREACHABLE)


def test_a_workload_of_strangers_is_refused() -> None:
    """Demand of a VM that the cluster does not know."""
    with pytest.raises(InvalidInputError, match="'v9'"):
        simulate(make_cluster(HOSTS, []), make_workload([make_vm("v9")]))


def test_a_day_of_a_real_cluster_takes_a_moment() -> None:
    """24 hosts and 850 VMs: a day in less than two seconds of this machine's own time."""
    hosts = [make_host(f"h{i}", cores=32, memory_gib=576) for i in range(24)]
    vms = [make_vm(f"v{i}", f"h{i % 24}", memory_gib=8) for i in range(850)]
    rng = np.random.default_rng(0)
    workload = TraceWorkload(
        vm_ids=tuple(vm.id for vm in vms),
        start_at=NOW,
        readings=rng.uniform(0, 2000, (NUM_RESOURCES, 850, 288)),
        state=np.zeros((850, 288), dtype=np.uint8),
    )
    driver, clock = simulate(make_cluster(hosts, vms), workload)
    began_s = time.process_time()
    clock.advance(86_400)
    assert driver.account().elapsed_s == pytest.approx(86_400)
    assert time.process_time() - began_s < 2.0
