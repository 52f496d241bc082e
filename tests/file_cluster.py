"""A small cluster in a file, so that several processes can act on it at once.

It lives by the machine's clock, and remembers every call that acts: by which process, on what,
when.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from executor.drivers.base import (
    Capabilities,
    MigrationHandle,
    MigrationProgress,
    MigrationState,
    MigrationUnderWay,
)
from executor.lease import boottime_s
from solver.domain.cluster import Cluster
from solver.domain.errors import PermanentError, StaleClusterError, TemporaryError
from solver.domain.rules import MoveBudget
from solver.domain.units import HostId, VmId
from tests.builders import make_cluster, make_host, make_vm

HOSTS = (HostId("h1"), HostId("h2"), HostId("h3"))


@dataclass(frozen=True, kw_only=True)
class Call:
    """Something that was asked of the cluster and begun."""

    kind: str
    pid: int
    vm_id: VmId
    at_s: float


class FileCluster:
    """Three hosts and some VMs; see :class:`executor.drivers.base.Driver` for the promises.

    Parameters
    ----------
    path
        Of the file; made by :meth:`create`.
    stop_at
        Where this process stops itself, once: in ``"poll"``, before ``"start"`` has any effect, or
        after it (``"started"``).
    """

    def __init__(self, path: Path, *, stop_at: str = "") -> None:
        self._path = path
        self._stop_at = stop_at

    @classmethod
    def create(
        cls, path: Path, vm_ids: tuple[str, ...], *, move_s: float, fates: dict[str, list[str]]
    ) -> FileCluster:
        """Return a new cluster with every VM on the first host.

        ``fates`` are those of a VM's first, second, … migration: ``"fails"`` or ``"stalls"``.
        """
        document = {
            "move_s": move_s,
            "placement": dict.fromkeys(vm_ids, "h1"),
            "migrations": {},
            "fates": fates,
            "calls": [],
        }
        path.write_text(json.dumps(document))
        return cls(path)

    def calls(self, kind: str = "start") -> list[Call]:
        """Return the calls of a kind that have acted so far."""
        with self._open() as state:
            found = [Call(**call) for call in state["calls"]]
        return [call for call in found if call.kind == kind]

    def capabilities(self) -> Capabilities:
        """Return what the driver can do."""
        return Capabilities(can_start_vms=False, can_cancel=True, can_limit_bandwidth=False)

    def snapshot(self) -> Cluster:
        """Return the cluster as it is now; one migration at a time, so that plans take a while."""
        with self._open() as state:
            vms = [make_vm(name, host) for name, host in state["placement"].items()]
        hosts = [make_host(host) for host in HOSTS]
        return make_cluster(hosts, vms, budget=MoveBudget(max_parallel=1))

    def start_migration(
        self, vm_id: VmId, destination_id: HostId, *, bandwidth_mib_per_s: int
    ) -> MigrationHandle:
        """Begin a live migration and return at once."""
        self._maybe_stop("start")
        with self._open() as state:
            if vm_id not in state["placement"] or state["placement"][vm_id] == destination_id:
                raise StaleClusterError(f"VM {vm_id!r} is not to be moved", vm_id=vm_id)
            if _under_way(state, vm_id) is not None:
                raise TemporaryError(f"VM {vm_id!r} is under way", delay_s=0.05, vm_id=vm_id)
            fates = state["fates"].get(vm_id, [])
            handle = f"{vm_id}/{len(state['migrations'])}"
            state["migrations"][handle] = {
                "vm": vm_id,
                "to": destination_id,
                "began_s": boottime_s(),
                "fate": fates.pop(0) if fates else "",
                "ended": "",
            }
            self._note(state, "start", vm_id)
        self._maybe_stop("started")
        return MigrationHandle(handle)

    def start_vm(self, vm_id: VmId, host_id: HostId) -> None:
        """Refuse."""
        raise PermanentError("this cluster starts no VMs", vm_id=vm_id, host_id=host_id)

    def poll(self, handle: MigrationHandle) -> MigrationProgress:
        """Return how far a migration is."""
        self._maybe_stop("poll")
        with self._open() as state:
            migration = state["migrations"].get(handle)
        if migration is None:
            return MigrationProgress(state=MigrationState.UNKNOWN, reason="never heard of it")
        if migration["ended"] == "completed":
            return MigrationProgress(state=MigrationState.COMPLETED, fraction=1.0)
        if migration["ended"]:
            return MigrationProgress(
                state=MigrationState.FAILED, temporary=True, reason=migration["ended"]
            )
        return MigrationProgress(state=MigrationState.RUNNING)

    def cancel(self, handle: MigrationHandle) -> None:
        """Ask a migration to stop."""
        with self._open() as state:
            migration = state["migrations"].get(handle)
            if migration is None:
                raise StaleClusterError(f"no migration {handle!r}")
            if not migration["ended"]:
                migration["ended"] = "cancelled"
                self._note(state, "cancel", migration["vm"])

    def switch_to_post_copy(self, handle: MigrationHandle) -> NoReturn:
        """Refuse."""
        raise PermanentError("this cluster has no post-copy")

    def locate(self, vm_id: VmId, among: tuple[HostId, ...] | None = None) -> tuple[HostId, ...]:
        """Return the hosts that hold a running copy of the VM."""
        with self._open() as state:
            host_id = state["placement"].get(vm_id)
        return tuple(host for host in among or HOSTS if host == host_id)

    def find_migration(self, vm_id: VmId) -> MigrationUnderWay | None:
        """Return the migration of the VM that is under way, if there is one."""
        with self._open() as state:
            handle = _under_way(state, vm_id)
            if handle is None:
                return None
            destination_id = HostId(state["migrations"][handle]["to"])
        return MigrationUnderWay(handle=MigrationHandle(handle), destination_id=destination_id)

    @contextmanager
    def _open(self) -> Iterator[dict[str, Any]]:
        """Yield what stands in the file, brought to the present instant; keep what was changed."""
        with self._path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            state: dict[str, Any] = json.load(file)
            for migration in state["migrations"].values():
                _settle(state, migration)
            yield state
            # A process that dies here leaves the file as it was, or as it is to be.
            content = json.dumps(state).encode()
            os.pwrite(file.fileno(), content.ljust(os.fstat(file.fileno()).st_size), 0)

    def _note(self, state: dict[str, Any], kind: str, vm_id: str) -> None:
        call = {"kind": kind, "pid": os.getpid(), "vm_id": vm_id, "at_s": boottime_s()}
        state["calls"].append(call)

    def _maybe_stop(self, where: str) -> None:
        if self._stop_at == where:
            self._stop_at = ""
            os.kill(os.getpid(), signal.SIGSTOP)


def _under_way(state: dict[str, Any], vm_id: str) -> str | None:
    return next(
        (
            handle
            for handle, migration in state["migrations"].items()
            if migration["vm"] == vm_id and not migration["ended"]
        ),
        None,
    )


def _settle(state: dict[str, Any], migration: dict[str, Any]) -> None:
    """Let a migration end whose time has come."""
    due = boottime_s() - migration["began_s"] >= state["move_s"]
    if migration["ended"] or not due or migration["fate"] == "stalls":
        return
    if migration["fate"] == "fails":
        migration["ended"] = "the connection was lost"
    else:
        migration["ended"] = "completed"
        state["placement"][migration["vm"]] = migration["to"]
