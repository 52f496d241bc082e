"""Which hosts there are and how VMs are to be moved between them, as the operator says.

The same settings in a file, TOML::

    [migration]
    mode = "peer_to_peer"

    [[hosts]]
    id = "h1"
    uri = "qemu+ssh://foreswap@h1/system"
    peer_uri = "qemu+tls://h1/system"
    migration_address = "10.0.0.1"
    zone = "a"
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from executor.kvm.domain_xml import OWNERS
from solver.domain.cluster import HostState, Network, Overcommit, require_id, require_unique
from solver.domain.errors import InvalidInputError
from solver.domain.rules import NO_BUDGET, MoveBudget, PlacementRule
from solver.domain.units import Amounts, HostId, VmId


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """One host.

    Parameters
    ----------
    uri
        How foreswap reaches its libvirt daemon.
    peer_uri
        How the daemons of *other* hosts reach it; needed for peer-to-peer migration.
    migration_address
        Name or address at which it receives guests; libvirt asks for the host's name if empty.
    cpu_millicores, memory_mib
        What of it may be used; what the machine has if ``None``.
    disk_io_kib_per_s, net_io_kib_per_s
        What its disks and network carry, which no host tells; ``None`` for unlimited.
    reserve
        What is kept from VMs; 1 GiB and 5 % of its memory if neither this nor ``memory_mib`` is
        said.
    provides
        What VMs may require of it beyond what is found out.
    """

    id: HostId
    uri: str
    peer_uri: str = ""
    migration_address: str = ""
    zone: str = ""
    rack: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    cpu_millicores: int | None = None
    memory_mib: int | None = None
    disk_io_kib_per_s: int | None = None
    net_io_kib_per_s: int | None = None
    reserve: Amounts | None = None
    overcommit: Overcommit = field(default_factory=Overcommit)
    migration_bandwidth_mib_per_s: int = 1_000
    max_vms: int | None = None
    provides: tuple[str, ...] = ()
    state: HostState = HostState.UP

    def __post_init__(self) -> None:
        require_id(self.id, "host")
        if not self.uri:
            raise InvalidInputError(f"host {self.id!r}: expected a libvirt URI, got ''", path="uri")


class Mode(enum.Enum):
    """Who drives a migration."""

    PEER_TO_PEER = "peer_to_peer"
    """The source's daemon: goes on when foreswap dies. The daemons must reach one another."""
    CLIENT_MANAGED = "client_managed"
    """foreswap itself: works over any connection, and ends when foreswap dies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationConfig:
    """How VMs are moved.

    Parameters
    ----------
    tunnelled, tls
        Send memory through the daemons' own connection; or encrypt QEMU's (needs certificates).
    auto_converge
        Slow a guest down that dirties memory faster than it can be sent.
    post_copy
        Allow to go on at the destination before everything is there; a broken link then costs the
        VM, so that it is only ever used when the operator says so.
    compressed
        Compress what is re-sent (XBZRLE).
    parallel_connections
        Streams at once; 0 for one, without the multi-stream protocol.
    max_downtime_ms
        How long a guest may stand still at the end; QEMU's 300 ms if ``None``.
    copy_storage
        Copy disks that the destination cannot reach.
    shared_paths
        Folders that hold the same files on every host.
    persist
        Whether the definition goes along: kept at the destination and removed from the source.
    """

    mode: Mode = Mode.PEER_TO_PEER
    tunnelled: bool = False
    tls: bool = False
    auto_converge: bool = True
    post_copy: bool = False
    compressed: bool = False
    parallel_connections: int = 0
    max_downtime_ms: int | None = None
    copy_storage: bool = False
    shared_paths: tuple[str, ...] = ()
    persist: bool = True

    def __post_init__(self) -> None:
        if self.tunnelled and self.mode is not Mode.PEER_TO_PEER:
            raise InvalidInputError(
                f"a tunnelled migration is peer-to-peer, got mode {self.mode.value!r}",
                path="migration.tunnelled",
            )
        if self.tunnelled and (self.parallel_connections or self.post_copy or self.tls):
            raise InvalidInputError(
                "a tunnelled migration has one stream, no TLS of its own and no post-copy",
                path="migration.tunnelled",
            )
        if not 0 <= self.parallel_connections <= 255:
            raise InvalidInputError(
                f"expected 0..255, got {self.parallel_connections}",
                path="migration.parallel_connections",
            )
        if self.max_downtime_ms is not None and not 1 <= self.max_downtime_ms <= 2_000_000:
            raise InvalidInputError(
                f"expected 1..2000000, got {self.max_downtime_ms}",
                path="migration.max_downtime_ms",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class VmPolicy:
    """What no hypervisor knows of a VM; see ``solver.domain.cluster.VM``.

    Parameters
    ----------
    uuid
        Which domain is meant, should there be several of the name; empty for the only one.
    requires
        What its host has to provide beyond what is found out.
    """

    uuid: str = ""
    not_before_at: datetime | None = None
    requires: tuple[str, ...] = ()
    priority: int = 5
    group: str = ""
    app_type: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class KvmConfig:
    """A cluster of real hosts.

    Parameters
    ----------
    vms, rules, network, budget
        What the snapshot is to say beyond what hosts tell.
    move_foreign
        Move domains of other managers, too. Two managers that move one VM fight.
    owners
        Marks of other managers in domains' metadata: the start of an XML namespace, and a name.
    timeout_s
        How long a host may take to answer.

    Raises
    ------
    InvalidInputError
        If there is no host, an id stands twice, or peer-to-peer lacks a host's peer URI.
    """

    hosts: tuple[HostConfig, ...]
    migration: MigrationConfig = field(default_factory=MigrationConfig)
    vms: Mapping[VmId, VmPolicy] = field(default_factory=dict)
    rules: tuple[PlacementRule, ...] = ()
    network: Network = field(default_factory=Network)
    budget: MoveBudget = NO_BUDGET
    move_foreign: bool = False
    owners: Mapping[str, str] = field(default_factory=lambda: dict(OWNERS))
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if not self.hosts:
            raise InvalidInputError("expected at least one host, got none", path="hosts")
        require_unique((host.id for host in self.hosts), "hosts")
        require_unique((host.uri for host in self.hosts), "hosts.uri")
        if self.migration.mode is Mode.PEER_TO_PEER:
            for i, host in enumerate(self.hosts):
                if not host.peer_uri:
                    raise InvalidInputError(
                        f"host {host.id!r}: peer-to-peer migration needs the URI at which other "
                        "hosts reach its daemon, got ''",
                        path=f"hosts[{i}].peer_uri",
                    )
