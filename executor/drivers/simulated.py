"""The driver of a simulated cluster: the driver's face on ``executor.simulation.world``.

Time comes from a clock: before it answers anything the world is brought to the clock's instant, so
that a replay moves time by moving the clock, and a demonstration may run it as fast as it likes.
"""

from __future__ import annotations

from datetime import datetime

from executor.clock import Clock
from executor.drivers.base import (
    Capabilities,
    MigrationHandle,
    MigrationProgress,
    MigrationState,
    MigrationUnderWay,
)
from executor.simulation.account import AccountReport
from executor.simulation.faults import FaultPlan
from executor.simulation.inventory import NOWHERE
from executor.simulation.precopy import SWITCHED
from executor.simulation.workload import FloatArray, Workload
from executor.simulation.world import BUSY_DELAY_S, Transfer, World
from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError, StaleClusterError, TemporaryError
from solver.domain.migration import DEFAULT_MIGRATION, MigrationParameters
from solver.domain.units import HostId, VmId
from solver.domain.weights import Weights


class SimulatedDriver:
    """An honest cluster in memory; see :class:`executor.drivers.base.Driver` for the promises.

    Parameters
    ----------
    cluster
        Hosts, network, rules, budget and every VM of the workload; ``host_id`` is where a VM
        starts.
    workload
        Demand and life of the VMs.
    clock
        Owns time; must not start before the workload.
    faults
        What goes wrong; nothing by default.
    physics
        How migrations really behave.
    weights
        Weights of the account.

    Raises
    ------
    InvalidInputError
        If the workload names a VM that the cluster lacks, or starts after the clock.
    """

    def __init__(
        self,
        cluster: Cluster,
        workload: Workload,
        clock: Clock,
        *,
        faults: FaultPlan | None = None,
        physics: MigrationParameters = DEFAULT_MIGRATION,
        weights: Weights | None = None,
    ) -> None:
        if clock.now() < workload.start_at:
            raise InvalidInputError(
                f"expected a clock at or after {workload.start_at.isoformat()}, "
                f"got {clock.now().isoformat()}",
                path="clock",
            )
        self._clock = clock
        self._world = World(cluster, workload, faults=faults, physics=physics, weights=weights)
        self._sync()

    # Promises of the protocol ---------------------------------------------------------------

    def capabilities(self) -> Capabilities:
        """Return what the driver can do: everything."""
        return Capabilities(
            can_start_vms=True, can_cancel=True, can_limit_bandwidth=True, can_post_copy=True
        )

    def snapshot(self) -> Cluster:
        """Return the cluster as it is now."""
        return self._sync().inventory.snapshot(self._clock.now())

    def start_migration(
        self, vm_id: VmId, destination_id: HostId, *, bandwidth_mib_per_s: int
    ) -> MigrationHandle:
        """Begin a live migration and return at once."""
        transfer = self._sync().migrate(vm_id, destination_id, bandwidth_mib_per_s)
        return MigrationHandle(transfer.id)

    def start_vm(self, vm_id: VmId, host_id: HostId) -> None:
        """Start a VM that runs nowhere."""
        self._sync().start_vm(vm_id, host_id)

    def poll(self, handle: MigrationHandle) -> MigrationProgress:
        """Return how far a migration is."""
        world = self._sync()
        transfer = world.transfers.get(handle)
        if transfer is None:
            return MigrationProgress(
                state=MigrationState.UNKNOWN, reason=f"no migration {handle!r} is known"
            )
        if transfer.source_idx in world.inventory.unreachable:
            host_id = world.inventory.hosts[transfer.source_idx].id
            return MigrationProgress(
                state=MigrationState.UNKNOWN, reason=f"host {host_id!r} cannot be reached"
            )
        return _progress(transfer, world.now_s)

    def cancel(self, handle: MigrationHandle) -> None:
        """Ask a migration to stop."""
        self._world.cancel(self._require_transfer(handle))

    def switch_to_post_copy(self, handle: MigrationHandle) -> None:
        """Let the VM run at the destination now and fetch there what has not been sent."""
        self._world.switch_to_post_copy(self._require_transfer(handle))

    def locate(self, vm_id: VmId, among: tuple[HostId, ...] | None = None) -> tuple[HostId, ...]:
        """Return the hosts that hold a running copy of the VM."""
        inventory = self._sync().inventory
        asked = inventory.host_ids(range(len(inventory.hosts))) if among is None else among
        for host_id in asked:
            if host_id not in inventory.host_idx:
                raise StaleClusterError(f"host {host_id!r} does not exist", host_id=host_id)
            self._require_answer(inventory.host_idx[host_id])
        v = inventory.vm_idx.get(vm_id)
        if v is None or not inventory.runs(v) or vm_id in self._world.paused():
            return ()
        transfer = self._world.under_way(v)
        h = int(inventory.host_of[v]) if transfer is None else transfer.runs_at_idx
        there = inventory.hosts[h].id
        return (there,) if there in asked else ()

    def find_migration(self, vm_id: VmId) -> MigrationUnderWay | None:
        """Return the migration of the VM that is under way, if there is one."""
        world = self._sync()
        v = world.inventory.vm_idx.get(vm_id)
        if v is None:
            return None
        h = int(world.inventory.host_of[v])
        if h != NOWHERE:
            self._require_answer(h)
        transfer = world.under_way(v)
        if transfer is None:
            return None
        return MigrationUnderWay(
            handle=MigrationHandle(transfer.id),
            destination_id=world.inventory.hosts[transfer.destination_idx].id,
        )

    # What only a simulation can tell --------------------------------------------------------

    def account(self) -> AccountReport:
        """Return what was suffered until the clock's instant."""
        return self._sync().account.report()

    def host_load(self) -> FloatArray:
        """Return present demand on each host, cost of migrating included.

        Shape ``(num_hosts, num_resources)``, hosts in the cluster's order.
        """
        world = self._sync()
        world.refresh()
        return world.account.load

    def wire_rates(self) -> dict[HostId, float]:
        """Return the MiB/s that migrations send and receive on each host's link now."""
        return self._sync().wire_rates()

    def paused(self) -> tuple[VmId, ...]:
        """Return the VMs that stand still at this instant, being handed over."""
        return self._sync().paused()

    def observed_until(self) -> datetime:
        """Return the instant the simulation has come to."""
        return self._sync().instant()

    def _sync(self) -> World:
        self._world.advance(self._world.seconds(self._clock.now()))
        return self._world

    def _require_transfer(self, handle: MigrationHandle) -> Transfer:
        transfer = self._sync().transfers.get(handle)
        if transfer is None:
            raise StaleClusterError(f"no migration {handle!r} is known")
        self._require_answer(transfer.source_idx)
        return transfer

    def _require_answer(self, h: int) -> None:
        if h in self._world.inventory.unreachable:
            host_id = self._world.inventory.hosts[h].id
            raise TemporaryError(
                f"host {host_id!r} cannot be reached", delay_s=BUSY_DELAY_S, host_id=host_id
            )


def _progress(transfer: Transfer, now_s: float) -> MigrationProgress:
    course = transfer.course
    until_s = now_s if transfer.ended_s is None else transfer.ended_s
    state = MigrationState.RUNNING
    if transfer.over:
        state = MigrationState.FAILED if transfer.failure else MigrationState.COMPLETED
    known_mib = course.sent_mib + course.pending_mib
    done = state is MigrationState.COMPLETED
    fraction = course.sent_mib / known_mib if known_mib else 0.0
    return MigrationProgress(
        state=state,
        fraction=1.0 if done else fraction,
        transferred_mib=round(course.sent_mib),
        remaining_mib=0 if done else round(course.pending_mib),
        duration_ms=round((until_s - transfer.started_s) * 1000),
        downtime_ms=round(course.downtime_s * 1000),
        iterations=course.rounds,
        post_copy=course.phase in SWITCHED,
        temporary=transfer.temporary,
        reason=transfer.failure,
    )
