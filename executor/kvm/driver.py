"""The driver of real hosts; see ``executor.drivers.base.Driver`` for its promises.

Migrations are peer-to-peer unless configured otherwise: the source's daemon drives them, so that
they go on when this process dies, and are found again by what both ends show. Nothing is concluded
from silence, and nothing from one end alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Final
from urllib.parse import quote, unquote

from executor.drivers.base import (
    Capabilities,
    MigrationHandle,
    MigrationProgress,
    MigrationState,
    MigrationUnderWay,
)
from executor.kvm import preflight
from executor.kvm.api import (
    FLAGS,
    PARAMS,
    Connection,
    Fault,
    HypervisorError,
    JobRecord,
    RunState,
)
from executor.kvm.config import KvmConfig, Mode
from executor.kvm.copies import ABSENT, Copies
from executor.kvm.inventory import HostView, Inventory, SeenVm
from executor.kvm.link import HostLink, Open
from executor.kvm.migration import flag_names, parameters
from executor.kvm.snapshot import (
    copied_disks,
    make_host,
    make_snapshot,
    obstacle,
    sized_vm,
    ties,
)
from executor.kvm.transfers import Transfer, Transfers
from solver.domain.cluster import Cluster, reserved_amounts
from solver.domain.errors import (
    InvalidInputError,
    PermanentError,
    StaleClusterError,
    TemporaryError,
)
from solver.domain.units import HostId, Resource, VmId

BUSY_DELAY_S: Final = 10.0
BEGIN_LOOK_S: Final = 0.02
DIRTY_RATE_S: Final = 60.0
"""Between two measurements of how fast a guest rewrites its memory; each lasts a second."""

ELSEWHERE: Final = HostId("(a host of no configuration)")
"""Destination of a migration that leaves the cluster."""


class KvmDriver:
    """Real hosts behind libvirt.

    Parameters
    ----------
    config
        Hosts and settings.
    open_connection
        How to connect; tests put something else in its place.
    """

    def __init__(self, config: KvmConfig, *, open_connection: Open = Connection) -> None:
        self._config = config
        self._links = {
            host.id: HostLink(
                host.id, host.uri, timeout_s=config.timeout_s, open_connection=open_connection
            )
            for host in config.hosts
        }
        self._inventory = Inventory(config, tuple(self._links.values()))
        self._copies = Copies(self._links)
        self._transfers = Transfers()
        # Of their own, because a domain that is busy lets who asks for its dirty rate wait.
        self._watchers = {
            host.id: HostLink(host.id, host.uri, open_connection=open_connection)
            for host in config.hosts
        }
        self._watching: dict[HostId, Future[None]] = {}
        self._numbers = count(1)
        self._dirty_at_s: dict[str, float] = {}

    @property
    def config(self) -> KvmConfig:
        """The hosts and settings."""
        return self._config

    def close(self) -> None:
        """Close all connections; migrations under way go on where they do not need us."""
        for link in (*self._links.values(), *self._watchers.values()):
            link.close()

    # Promises of the protocol -----------------------------------------------------------------

    def capabilities(self) -> Capabilities:
        """Return what the driver can do.

        Domains are not started: one that runs nowhere is defined on the host it belongs to.
        """
        return Capabilities(
            can_start_vms=False,
            can_cancel=True,
            can_limit_bandwidth=True,
            can_post_copy=self._config.migration.post_copy,
        )

    def snapshot(self) -> Cluster:
        """Return the cluster as it is now."""
        self._inventory.refresh()
        self._measure_dirty_rates()
        return make_snapshot(self._inventory, self._config, datetime.now(UTC))

    def start_migration(
        self, vm_id: VmId, destination_id: HostId, *, bandwidth_mib_per_s: int
    ) -> MigrationHandle:
        """Begin a live migration and return at once."""
        if bandwidth_mib_per_s < 1:
            raise InvalidInputError(
                f"expected at least 1, got {bandwidth_mib_per_s}", path="bandwidth_mib_per_s"
            )
        with _in_our_words(vm_id, destination_id):
            vm, destination = self._require_startable(vm_id, destination_id)
            number = f"{time.time_ns():x}-{next(self._numbers)}"
            transfer = Transfer(
                handle=make_handle(vm.copy.record.uuid, vm.host_id, destination_id, number),
                vm_id=vm_id,
                uuid=vm.copy.record.uuid,
                source_id=vm.host_id,
                destination_id=destination_id,
            )
            self._begin(transfer, vm, destination, bandwidth_mib_per_s)
        return transfer.handle

    def start_vm(self, vm_id: VmId, host_id: HostId) -> None:
        """Refuse: no VM of this driver is without a host."""
        self._inventory.refresh()
        self._require_host(host_id, vm_id)
        vm = self._require_vm(vm_id)
        if vm.copy.record.state is not RunState.OFF:
            raise StaleClusterError(f"VM {vm_id!r} is on {vm.host_id!r}", vm_id=vm_id)
        raise PermanentError(
            f"VM {vm_id!r} is defined on {vm.host_id!r}; this driver does not start VMs",
            vm_id=vm_id,
            host_id=host_id,
        )

    def poll(self, handle: MigrationHandle) -> MigrationProgress:
        """Return how far a migration is."""
        transfer = self._known(handle)
        if transfer is None:
            return _unknown(f"no migration {handle!r} is known")
        if transfer.outcome is not None:
            return transfer.outcome
        try:
            ended = transfer.thread_ended
            job = self._copies.job(transfer.uuid, transfer.source_id)
            if job is not None and job.outgoing:
                if transfer.found and not self._goes_there(transfer):
                    return _unknown(
                        f"VM {transfer.vm_id!r} is under way, but not by this migration"
                    )
                post_copy = self._in_post_copy(transfer)
                if post_copy and self._broke(transfer):
                    return _unknown("its post-copy broke: neither end has all of its memory")
                transfer.latest = _running(job, post_copy=post_copy)
                return transfer.latest
            if not ended:
                return transfer.latest or MigrationProgress(state=MigrationState.RUNNING)
            return self._settled(transfer)
        except (TemporaryError, HypervisorError) as error:
            return _unknown(str(error))

    def cancel(self, handle: MigrationHandle) -> None:
        """Ask a migration to stop."""
        transfer = self._require_transfer(handle)
        if transfer.outcome is not None:
            return
        self._require_own(transfer)
        if self._in_post_copy(transfer):
            raise PermanentError(
                f"the migration of VM {transfer.vm_id!r} is in post-copy: stopping it would lose "
                "the VM",
                vm_id=transfer.vm_id,
            )
        self._tell(transfer, lambda connection: connection.abort_job(transfer.uuid))

    def switch_to_post_copy(self, handle: MigrationHandle) -> None:
        """Let the VM run at the destination now."""
        transfer = self._require_transfer(handle)
        if not self._config.migration.post_copy:
            raise PermanentError(
                f"the migration of VM {transfer.vm_id!r} was not begun such that it may be "
                "switched to post-copy",
                vm_id=transfer.vm_id,
            )
        if transfer.outcome is not None or transfer.post_copy:
            return
        self._require_own(transfer)
        self._tell(transfer, lambda connection: connection.start_post_copy(transfer.uuid))
        transfer.post_copy = True

    def locate(self, vm_id: VmId, among: tuple[HostId, ...] | None = None) -> tuple[HostId, ...]:
        """Return the hosts that hold a running copy of the VM."""
        asked = tuple(self._links) if among is None else among
        for host_id in asked:
            self._require_host(host_id, vm_id)
        uuid = self._uuid(vm_id)
        if uuid is None:
            self._inventory.refresh()
            uuid = self._uuid(vm_id)
        if uuid is None:
            self._require_reachable(asked)
            return ()
        states = self._copies.states(uuid, asked)
        running = tuple(h for h, state in states.items() if state is RunState.RUNNING)
        return running or tuple(h for h, state in states.items() if state is RunState.LEAVING)

    def find_migration(self, vm_id: VmId) -> MigrationUnderWay | None:
        """Return the migration of the VM that is under way, if there is one.

        If there is none, what one has left over is tidied up; while a host has not yet ended what
        it had received, that cannot be told.
        """
        with _in_our_words(vm_id, None):
            vm = self._inventory.find(vm_id)
            own = None if vm is None else self._transfers.of(vm.copy.record.uuid)
            if own is None:
                self._inventory.refresh()
                vm = self._inventory.find(vm_id)
            if vm is None:
                self._require_all_seen(vm_id)
                return None
            found = self._under_way(vm)
            if found is None:
                self._tidy(vm.copy.record.uuid)
            if found is None and own is None:
                self._require_not_received(vm)
            return found

    def _under_way(self, vm: SeenVm) -> MigrationUnderWay | None:
        uuid = vm.copy.record.uuid
        own = self._transfers.of(uuid)
        source_id = vm.host_id if own is None else own.source_id
        if own is not None and not own.thread_ended:
            return MigrationUnderWay(handle=own.handle, destination_id=own.destination_id)
        job = self._copies.job(uuid, source_id)
        if job is None or not job.outgoing:
            return None
        if own is not None:
            return MigrationUnderWay(handle=own.handle, destination_id=own.destination_id)
        return self._adopt(vm)

    def _tidy(self, uuid: str) -> None:
        """Let go on or end what a broken migration has left paused, if it was seen to."""
        views = self._inventory.views.values()
        seen = [view.copies[uuid].record.state for view in views if uuid in view.copies]
        if RunState.LEFT_PAUSED in seen:
            self._copies.tidy(uuid, definition=self._config.migration.persist)

    def _require_not_received(self, vm: SeenVm) -> None:
        """Raise if a host was just seen to receive a VM that no host sends."""
        uuid = vm.copy.record.uuid
        for host_id, view in self._inventory.views.items():
            copy = view.copies.get(uuid) if view.reachable else None
            if copy is not None and copy.record.state is RunState.INCOMING:
                raise TemporaryError(
                    f"host {host_id!r} still receives VM {vm.id!r}, which no host sends",
                    delay_s=1.0,
                    vm_id=vm.id,
                    host_id=host_id,
                )

    # Starting -----------------------------------------------------------------------------------

    def _require_startable(self, vm_id: VmId, destination_id: HostId) -> tuple[SeenVm, HostView]:
        """Return the VM and its destination, or raise why the migration cannot be begun."""
        self._require_host(destination_id, vm_id)
        before = self._inventory.find(vm_id)
        # The plan's other hosts were looked at when the step was judged.
        self._inventory.refresh(None if before is None else {before.host_id, destination_id})
        vm = self._require_vm(vm_id)
        destination = self._inventory.views[destination_id]
        if vm.host_id == destination_id:
            raise StaleClusterError(
                f"VM {vm_id!r} is already on {destination_id!r}",
                vm_id=vm_id,
                host_id=destination_id,
            )
        reason = ties(vm, self._inventory, self._config)
        if reason:
            raise PermanentError(f"VM {vm_id!r} cannot be migrated: {reason}", vm_id=vm_id)
        for host_id in (vm.host_id, destination_id):
            view = self._inventory.views[host_id]
            if not view.reachable:
                raise TemporaryError(
                    view.why_not, delay_s=BUSY_DELAY_S, vm_id=vm_id, host_id=host_id
                )
        if self._under_way(vm) is not None:
            raise TemporaryError(
                f"VM {vm_id!r} is under way already", delay_s=BUSY_DELAY_S, vm_id=vm_id
            )
        reason = obstacle(vm, destination, self._inventory, self._config)
        if reason:
            raise PermanentError(
                f"host {destination_id!r} does not take VM {vm_id!r}: {reason}",
                vm_id=vm_id,
                host_id=destination_id,
            )
        self._require_room(vm_id, destination_id)
        return vm, destination

    def _require_room(self, vm_id: VmId, destination_id: HostId) -> None:
        """Raise unless the VM's memory fits beside what is there and what is on its way there."""
        host = make_host(self._inventory.views[destination_id])
        usable = host.usable()[Resource.MEMORY]
        if usable is None:
            return
        incoming = {
            uuid
            for uuid, copy in self._inventory.views[destination_id].copies.items()
            if copy.record.state is RunState.INCOMING
        } | {transfer.uuid for transfer in self._under_way_to(destination_id)}
        needed = {
            vm.id: reserved_amounts(sized_vm(vm), host)[Resource.MEMORY]
            for vm in self._inventory.vms()
            if vm.id == vm_id or vm.host_id == destination_id or vm.copy.record.uuid in incoming
        }
        used = sum(mib for other, mib in needed.items() if other != vm_id)
        if needed[vm_id] > usable - used:
            raise TemporaryError(
                f"host {destination_id!r} has {usable - used} MiB left, VM {vm_id!r} needs "
                f"{needed[vm_id]}",
                delay_s=BUSY_DELAY_S,
                vm_id=vm_id,
                host_id=destination_id,
            )

    def _under_way_to(self, host_id: HostId) -> list[Transfer]:
        """Return the migrations to a host; those that have ended unasked are asked about first."""
        for transfer in self._transfers.under_way_to(host_id):
            if transfer.thread_ended:
                self.poll(transfer.handle)
        return self._transfers.under_way_to(host_id)

    def _begin(
        self, transfer: Transfer, vm: SeenVm, destination: HostView, bandwidth_mib_per_s: int
    ) -> None:
        """Let libvirt begin, and return once it has, or has refused.

        Who is allowed to act must not leave a request behind that is looked at later. So what may
        take long, connecting, comes before; and then there is no way back but the end of the call.
        """
        opened = [self._links[transfer.source_id].open_another()]
        try:
            if self._config.migration.mode is Mode.CLIENT_MANAGED:
                opened.append(self._links[transfer.destination_id].open_another())
        except TemporaryError:
            _close(opened[0])
            raise
        drive = partial(self._drive, transfer, vm, destination, bandwidth_mib_per_s, opened)
        self._transfers.begin(transfer, drive)
        while not transfer.ended.wait(BEGIN_LOOK_S):
            with suppress(TemporaryError):
                if self._copies.job(transfer.uuid, transfer.source_id) is not None:
                    self._limit_downtime(transfer)
                    return

    def _limit_downtime(self, transfer: Transfer) -> None:
        """Tell QEMU how long the guest may stand still, which it takes of a migration under way."""
        limit_ms = self._config.migration.max_downtime_ms
        if limit_ms is not None:
            # One that is over already has kept to whatever limit there was.
            with suppress(TemporaryError, HypervisorError):
                self._links[transfer.source_id].call(
                    lambda c: c.set_max_downtime(transfer.uuid, limit_ms)
                )

    def _drive(
        self,
        transfer: Transfer,
        vm: SeenVm,
        destination: HostView,
        bandwidth_mib_per_s: int,
        opened: list[Connection],
    ) -> None:
        """Migrate; returns when that is over. Runs in a thread of its own."""
        config = self._config.migration
        source, *peers = opened
        facts = self._inventory.views[transfer.source_id].facts
        local = copied_disks(vm, self._inventory, self._config)
        vouched = facts is not None and preflight.vouched_for(vm.copy.domain, facts, config)
        flags = flag_names(config, copies_disks=bool(local), disks_vouched_for=vouched)
        params = parameters(
            config,
            address=destination.config.migration_address,
            bandwidth_mib_per_s=bandwidth_mib_per_s,
            copied_disks=local,
        )
        try:
            source.migrate(
                transfer.uuid,
                peer=peers[0] if peers else destination.config.peer_uri,
                params={PARAMS[name]: value for name, value in params.items()},
                flags=sum(FLAGS[name] for name in flags),
            )
        finally:
            for connection in opened:
                _close(connection)

    # Following ----------------------------------------------------------------------------------

    def _settled(self, transfer: Transfer) -> MigrationProgress:
        """Return how a migration ended, once both ends have come to rest."""
        source, destination = self._copies.settle(
            transfer.uuid,
            transfer.source_id,
            transfer.destination_id,
            definition=self._config.migration.persist,
        )
        if RunState.LEAVING in (source, destination) or destination is RunState.INCOMING:
            return transfer.latest or MigrationProgress(state=MigrationState.RUNNING)
        there = destination is RunState.RUNNING
        if there and source in ABSENT:
            link = self._links[transfer.destination_id]
            transfer.outcome = _completed(link.call(lambda c: c.completed_job(transfer.uuid)))
        elif source in ABSENT and destination in ABSENT and not transfer.found:
            reason = str(transfer.error or "it ended") + "; the VM runs at neither end any more"
            transfer.outcome = _failed(transfer, reason, temporary=False)
        elif transfer.told and not transfer.succeeded:
            assert transfer.error is not None
            transfer.outcome = _failed(
                transfer, str(transfer.error), temporary=transfer.error.fault is Fault.FAILED
            )
        elif source is RunState.RUNNING and not there:
            transfer.outcome = _failed(transfer, "it ended at its source", temporary=True)
        else:
            return _unknown(f"the source has {_word(source)}, the destination {_word(destination)}")
        return transfer.outcome

    def _in_post_copy(self, transfer: Transfer) -> bool:
        """Whether the VM runs at its destination while its memory is still being fetched."""
        if not transfer.post_copy and self._config.migration.post_copy:
            with suppress(TemporaryError, HypervisorError):
                ends = (transfer.source_id, transfer.destination_id)
                states = tuple(self._copies.states(transfer.uuid, ends).values())
                transfer.post_copy = states == (RunState.LEAVING, RunState.RUNNING)
        return transfer.post_copy

    def _broke(self, transfer: Transfer) -> bool:
        """Whether the source of a migration in post-copy has given up."""
        source_id = transfer.source_id
        return self._copies.states(transfer.uuid, (source_id,))[source_id] is RunState.BROKEN

    def _goes_there(self, transfer: Transfer) -> bool:
        """Whether the migration that the source shows goes to this one's destination."""
        destination_id = transfer.destination_id
        state = self._copies.states(transfer.uuid, (destination_id,))[destination_id]
        return state in (RunState.INCOMING, RunState.RUNNING)

    def _require_own(self, transfer: Transfer) -> None:
        """Raise unless what is under way, if anything, is the migration that is meant."""
        if transfer.found and not self._goes_there(transfer):
            raise StaleClusterError(
                f"VM {transfer.vm_id!r} is not under way to {transfer.destination_id!r} any more",
                vm_id=transfer.vm_id,
                host_id=transfer.destination_id,
            )

    def _adopt(self, vm: SeenVm) -> MigrationUnderWay:
        """Return a migration that this process did not begin, to be followed from now on."""
        uuid = vm.copy.record.uuid
        self._inventory.refresh()
        incoming = [
            host_id
            for host_id, view in self._inventory.views.items()
            if host_id != vm.host_id
            and uuid in view.copies
            and view.copies[uuid].record.state in (RunState.INCOMING, RunState.RUNNING)
        ]
        destination_id = incoming[0] if incoming else ELSEWHERE
        transfer = Transfer(
            handle=make_handle(uuid, vm.host_id, destination_id, "found"),
            vm_id=vm.id,
            uuid=uuid,
            source_id=vm.host_id,
            destination_id=destination_id,
            found=True,
        )
        if incoming:
            self._transfers.adopt(transfer)
        return MigrationUnderWay(handle=transfer.handle, destination_id=destination_id)

    def _tell(self, transfer: Transfer, what: Callable[[Connection], None]) -> None:
        """Tell the source something about a migration under way."""
        try:
            self._links[transfer.source_id].call(what)
        except HypervisorError as error:
            job = self._copies.job(transfer.uuid, transfer.source_id)
            if job is None and transfer.thread_ended:
                return
            raise TemporaryError(
                str(error), delay_s=1.0, vm_id=transfer.vm_id, host_id=transfer.source_id
            ) from error

    # Asking -------------------------------------------------------------------------------------

    def _measure_dirty_rates(self) -> None:
        """Let hosts watch for a second how fast their guests rewrite memory, now and then."""
        now_s = time.monotonic()
        due: dict[HostId, list[str]] = {}
        for host_id, view in self._inventory.views.items():
            for uuid, copy in view.copies.items():
                recent = now_s - self._dirty_at_s.get(uuid, -DIRTY_RATE_S) < DIRTY_RATE_S
                if view.reachable and copy.record.state is RunState.RUNNING and not recent:
                    due.setdefault(host_id, []).append(uuid)
                    self._dirty_at_s[uuid] = now_s
        for host_id, uuids in due.items():
            watching = self._watching.get(host_id)
            # A host that is still at the last round has enough to do.
            if watching is None or watching.done():
                with suppress(TemporaryError):
                    self._watching[host_id] = self._watchers[host_id].ask(
                        partial(_measure, uuids=uuids)
                    )

    def _require_vm(self, vm_id: VmId) -> SeenVm:
        vm = self._inventory.find(vm_id)
        if vm is None:
            self._require_all_seen(vm_id)
            raise StaleClusterError(f"VM {vm_id!r} does not exist", vm_id=vm_id)
        return vm

    def _require_all_seen(self, vm_id: VmId) -> None:
        """Raise if a VM that was not seen may be on a host that was never seen."""
        unseen = self._inventory.unseen()
        if unseen is not None:
            raise TemporaryError(
                f"VM {vm_id!r} was not seen, and {unseen.why_not or 'a host was not asked'}",
                delay_s=BUSY_DELAY_S,
                vm_id=vm_id,
                host_id=unseen.config.id,
            )

    def _require_host(self, host_id: HostId, vm_id: VmId) -> None:
        if host_id not in self._links:
            raise StaleClusterError(
                f"host {host_id!r} does not exist", vm_id=vm_id, host_id=host_id
            )

    def _require_reachable(self, host_ids: tuple[HostId, ...]) -> None:
        for host_id in host_ids:
            view = self._inventory.views[host_id]
            if not view.reachable:
                raise TemporaryError(view.why_not, delay_s=BUSY_DELAY_S, host_id=host_id)

    def _known(self, handle: MigrationHandle) -> Transfer | None:
        """Return a migration by its handle, be it one that a process before this one began."""
        transfer = self._transfers.get(handle)
        parts = [unquote(part) for part in handle.split("/")]
        if transfer is not None or len(parts) != 4 or not {parts[1], parts[2]} <= set(self._links):
            return transfer
        found = Transfer(
            handle=handle,
            vm_id=VmId(parts[0]),
            uuid=parts[0],
            source_id=HostId(parts[1]),
            destination_id=HostId(parts[2]),
            found=True,
        )
        self._transfers.adopt(found)
        return found

    def _require_transfer(self, handle: MigrationHandle) -> Transfer:
        transfer = self._known(handle)
        if transfer is None:
            raise StaleClusterError(f"no migration {handle!r} is known")
        return transfer

    def _uuid(self, vm_id: VmId) -> str | None:
        vm = self._inventory.find(vm_id)
        return None if vm is None else vm.copy.record.uuid


