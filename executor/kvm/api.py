"""The only file that imports libvirt: its calls in plain values, its errors in our tree.

A ``Connection`` is one host. Its methods block for as long as libvirt does; who must not wait asks
through ``executor.kvm.link``, which bounds every call. Connections send keepalives, so that a call
to a host that has died returns with an error instead of waiting for ever.
"""

from __future__ import annotations

import enum
import re
import threading
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import libvirt

from solver.domain.errors import ExecutionError

KEEPALIVE_S: Final = 3
KEEPALIVE_COUNT: Final = 3
"""A host that leaves this many keepalives unanswered is given up: after about twelve seconds."""


class Fault(enum.Enum):
    """Whose fault an error is, as far as libvirt tells."""

    GONE = "gone"
    """The object does not exist (any more)."""
    SILENT = "silent"
    """The host cannot be asked; what was asked for may or may not have happened."""
    REFUSED = "refused"
    """It cannot be done, now or later."""
    FAILED = "failed"
    """It did not work; another try may."""


class HypervisorError(ExecutionError):
    """libvirt said no.

    Parameters
    ----------
    fault
        Whether trying again can help.
    """

    def __init__(self, message: str, *, fault: Fault) -> None:
        super().__init__(message)
        self.fault = fault


class RunState(enum.Enum):
    """What a copy of a domain is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    LEAVING = "leaving"
    """Handed over: paused here while the rest is sent, or running at its destination already."""
    INCOMING = "incoming"
    """Paused, and filled by a migration from elsewhere."""
    LEFT_PAUSED = "left_paused"
    """Paused by a migration that is not under way any more, all its memory there."""
    BROKEN = "broken"
    """Stopped in post-copy by a failure: its memory is at both ends, and all of it at neither."""
    OFF = "off"


_SIZE: Final = ("balloon.maximum", "vcpu.maximum", "vcpu.current")


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRecord:
    """One domain on one host.

    Parameters
    ----------
    xml
        Its description as it runs, or as it is defined if it does not run.
    num_snapshots
        Snapshots that libvirt keeps of it.
    stats
        What ``virConnectGetAllDomainStats`` tells of it.
    """

    uuid: str
    name: str
    state: RunState
    xml: str
    num_snapshots: int
    stats: Mapping[str, int | str]

    def looks_like(self, name: str, state: RunState, stats: Mapping[str, int | str]) -> bool:
        """Return whether it was the same domain, of the same size, on or off as it is now."""
        return (
            name == self.name
            and (state is RunState.OFF) == (self.state is RunState.OFF)
            and all(stats.get(key) == self.stats.get(key) for key in _SIZE)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """What a host tells of itself."""

    capabilities_xml: str
    memory_mib: int
    num_cpus: int
    pools: tuple[tuple[str, str, bool], ...]
    """Storage pools: name, XML, active."""
    networks: tuple[tuple[str, bool], ...]
    """Virtual networks: name, active."""
    interfaces: tuple[str, ...] | None
    """Network interfaces, bridges among them; ``None`` where the host does not tell."""
    free_pages: Mapping[int, int]
    """Free pages of each size in KiB, over all NUMA cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A migration as the source, or afterwards the destination, tells of it.

    Parameters
    ----------
    outgoing
        Whether this host sends.
    elapsed_ms, downtime_ms, iterations
        ``None`` if not told.
    """

    outgoing: bool
    elapsed_ms: int | None
    downtime_ms: int | None
    iterations: int | None
    memory_sent_mib: int
    memory_remaining_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCopy:
    """A copy of a domain that runs, or could go on.

    Parameters
    ----------
    whole
        Whether all of its memory is there: not so while a migration of it is under way, nor in
        post-copy.
    persistent
        Whether the host keeps its definition once it is off.
    """

    whole: bool
    persistent: bool


INCOMING: Final = JobRecord(
    outgoing=False,
    elapsed_ms=None,
    downtime_ms=None,
    iterations=None,
    memory_sent_mib=0,
    memory_remaining_mib=0,
)

_GONE: Final = frozenset({libvirt.VIR_ERR_NO_DOMAIN})
_SILENT: Final = frozenset(
    {
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_INVALID_CONN,
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        libvirt.VIR_ERR_GNUTLS_ERROR,
        libvirt.VIR_ERR_SYSTEM_ERROR,
    }
)
_REFUSED: Final = frozenset(
    {
        libvirt.VIR_ERR_NO_SUPPORT,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        libvirt.VIR_ERR_INVALID_ARG,
        libvirt.VIR_ERR_XML_ERROR,
        libvirt.VIR_ERR_DOM_EXIST,
        libvirt.VIR_ERR_CPU_INCOMPATIBLE,
        libvirt.VIR_ERR_MIGRATE_UNSAFE,
        libvirt.VIR_ERR_OPERATION_DENIED,
        libvirt.VIR_ERR_ACCESS_DENIED,
    }
)
_LOST: Final = ("client socket is closed", "connection closed", "end of file while reading")
"""How libvirt words a connection that broke in the middle of a call: an internal error."""

_OF_SNAPSHOT: Final = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_DIRTYRATE
)
"""What a snapshot needs; disks and networks are many, and asked one by one."""

_ENDED: Final = frozenset(
    {
        # Its processors stand still already; QEMU is on its way out.
        libvirt.VIR_DOMAIN_SHUTDOWN,
        libvirt.VIR_DOMAIN_SHUTOFF,
        libvirt.VIR_DOMAIN_CRASHED,
    }
)

_MIGRATION_PAUSES: Final = frozenset(
    {
        libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
        libvirt.VIR_DOMAIN_PAUSED_POSTCOPY,
        libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED,
        libvirt.VIR_DOMAIN_PAUSED_STARTING_UP,
    }
)

_FORGET: Final = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM

_LEFT_BY_PRE_COPY: Final = frozenset(
    {libvirt.VIR_DOMAIN_PAUSED_MIGRATION, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP}
)

_RUNS_IN_POST_COPY: Final = frozenset(
    {libvirt.VIR_DOMAIN_RUNNING_POSTCOPY, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED}
)

_loop_lock = threading.Lock()
_loop_runs = False


def _run_event_loop() -> None:
    """Start libvirt's event loop, once a process: keepalives need it."""
    global _loop_runs
    with _loop_lock:
        if _loop_runs:
            return
        libvirt.registerErrorHandler(lambda *_: None, None)
        libvirt.virEventRegisterDefaultImpl()

        def turn() -> None:
            while True:
                # One bad turn must not end the keepalives of all connections.
                with suppress(libvirt.libvirtError):
                    libvirt.virEventRunDefaultImpl()

        threading.Thread(target=turn, name="libvirt-events", daemon=True).start()
        _loop_runs = True


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn libvirt's errors into ours."""
    try:
        yield
    except libvirt.libvirtError as error:
        text = " ".join((error.get_error_message() or str(error)).split())
        raise HypervisorError(f"{what}: {text}", fault=_fault(error, text)) from error


