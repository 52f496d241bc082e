"""The cluster as it is solved: what was seen, with what is wanted laid over it.

What a policy says comes before what the snapshot says, and the snapshot before defaults. Policies
of VMs and hosts that are gone wait for them to return; they are reported and hinder nothing.

Decoding ten thousand VMs takes a good part of a second, so what was decoded is kept under the mark
of ``service.inventory.marks`` until that changes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Generic, TypeVar

from service.inventory.marks import read_mark
from service.inventory.policies import Maintenance, VmPolicy
from service.inventory.standing import Source, StandingRule, stand
from service.store.base import Item, Kind, Transaction
from service.store.errors import NotFoundError
from solver.domain.cluster import VM, Cluster, Host, HostState
from solver.domain.rules import PlacementRule
from solver.domain.units import HostId, VmId
from solver.instances import cluster_from_document, rule_from_document

MAX_KEPT: Final = 32
"""Clusters whose decoded form is kept; one of ten thousand VMs takes about 20 MiB."""

PAGE: Final = 5_000
"""Items read at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Inventory:
    """A cluster with its policies.

    Parameters
    ----------
    cluster
        What is solved: policies laid over the snapshot, rules in force.
    vm_policies, maintenance
        All there are, of VMs and hosts that are gone as well.
    rules
        All there are, with what of them is in force.
    """

    cluster_id: str
    cluster: Cluster
    vm_policies: Mapping[VmId, VmPolicy]
    maintenance: Mapping[HostId, Maintenance]
    rules: tuple[StandingRule, ...]
    _orders: dict[str, list[tuple[Any, VmId, VM]]] = field(default_factory=dict, init=False)

    def in_order(self, name: str, key: Callable[[VM], Any]) -> list[tuple[Any, VmId, VM]]:
        """Return the VMs by a key, then by id; kept under the key's name, and not to be changed."""
        found = self._orders.get(name)
        if found is None:
            found = sorted(((key(vm), vm.id, vm) for vm in self.cluster.vms), key=_first_two)
            self._orders[name] = found
        return found

    @cached_property
    def vms(self) -> Mapping[VmId, VM]:
        """The VMs that are there, by id."""
        return {vm.id: vm for vm in self.cluster.vms}

    @cached_property
    def hosts(self) -> Mapping[HostId, Host]:
        """The hosts that are there, by id."""
        return {host.id: host for host in self.cluster.hosts}

    @cached_property
    def waiting_vm_ids(self) -> tuple[VmId, ...]:
        """VMs that have a policy and are not there."""
        return tuple(sorted(vm_id for vm_id in self.vm_policies if vm_id not in self.vms))

    @cached_property
    def waiting_host_ids(self) -> tuple[HostId, ...]:
        """Hosts in maintenance that are not there."""
        return tuple(sorted(host_id for host_id in self.maintenance if host_id not in self.hosts))

    def owner(self, vm_id: VmId) -> str:
        """Return the owner of a VM, empty for none."""
        policy = self.vm_policies.get(vm_id)
        return "" if policy is None or policy.owner is None else policy.owner


