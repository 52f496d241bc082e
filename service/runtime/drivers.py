"""The driver of a cluster, made of what its document says; the only room that knows the kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from executor.clock import Clock
from executor.drivers.base import (
    Capabilities,
    Driver,
    MigrationHandle,
    MigrationProgress,
    MigrationUnderWay,
)
from executor.params import ExecutorParameters, OnTimeout
from executor.records import Record
from forecast.history import History
from service.hosts_file import read_hosts, with_policy
from service.inventory.policies import DriverSettings
from service.present import set_pace
from service.real_hosts import open_driver
from service.runtime.simulated import FastClock, SimulatedCluster
from service.store.base import Store
from solver.domain.cluster import Cluster, HostState
from solver.domain.units import HostId, VmId
from solver.instances import cluster_from_document

CALLS_IN_LEASE: Final = 8
"""A call inside the lease asks a host several questions, each for as long as it may take."""

Telemetry = Callable[[datetime, datetime], History]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A cluster that can be looked at, and acted on if it has a driver.

    Parameters
    ----------
    driver
        ``None`` where snapshots are posted.
    clock
        The cluster's own time.
    telemetry
        Bins of a span of time, where nobody delivers them; ``None`` where monitors do.
    """

    driver: Driver | None
    clock: Clock
    telemetry: Telemetry | None = None
    params: ExecutorParameters = field(default_factory=ExecutorParameters)
    close: Callable[[], None] = lambda: None


class Opener(Protocol):
    """Opens the cluster of a document."""

    def __call__(
        self, settings: DriverSettings, store: Store, cluster_id: str, clock: Clock
    ) -> Opened:
        """Return the cluster, to be closed."""


def open_cluster(settings: DriverSettings, store: Store, cluster_id: str, clock: Clock) -> Opened:
    """Return the cluster of a document, to be closed.

    Raises
    ------
    InvalidInputError
        If its hosts file cannot be read, or is wrong.
    PermanentError
        If what its driver needs is not installed.
    StoreError
        If what is known of it cannot be read.
    """
    if settings.kind == "simulated":
        return _simulated(settings, store, cluster_id, clock)
    if settings.kind == "libvirt":
        return _libvirt(settings, store, cluster_id, clock)
    return Opened(driver=None, clock=clock)


def lease_ttl_s(settings: DriverSettings, usual_s: float) -> float:
    """Return how long the lease of a cluster lasts: longer than any call inside it may take.

    Raises
    ------
    InvalidInputError
        If its hosts file cannot be read, or is wrong.
    """
    if settings.kind != "libvirt":
        return usual_s
    return max(usual_s, CALLS_IN_LEASE * read_hosts(_hosts_file(settings)).timeout_s)


def last_snapshot(store: Store, cluster_id: str) -> Cluster | None:
    """Return a cluster as it was seen last, policies apart."""
    with store.begin(read_only=True) as tx:
        kept = tx.snapshots.get(cluster_id)
    return None if kept is None else cluster_from_document(kept.document, now=kept.observed_at)


def _simulated(settings: DriverSettings, store: Store, cluster_id: str, clock: Clock) -> Opened:
    with store.begin() as tx:
        pace = set_pace(tx, cluster_id, settings.speed or 1.0, clock.now())
    own = clock if pace is None else FastClock(clock, pace)
    journal: tuple[Record, ...] = store.journal(cluster_id).read()
    before = last_snapshot(store, cluster_id)
    seed = settings.seed or 0
    cluster = SimulatedCluster(seed=seed, before=before, journal=journal, clock=own)
    return Opened(driver=cluster.driver, clock=own, telemetry=cluster.telemetry)


def _hosts_file(settings: DriverSettings) -> Path:
    assert settings.hosts_file is not None
    return Path(settings.hosts_file)


def _libvirt(settings: DriverSettings, store: Store, cluster_id: str, clock: Clock) -> Opened:
    config = read_hosts(_hosts_file(settings))
    before = last_snapshot(store, cluster_id)
    driver = open_driver(config if before is None else with_policy(config, before))
    may_switch = driver.capabilities().can_post_copy
    on_timeout = OnTimeout.POST_COPY if may_switch else OnTimeout.CANCEL
    return Opened(
        driver=driver,
        clock=clock,
        params=ExecutorParameters(on_timeout=on_timeout),
        close=driver.close,
    )


def laid_over(seen: Cluster, wanted: Cluster | None) -> Cluster:
    """Return a cluster as it is, with what an operator wants of its VMs and hosts.

    Parameters
    ----------
    wanted
        The same cluster as the inventory has it: priorities, groups, rules, maintenance.
    """
    if wanted is None:
        return seen
    policies = {vm.id: vm for vm in wanted.vms}
    closed = {host.id for host in wanted.hosts if host.state is HostState.MAINTENANCE}
    vms = []
    for vm in seen.vms:
        policy = policies.get(vm.id)
        if policy is not None:
            vm = replace(vm, priority=policy.priority, group=policy.group, app_type=policy.app_type)
        vms.append(vm)
    known = {vm.id for vm in vms}
    rules = (rule.restricted_to(known) for rule in wanted.rules)
    return replace(
        seen,
        vms=tuple(vms),
        hosts=tuple(
            replace(host, state=HostState.MAINTENANCE)
            if host.id in closed and host.state is HostState.UP
            else host
            for host in seen.hosts
        ),
        rules=tuple(rule for rule in rules if rule is not None),
        network=wanted.network,
        budget=wanted.budget,
    )


class Watched:
    """A driver whose snapshots say what operators want too, so that the last check before each
    move knows it; see :class:`executor.drivers.base.Driver` for the promises.

    Attributes
    ----------
    wanted
        The cluster as the inventory has it; ``None`` before it is known.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.wanted: Cluster | None = None

    def capabilities(self) -> Capabilities:
        """Return what the driver can do."""
        return self._driver.capabilities()

    def snapshot(self) -> Cluster:
        """Return the cluster as it is now, with what is wanted of it."""
        return laid_over(self._driver.snapshot(), self.wanted)

    def bare_snapshot(self) -> Cluster:
        """Return the cluster as it is now and no more."""
        return self._driver.snapshot()

    def start_migration(
        self, vm_id: VmId, destination_id: HostId, *, bandwidth_mib_per_s: int
    ) -> MigrationHandle:
        """Begin a live migration and return at once."""
        return self._driver.start_migration(
            vm_id, destination_id, bandwidth_mib_per_s=bandwidth_mib_per_s
        )

    def start_vm(self, vm_id: VmId, host_id: HostId) -> None:
        """Start a VM that runs nowhere."""
        self._driver.start_vm(vm_id, host_id)

    def poll(self, handle: MigrationHandle) -> MigrationProgress:
        """Return how far a migration is."""
        return self._driver.poll(handle)

    def cancel(self, handle: MigrationHandle) -> None:
        """Ask a migration to stop."""
        self._driver.cancel(handle)

    def switch_to_post_copy(self, handle: MigrationHandle) -> None:
        """Let the VM run at the destination now."""
        self._driver.switch_to_post_copy(handle)

    def locate(self, vm_id: VmId, among: tuple[HostId, ...] | None = None) -> tuple[HostId, ...]:
        """Return the hosts that hold a running copy of the VM."""
        return self._driver.locate(vm_id, among)

    def find_migration(self, vm_id: VmId) -> MigrationUnderWay | None:
        """Return the migration of the VM that is under way, if there is one."""
        return self._driver.find_migration(vm_id)