def _fault(error: libvirt.libvirtError, text: str) -> Fault:
    code = error.get_error_code()
    if code in _GONE:
        return Fault.GONE
    remote = error.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)
    if any(words in text.lower() for words in _LOST) or (code in _SILENT and remote):
        return Fault.SILENT
    if code in (libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN):
        return Fault.SILENT
    return Fault.REFUSED if code in _REFUSED else Fault.FAILED


class Connection:
    """A libvirt connection to one host.

    Parameters
    ----------
    uri
        Such as ``qemu+ssh://root@h1/system`` or ``qemu:///system?socket=/run/libvirt/libvirt-sock``.
    read_only
        For monitoring: no right to change anything.

    Raises
    ------
    HypervisorError
        If the host cannot be reached, or refuses.
    """

    def __init__(self, uri: str, *, read_only: bool = False) -> None:
        _run_event_loop()
        self.uri = uri
        with _told(f"cannot connect to {uri}"):
            self._conn = libvirt.openReadOnly(uri) if read_only else libvirt.open(uri)
            # A driver inside this process (``test:///``) has no wire to keep alive.
            with suppress(libvirt.libvirtError):
                self._conn.setKeepAlive(KEEPALIVE_S, KEEPALIVE_COUNT)

    def close(self) -> None:
        """Give up the connection; calls under way on it end with an error."""
        with _told(f"cannot close the connection to {self.uri}"):
            self._conn.close()

    @property
    def alive(self) -> bool:
        """Whether the wire still stands."""
        try:
            return bool(self._conn.isAlive())
        except libvirt.libvirtError:
            return False

    # Looking ----------------------------------------------------------------------------------

    def host(self) -> HostRecord:
        """Return what the host tells of itself."""
        with _told("cannot read the host's facts"):
            info = self._conn.getInfo()
            capabilities = self._conn.getCapabilities()
            return HostRecord(
                capabilities_xml=capabilities,
                memory_mib=int(info[1]),
                num_cpus=int(info[2]),
                pools=tuple(
                    (pool.name(), pool.XMLDesc(0), bool(pool.isActive()))
                    for pool in self._listed(self._conn.listAllStoragePools)
                ),
                networks=tuple(
                    (network.name(), bool(network.isActive()))
                    for network in self._listed(self._conn.listAllNetworks)
                ),
                interfaces=self._interfaces(),
                free_pages=self._free_pages(capabilities),
            )

    def _interfaces(self) -> tuple[str, ...] | None:
        flag = libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET
        try:
            devices = self._conn.listAllDevices(flag)
        except libvirt.libvirtError:
            return None
        found = (re.search(r"<interface>([^<]+)</interface>", d.XMLDesc(0)) for d in devices)
        return tuple(match[1] for match in found if match is not None)

    @staticmethod
    def _listed(ask: Callable[[], list[Any]]) -> list[Any]:
        """Return what a part of libvirt lists; nothing where that part is not there."""
        try:
            return ask()
        except libvirt.libvirtError:
            return []

    def _free_pages(self, capabilities: str) -> dict[int, int]:
        sizes = [size for size in (4, 2048, 1048576) if f"unit='KiB' size='{size}'" in capabilities]
        if not sizes:
            return {}
        cells = max(1, capabilities.count("<cell id="))
        free: dict[int, int] = dict.fromkeys(sizes, 0)
        # Numbers of cells may have gaps.
        with suppress(libvirt.libvirtError):
            for cell in self._conn.getFreePages(sizes, 0, cells).values():
                for size, count in cell.items():
                    free[int(size)] += int(count)
        return free

    def domains(self, known: Mapping[str, DomainRecord]) -> tuple[DomainRecord, ...]:
        """Return every domain of the host, running or not, with its statistics.

        Parameters
        ----------
        known
            What was returned before, by UUID: descriptions of domains that look as they did are
            taken from there, because each costs two calls.
        """
        with _told("cannot list domains"):
            told = self._stats(0, _OF_SNAPSHOT)
        records = (self._record(domain, stats, known) for domain, stats in told)
        return tuple(record for record in records if record is not None)

    def _record(
        self,
        domain: libvirt.virDomain,
        stats: Mapping[str, int | str],
        known: Mapping[str, DomainRecord],
    ) -> DomainRecord | None:
        """Return a domain; ``None`` if it went away while it was being looked at."""
        try:
            with _told(f"cannot read domain {domain.name()!r}"):
                uuid = domain.UUIDString()
                state = self._run_state(domain, int(stats["state.state"]), stats["state.reason"])
                before = known.get(uuid)
                if before is not None and before.looks_like(domain.name(), state, stats):
                    return replace(before, state=state, stats=stats)
                return DomainRecord(
                    uuid=uuid,
                    name=domain.name(),
                    state=state,
                    xml=domain.XMLDesc(0),
                    num_snapshots=domain.snapshotNum(),
                    stats=stats,
                )
        except HypervisorError as error:
            if error.fault is Fault.GONE:
                return None
            raise

    def stats(self) -> tuple[tuple[str, str, Mapping[str, int | str]], ...]:
        """Return UUID, name and statistics of every running domain, in one call."""
        with _told("cannot read statistics"):
            return tuple(
                (domain.UUIDString(), domain.name(), stats)
                for domain, stats in self._stats(libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE)
            )

    def _stats(
        self, flags: int, groups: int = 0
    ) -> list[tuple[libvirt.virDomain, Mapping[str, int | str]]]:
        # A domain whose monitor is busy is told without the figures that would have to wait.
        nowait = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        told: list[tuple[libvirt.virDomain, Mapping[str, int | str]]]
        told = self._conn.getAllDomainStats(groups, flags | nowait)
        return told

    def state(self, uuid: str) -> RunState | None:
        """Return what the host's copy of a domain is doing; ``None`` if it has none."""
        try:
            with _told(f"cannot read the state of domain {uuid}"):
                return self._state(self._conn.lookupByUUIDString(uuid))
        except HypervisorError as error:
            if error.fault is Fault.GONE:
                return None
            raise

    def _state(self, domain: libvirt.virDomain) -> RunState:
        return self._run_state(domain, *domain.state())

    def _run_state(self, domain: libvirt.virDomain, state: int, reason: int | str) -> RunState:
        if state in _ENDED:
            return RunState.OFF
        if state != libvirt.VIR_DOMAIN_PAUSED:
            return RunState.RUNNING
        if reason not in _MIGRATION_PAUSES:
            return RunState.PAUSED
        if reason == libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED:
            # Its migration may be shown for ever; neither end goes on by itself.
            return RunState.BROKEN
        job = self._job(domain)
        if job is None:
            # In post-copy the memory is at both ends: such a copy must never be let go on alone.
            left = reason in _LEFT_BY_PRE_COPY
            return RunState.LEFT_PAUSED if left else RunState.PAUSED
        return RunState.LEAVING if job.outgoing else RunState.INCOMING

    def kept_copy(self, uuid: str) -> KeptCopy | None:
        """Return the host's copy of a domain if it runs or was left paused, else ``None``."""
        try:
            with _told(f"cannot read domain {uuid}"):
                domain = self._conn.lookupByUUIDString(uuid)
                state, reason = domain.state()
                doing = self._run_state(domain, state, reason)
                if doing not in (RunState.RUNNING, RunState.LEFT_PAUSED):
                    return None
                fetches = doing is RunState.RUNNING and reason in _RUNS_IN_POST_COPY
                whole = not fetches and self._job(domain) is None
                return KeptCopy(whole=whole, persistent=bool(domain.isPersistent()))
        except HypervisorError as error:
            if error.fault is Fault.GONE:
                return None
            raise

    def job(self, uuid: str) -> JobRecord | None:
        """Return the migration of a domain that is under way here; ``None`` if there is none."""
        try:
            with _told(f"cannot read the migration of domain {uuid}"):
                return self._job(self._conn.lookupByUUIDString(uuid))
        except HypervisorError as error:
            if error.fault is Fault.GONE:
                return None
            raise

    def completed_job(self, uuid: str) -> JobRecord | None:
        """Return the last migration of a domain that ended here, if it is still remembered."""
        flags = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
        try:
            with _told(f"cannot read the last migration of domain {uuid}"):
                stats = self._conn.lookupByUUIDString(uuid).jobStats(flags)
        except HypervisorError as error:
            if error.fault is Fault.SILENT:
                raise
            return None
        return _job_record(stats, (libvirt.VIR_DOMAIN_JOB_COMPLETED,))

    @staticmethod
    def _job(domain: libvirt.virDomain) -> JobRecord | None:
        try:
            return _job_record(domain.jobStats(0))
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
                # A domain that does not run has no migration; asked so late, it has just ended.
                if not domain.isActive():
                    return None
                raise
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_UNSUPPORTED:
                raise
            # Only the source has statistics: this is how the destination says that it is one.
            return INCOMING

    def compare_cpu(self, capabilities_of: Mapping[str, str], cpu_xml: str) -> bool:
        """Return whether the host can run a guest's processor.

        Parameters
        ----------
        capabilities_of
            ``emulator``, ``arch``, ``machine`` and ``virttype`` of the guest.
        cpu_xml
            The guest's ``<cpu>``.
        """
        with _told("cannot compare processors"):
            result = self._conn.compareHypervisorCPU(
                capabilities_of["emulator"],
                capabilities_of["arch"],
                capabilities_of["machine"],
                capabilities_of["virttype"],
                cpu_xml,
                0,
            )
        return result in (libvirt.VIR_CPU_COMPARE_IDENTICAL, libvirt.VIR_CPU_COMPARE_SUPERSET)

    # Doing ------------------------------------------------------------------------------------

    def measure_dirty_rate(self, uuid: str, *, seconds: int = 1) -> None:
        """Begin to measure how fast a domain rewrites its memory; the statistics tell later."""
        with _told(f"cannot measure the dirty rate of domain {uuid}"):
            self._conn.lookupByUUIDString(uuid).startDirtyRateCalc(seconds, 0)

    def migrate(
        self,
        uuid: str,
        *,
        peer: str | Connection,
        params: Mapping[str, int | str | list[str]],
        flags: int,
    ) -> None:
        """Migrate a domain away; returns when that is over.

        Parameters
        ----------
        peer
            Where to: the destination's URI as the source sees it (peer-to-peer, which goes on
            without us), or our own connection to it (client-managed).
        params, flags
            See ``executor.kvm.migration``.
        """
        with _told("migration failed"):
            domain = self._conn.lookupByUUIDString(uuid)
            if isinstance(peer, str):
                domain.migrateToURI3(peer, dict(params), flags)
            else:
                domain.migrate3(peer._conn, dict(params), flags)

    def set_max_downtime(self, uuid: str, milliseconds: int) -> None:
        """Set how long a migrating domain may stand still."""
        with _told(f"cannot limit the downtime of domain {uuid}"):
            self._conn.lookupByUUIDString(uuid).migrateSetMaxDowntime(milliseconds, 0)

    def abort_job(self, uuid: str) -> None:
        """Stop the migration of a domain."""
        with _told(f"cannot stop the migration of domain {uuid}"):
            self._conn.lookupByUUIDString(uuid).abortJob()

    def start_post_copy(self, uuid: str) -> None:
        """Let a migrating domain go on at its destination and send the rest behind it."""
        with _told(f"cannot switch domain {uuid} to post-copy"):
            self._conn.lookupByUUIDString(uuid).migrateStartPostCopy(0)

    def resume(self, uuid: str) -> None:
        """Let a paused domain go on."""
        with _told(f"cannot resume domain {uuid}"):
            self._conn.lookupByUUIDString(uuid).resume()

    def discard(self, uuid: str, *, forget: bool) -> None:
        """End a copy that a migration left paused, or that is off already.

        Parameters
        ----------
        forget
            Whether to remove the definition, too.

        Raises
        ------
        HypervisorError
            If the copy does anything else; it goes on.
        """
        try:
            self._discard(uuid, forget=forget)
        except HypervisorError as error:
            if error.fault is not Fault.GONE:
                raise

    def _discard(self, uuid: str, *, forget: bool) -> None:
        with _told(f"cannot end what was left of domain {uuid}"):
            domain = self._conn.lookupByUUIDString(uuid)
            state = self._state(domain)
            if state not in (RunState.LEFT_PAUSED, RunState.OFF):
                raise HypervisorError(
                    f"domain {uuid} is to be ended: expected a copy left paused, got one that is "
                    f"{state.value}",
                    fault=Fault.FAILED,
                )
            # First, so that a copy with a definition is never the last trace of an interruption.
            if forget and domain.isPersistent():
                domain.undefineFlags(_FORGET)
            if state is RunState.LEFT_PAUSED:
                domain.destroy()


