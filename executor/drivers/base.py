"""What the executor may ask of a hypervisor, and what every driver promises.

Each promise below is a test of ``tests/contract/test_drivers.py``, which runs over all drivers: a
driver that passes it can be used. Drivers know nothing of plans, journals or retries. A driver
translates its hypervisor's errors into the branches of ``ExecutionError`` and chains them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NewType, Protocol

from solver.domain.cluster import Cluster
from solver.domain.units import HostId, VmId

MigrationHandle = NewType("MigrationHandle", str)
"""Names one migration for the driver that started it; survives a restart of the process."""


class MigrationState(enum.Enum):
    """What a driver knows of a migration."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """Out of sight: the source cannot be asked, or the driver never heard of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationProgress:
    """How far a migration is.

    Parameters
    ----------
    fraction
        Of the pages known to be sent so far and still to send, 0 to 1; 1 when completed.
    transferred_mib, remaining_mib
        Sent so far, re-sent pages included; known to be still to send.
    duration_ms, downtime_ms
        Measured; so far while running, in the end once completed or failed. ``None`` if the
        hypervisor does not tell.
    iterations
        Passes over the memory begun so far, the last included; ``None`` if the hypervisor does not
        tell.
    post_copy
        Whether the VM has been switched to post-copy: it runs at the destination and fetches its
        memory from the source, and neither end alone has all of it.
    temporary
        Of a failed migration: whether another try may succeed.
    reason
        Why it failed or is out of sight; empty otherwise.
    """

    state: MigrationState
    fraction: float = 0.0
    transferred_mib: int = 0
    remaining_mib: int = 0
    duration_ms: int | None = None
    downtime_ms: int | None = None
    iterations: int | None = None
    post_copy: bool = False
    temporary: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationUnderWay:
    """A migration that was found, whoever began it.

    Parameters
    ----------
    handle
        By which it can be polled; the one ``start_migration`` returned, if this driver began it.
    destination_id
        Where it takes the VM.
    """

    handle: MigrationHandle
    destination_id: HostId


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a driver can do beyond migrating."""

    can_start_vms: bool
    can_cancel: bool
    can_limit_bandwidth: bool
    can_post_copy: bool = False
    """Whether migrations are begun such that they can be switched to post-copy."""


class Driver(Protocol):
    """A hypervisor cluster."""

    def capabilities(self) -> Capabilities:
        """Return what the driver can do; the same answer for its whole life."""

    def snapshot(self) -> Cluster:
        """Return the cluster as it is now.

        A VM under way stands at its source until it runs at its destination; in post-copy until
        the migration is over, for its memory is held there. A VM that is powered off keeps its
        host and says so in ``not_migratable_reason``. A host that cannot be asked is
        ``UNREACHABLE`` and its VMs stand where they were last seen. Rules about VMs that do not
        exist are left out.

        :raises TemporaryError: if no host can be asked
        """

    def start_migration(
        self, vm_id: VmId, destination_id: HostId, *, bandwidth_mib_per_s: int
    ) -> MigrationHandle:
        """Begin a live migration and return at once.

        On return the hypervisor has begun it: nothing of it waits in this process, which may be
        stopped at any instant and go on when another has taken over. The VM holds its memory at
        both ends until the migration is over. It ends running at the destination and nowhere else,
        or running at the source and nowhere else.

        :param bandwidth_mib_per_s: most that it may send, positive; it may get less
        :raises InvalidInputError: if the bandwidth is not positive
        :raises TemporaryError: if it was refused for a reason that may pass (no room, an end out
            of reach, the VM already under way); nothing was begun
        :raises PermanentError: if it cannot be done (VM not migratable or powered off); nothing
            was begun
        :raises StaleClusterError: if the VM or the destination does not exist, or the VM is
            already there; nothing was begun
        """

    def start_vm(self, vm_id: VmId, host_id: HostId) -> None:
        """Start a VM that runs nowhere; on return it runs on ``host_id`` and nowhere else.

        :raises TemporaryError: if it was refused for a reason that may pass; it was not started
        :raises PermanentError: if the driver cannot start VMs
        :raises StaleClusterError: if the VM or host does not exist, or the VM has a host
        """

    def poll(self, handle: MigrationHandle) -> MigrationProgress:
        """Return how far a migration is; the same answer for ever once it is over.

        Never raises: what cannot be seen is ``UNKNOWN``, which says nothing about how it ended.
        ``COMPLETED`` and ``FAILED`` come only after both ends have settled.
        """

    def cancel(self, handle: MigrationHandle) -> None:
        """Ask a migration to stop and leave its VM running at the source.

        It may complete all the same; ``poll`` tells. Cancelling what is over changes nothing. In
        post-copy nothing is cancelled, whoever asks: the VM would be lost.

        :raises TemporaryError: if the source cannot be asked now
        :raises PermanentError: if the driver cannot cancel, or the migration is in post-copy
        :raises StaleClusterError: if the driver never heard of the handle
        """

    def switch_to_post_copy(self, handle: MigrationHandle) -> None:
        """Let the VM run at the destination now and fetch there what has not been sent.

        For a VM that rewrites its memory faster than the link carries it. From here on a failure
        of either end or of the link may cost the VM. Switching what has been switched, is being
        handed over or is over changes nothing.

        :raises TemporaryError: if it cannot be done now (the source cannot be asked, nothing has
            been sent yet); the migration goes on as before
        :raises PermanentError: if it cannot be done to this migration; it goes on as before
        :raises StaleClusterError: if the driver never heard of the handle
        """

    def locate(self, vm_id: VmId, among: tuple[HostId, ...] | None = None) -> tuple[HostId, ...]:
        """Return the hosts that hold a *running* copy of the VM, in the cluster's order.

        Empty when it runs on none of them, because it does not exist, is powered off or paused.

        :param among: hosts to ask; ``None`` for all
        :raises TemporaryError: if one of them cannot be asked: its silence proves nothing
        :raises StaleClusterError: if a host does not exist
        """

    def find_migration(self, vm_id: VmId) -> MigrationUnderWay | None:
        """Return the migration of the VM that is under way, ``None`` if there is none.

        By it a restarted executor finds what it had begun and not yet written down. It may be
        somebody else's: its destination tells.

        :raises TemporaryError: if the VM's host cannot be asked
        """