def _first_two(entry: tuple[Any, VmId, VM]) -> tuple[Any, VmId]:
    return entry[:2]


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A cluster as it was seen last, without policies."""

    cluster: Cluster

    @cached_property
    def vm_ids(self) -> frozenset[VmId]:
        """The VMs that are there."""
        return frozenset(vm.id for vm in self.cluster.vms)

    @cached_property
    def host_ids(self) -> frozenset[HostId]:
        """The hosts that are there."""
        return frozenset(host.id for host in self.cluster.hosts)


def effective(tx: Transaction, cluster_id: str) -> Cluster:
    """Return the cluster as it is solved; raises like ``look_up``."""
    return look_up(tx, cluster_id).cluster


def look_up(tx: Transaction, cluster_id: str) -> Inventory:
    """Return a cluster with its policies.

    :raises NotFoundError: if there is no such cluster, or nothing was seen of it yet
    """
    tx.items.get(Kind.CLUSTER, "", cluster_id)
    mark = read_mark(tx, cluster_id)
    return _INVENTORIES.get(cluster_id, mark, lambda: _laid_over(tx, cluster_id))


def look_at_snapshot(tx: Transaction, cluster_id: str) -> Seen:
    """Return a cluster as it was seen last; raises like ``look_up``."""
    tx.items.get(Kind.CLUSTER, "", cluster_id)
    mark = read_mark(tx, cluster_id)
    return _SNAPSHOTS.get(
        cluster_id, (mark.snapshot, mark.observed_at), lambda: _decoded(tx, cluster_id)
    )


def remember(tx: Transaction, cluster_id: str, cluster: Cluster) -> None:
    """Keep a snapshot decoded that was just written, so that nobody here has to decode it."""
    mark = read_mark(tx, cluster_id)
    seen = Seen(cluster=cluster)
    _SNAPSHOTS.get(cluster_id, (mark.snapshot, mark.observed_at), lambda: seen)


def _laid_over(tx: Transaction, cluster_id: str) -> Inventory:
    """Lay policies over the snapshot."""
    seen = look_at_snapshot(tx, cluster_id)
    policies = {
        VmId(item.id): VmPolicy.from_document(item.document)
        for item in every_item(tx, Kind.VM_POLICY, cluster_id)
        if item.document
    }
    maintenance = {
        HostId(item.id): Maintenance.from_document(item.document)
        for item in every_item(tx, Kind.HOST_POLICY, cluster_id)
        if item.document.get("maintenance")
    }
    rules = stand(
        _written_rules(tx, cluster_id, seen.cluster), vm_ids=seen.vm_ids, host_ids=seen.host_ids
    )
    cluster = replace(
        seen.cluster,
        vms=tuple(with_policy(vm, policies.get(vm.id)) for vm in seen.cluster.vms),
        hosts=tuple(_with_maintenance(host, host.id in maintenance) for host in seen.cluster.hosts),
        rules=tuple(each.in_force for each in rules if each.in_force is not None),
    )
    return Inventory(
        cluster_id=cluster_id,
        cluster=cluster,
        vm_policies=policies,
        maintenance=maintenance,
        rules=rules,
    )


def _decoded(tx: Transaction, cluster_id: str) -> Seen:
    snapshot = tx.snapshots.get(cluster_id)
    if snapshot is None:
        raise NotFoundError(
            f"cluster {cluster_id!r}: nothing was seen of it yet, expected a snapshot"
        )
    # It was checked against the clock of its source when it was taken.
    return Seen(cluster=cluster_from_document(snapshot.document, now=snapshot.observed_at))


def _written_rules(
    tx: Transaction, cluster_id: str, seen: Cluster
) -> Iterator[tuple[PlacementRule, Source]]:
    """Yield the snapshot's rules, then those put by themselves, the oldest change first.

    A rule put by itself stands instead of the snapshot's of the same id.
    """
    items = sorted(every_item(tx, Kind.RULE, cluster_id), key=_age)
    put = {item.id for item in items}
    for rule in seen.rules:
        if rule.id not in put:
            yield rule, "snapshot"
    for item in items:
        yield rule_from_document(item.document), "rule"


def _age(item: Item) -> tuple[str, str]:
    return ("" if item.changed_at is None else item.changed_at.isoformat(), item.id)


def every_item(tx: Transaction, kind: Kind, cluster_id: str) -> Iterator[Item]:
    """Yield all items of a kind of a cluster in the order of their ids."""
    after = ""
    while True:
        page = tx.items.page(kind, cluster_id, after=after, limit=PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].id


def with_policy(vm: VM, policy: VmPolicy | None) -> VM:
    """Return a VM with its policy laid over it."""
    if policy is None:
        return vm
    set_fields: dict[str, Any] = {
        name: value
        for name in ("priority", "group", "app_type")
        if (value := getattr(policy, name)) is not None and value != getattr(vm, name)
    }
    return replace(vm, **set_fields) if set_fields else vm


def _with_maintenance(host: Host, wanted: bool) -> Host:
    """Return a host with the maintenance that is wanted; one out of reach stays that."""
    if wanted and host.state is HostState.UP:
        return replace(host, state=HostState.MAINTENANCE)
    return host


Kept = TypeVar("Kept")


@dataclass(slots=True)
class _Cache(Generic[Kept]):
    """What was asked for last of each cluster, under the mark it was made at.

    Of a cluster the newest alone is kept, so that memory does not grow with its changes. What
    several threads ask for at once is made once.
    """

    kept: OrderedDict[str, tuple[Hashable, Kept]] = field(default_factory=OrderedDict)
    making: dict[Hashable, threading.Lock] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, cluster_id: str, mark: Hashable, make: Callable[[], Kept]) -> Kept:
        """Return what is kept of a cluster under a mark, made if need be."""
        found = self._find(cluster_id, mark)
        if found is not None:
            return found
        key = (cluster_id, mark)
        with self.lock:
            turn = self.making.setdefault(key, threading.Lock())
        with turn:
            found = self._find(cluster_id, mark)
            if found is not None:
                return found
            try:
                return self._keep(cluster_id, mark, make())
            finally:
                with self.lock:
                    self.making.pop(key, None)

    def _find(self, cluster_id: str, mark: Hashable) -> Kept | None:
        with self.lock:
            kept_mark, found = self.kept.get(cluster_id, (None, None))
            if kept_mark != mark:
                return None
            self.kept.move_to_end(cluster_id)
            return found

    def _keep(self, cluster_id: str, mark: Hashable, made: Kept) -> Kept:
        with self.lock:
            self.kept[cluster_id] = (mark, made)
            self.kept.move_to_end(cluster_id)
            while len(self.kept) > MAX_KEPT:
                self.kept.popitem(last=False)
        return made


_INVENTORIES: Final[_Cache[Inventory]] = _Cache()
_SNAPSHOTS: Final[_Cache[Seen]] = _Cache()