_UNDER_WAY: Final = (libvirt.VIR_DOMAIN_JOB_BOUNDED, libvirt.VIR_DOMAIN_JOB_UNBOUNDED)


def _job_record(stats: Mapping[str, Any], kinds: Container[int] = _UNDER_WAY) -> JobRecord | None:
    """Return a migration's statistics; ``None`` if they are of none of the kinds of jobs."""
    operation = stats.get("operation")
    migrating = (
        libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN,
        libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
    )
    if stats.get("type", libvirt.VIR_DOMAIN_JOB_NONE) not in kinds or operation not in migrating:
        return None
    return JobRecord(
        outgoing=operation == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
        elapsed_ms=stats.get("time_elapsed"),
        downtime_ms=stats.get("downtime"),
        iterations=stats.get("memory_iteration"),
        memory_sent_mib=_mib(stats.get("memory_processed", 0)),
        memory_remaining_mib=_mib(stats.get("memory_remaining", 0)),
    )


def _mib(num_bytes: int) -> int:
    return -(-num_bytes // 2**20)


FLAGS: Final[Mapping[str, int]] = {
    "live": libvirt.VIR_MIGRATE_LIVE,
    "peer_to_peer": libvirt.VIR_MIGRATE_PEER2PEER,
    "persist_destination": libvirt.VIR_MIGRATE_PERSIST_DEST,
    "undefine_source": libvirt.VIR_MIGRATE_UNDEFINE_SOURCE,
    "tunnelled": libvirt.VIR_MIGRATE_TUNNELLED,
    "tls": libvirt.VIR_MIGRATE_TLS,
    "auto_converge": libvirt.VIR_MIGRATE_AUTO_CONVERGE,
    "post_copy": libvirt.VIR_MIGRATE_POSTCOPY,
    "compressed": libvirt.VIR_MIGRATE_COMPRESSED,
    "parallel": libvirt.VIR_MIGRATE_PARALLEL,
    "copy_storage": libvirt.VIR_MIGRATE_NON_SHARED_DISK,
    "unsafe": libvirt.VIR_MIGRATE_UNSAFE,
}
"""Migration flags by the names ``executor.kvm.migration`` uses."""

PARAMS: Final[Mapping[str, str]] = {
    "uri": libvirt.VIR_MIGRATE_PARAM_URI,
    "bandwidth": libvirt.VIR_MIGRATE_PARAM_BANDWIDTH,
    "parallel_connections": libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS,
    "compression": libvirt.VIR_MIGRATE_PARAM_COMPRESSION,
    "copied_disks": libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS,
}
"""Migration parameters likewise."""