def make_handle(uuid: str, source_id: HostId, destination_id: HostId, mark: str) -> MigrationHandle:
    """Return a handle that tells the next process what it names."""
    return MigrationHandle(
        "/".join(quote(p, safe="") for p in (uuid, source_id, destination_id, mark))
    )


@contextmanager
def _in_our_words(vm_id: VmId, host_id: HostId | None) -> Iterator[None]:
    """Turn what libvirt says into the branches of the error tree that callers know."""
    try:
        yield
    except HypervisorError as error:
        if error.fault is Fault.REFUSED:
            raise PermanentError(str(error), vm_id=vm_id, host_id=host_id) from error
        if error.fault is Fault.GONE:
            raise StaleClusterError(str(error), vm_id=vm_id, host_id=host_id) from error
        raise TemporaryError(
            str(error), delay_s=BUSY_DELAY_S, vm_id=vm_id, host_id=host_id
        ) from error


def _measure(connection: Connection, uuids: list[str]) -> None:
    for uuid in uuids:
        # A guest that is gone, or a QEMU too old to tell, has no dirty rate.
        with suppress(HypervisorError):
            connection.measure_dirty_rate(uuid)


def _close(connection: Connection) -> None:
    with suppress(HypervisorError):
        connection.close()


def _unknown(reason: str) -> MigrationProgress:
    return MigrationProgress(state=MigrationState.UNKNOWN, reason=reason)


