"""Migrations that were begun from here, or found under way, and how they went.

libvirt's call to migrate lasts as long as the migration. Each runs in a thread of its own, over a
connection of its own; what it returns is how the migration ended, unless the connection broke: then
only the two ends can tell.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from executor.drivers.base import MigrationHandle, MigrationProgress
from executor.kvm.api import Fault, HypervisorError
from solver.domain.units import HostId, VmId


@dataclass(slots=True, kw_only=True)
class Transfer:
    """One migration.

    Parameters
    ----------
    thread_ended
        Whether the call that drives it has come back; true for one that was found.
    error
        What the call raised; ``None`` if it succeeded or has not come back.
    found
        Whether it was begun by somebody else, or by a process before this one.
    post_copy
        Whether it was switched to post-copy.
    latest
        What was last seen of it while it ran.
    outcome
        How it ended; ``None`` before. Never changes once set.
    """

    handle: MigrationHandle
    vm_id: VmId
    uuid: str
    source_id: HostId
    destination_id: HostId
    found: bool = False
    thread_ended: bool = False
    succeeded: bool = False
    error: HypervisorError | None = None
    post_copy: bool = False
    latest: MigrationProgress | None = None
    outcome: MigrationProgress | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def told(self) -> bool:
        """Whether libvirt itself has said how it ended."""
        return self.thread_ended and (
            self.succeeded or (self.error is not None and self.error.fault is not Fault.SILENT)
        )


MAX_REMEMBERED: Final = 1000
"""How many migrations are remembered after they have ended."""


class Transfers:
    """The migrations that this process knows of."""

    def __init__(self) -> None:
        self._by_handle: dict[MigrationHandle, Transfer] = {}

    def get(self, handle: MigrationHandle) -> Transfer | None:
        """Return a migration by its handle."""
        return self._by_handle.get(handle)

    def of(self, uuid: str) -> Transfer | None:
        """Return the latest migration of a domain that is not known to have ended."""
        running = [t for t in self._by_handle.values() if t.uuid == uuid and t.outcome is None]
        return running[-1] if running else None

    def under_way_to(self, host_id: HostId) -> list[Transfer]:
        """Return the migrations to a host that are not known to have ended."""
        known = self._by_handle.values()
        return [t for t in known if t.destination_id == host_id and t.outcome is None]

    def begin(self, transfer: Transfer, drive: Callable[[], None]) -> None:
        """Drive a migration in a thread of its own."""

        def run() -> None:
            try:
                drive()
                transfer.succeeded = True
            except HypervisorError as error:
                transfer.error = error
            finally:
                transfer.thread_ended = True
                transfer.ended.set()

        self._remember(transfer)
        threading.Thread(target=run, name=f"migration-{transfer.vm_id}", daemon=True).start()

    def adopt(self, transfer: Transfer) -> None:
        """Follow a migration that somebody else drives."""
        transfer.thread_ended = True
        self._remember(transfer)

    def _remember(self, transfer: Transfer) -> None:
        self._by_handle[transfer.handle] = transfer
        over = [handle for handle, known in self._by_handle.items() if known.outcome is not None]
        for handle in over[: max(0, len(over) - MAX_REMEMBERED)]:
            del self._by_handle[handle]