def _running(job: JobRecord, *, post_copy: bool) -> MigrationProgress:
    known_mib = job.memory_sent_mib + job.memory_remaining_mib
    return MigrationProgress(
        state=MigrationState.RUNNING,
        fraction=job.memory_sent_mib / known_mib if known_mib else 0.0,
        transferred_mib=job.memory_sent_mib,
        remaining_mib=job.memory_remaining_mib,
        duration_ms=job.elapsed_ms,
        downtime_ms=job.downtime_ms if post_copy else None,
        iterations=job.iterations,
        post_copy=post_copy,
    )


def _completed(job: JobRecord | None) -> MigrationProgress:
    return MigrationProgress(
        state=MigrationState.COMPLETED,
        fraction=1.0,
        transferred_mib=0 if job is None else job.memory_sent_mib,
        duration_ms=None if job is None else job.elapsed_ms,
        downtime_ms=None if job is None else job.downtime_ms,
        iterations=None if job is None else job.iterations,
    )


def _failed(transfer: Transfer, reason: str, *, temporary: bool) -> MigrationProgress:
    latest = transfer.latest or MigrationProgress(state=MigrationState.RUNNING)
    return MigrationProgress(
        state=MigrationState.FAILED,
        fraction=latest.fraction,
        transferred_mib=latest.transferred_mib,
        remaining_mib=latest.remaining_mib,
        duration_ms=latest.duration_ms,
        iterations=latest.iterations,
        temporary=temporary,
        reason=reason,
    )


def _word(state: RunState | None) -> str:
    return "no copy" if state is None else f"a copy that is {state.value}"
